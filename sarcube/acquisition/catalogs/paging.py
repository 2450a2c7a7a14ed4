"""What pystac-client reads through: the landing page of a STAC API and the pages of a search, each answer kept."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

from pystac_client.stac_api_io import StacApiIO

from sarcube.acquisition.catalogs import answers
from sarcube.acquisition.catalogs.answers import Answer
from sarcube.acquisition.catalogs.asking import Question, ask
from sarcube.acquisition.files.connections import joined, show_url
from sarcube.acquisition.files.patience import Failure
from sarcube.errors import ReadError

PASSING = ("no_connection", "throttled", "damaged")  # kinds of failure in which an old answer is better than none
_MOST_PAGES = 1000
_ADVICE = {
    "not_found": "is this the address of a STAC API, and does it have this collection?",
    "forbidden": "it wants a login (.netrc), or refuses the question",
}
_GO_ON = "what it has answered is kept for some minutes, search again and it goes on there; "
_OFFLINE = "without a network give catalog= a folder of staged scenes"


class ApiIO(StacApiIO):
    """Reads from one API; `down` is the error of an API that was needed and did not answer."""

    def __init__(self, url: str) -> None:
        super().__init__(max_retries=None)
        parts = urlsplit(url)
        self.url = url
        self.down: ReadError | None = None
        self.pages: dict[str, datetime] = {}  # of the search read last: keys of its answers, and when they were given
        self._keeps = not parts.query and "@" not in parts.netloc  # what may be a secret is not written down

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """Return the landing page: of all its links only the one that leads to a search, POST before GET."""
        question = Question(href)
        old = self.kept(answers.key_of(question.method, question.url))
        try:
            page = self._answer(question, _is_landing_page, words="").document
        except ReadError as error:
            if old is None or error.kind not in PASSING:
                raise
            self.down, page = error, old.document
        link = max(_links(page, "search"), key=_is_posted)
        search = {
            "rel": "search",
            "href": self._leads_to(href, link, words=""),
            "type": "application/geo+json",
            "method": "POST" if _is_posted(link) else "GET",
        }
        return json.dumps(page | {"links": [search]})

    def get_pages(
        self, url: str, method: str | None = None, parameters: dict[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Read the pages of a search, up to the first without items."""
        if method == "POST":
            question = Question(url, dict(parameters or {}))
        else:
            question = Question(f"{url}{'&' if '?' in url else '?'}{urlencode(parameters or {})}")
        self.pages = {}
        for number in range(1, _MOST_PAGES + 1):
            words = f" page {number} of its search"
            key = answers.key_of(question.method, question.url, question.body)
            if key in self.pages:
                raise self.error(
                    Failure("the page that it calls the next is one that it gave before", "damaged"), words
                )
            answer = self._answer(question, _is_page, words=words)
            page, self.pages[key] = answer.document, answer.time
            if not page["features"]:
                return
            yield page
            following = self._next(page, question, words=words)
            if following is None:
                return
            question = following
        raise self.error(Failure("it wants to give more and more pages", "damaged"), f" within {_MOST_PAGES} pages")

    def kept(self, key: str) -> Answer | None:
        """Return the answer that is kept under a key."""
        return answers.kept(key) if self._keeps else None

    def keep(self, key: str, answer: Answer) -> None:
        """Keep an answer."""
        if self._keeps:
            answers.keep(key, answer)

    def error(self, failure: Failure, words: str) -> ReadError:
        """Make an error of a failure; `words` say which part of the answer it was, "" for the landing page."""
        refused = _ADVICE.get(failure.kind) if failure.status else None
        advice = refused or (_GO_ON if words else "") + _OFFLINE
        return ReadError(
            f"the catalogue {show_url(self.url)} did not answer{words}: {failure}; {advice}", kind=failure.kind
        )

    def _answer(self, question: Question, is_answer: Callable[[dict[str, Any]], bool], *, words: str) -> Answer:
        key = answers.key_of(question.method, question.url, question.body)
        old = self.kept(key)
        if old is not None and old.is_young:
            return old
        now = datetime.now(UTC)
        found = ask(question, api=self.url, is_answer=is_answer)
        if isinstance(found, Failure):
            raise self.error(found, words)
        answer = Answer(found, now)
        self.keep(key, answer)
        return answer

    def _next(self, page: dict[str, Any], question: Question, *, words: str) -> Question | None:
        """Return the question for the page after this one, if there is one."""
        link = next(iter(_links(page, "next")), None)
        if link is None:
            return None
        url = self._leads_to(question.url, link, words=words)
        if not _is_posted(link):
            return Question(url)
        body = link.get("body")
        body = body if isinstance(body, dict) else {}
        return Question(url, {**(question.body or {}), **body} if link.get("merge") else body)

    def _leads_to(self, base: str, link: dict[str, Any], *, words: str) -> str:
        try:
            return joined(base, str(link.get("href", "")))
        except Failure as failure:
            raise self.error(failure, words) from None


def _is_landing_page(document: dict[str, Any]) -> bool:
    conforms = document.get("conformsTo")
    return (
        isinstance(conforms, list)
        and all(isinstance(uri, str) for uri in conforms)
        and bool(_links(document, "search"))
    )


def _is_posted(link: dict[str, Any]) -> bool:
    return str(link.get("method", "GET")).upper() == "POST"


def _is_page(document: dict[str, Any]) -> bool:
    features = document.get("features")
    return isinstance(features, list) and all(isinstance(feature, dict) for feature in features)


def _links(document: dict[str, Any], rel: str) -> list[dict[str, Any]]:
    links = document.get("links")
    return (
        [link for link in links if isinstance(link, dict) and link.get("rel") == rel] if isinstance(links, list) else []
    )
