"""A blob storage that wants signatures and the service that gives them, in the range server's process; see there.

    with serve_signed(folder) as server:          # http_proxy and PC_SDK_SAS_URL are to be set: see `environment`
        server.rule(life=2.0)                      # seconds that a token lives
        server.fail("token/rtc/scenes", "429", times=2, retry_after=1)
        ... read http://rtc.blob.core.windows.net/scenes/a.tif, which is the file scenes/a.tif of the folder ...
        assert server.tokens() == 1

It is the proxy for http://ACCOUNT.blob.core.windows.net/CONTAINER/... and answers 403 there without a signature that is
its own and has not expired; plain paths are the range server's. Tokens are at /token/ACCOUNT/CONTAINER.

Rules, which hold from one `rule` to the next: `life` (seconds), `skew` (how far its clock is ahead), `dated` (whether
answers have a Date), `claims` (the life it says, where that is a lie), `epoch` (another one, and all tokens so far are
refused), `unknown` (containers without a token), `public` (containers that need none), `key` (the subscription
key it wants).
Faults of a token: those with a status, "stall", "empty", "truncate", "redirect", and "garbage" (`body=`),
"hold" (until the file `until` is there).
"""

import base64
import hashlib
import hmac
import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import range_server

_RULES = "-rules"
_BLOBS = ".blob.core.windows.net"
_DEFAULT = {"life": 2700.0, "skew": 0.0, "dated": True, "claims": None, "epoch": "1"}
_DEFAULT |= {"unknown": [], "public": [], "key": None}


class Server(range_server.Server):
    """The range server with signatures, seen from the tests."""

    def rule(self, **rules: Any) -> None:
        """Have these rules hold from now on, and the defaults for all others."""
        self.fail(_RULES, "", **rules)

    def tokens(self, container: str = "") -> int:
        """Return how many tokens were asked for, however that ended."""
        return sum(entry.path.startswith(f"/token/{container}") for entry in self.requests())

    def reads(self) -> list[range_server.Logged]:
        """Return the requests to the blob storage."""
        return [entry for entry in self.requests() if _BLOBS in entry.path]

    def environment(self) -> dict[str, str]:
        """Return the variables that lead to this server."""
        return {"http_proxy": self.url, "PC_SDK_SAS_URL": f"{self.url}/token"}


@contextmanager
def serve_signed(folder: Path) -> Iterator[Server]:
    """Serve a folder from another process until the block ends."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    before = os.environ.get("no_proxy")
    os.environ["no_proxy"] = "127.0.0.1"
    process = context.Process(target=_run, args=(str(folder), theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(60):
            raise TimeoutError("the token server did not start")
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
    server = range_server._Quiet(("127.0.0.1", 0), _Handler)
    server.folder = Path(folder).resolve()
    pipe.send(server.server_port)
    server.serve_forever()


class _Handler(range_server._Handler):
    def _serve(self) -> None:
        parts = urlsplit(self.path)
        if parts.path.startswith("/token/"):
            self._give_token(unquote(parts.path).strip("/"))
        elif not (parts.hostname or "").endswith(_BLOBS) or self._may_read(parts):
            super()._serve()
        else:
            self._answer(403, {}, b"no")

    def _rules(self) -> dict[str, Any]:
        with self.server.lock:
            said = [fault["details"] for fault in self.server.faults if fault["path"] == _RULES]
        return {**_DEFAULT, **(said[-1] if said else {})}

    def _may_read(self, parts: Any) -> bool:
        rules, query = self._rules(), parse_qs(parts.query)
        account, container = parts.hostname.removesuffix(_BLOBS), parts.path.split("/")[1]
        if container in rules["public"] and "sig" not in query:
            return True
        end, signature = (query.get(name, [""])[0] for name in ("se", "sig"))
        now = datetime.fromtimestamp(time.time() + rules["skew"], UTC)
        good = hmac.compare_digest(signature, sign(f"{account}/{container}", end, rules["epoch"]))
        lie = 0.0 if rules["claims"] is None else rules["life"] - rules["claims"]
        return good and now < datetime.fromisoformat(end) + timedelta(seconds=lie)

    def _give_token(self, path: str) -> None:
        rules, name = self._rules(), path.removeprefix("token/")
        fault, details = self._next_fault(path)
        now = time.time() + rules["skew"]
        headers = {"Date": formatdate(now, usegmt=True)} if rules["dated"] else {}
        if fault == "empty":
            self._hang_up()
            return
        if fault == "stall":
            time.sleep(details["seconds"])
        while fault == "hold" and not Path(details["until"]).exists():
            time.sleep(0.01)
        if fault.isdecimal():
            headers |= {"Retry-After": str(details["retry_after"])} if "retry_after" in details else {}
            self._answer(int(fault), headers, b'{"detail": "no"}')
        elif fault == "redirect":
            self._answer(302, {**headers, "Location": details["to"]}, b"")
        elif fault == "garbage":
            self._answer(200, headers, details["body"].encode())
        elif rules["key"] not in (None, self.headers["Ocp-Apim-Subscription-Key"]):
            self._answer(401, headers, b'{"detail": "no such key"}')
        elif name.split("/")[1] in rules["unknown"]:
            self._answer(404, headers, b'{"detail": "no such container"}')
        else:
            life = rules["life"] if rules["claims"] is None else rules["claims"]
            end = datetime.fromtimestamp(now + life, UTC).isoformat().replace("+00:00", "Z")
            token = token_of(name, end, rules["epoch"])
            self._answer(200, headers, json.dumps({"msft:expiry": end, "token": token}).encode(), fault, details)


def sign(name: str, end: str, epoch: str = "1") -> str:
    """Return the signature for a container ("account/container") until a moment."""
    return base64.b64encode(hmac.digest(epoch.encode(), f"{name} {end}".encode(), hashlib.sha256)).decode()


def token_of(name: str, end: str, epoch: str = "1") -> str:
    """Return the token for a container until a moment, as Azure writes it."""
    return f"se={quote(end)}&sp=rl&sv=2024-05-04&sr=c&sig={quote(sign(name, end, epoch), safe='')}"
