"""What all tests share: hypothesis without a clock, because these machines are noisy, and the real servers."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from servers.programs import missing

if TYPE_CHECKING:
    from servers.archive import Archive

# Of torch, in tests and in what they start: two workers with two threads each mostly wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

_tests = count()
settings.register_profile("sarcube", deadline=None, max_examples=25)
settings.load_profile("sarcube")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark all tests that need the servers."""
    if "archive_servers" in getattr(item, "fixturenames", ()):
        item.add_marker("servers")


@pytest.fixture(scope="session", autouse=True)
def kept_answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for answers of catalogues that is nobody's home, for all tests of a worker and what they start."""
    folder = tmp_path_factory.mktemp("kept-answers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SARCUBE_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def no_answers_of_other_tests(kept_answers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test its own, not made until needed: servers of two tests may get the same port."""
    monkeypatch.setenv("SARCUBE_CACHE", str(kept_answers / f"{next(_tests)}"))


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """Have no command that a test runs leave the library's log quieter for the tests after it."""
    logger = logging.getLogger("sarcube")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture(scope="session")
def archive_servers() -> "Iterator[Archive]":
    """The real servers (see tests/servers), from the first test of a worker that needs them to the end of all."""
    reason = missing()
    if reason:
        # Where the servers must be there, a skip would hide that they are not.
        (pytest.fail if os.environ.get("SARCUBE_TEST_SERVERS") == "required" else pytest.skip)(reason)
    from servers.archive import Archive

    # Not pytest's folder: PostgreSQL runs as another user, who may not enter that.
    folder = Path(tempfile.mkdtemp(prefix="sarcube-servers-"))
    try:
        folder.chmod(0o711)
        servers = Archive(folder)
        yield servers
        servers.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def archive(archive_servers: "Archive") -> "Iterator[Archive]":
    """The real servers, empty and in order; tokens in memory are forgotten before and after."""
    from servers.archive import forget_tokens

    archive_servers.heal()
    archive_servers.clear()
    archive_servers.forget()
    forget_tokens()
    yield archive_servers
    forget_tokens()
