#!/usr/bin/env bash
# Install what the servers of the tests need: PostgreSQL, PostGIS and nginx by apt-get, a STAC API by pip in .servers/.
# It never fails: where something cannot be had it says why, and the tests that need it skip and say the same.
#
#     tests/servers/install.sh PYTHON
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
python=$1
packages="postgresql-15 postgresql-15-postgis-3 nginx libnginx-mod-http-perl"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

give_up() {
    echo "servers of the tests: $1; the tests that need them will skip"
    exit 0
}

packages_are_there() {
    for package in $packages; do
        dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q "ok installed" || return 1
    done
}

# Services of the machine are not wanted, only their programs: Debian asks this file before it starts any.
hold_services() {
    if [ -e /usr/sbin/policy-rc.d ] || [ ! -w /usr/sbin ]; then return; fi
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d "$log"' EXIT
}

apt_get() {
    DEBIAN_FRONTEND=noninteractive timeout 300 apt-get --yes --quiet=2 -o DPkg::Lock::Timeout=120 \
        -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-unsafe-io "$@" > "$log" 2>&1 < /dev/null
}

if command -v dpkg-query > /dev/null && packages_are_there; then
    :
elif ! command -v apt-get > /dev/null; then
    give_up "this machine has no apt-get to install $packages"
elif [ "$(id -u)" != 0 ]; then
    give_up "only root can install them: apt-get install $packages"
else
    echo "servers of the tests: installing $packages"
    hold_services
    # Lists that are recent enough save the longest part.
    apt_get install --no-install-recommends $packages ||
        { apt_get update && apt_get install --no-install-recommends $packages; } ||
        give_up "apt-get could not install $packages: $(grep -E '^[EW]:' "$log" | tail -n 1)"
fi

ready=$root/.servers/.ready
if ! cmp --silent "$ready" "$here/requirements.txt"; then
    echo "servers of the tests: installing a STAC API in .servers/"
    { rm -rf "$root/.servers" && "$python" -m venv "$root/.servers" && echo "*" > "$root/.servers/.gitignore" &&
        timeout 600 "$root/.servers/bin/python" -m pip install --quiet --requirement "$here/requirements.txt"; } \
        > "$log" 2>&1 < /dev/null || give_up "pip could not install the STAC API: $(grep -v '^WARNING' "$log" | tail -n 1)"
    cp "$here/requirements.txt" "$ready"
fi
