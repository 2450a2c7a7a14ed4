"""Signatures inside the read: an address gets the one that is valid now, and is stored without any.

Files of the Planetary Computer lie in Azure's blob storage, which wants a shared access signature (SAS) in the query
of an address; `tokens` has those of this process. Other hosts need none from here. What is secret stays in memory.
"""

import re
from datetime import UTC, datetime
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from sarcube.acquisition import tokens
from sarcube.acquisition.files.patience import RangeSettings
from sarcube.acquisition.token_service import NoToken, Token

# As the SDK has them; the second holds public previews.
_BLOBS = re.compile(r"([a-z0-9-]{1,63})\.blob\.core\.windows\.net")
_PUBLIC = {"ai4edatasetspublicassets"}
_CONTAINER = re.compile(r"/+([a-z0-9$][a-z0-9-]{0,62})/+[^/]")
# Azure's names for the parts of a service, account and user delegation SAS.
_SAS = {"sv", "ss", "srt", "sp", "st", "se", "spr", "sip", "si", "sr", "sig", "sdd", "ses"}
_SAS |= {"rscc", "rscd", "rsce", "rscl", "rsct"}  # headers of the answer
_SAS |= {"skoid", "sktid", "skt", "ske", "sks", "skv", "skdutid", "saoid", "suoid", "scid", "sduoid"}
_PATIENCE = RangeSettings()


def sign(href: str, *, settings: RangeSettings = _PATIENCE) -> str:
    """Return an address with a signature that is valid now, where its host wants one.

    Ask for it anew on each read: the signature comes from memory until it is about to expire. One that the address
    carries itself (of a container of one's own) is left as it is until it expires or `renew` was told of a refusal.

    Parameters
    ----------
    href : str
        Any address or path; only blobs of Azure are signed.
    settings : RangeSettings
        How long to ask the signature service if it fails.

    Raises
    ------
    ReadError
        If the signature service cannot be asked, after the retries: "no_connection", "throttled" or "damaged". That it
        has none for this container is no error here: the address comes back as it is, it may be public.
    """
    place = container_of(href)
    if place is None or _is_good(href, place):
        return href
    return _with(href, tokens.token(*place, settings=settings))


def signed_from_memory(href: str) -> str | None:
    """Return what `sign` would, if that needs no request; else None."""
    place = container_of(href)
    if place is None or _is_good(href, place):
        return href
    token = tokens.remembered(*place)
    return None if token is None else _with(href, token)


def renew(href: str) -> bool:
    """Forget the signature of an address that the server has just refused (401, 403).

    Parameters
    ----------
    href : str
        The address that was refused, with its signature.

    Returns
    -------
    bool
        True if signing again may help: it will be another signature.
    """
    place = container_of(href)
    return place is not None and tokens.drop(*place, href=href, carried=_signature(href))


def unsigned(href: str) -> str:
    """Return an address without its SAS signature: what may be stored. The rest of its query stays, to the letter."""
    return _split(href)[0]


def expired(href: str) -> bool:
    """Return whether an address carries a SAS signature that has expired, by this machine's clock."""
    end = dict(parse_qsl(_signature(href))).get("se")
    if end is None:
        return False
    try:
        moment = datetime.fromisoformat(end)
    except ValueError:  # the server will say
        return False
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) <= datetime.now(UTC)


def why_unsigned(href: str) -> str:
    """Return why an address was read without a signature of the service's, in words; "" where it has or needs one."""
    place = container_of(href)
    token = None if place is None or _is_good(href, place) else tokens.remembered(*place)
    return token.words if isinstance(token, NoToken) else ""


def without_carried(target: str, *, sent: str) -> str:
    """Return where a redirect leads, without the signature that was sent, if that is echoed to another host."""
    carried = _signature(sent)
    if not carried or urlsplit(target).netloc == urlsplit(sent).netloc or _secret(carried) not in unquote(target):
        return target
    return unsigned(target)


def container_of(href: str) -> tuple[str, str] | None:
    """Return account and container of an address that is to be signed, None for others."""
    try:
        parts = urlsplit(href)
        host = parts.hostname or ""
    except ValueError:  # whoever opens it will say so
        return None
    account, container = _BLOBS.fullmatch(host), _CONTAINER.match(parts.path)
    if parts.scheme not in ("http", "https") or account is None or container is None or account[1] in _PUBLIC:
        return None
    return account[1], container[1]


def _is_good(href: str, place: tuple[str, str]) -> bool:
    """Whether an address carries a signature of its own that may still serve."""
    carried = _signature(href)
    return bool(carried) and not expired(href) and not tokens.was_refused(*place, carried)


def _with(href: str, token: Token | NoToken) -> str:
    if isinstance(token, NoToken):  # also with a signature that has expired, if one of the clocks is right
        return href
    parts = urlsplit(unsigned(href))
    return urlunsplit(parts._replace(query=f"{parts.query}&{token.value}" if parts.query else token.value))


def _signature(href: str) -> str:
    return _split(href)[1]


def _split(href: str) -> tuple[str, str]:
    """Return an address without its signature, and the signature; "" where there is none."""
    if "?" not in href:
        return href, ""
    rest, mark, fragment = href.partition("#")
    address, _, query = rest.partition("?")
    parts = query.split("&")
    names = {part.partition("=")[0].lower() for part in parts}
    # Elsewhere than at Azure "sp" or "st" may be anything, also which file is meant.
    signs = {"sig", "st", "se", "sp"} if container_of(address) else {"sig"} if names & {"se", "si"} else set()
    if not names & signs:
        return href, ""
    kept = [part for part in parts if part.partition("=")[0].lower() not in _SAS]
    signature = [part for part in parts if part.partition("=")[0].lower() in _SAS]
    return f"{address}{'?' if kept else ''}{'&'.join(kept)}{mark}{fragment}", "&".join(signature)


def _secret(signature: str) -> str:
    """Return the part of a signature that nobody can make up."""
    return unquote(next((part for part in signature.split("&") if part.lower().startswith("sig=")), signature))
