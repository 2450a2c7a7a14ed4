"""A STAC API in its own process: it answers a search in pages, keeps a log, and fails when it is told to.

    with serve(items, page=2) as api:
        api.fail(2, "503", times=2)     # the next two requests for the second page; 0 is the landing page
        ... search in api.url ...
        assert api.asked() == [0, 1, 2, 2, 2, 3]

Faults: a status ("404", "429", "503", ...; `retry_after=` in seconds, `said=`), "truncate" (half the body), "half" (the
same, but its length fits), "garbage", "list" (JSON, but no object), "other" (an object, but no page), "packed" (gzip
without its end), "close" (no answer), "stall" (silent for `seconds`), "drip" (`seconds` between bytes), "drip headers",
"again" (the next page is this one), "for ever" (there is always another page), "next" (the next page is at `to=`),
"redirect" (`status=`, `to=`), "overlap" (the page begins with the item before).
"""

import gzip
import json
import multiprocessing
import os
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

import pystac
import shapely

_CONTROL = "/-control"
_CONFORMS = ["https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/item-search"]


@dataclass(frozen=True)
class Logged:
    """One request as the server saw it."""

    method: str
    path: str  # with its query
    page: int  # 0: the landing page
    asked: dict[str, Any]  # what the search asked for
    headers: dict[str, str]


class Api:
    """A running API, seen from the tests; see the module."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._open = build_opener(ProxyHandler({})).open  # never through a proxy

    def offer(self, *methods: str) -> None:
        """Let searches be asked by these methods from now on."""
        self._tell({"methods": methods})

    def put(self, items: Iterable[pystac.Item | dict[str, Any]]) -> None:
        """Hold these items from now on, and no others."""
        documents = [item if isinstance(item, dict) else item.to_dict(transform_hrefs=False) for item in items]
        self._tell({"items": documents})

    def fail(self, page: int, fault: str, *, times: int = 1_000_000, **details: Any) -> None:
        """Fail the next `times` requests for a page."""
        self._tell({"fault": fault, "page": page, "times": times, "details": details})

    def heal(self) -> None:
        """Forget all faults."""
        self._tell({"heal": True})

    def forget(self) -> None:
        """Empty the log."""
        self._tell({"forget": True})

    def requests(self) -> list[Logged]:
        """Return the log so far."""
        with self._open(self.url + _CONTROL, timeout=10) as answer:
            return [Logged(**entry) for entry in json.load(answer)]

    def asked(self) -> list[int]:
        """Return the pages that were asked for, in order."""
        return [entry.page for entry in self.requests()]

    def _tell(self, message: dict[str, Any]) -> None:
        with self._open(Request(self.url + _CONTROL, json.dumps(message).encode()), timeout=10) as answer:
            answer.read()


@contextmanager
def serve(items: Iterable[pystac.Item | dict[str, Any]] = (), *, page: int = 2) -> Iterator[Api]:
    """Serve items from another process until the block ends, `page` at a time."""
    context = multiprocessing.get_context("spawn")  # a fork would take over threads and locks of the tests
    ours, theirs = context.Pipe()
    before = os.environ.get("no_proxy")
    os.environ["no_proxy"] = "127.0.0.1"  # a proxy of the machine has no part in the tests
    process = context.Process(target=_run, args=(page, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(60):
            raise TimeoutError("the STAC API did not start")
        api = Api(f"http://127.0.0.1:{ours.recv()}")
        api.put(items)
        yield api
    finally:
        if before is None:
            del os.environ["no_proxy"]
        else:
            os.environ["no_proxy"] = before
        process.terminate()
        process.join(10)
        ours.close()


def _run(page: int, pipe: Any) -> None:
    server = _Quiet(("127.0.0.1", 0), _Handler)
    server.page = page
    pipe.send(server.server_port)
    server.serve_forever()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    page = 2
    methods: tuple[str, ...] = ("GET", "POST")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.lock = Lock()
        self.items: list[dict[str, Any]] = []
        self.faults: list[dict[str, Any]] = []
        self.log: list[dict[str, Any]] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that give up are what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Quiet

    def log_message(self, *args: Any) -> None:
        """Say nothing: the log is asked for."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == _CONTROL:
            with self.server.lock:
                self._send(json.dumps(self.server.log).encode())
        elif parts.path.rstrip("/").endswith("/search"):
            self._search(dict(parse_qsl(parts.query)))
        else:
            self._respond(0, {}, self._landing_page())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == _CONTROL:
            self._control(body)
            self._send(b"{}")
        else:
            self._search(body)

    def _control(self, message: dict[str, Any]) -> None:
        with self.server.lock:
            if "items" in message:
                self.server.items = message["items"]
            elif "methods" in message:
                self.server.methods = tuple(message["methods"])
            elif "heal" in message:
                self.server.faults.clear()
            elif "forget" in message:
                self.server.log.clear()
            else:
                self.server.faults.append(message)

    def _root(self) -> str:
        return f"http://{self.headers['Host']}"

    def _landing_page(self) -> dict[str, Any]:
        links = [{"rel": rel, "href": self._root(), "type": "application/json"} for rel in ("root", "self")]
        links += [
            {"rel": "search", "href": f"{self._root()}/search", "type": "application/geo+json", "method": method}
            for method in self.server.methods
        ]
        start = {"type": "Catalog", "id": "api", "stac_version": "1.0.0", "description": "a test's", "links": links}
        return start | {"conformsTo": _CONFORMS}

    def _search(self, asked: dict[str, Any]) -> None:
        token = str(asked.get("token", ""))
        first = int(urlsafe_b64decode(token).decode()) if token else 0
        found = self._found(asked)
        number = first // self.server.page + 1
        fault = self._peek(number)
        features = found[first : first + self.server.page]
        if fault == "overlap":
            features = found[first - 1 : first + self.server.page]
        links = []
        if first + self.server.page < len(found) or fault in ("again", "for ever", "next"):
            follows = first if fault == "again" else first + self.server.page
            links = [self._next(asked, follows)]
        if fault == "for ever":
            features = found[: self.server.page]
        self._respond(number, asked, {"type": "FeatureCollection", "features": features, "links": links})

    def _found(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the items that a search is for, the newest first, as archives give them."""
        collections, box = asked["collections"], asked["bbox"]
        collections = collections.split(",") if isinstance(collections, str) else collections
        box = [float(side) for side in box.split(",")] if isinstance(box, str) else box
        start, end = (
            datetime.fromisoformat(text)
            for text in asked.get("datetime", "0001-01-01T00:00Z/9999-12-31T00:00Z").split("/")
        )
        with self.server.lock:
            items = list(self.server.items)
        found = [
            item
            for item in items
            if item.get("collection") in collections and start <= _time(item) <= end and _touches(item, box)
        ]
        return sorted(found, key=lambda item: (_time(item), item["id"]), reverse=True)

    def _next(self, asked: dict[str, Any], first: int) -> dict[str, Any]:
        token = urlsafe_b64encode(str(first).encode()).decode()
        with self.server.lock:
            to = next((fault["details"]["to"] for fault in self.server.faults if fault["fault"] == "next"), "")
        href = to or f"{self._root()}/search"
        if self.command == "GET":
            query = urlencode({**asked, "token": token})
            return {"rel": "next", "href": f"{href}?{query}", "method": "GET"}
        return {"rel": "next", "href": href, "method": "POST", "body": {"token": token}, "merge": True}

    def _peek(self, page: int) -> str:
        with self.server.lock:
            return next((f["fault"] for f in self.server.faults if f["page"] in (page, -1) and f["times"]), "")

    def _next_fault(self, page: int) -> tuple[str, dict[str, Any]]:
        with self.server.lock:
            for fault in self.server.faults:
                if fault["page"] in (page, -1) and fault["times"]:
                    fault["times"] -= 1
                    return fault["fault"], fault["details"]
        return "", {}

    def _respond(self, page: int, asked: dict[str, Any], document: dict[str, Any]) -> None:
        entry = {"method": self.command, "path": self.path, "page": page, "asked": asked, "headers": dict(self.headers)}
        with self.server.lock:
            self.server.log.append(entry)
        fault, details = self._next_fault(page)
        body = json.dumps(document).encode()
        if fault == "stall":
            time.sleep(details["seconds"])
        if fault == "close":
            self._hang_up()
        elif fault.isdecimal():
            extra = {"Retry-After": str(details["retry_after"])} if "retry_after" in details else {}
            self._send(json.dumps({"description": details.get("said", "no")}).encode(), int(fault), extra)
        elif fault == "redirect":
            self._send(b"", details["status"], {"Location": details["to"]})
        elif fault == "truncate":
            self._send(body[: len(body) // 2], length=len(body))
        elif fault == "packed":
            self._send(gzip.compress(body)[:-20], headers={"Content-Encoding": "gzip"})
        elif fault in ("half", "garbage", "list", "other"):
            bodies = {"half": body[: len(body) // 2], "garbage": b"<html>sign in</html>", "list": b"[]"}
            self._send(bodies.get(fault, b'{"message": "later"}'))
        elif fault in ("drip", "drip headers"):
            self._drip(body, details["seconds"], headers=fault == "drip headers")
        elif "gzip" in self.headers.get("Accept-Encoding", ""):
            self._send(gzip.compress(body), headers={"Content-Encoding": "gzip"})
        else:
            self._send(body)

    def _send(
        self, body: bytes, status: int = 200, headers: dict[str, str] | None = None, *, length: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/geo+json")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        if length is not None:
            self._hang_up()

    def _drip(self, body: bytes, seconds: float, *, headers: bool) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        sent, rest = (b"", head + body) if headers else (head, body)
        with suppress(OSError):
            self.wfile.write(sent)
            for byte in rest:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(seconds)
        self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.rfile.close()
            self.wfile.close()
            self.connection.close()


def _time(item: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(item["properties"]["datetime"])


def _touches(item: dict[str, Any], box: list[float]) -> bool:
    try:
        geometry = shapely.from_geojson(json.dumps(item["geometry"]))
    except shapely.errors.ShapelyError:
        return True  # hostile items are found wherever one looks
    return geometry is None or bool(shapely.intersects(geometry, shapely.box(*box)))
