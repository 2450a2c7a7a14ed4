"""Keys and logins that are sent along; whether they are there, never what they are."""

import netrc
import os
from collections.abc import Iterable
from pathlib import Path

import requests.utils
from planetary_computer.settings import DEFAULT_SAS_TOKEN_ENDPOINT

from sarcube.acquisition.doctor.asking import host_of
from sarcube.acquisition.doctor.findings import Finding, Trouble, sum_up
from sarcube.acquisition.files.connections import show_url
from sarcube.acquisition.files.patience import Failure
from sarcube.acquisition.token_service import service


def credentials(urls: Iterable[str]) -> Finding:
    """Say what is sent along: a subscription key, logins of ~/.netrc.

    Parameters
    ----------
    urls : iterable of str
        Addresses that are asked.
    """
    facts, troubles = [], []
    try:
        address, key = service()
    except Failure as failure:
        raise Trouble(f"what signs is not known: {failure}", "correct that file") from None
    if not key:
        facts.append("no subscription key: signatures are given to everyone, fewer at a time")
    elif not key.isprintable() or set(key) & set(" '\""):
        troubles.append(
            (
                "the subscription key holds spaces, quotes or line ends",
                "copy PC_SDK_SUBSCRIPTION_KEY again, without quotes",
            )
        )
    else:
        facts.append("a subscription key is sent with requests for signatures")
    if address != DEFAULT_SAS_TOKEN_ENDPOINT:
        facts.append(f"signatures are asked of {show_url(address)} (PC_SDK_SAS_URL)")
    file = _netrc_file()
    if file is not None and (trouble := _unreadable(file)):
        troubles.append(trouble)
    elif file is not None:
        facts += [f"a login for {host_of(url)} is sent ({file})" for url in urls if _has_login(url)]
    return sum_up("credentials", facts, troubles)


def _has_login(url: str) -> bool:
    return requests.utils.get_netrc_auth(url) is not None


def _netrc_file() -> Path | None:
    """Return the file that `requests` takes logins from."""
    named = os.environ.get("NETRC")
    candidates = [named] if named else ["~/.netrc", "~/_netrc"]
    return next((path for name in candidates if (path := Path(name).expanduser()).is_file()), None)


def _unreadable(file: Path) -> tuple[str, str] | None:
    """Whether a file of logins cannot be read; the words that do not fit are not shown, they may be a password."""
    try:
        netrc.netrc(str(file))
    except netrc.NetrcParseError as error:
        return f"{file} is broken at line {error.lineno}, so none of its logins is sent", f"correct {file}"
    except (OSError, UnicodeDecodeError) as error:
        return f"{file} cannot be read ({type(error).__name__})", f"correct {file}"
    return None
