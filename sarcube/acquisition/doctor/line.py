"""The way to a host: its proxy, its name, its port, its certificate."""

import errno
import importlib.util
import os
import socket
import ssl
import time
from collections.abc import Iterable
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from urllib.parse import urlsplit

import requests.utils

from sarcube.acquisition.doctor import patience
from sarcube.acquisition.doctor.asking import (
    OFFLINE,
    ask,
    certificates_for,
    host_of,
    refused_by_proxy,
    trouble_of,
)
from sarcube.acquisition.doctor.findings import Finding, Trouble, in_time
from sarcube.acquisition.files.connections import show_url

_PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
_NOWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))  # addresses for documents


def proxies(urls: Iterable[str]) -> Finding:
    """Say which proxy each of some addresses goes through, and whether the proxies answer."""
    routes = {host_of(url): proxy_for(url) for url in urls}
    through = {proxy for proxy in routes.values() if proxy is not None}
    if not through:
        return Finding(
            "proxy", "well", f"none: {', '.join(routes)} {'is' if len(routes) == 1 else 'are'} asked directly"
        )
    for address in sorted(through):
        _knock(address)
    told = []
    for host, proxy in routes.items():
        if proxy is None:
            bypassed = " (no_proxy)" if os.environ.get("no_proxy") or os.environ.get("NO_PROXY") else ""
            told.append(f"{host} directly{bypassed}")
        else:
            told.append(f"{host} through {_shown(proxy)}")
    return Finding("proxy", "well", ", ".join(told))


def certificates(urls: Iterable[str]) -> Finding:
    """Look at the certificates that servers' own are held against."""
    name = next((name for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if os.environ.get(name)), None)
    for url in urls:
        _check_certificates(certificates_for(url))
    others = [other for other in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(other)]
    if name is None and others:
        words = f"sarcube takes the certificates of the package certifi, not those of {' and '.join(others)}"
        return Finding("certificates", "warning", words, "set REQUESTS_CA_BUNDLE to the same file, if it is needed")
    where = f"those of {name}" if name else "those of the package certifi"
    return Finding("certificates", "well", f"servers are held against {where}")


class Way(Enum):
    """How far the way to a host leads."""

    REACHED = auto()
    NOWHERE = auto()  # this machine has no network at all


class _Offline(Trouble):
    pass


def reach(url: str) -> tuple[Finding, Way]:
    """Find a host's address, connect to it and look at its certificate; through a proxy, ask it for anything.

    Raises
    ------
    Trouble
        With the step that fails.
    """
    try:
        return _reach(url), Way.REACHED
    except _Offline as trouble:
        return Finding("connection", "failed", trouble.words, trouble.advice), Way.NOWHERE


def _reach(url: str) -> Finding:
    host, secure = host_of(url), url.lower().startswith("https:")
    if secure:
        _check_certificates(certificates_for(url))
    proxy = proxy_for(url)
    if proxy is not None:
        answer = ask(f"{urlsplit(url).scheme}://{urlsplit(url).netloc}/", redirects=False)
        if answer.status == 407:
            raise refused_by_proxy(answer.status, host)
        return Finding(
            "connection", "well", f"{host} answers through the proxy {_shown(proxy)} in {in_time(answer.seconds)}"
        )
    start = time.monotonic()
    try:
        name, port = _address(url)
        with socket.create_connection((name, port), timeout=patience.CONNECT) as plain:
            connected = time.monotonic() - start
            if not secure:
                return Finding("connection", "well", f"{host} is reached in {in_time(connected)}, unencrypted")
            with _trusting(certificates_for(url)).wrap_socket(plain, server_hostname=name) as line:
                words = f"{host} is reached in {in_time(connected)}, {line.version()}, its certificate is trusted"
                return Finding("connection", "well", words)
    except OSError as error:
        if isinstance(error, socket.gaierror) or error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
            _raise_if_offline(host)
        raise trouble_of(error, host) from None


def proxy_for(url: str) -> str | None:
    """Return the proxy that `requests` takes for an address, None for none."""
    found = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url))
    if not found:
        return None
    return str(found) if "://" in found else f"http://{found}"


def _address(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or _PORTS[parts.scheme.lower()]
    except (ValueError, KeyError):
        raise Trouble("the address cannot be opened", "expected is http(s)://host:port/path") from None


def _knock(proxy: str) -> None:
    advice = f"correct {_variables(proxy)}, or unset it if this network needs no proxy"
    shown = _shown(proxy)
    if urlsplit(proxy).scheme.startswith("socks") and importlib.util.find_spec("socks") is None:
        raise Trouble(f"the proxy {shown} is of the kind SOCKS, which needs a package", "pip install pysocks")
    try:
        name, port = _address(proxy)
    except Trouble:
        raise Trouble(f"{_variables(proxy)} is no address of a proxy", "expected is http://host:port") from None
    try:
        socket.create_connection((name, port), timeout=patience.CONNECT).close()
    except OSError as error:
        why = "its name is not known" if isinstance(error, socket.gaierror) else error.strerror or "no answer in time"
        raise Trouble(f"the proxy {shown} does not answer ({why})", advice) from None


def _shown(proxy: str) -> str:
    return show_url(proxy).rstrip("/") + (" (with a login)" if "@" in proxy else "")


def _variables(proxy: str) -> str:
    """Name the variables of the environment that a proxy comes from."""
    bare = proxy.partition("://")[2]
    names = [name for name, value in os.environ.items() if name.lower().endswith("_proxy") and bare in value]
    return " and ".join(sorted(names)) or "the proxy in the system's settings"


def _check_certificates(place: str) -> None:
    advice = "set REQUESTS_CA_BUNDLE to a file of certificates (PEM), or unset it"
    if not Path(place).exists():
        raise Trouble(
            f'the certificates that REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names, "{place}", are not there', advice
        )
    try:
        _trusting(place)
    except (ssl.SSLError, OSError) as error:
        words = f'"{place}" cannot be used as certificates ({type(error).__name__})'
        raise Trouble(words, advice) from None


def _trusting(place: str) -> ssl.SSLContext:
    folder = Path(place).is_dir()
    return ssl.create_default_context(cafile=None if folder else place, capath=place if folder else None)


def _raise_if_offline(host: str) -> None:
    """Raise if this machine has no way to the outside at all. Nothing is sent."""
    for family, address in _NOWHERE:
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))  # of datagrams: this only looks for a route
            return
    raise _Offline(f"no network: this machine has no route to {host} or anywhere else", f"connect it; {OFFLINE}")
