"""What a test sees of the servers: files and items put in, faults, logs."""

import shutil
from collections.abc import Iterable
from hashlib import md5
from pathlib import Path
from time import time
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import planetary_computer.sas
import pystac
import pytest
from planetary_computer.settings import Settings

from sarcube.acquisition import token_service
from sarcube.acquisition import tokens as held
from servers.stac_api import StacApi
from servers.token_service import Asked, TokenService
from servers.tokens import token
from servers.web import Logged, Web

_SECRET = "a secret of the tests"
_DOMAIN = ".blob.core.windows.net"
_FOR_EVER = 1_000_000


class Archive:
    """The running servers; see the package."""

    def __init__(self, folder: Path) -> None:
        self.blobs = folder / "blobs"  # ACCOUNT/CONTAINER/NAME
        self.blobs.mkdir()
        self._cache = folder / "cache"  # of the library, instead of the user's
        self._web = Web("blobs", folder, root=self.blobs, secret=_SECRET)
        self._tokens = TokenService(folder, containers=self.blobs, secret=_SECRET)
        self._api: StacApi | None = None
        try:
            self._api = StacApi(folder)
            self._tokens.wait()
            self._api.wait()
        except BaseException:
            self.stop()
            raise

    @property
    def api_url(self) -> str:
        """The STAC API."""
        return self._stac.web.url

    @property
    def proxy_url(self) -> str:
        """The proxy through which http://ACCOUNT.blob.core.windows.net is reached."""
        return self._web.url

    @property
    def sas_url(self) -> str:
        """The token service: PC_SDK_SAS_URL."""
        return self._tokens.url

    # What is in the archive

    def add_items(self, items: Iterable[dict[str, Any] | pystac.Item], collection: str = "sentinel-1-rtc") -> None:
        """Load items into the API as they are, or load them anew; the API writes its own links beside theirs."""
        documents = [i.to_dict(include_self_link=False) if isinstance(i, pystac.Item) else i for i in items]
        self._stac.add(documents, collection)

    def remove_items(self, ids: Iterable[str], collection: str = "sentinel-1-rtc") -> None:
        """Take items out of the API; their files stay."""
        self._stac.remove(ids, collection)

    def publish(self, file: Path, *, account: str, container: str, name: str) -> str:
        """Copy a file into the archive, in place of an earlier one, and return its address without a signature."""
        target = self.blobs / account / container / name
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_name(f".{target.name}.new")
        shutil.copyfile(file, new)
        new.replace(target)
        return f"http://{account}{_DOMAIN}/{container}/{quote(name)}"

    def publish_items(
        self,
        items: Iterable[pystac.Item],
        *,
        collection: str = "sentinel-1-rtc",
        account: str = "sentinel1euwestrtc",
        container: str = "sentinel1-grd-rtc",
    ) -> list[pystac.Item]:
        """Publish local items: their files into the archive, the items, with its addresses, into the API.

        As Planetary Computer does, each asset says its `file:size` and its md5 as a bare `file:checksum`.
        """
        published = []
        for item in items:
            new = item.clone()
            for asset in new.assets.values():
                file = Path(asset.href)
                name = f"GRD/{item.datetime:%Y/%-m/%-d}/IW/{item.id}/measurement/{file.name}"
                asset.href = self.publish(file, account=account, container=container, name=name)
                content = file.read_bytes()
                asset.extra_fields |= {"file:size": len(content), "file:checksum": md5(content).hexdigest()}
            published.append(new)
        self.add_items(published, collection)
        return published

    def clear(self) -> None:
        """Remove all items and all files, and what the library remembers of the API's answers."""
        self._stac.clear()
        shutil.rmtree(self._cache, ignore_errors=True)
        for account in self.blobs.iterdir():
            shutil.rmtree(account)

    # How it is reached

    def variables(self, *, key: str = "") -> dict[str, str]:
        """Return the environment variables that a process of its own needs; no other *_proxy should be set there."""
        proxy = self.proxy_url
        return {
            "PC_SDK_SAS_URL": self.sas_url,
            "PC_SDK_SUBSCRIPTION_KEY": key,  # set, so that nobody looks for it in the user's home
            "http_proxy": proxy,
            "https_proxy": proxy,  # refuses: nothing of the tests leaves the machine
            "GDAL_HTTP_PROXY": proxy,
            "no_proxy": "127.0.0.1,localhost",
            "SARCUBE_CACHE": str(self._cache),
        }

    def environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have this process reach the servers, with no token in memory."""
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "all_proxy", "GDAL_HTTPS_PROXY"):
            monkeypatch.delenv(name, raising=False)
        for name, value in self.variables().items():
            monkeypatch.setenv(name, value)
        forget_tokens()

    def sign(self, href: str, *, seconds: float = 2700.0) -> str:
        """Return an address with a signature of its own, without asking the token service; ended if negative."""
        parts = urlsplit(href)
        account, container = parts.netloc.partition(".")[0], parts.path.split("/")[1]
        return f"{href}?{token(account, container, secret=_SECRET, end=int(time() + seconds))}"

    # Faults

    def fail(
        self,
        href: str,
        fault: str,
        *,
        times: int = _FOR_EVER,
        after: int = 0,
        retry_after: int | str | None = None,
        rate: int | None = None,
    ) -> None:
        """Fail signed reads of a file.

        Parameters
        ----------
        href : str
            Its address, or "*" for all files.
        fault : str
            A status ("403", "404", "429", "503", ...), "close" (no answer), "truncate" (half of the body),
            "slow" (`rate` bytes per second).
        times, after : int
            How many requests fail, after how many that no fault given before this one takes.
        retry_after : int or str, optional
            The Retry-After of a status.
        rate : int, optional
            Of "slow".
        """
        self._web.fail(_place(href), fault, times=times, after=after, retry_after=retry_after, rate=rate)

    def api_fail(
        self,
        fault: str,
        *,
        path: str = "/search",
        times: int = _FOR_EVER,
        after: int = 0,
        retry_after: int | str | None = None,
    ) -> None:
        """Fail requests to the API as `fail` does, or "down": connections are refused. Pages are counted by `after`."""
        if fault == "down":
            self._stac.web.stop()
        else:
            self._stac.web.fail(path, fault, times=times, after=after, retry_after=retry_after)

    def token_fault(
        self, fault: str, *, times: int = _FOR_EVER, after: int = 0, retry_after: int | str | None = None
    ) -> None:
        """Fail requests for tokens: a status, "close" (no answer), or "down": connections are refused."""
        self._tokens.fault(fault, times=times, after=after, retry_after=retry_after)

    @property
    def token_seconds(self) -> float:
        """How long the next tokens live, rounded up to a whole second of the clock, as their stamps are."""
        return float(self._tokens.tell()["seconds"])

    @token_seconds.setter
    def token_seconds(self, seconds: float) -> None:
        self._tokens.tell(seconds=seconds)

    @property
    def token_skew(self) -> float:
        """How many seconds the token service's clock is ahead, in its stamps and its Date; tokens live as ever."""
        return float(self._tokens.tell()["skew"])

    @token_skew.setter
    def token_skew(self, seconds: float) -> None:
        self._tokens.tell(skew=seconds)

    def heal(self) -> None:
        """Forget all faults: everything is up, right, and fast; tokens live 45 minutes."""
        self._web.heal()
        self._stac.web.heal()
        self._tokens.tell(heal=True, seconds=2700.0, skew=0.0)

    # Logs

    def requests(self, href: str | None = None) -> list[Logged]:
        """Return the reads that were answered, of one file or of all; their path is ACCOUNT/CONTAINER/NAME."""
        return [entry for entry in self._web.requests() if href is None or entry.path == _place(href)]

    def api_requests(self, path: str | None = None) -> list[Logged]:
        """Return the requests to the API that were answered."""
        return [entry for entry in self._stac.web.requests() if path is None or entry.path == path]

    def tokens_asked(self) -> list[Asked]:
        """Return the requests for tokens that came."""
        return self._tokens.asked()

    def forget(self) -> None:
        """Empty the logs."""
        self._web.forget()
        self._stac.web.forget()
        self._tokens.tell(forget=True)

    def stop(self) -> None:
        """Stop all servers."""
        if self._api is not None:
            self._api.stop()
        self._web.stop()
        self._tokens.stop()

    @property
    def _stac(self) -> StacApi:
        assert self._api is not None
        return self._api


def forget_tokens() -> None:
    """Forget the settings and the tokens that this process holds, the SDK's and our own."""
    Settings.get.cache_clear()
    planetary_computer.sas.TOKEN_CACHE.clear()
    held._forget_tokens()
    token_service._warned.clear()


def _place(href: str) -> str:
    """Return how an address stands in the log."""
    if "://" not in href:
        return href
    parts = urlsplit(href)
    return unquote(parts.netloc.removesuffix(_DOMAIN) + parts.path)
