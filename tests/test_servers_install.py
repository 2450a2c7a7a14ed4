"""Installing the servers of the tests: what cannot be had is said, what is there is left, no service is started."""

import shutil
import subprocess
from pathlib import Path

import pytest


def install(folder: Path, *, argument: str = "python", **commands: str) -> str:
    """Run a copy of install.sh with these commands and what a script needs, and return what it says."""
    script = folder / "project" / "tests" / "servers" / "install.sh"
    tools, own = folder / "tools", folder / "own"
    for made in (script.parent, tools, own):
        made.mkdir(parents=True, exist_ok=True)
    shutil.copytree(Path(__file__).with_name("servers"), script.parent, dirs_exist_ok=True)
    script.write_text(script.read_text().replace("/usr/sbin", str(folder)))
    for name in ("bash", "dirname", "mktemp", "mkdir", "rm", "chmod", "cp", "cmp", "grep", "tail", "timeout", "sh"):
        if not (tools / name).exists():
            (tools / name).symlink_to(shutil.which(name))
    for name, text in commands.items():
        with (own / name.replace("_", "-")).open("x") as command:  # "x" follows no link to the machine's programs
            command.write(f"#!/bin/sh\n{text}\n")
        (own / name.replace("_", "-")).chmod(0o755)
    done = subprocess.run(
        [script, argument], env={"PATH": f"{own}:{tools}"}, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    ("commands", "reason"),
    [
        ({}, "this machine has no apt-get to install postgresql-15 "),
        (
            {"apt_get": "", "dpkg_query": "exit 1", "id": "echo 1000"},
            "only root can install them: apt-get install post",
        ),
        (
            {"apt_get": "echo E: no route; exit 100", "dpkg_query": "exit 1", "id": "echo 0"},
            "apt-get could not install postgresql-15 postgresql-15-postgis-3 nginx libnginx-mod-http-perl: E: no route",
        ),
        (
            {
                "dpkg_query": "echo install ok installed",
                "python": "echo WARNING: 1; echo no index; echo WARNING: 2; exit 1",
            },
            "pip could not install the STAC API: no index",
        ),
    ],
)
def test_where_servers_cannot_be_installed_it_says_why_and_goes_on(tmp_path, commands, reason):
    said = install(tmp_path, **commands).splitlines()

    assert said[-1].startswith(f"servers of the tests: {reason}")
    assert said[-1].endswith("; the tests that need them will skip")


def test_no_service_is_started_by_installing(tmp_path):
    says_policy = f"echo E: $({tmp_path}/policy-rc.d; echo $?); exit 100"

    assert ": E: 101;" in install(tmp_path, apt_get=says_policy, dpkg_query="exit 1", id="echo 0")
    assert not (tmp_path / "policy-rc.d").exists()


def test_what_is_there_is_not_installed_again(tmp_path):
    commands = {
        "dpkg_query": "echo install ok installed",
        "python": 'mkdir -p "$3/bin"; echo "#!/bin/sh" > "$3/bin/python"; chmod +x "$3/bin/python"',  # -m venv FOLDER
    }
    assert install(tmp_path, **commands) == "servers of the tests: installing a STAC API in .servers/\n"

    assert install(tmp_path, argument="no such python") == ""
    (tmp_path / "project" / ".servers" / ".ready").write_text("another list")
    assert "pip could not install" in install(tmp_path, argument="no such python")
