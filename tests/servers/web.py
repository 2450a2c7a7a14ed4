"""An nginx that keeps a log, fails when it is told to, and can be away for a while."""

import json
import os
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from time import monotonic, sleep

from servers.programs import HERE, NGINX_MODULES, Program, free_port, listens, open_directly

STATUSES = ("400", "401", "403", "404", "409", "429", "500", "502", "503", "504")
_FOR_EVER = 1_000_000


@dataclass(frozen=True)
class Logged:
    """One request as the server saw it, written when it was answered; status 499: the client went away."""

    method: str
    path: str  # decoded, without its query
    status: int
    range: str  # "" for none
    bytes: int  # of the body, that were sent


class Web:
    """A running nginx; `site` is the file of its own part of the configuration."""

    def __init__(self, name: str, folder: Path, **filled: object) -> None:
        self._name, self._folder = f"nginx-{name}", folder / f"nginx-{name}"
        self._folder.mkdir()
        self.port = free_port()
        self._log = self._folder / "access.log"
        self._faults: list[str] = []
        self._numbers, self._marks = count(), count()
        filled |= {"folder": self._folder, "here": HERE, "modules": NGINX_MODULES, "port": self.port}
        filled["site"] = self._folder / "site.conf"
        for template, target in ((f"{name}.conf", "site.conf"), ("nginx.conf", "nginx.conf")):
            text = (HERE / template).read_text()
            for key, value in filled.items():
                text = text.replace(f"@{key}@", str(value))
            (self._folder / target).write_text(text)
        self._program: Program | None = None
        self.heal()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, at the port it had before."""
        if self._program is None:
            command = ["nginx", "-p", self._folder, "-c", self._folder / "nginx.conf", "-e", self._folder / "error.log"]
            self._program = Program(self._name, command, folder=self._folder)
            self._program.wait_until(lambda: listens(self.port))

    def stop(self) -> None:
        """Close its port."""
        if self._program is not None:
            self._program.stop()
            self._program = None

    def fail(
        self,
        path: str,
        fault: str,
        *,
        times: int = _FOR_EVER,
        after: int = 0,
        retry_after: int | str | None = None,
        rate: int | None = None,
    ) -> None:
        """Fail requests to a path ("*" for all); see `Archive.fail`."""
        if fault not in (*STATUSES, "close", "truncate", "slow") or (fault == "slow") != (rate is not None):
            raise ValueError(f'expected "close", "truncate", "slow" with a rate or one of {STATUSES}, got "{fault}"')
        detail = rate if rate is not None else retry_after
        what = fault if detail is None else f"{fault}:{detail}"
        self._faults.append(f"{next(self._numbers)}\t{path}\t{what}\t{times}\t{after}\n")
        self._write_faults()

    def heal(self) -> None:
        """Forget all faults, and come back."""
        self._faults.clear()
        self._write_faults()
        self.start()

    def requests(self) -> list[Logged]:
        """Return the log of all that was answered so far."""
        mark = f"/-mark/{next(self._marks)}"
        if self._program is not None:  # requests that were answered before this one are then in the log
            with open_directly(self.url + mark, timeout=10):
                pass
            end = monotonic() + 10
            while f'"{mark}"' not in self._log.read_text():
                if monotonic() > end:
                    raise TimeoutError(f"{self._log} does not hold a request that was answered 10 s ago")
                sleep(0.005)
        logged = [Logged(**json.loads(line)) for line in self._log.read_text().splitlines()]
        return [entry for entry in logged if not entry.path.startswith("/-mark/")]

    def forget(self) -> None:
        """Empty the log."""
        self.requests()  # what is under way is in it
        os.truncate(self._log, 0)

    def _write_faults(self) -> None:
        new = self._folder / "faults.new"
        new.write_text("".join(self._faults))
        new.replace(self._folder / "faults")
