"""A web server in its own process that serves a folder with ranges, keeps a log, and fails when it is told to.

    with serve(folder) as server:
        server.fail("scene/vv.tif", "503", times=2)     # the next two requests to it
        server.fail("scene/vh.tif", "truncate", after=1)  # all but the first
        ... read server.url + "/scene/vv.tif" ...
        assert server.requests()[0].status == 503

Faults: a status ("404", "403", "429", "503", ...; `retry_after=` in seconds or as a date), "truncate" (half the body),
"reset" (connection reset in the middle of the body), "wrong range" (the bytes before those asked for, and says so),
"lying range" (the same, and says that they are those asked for), "no range" (200 with the whole file), "no length",
"long" (more bytes than asked), "drip" (`seconds` between bytes), "drip headers", "stall" (silent for `seconds` before
the answer), "stall body" (in the middle of the body), "slow" (the body in ten parts, `seconds` apart: slow but right),
"encoded" (says it is gzip),
"no content range", "replaced" (another ETag), "no etag", "redirect" (to `to=`; with
`seconds=`, its body does not come for so long), "empty" (closes at once).
"""

import json
import multiprocessing
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import formatdate
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

_CONTROL = "/-control"


@dataclass(frozen=True)
class Logged:
    """One request as the server saw it."""

    method: str
    path: str  # with its query
    range: str | None
    status: int  # 0: not answered, or not yet


class Server:
    """A running server, seen from the tests; see the module."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._open = build_opener(ProxyHandler({})).open  # never through a proxy

    def fail(self, path: str, fault: str, *, times: int = 1_000_000, after: int = 0, **details: Any) -> None:
        """Fail the next `times` requests to a path below the folder, after `after` good ones."""
        self._tell({"path": path.strip("/"), "fault": fault, "times": times, "after": after, "details": details})

    def heal(self) -> None:
        """Forget all faults."""
        self._tell({"heal": True})

    def requests(self, path: str | None = None) -> list[Logged]:
        """Return the log so far, of one path or of all."""
        with self._open(self.url + _CONTROL, timeout=10) as answer:
            logged = [Logged(**entry) for entry in json.load(answer)["requests"]]
        return [entry for entry in logged if path is None or urlsplit(entry.path).path.strip("/") == path.strip("/")]

    def most_at_once(self) -> int:
        """Return how many requests were in the works at the same time, at most."""
        with self._open(self.url + _CONTROL, timeout=10) as answer:
            return int(json.load(answer)["most"])

    def forget(self) -> None:
        """Empty the log."""
        self._tell({"forget": True})

    def _tell(self, message: dict[str, Any]) -> None:
        with self._open(Request(self.url + _CONTROL, json.dumps(message).encode()), timeout=10) as answer:
            answer.read()


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Serve a folder from another process until the block ends."""
    context = multiprocessing.get_context("spawn")  # a fork would take over threads and locks of the tests
    ours, theirs = context.Pipe()
    before = os.environ.get("no_proxy")
    os.environ["no_proxy"] = "127.0.0.1"  # a proxy of the machine has no part in the tests
    process = context.Process(target=_run, args=(str(folder), theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(60):
            raise TimeoutError("the range server did not start")
        yield Server(f"http://127.0.0.1:{ours.recv()}")
    finally:
        if before is None:
            del os.environ["no_proxy"]
        else:
            os.environ["no_proxy"] = before
        process.terminate()
        process.join(10)
        ours.close()


def _run(folder: str, pipe: Any) -> None:
    server = _Quiet(("127.0.0.1", 0), _Handler)
    server.folder = Path(folder).resolve()
    pipe.send(server.server_port)
    server.serve_forever()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.folder = Path()
        self.lock = threading.Lock()
        self.faults: list[dict[str, Any]] = []
        self.log: list[dict[str, Any]] = []
        self.now = self.most = 0

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that give up are what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Quiet

    def log_message(self, *args: Any) -> None:
        """Say nothing: the log is asked for."""

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            if message.get("heal"):
                self.server.faults.clear()
            elif message.get("forget"):
                self.server.log.clear()
                self.server.most = 0
            else:
                self.server.faults.append(message)
        self._plain(b"{}")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self.path == _CONTROL:
            with self.server.lock:
                self._plain(json.dumps({"requests": self.server.log, "most": self.server.most}).encode())
            return
        self.entry = {"method": self.command, "path": self.path, "range": self.headers["Range"], "status": 0}
        with self.server.lock:
            self.server.log.append(self.entry)
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
        try:
            self._serve()
        finally:
            with self.server.lock:
                self.server.now -= 1

    def _serve(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        fault, details = self._next_fault(path)
        if fault == "empty":
            self._hang_up()
            return
        if fault == "stall":
            time.sleep(details["seconds"])
        if fault.isdecimal():
            extra = {"Retry-After": str(details["retry_after"])} if "retry_after" in details else {}
            self._answer(int(fault), extra, b"no")
            return
        if fault == "redirect":
            waits = details.get("seconds", 0.0)
            body = b"moved" if waits else b""
            self._answer(302, {"Location": details["to"]}, body, "stall body" if waits else "", details)
            return
        file = (self.server.folder / path).resolve()
        if not file.is_relative_to(self.server.folder) or not file.is_file():
            self._answer(404, {}, b"no")
            return
        self._send(file, fault, details)

    def _send(self, file: Path, fault: str, details: dict[str, Any]) -> None:
        size = file.stat().st_size
        start, stop = self._range(size)
        status = 206 if self.headers["Range"] else 200
        if fault == "no range":
            status, start, stop = 200, 0, size
        if status == 206 and start >= size:
            self._answer(416, {"Content-Range": f"bytes */{size}"}, b"")
            return
        said = start, stop
        if fault in ("wrong range", "lying range"):
            step = 1 if start else -1
            start, stop = start - step, stop - step
            said = said if fault == "lying range" else (start, stop)
        with file.open("rb") as opened:
            opened.seek(start)
            body = opened.read(stop - start + (7 if fault == "long" else 0))
        headers = {"Accept-Ranges": "bytes", "ETag": _etag(file), "Last-Modified": formatdate(file.stat().st_mtime)}
        if status == 206:
            headers["Content-Range"] = f"bytes {said[0]}-{said[1] - 1}/{size}"
        if fault == "no content range":
            del headers["Content-Range"]
        if fault == "replaced":
            headers["ETag"] = '"another"'
        if fault == "no etag":
            del headers["ETag"], headers["Last-Modified"]
        if fault == "encoded":
            headers["Content-Encoding"] = "gzip"
        self._answer(status, headers, body, fault, details)

    def _answer(
        self, status: int, headers: dict[str, str], body: bytes, fault: str = "", details: dict[str, Any] | None = None
    ) -> None:
        self.entry["status"] = status
        lines = [f"HTTP/1.1 {status} {self.responses.get(status, ('Odd',))[0]}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if fault == "no length":
            self.close_connection = True
            lines.append("Connection: close")
        else:
            lines.append(f"Content-Length: {len(body)}")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        if fault == "drip headers":
            self._drip(head, details["seconds"])
        else:
            self.wfile.write(head)
        if self.command == "HEAD":
            return
        half = len(body) // 2
        if fault == "drip":
            self._drip(body, details["seconds"])
        elif fault == "slow":
            part = len(body) // 10 + 1
            for at in range(0, len(body), part):
                time.sleep(details["seconds"])
                self.wfile.write(body[at : at + part])
        elif fault == "stall body":
            self.wfile.write(body[:half])
            self.wfile.flush()
            time.sleep(details["seconds"])
            self._hang_up()
        elif fault in ("truncate", "reset"):
            self.wfile.write(body[:half])
            self.wfile.flush()
            if fault == "reset":
                # Closing with nothing to linger for sends a reset instead of an end.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._hang_up()
        else:
            self.wfile.write(body)

    def _drip(self, text: bytes, seconds: float) -> None:
        with suppress(OSError):
            for byte in text:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(seconds)

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.rfile.close()
            self.wfile.close()
            self.connection.close()

    def _plain(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _next_fault(self, path: str) -> tuple[str, dict[str, Any]]:
        with self.server.lock:
            for fault in self.server.faults:
                if fault["path"] != path or fault["times"] == 0:
                    continue
                if fault["after"] > 0:
                    fault["after"] -= 1
                    continue
                fault["times"] -= 1
                return fault["fault"], fault["details"]
        return "", {}

    def _range(self, size: int) -> tuple[int, int]:
        text = self.headers["Range"]
        if not text:
            return 0, size
        first, _, last = text.removeprefix("bytes=").partition("-")
        return int(first), min(int(last) + 1 if last else size, size)


def _etag(file: Path) -> str:
    state = file.stat()
    return '"' + sha256(f"{state.st_mtime_ns} {state.st_size} {state.st_ino}".encode()).hexdigest()[:16] + '"'
