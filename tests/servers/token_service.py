"""The token service, started and told what to do."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request

from servers.programs import HERE, Program, open_directly


@dataclass(frozen=True)
class Asked:
    """One request to the token service; status 0: not answered."""

    account: str
    container: str
    status: int
    time: float  # seconds since 1970


class TokenService:
    """A running token service; see `tokens`."""

    def __init__(self, folder: Path, *, containers: Path, secret: str) -> None:
        self._program = Program("tokens", [sys.executable, HERE / "tokens.py", containers, secret], folder=folder)

    def wait(self) -> None:
        """Wait until it has said its ports."""
        self._program.wait_until(lambda: self._program.log.read_text().endswith("\n"))
        ports = json.loads(self._program.log.read_text().splitlines()[0])
        self.url = f"http://127.0.0.1:{ports['service']}/api/sas/v1/token"
        self._control = f"http://127.0.0.1:{ports['control']}/"

    def fault(self, fault: str, **details: object) -> None:
        """Fail requests; see `Archive.token_fault`."""
        if fault == "down":
            self.tell(down=True)
        elif fault == "close" or fault.isdecimal():
            self.tell(fault=fault, **details)
        else:
            raise ValueError(f'expected a status, "close" or "down", got "{fault}"')

    def asked(self) -> list[Asked]:
        return [Asked(**entry) for entry in self.tell()["log"]]

    def tell(self, **message: object) -> dict[str, Any]:
        """Change what it does, if anything is said, and return how it is."""
        with open_directly(Request(self._control, json.dumps(message).encode()), timeout=10) as answer:
            return json.load(answer)

    def stop(self) -> None:
        self._program.stop()
