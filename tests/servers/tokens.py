"""A service of tokens as Planetary Computer's: GET /api/sas/v1/token/ACCOUNT/CONTAINER.

Run as a program it says its address and that of its control on one line of JSON, and serves until it is ended:

    python tokens.py FOLDER SECRET

FOLDER/ACCOUNT/CONTAINER are the containers it knows. The signatures are those that blobs.conf checks.
"""

import json
import math
import sys
import threading
import time
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from email.utils import formatdate
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

_PREFIX = "/api/sas/v1/token/"


class State:
    """What the control changes and the service obeys."""

    def __init__(self, folder: Path, secret: str) -> None:
        self.folder, self.secret = folder, secret
        self.lock = threading.Lock()
        self.seconds, self.skew = 2700.0, 0.0
        self.faults: list[dict[str, Any]] = []
        self.log: list[dict[str, Any]] = []
        self.service: ThreadingHTTPServer | None = None
        self.port = 0

    def up(self) -> None:
        """Open the port of the service, the same each time."""
        if self.service is None:
            self.service = _Server(("127.0.0.1", self.port), _Service, self)
            self.port = self.service.server_port
            threading.Thread(target=self.service.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        """Close it: connections are refused."""
        if self.service is not None:
            self.service.shutdown()
            self.service.server_close()
            self.service = None

    def next_fault(self) -> dict[str, Any]:
        with self.lock:
            for fault in self.faults:
                if fault["times"] > 0:
                    if fault["after"] > 0:
                        fault["after"] -= 1
                        continue
                    fault["times"] -= 1
                    return fault
        return {"fault": ""}


def token(account: str, container: str, *, secret: str, end: int, skew: float = 0.0) -> str:
    """Return a signature of all files of a container until a moment, in seconds since 1970.

    The stamps in it are by a clock that is `skew` seconds ahead; the moment itself is in the signature.
    """
    start, stamp = (_stamp(moment + skew) for moment in (end - 86_400, end))
    parts = f"{end - 1} {account}/{container} {stamp} rl {secret}"  # nginx takes the second itself for valid
    signature = urlsafe_b64encode(md5(parts.encode()).digest()).decode().rstrip("=") + f"{end - 1}="
    key = "00000000-0000-4000-8000-000000000000"
    fields = {"st": start, "se": stamp, "sp": "rl", "sv": "2025-07-05", "sr": "c", "skoid": key, "sktid": key}
    fields |= {"skt": start, "ske": stamp, "sks": "b", "skv": "2025-07-05", "sig": signature}
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items())


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], state: State) -> None:
        super().__init__(address, handler)
        self.state = state

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that give up are what is tested."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, *args: Any) -> None:
        """Say nothing: the log is asked for."""

    def answer(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        text = json.dumps(body).encode()
        self.send_response_only(status)
        self.send_header("Date", formatdate(time.time() + self.server.state.skew, usegmt=True))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)


class _Service(_Handler):
    def do_GET(self) -> None:
        state = self.server.state
        path = self.path.partition("?")[0]
        account, _, container = path.removeprefix(_PREFIX).partition("/")
        entry = {"account": account, "container": container, "status": 0, "time": time.time()}
        fault = state.next_fault()
        if fault["fault"] == "close":
            self._log(entry)
            return
        headers = {"Retry-After": str(fault["retry_after"])} if fault.get("retry_after") is not None else {}
        known = path.startswith(_PREFIX) and account.isalnum() and container.strip(".") and "/" not in container
        if fault["fault"]:
            entry["status"] = int(fault["fault"])
            body: object = {"detail": "a fault of the test"}
        elif not known or not (state.folder / account / container).is_dir():
            entry["status"], body = 404, {"detail": f"Storage account {account} not found."}
        else:
            end = math.ceil(time.time() + state.seconds)  # stamps have whole seconds
            signature = token(account, container, secret=state.secret, end=end, skew=state.skew)
            entry["status"], body = 200, {"msft:expiry": _stamp(end + state.skew), "token": signature}
        self._log(entry)  # before the answer, so that who has it finds it
        self.answer(entry["status"], body, headers)

    def _log(self, entry: dict[str, Any]) -> None:
        with self.server.state.lock:
            self.server.state.log.append(entry)


class _Control(_Handler):
    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        state = self.server.state
        with state.lock:
            state.seconds = message.get("seconds", state.seconds)
            state.skew = message.get("skew", state.skew)
            if "fault" in message:
                state.faults.append(message)
            if message.get("heal"):
                state.faults.clear()
            if message.get("forget"):
                state.log.clear()
        if message.get("down"):
            state.down()
        if message.get("heal"):
            state.up()
        with state.lock:
            self.answer(200, {"seconds": state.seconds, "skew": state.skew, "log": state.log})


def main() -> None:
    state = State(Path(sys.argv[1]), sys.argv[2])
    state.up()
    control = _Server(("127.0.0.1", 0), _Control, state)
    print(json.dumps({"service": state.port, "control": control.server_port}), flush=True)
    control.serve_forever()


if __name__ == "__main__":
    main()
