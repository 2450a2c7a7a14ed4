"""An archive in one process, for the doctor: STAC API, signatures, files with ranges, a proxy; it falls ill when told.

    with ill_server() as server:
        ... diagnose(catalog=server.api) ...  # healthy
        server.be(faults={"/stac/search": "429"}, clock=-3600)  # all else as at first
        ...

Paths: /stac (landing page), /stac/collections[/sentinel-1-rtc], /stac/search, /sas/ACCOUNT/CONTAINER, and files, which
end in .tiff. Files at ACCOUNT.blob.core.windows.net are served to those that take the server for a proxy, and only with
the signature that /sas gives. Settings:

- faults by path: a status, "html" (a login page), "text" (JSON that is no object), "not STAC", "no search", "elsewhere"
  (searches go to another host), "empty" (no items), "close", "stall" (`seconds`), "whole" (no ranges), "huge" (the
  same, 5 MB), "no TIFF",
  "redirect" (to
  /caught), "slow" (`seconds` before every 16 kB);
- href of the one item's file, and `item`: properties of its own, None takes one away;
- clock: seconds that the server's clock is ahead; life: seconds that a signature lives, by its clock;
- tunnel: the status that it answers to CONNECT.
"""

import json
import multiprocessing
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

_OPEN = build_opener(ProxyHandler({})).open  # never through a proxy
SECRET = "c2VjcmV0IHNpZ25hdHVyZQ"
FILE = b"II*\0" + bytes(range(256)) * 1200  # 300 kB that begin as a TIFF
CONFORMS = ["https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/item-search"]


_HEALTHY = {
    "faults": {},
    "href": "/data/vv.tiff",
    "item": {},
    "clock": 0.0,
    "life": 2700.0,
    "seconds": 0.0,
    "tunnel": 403,
}


@dataclass(frozen=True)
class IllServer:
    """Where it is, what it was asked, and how it is to be."""

    url: str

    @property
    def api(self) -> str:
        return f"{self.url}/stac"

    def be(self, **settings: Any) -> None:
        """Take these settings, healthy ones else, and forget what was asked so far; not for servers with TLS."""
        unknown = set(settings) - set(_HEALTHY)
        assert not unknown, unknown
        with _OPEN(Request(f"{self.url}/-be", json.dumps(settings).encode()), timeout=10) as answer:
            answer.read()

    def requests(self) -> list[dict[str, Any]]:
        """Return method, path and headers of all requests so far; not for servers with TLS."""
        with _OPEN(f"{self.url}/-log", timeout=10) as answer:
            return json.load(answer)


@contextmanager
def ill_server(*, tls: tuple[str, str] | None = None) -> Iterator[IllServer]:
    """Run the archive in another process until the block ends; `tls`: files of a certificate and its key."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(tls, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(60):
            raise TimeoutError("the ill server did not start")
        yield IllServer(f"http{'s' if tls else ''}://127.0.0.1:{ours.recv()}")
    finally:
        process.terminate()
        process.join(10)
        ours.close()


def _run(tls: tuple[str, str] | None, pipe: Any) -> None:
    server = _Quiet(("127.0.0.1", 0), _Handler)
    server.scheme, server.settings, server.log = "https" if tls else "http", _HEALTHY, []
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    pipe.send(server.server_port)
    server.serve_forever()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    scheme: str
    settings: dict[str, Any]
    log: list[dict[str, Any]]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that give up are what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Quiet

    def log_message(self, *args: Any) -> None:
        """Say nothing: the log is asked for."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(time.time() + self.server.settings["clock"], usegmt=True)

    def do_CONNECT(self) -> None:
        self._note()
        self._send(self.server.settings["tunnel"], b"no")

    def do_POST(self) -> None:
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.settings, self.server.log = {**_HEALTHY, **told}, []
        self._send(200, b"{}")

    def do_GET(self) -> None:
        if self.path == "/-log":
            self._send(200, json.dumps(self.server.log).encode())
            return
        self._note()
        path = urlsplit(self.path).path
        fault = self.server.settings["faults"].get(path, "")
        if fault == "stall":
            time.sleep(self.server.settings["seconds"])
        if fault in ("close", "stall"):
            self.close_connection = True
        elif fault.isdecimal():
            self._send(int(fault), b"no", {"Retry-After": "120"} if fault in ("429", "503") else {})
        elif fault == "redirect":
            self._send(302, b"", {"Location": "/caught"})
        elif fault == "html":
            self._send(200, b"<html>Welcome to the hotel. Please log in.</html>", {"Content-Type": "text/html"})
        elif fault == "text":
            self._send(200, b'["no", "object"]')
        elif path.endswith(".tiff"):
            self._send_file(fault)
        else:
            self._send_document(path, fault)

    def _send_document(self, path: str, fault: str) -> None:
        settings = self.server.settings
        if path == "/stac":
            host = "elsewhere.example" if fault == "elsewhere" else self.headers["Host"]
            search = f"{self.server.scheme}://{host}/stac/search"
            page = {
                "type": "Catalog",
                "id": "ill",
                "conformsTo": CONFORMS,
                "links": [{"rel": "search", "href": search}],
            }
            if fault == "not STAC":
                page = {"type": "FeatureCollection"}
            if fault == "no search":
                page["conformsTo"] = CONFORMS[:1]
            self._send(200, json.dumps(page).encode())
        elif path == "/stac/collections":
            names = ["sentinel-1-grd", "evil\x1b[31m\n[bold]"]
            self._send(200, json.dumps({"collections": [{"id": name} for name in names]}).encode())
        elif path == "/stac/collections/sentinel-1-rtc":
            self._send(200, b'{"type": "Collection", "id": "sentinel-1-rtc"}')
        elif path == "/stac/search":
            features = [] if fault == "empty" else [_item(settings["href"], settings["item"])]
            self._send(200, json.dumps({"type": "FeatureCollection", "features": features}).encode())
        elif path.startswith("/sas/"):
            end = datetime.fromtimestamp(time.time() + settings["clock"] + settings["life"], UTC)
            expiry = end.strftime("%Y-%m-%dT%H:%M:%SZ")
            token = f"st=2024-01-01T00%3A00%3A00Z&se={expiry.replace(':', '%3A')}&sp=rl&sig={SECRET}"
            self._send(200, json.dumps({"msft:expiry": expiry, "token": token}).encode())
        else:
            self._send(404, b"no")

    def _send_file(self, fault: str) -> None:
        parts = urlsplit(self.path)
        if (parts.hostname or "").endswith(".blob.core.windows.net") and f"sig={SECRET}" not in parts.query:
            self._send(403, b"no")
            return
        if parts.hostname and "Authorization" in self.headers:
            self._send(400, b"as Azure: a login beside a signature is one too many")
            return
        content = b"<html>gone</html>" * 100 if fault == "no TIFF" else FILE
        first, _, last = self.headers.get("Range", "").removeprefix("bytes=").partition("-")
        if not first or fault in ("whole", "huge"):
            self._send(200, content * (17 if fault == "huge" else 1))
            return
        start, stop = int(first), min(int(last) + 1, len(content))
        headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}", "ETag": '"one"'}
        self._send(206, content[start:stop], headers, pause=self.server.settings["seconds"] if fault == "slow" else 0.0)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, *, pause: float = 0.0) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(OSError):
            for at in range(0, len(body), 16_000):
                time.sleep(pause)
                self.wfile.write(body[at : at + 16_000])

    def _note(self) -> None:
        self.server.log.append({"method": self.command, "path": self.path, "headers": dict(self.headers.items())})


def _item(href: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Return an item as a catalogue has it; `changes` go over its properties, None takes one away."""
    properties = {
        "datetime": "2024-04-19T04:59:04Z",
        "platform": "SENTINEL-1A",
        "sat:orbit_state": "descending",
        "sat:relative_orbit": 80,
        "proj:epsg": 32633,
        "proj:transform": [10, 0, 500000, 0, -10, 3400000],
        "proj:shape": [100, 100],
        **changes,
    }
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "S1A_IW_GRDH_1SDV_20240419T045904_20240419T045916_053498_067DF2_rtc",
        "bbox": [13.8, 29.9, 16.5, 30.9],
        "geometry": {"type": "Polygon", "coordinates": [[[13.8, 29.9], [16.5, 29.9], [16.5, 30.9], [13.8, 29.9]]]},
        "properties": {name: value for name, value in properties.items() if value is not None},
        "links": [],
        "assets": {"vv": {"href": href, "type": "image/tiff"}},
    }
