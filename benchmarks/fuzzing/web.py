"""Servers of X, Bluesky and Mastodon that answer wrongly, in process: the stand-ins' answers, damaged by a seed."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict
from yarl import URL

from benchmarks.fuzzing.corpus import TEXTS, FuzzedJob
from benchmarks.fuzzing.damage import broken_bytes, damaged
from tests.fakes import mastodon
from tests.fakes.bluesky import FakeBluesky, facet
from tests.fakes.internet import Handler
from tests.fakes.mastodon import FakeMastodon
from tests.fakes.x_api import FakePost, FakeX
from trainer.sources.web import Web

TOKEN = "AAAAAAAAAAAAAAAAAAAAA.not-a-real-one"
WEB_JOBS = (
    FuzzedJob(source="x_api", handle="wren"),
    FuzzedJob(source="bluesky", handle="wren.bsky.social"),
    FuzzedJob(source="mastodon", handle="robin@toots.test"),
)

_STATUSES = (200, 200, 204, 206, 301, 400, 401, 402, 403, 404, 410, 418, 429, 500, 599)
_HEADERS = (
    *(
        ("Retry-After", "9" * 4000),
        ("Retry-After", "-1"),
        ("X-RateLimit-Reset", "9999-99-99"),
        ("x-rate-limit-reset", "²"),
    ),
    *(
        ("Link", '<https://toots.test/?max_id=1>; rel="next"'),
        ("Link", '<https://[>; rel="next"'),
        ("Link", "<" * 8000),
    ),
    *(
        ("Link", '<https://evil.test/?max_id=1>; rel="next"'),
        ("Location", "https://[::1]/"),
        ("Location", "http://a.test"),
    ),
    *(
        ("Location", "/"),
        ("Location", "//a.test:443"),
        ("Location", "https://" + "a." * 300),
        ("Link", '<//>; rel="next"'),
    ),
)


class QuickWeb(Web):
    """The web without waiting."""

    async def pause(self, seconds: float) -> None:
        """Nothing."""


class FuzzedSession:
    """What sources use of aiohttp's session. With `rng`, one of the first answers is damaged, or all from there."""

    def __init__(self, rng: random.Random | None) -> None:
        self._rng = rng or random.Random(0)
        self._hosts: dict[str, Handler] = {}
        self._answers = 0
        self._damaged: Collection[int] = ()
        if rng:
            first = rng.randrange(8)  # a pull has about so many
            self._damaged = range(first, first + rng.choice((1, 1, 1, 10_000)))
        _populate(self)

    def serve(self, host: str, handler: Handler) -> None:
        """Answer for a host, as FakeInternet does."""
        self._hosts[host] = handler

    def get(self, url: URL, *, allow_redirects: bool) -> Any:
        return self.request("GET", url, allow_redirects=allow_redirects)

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: URL,
        *,
        allow_redirects: bool,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        **_: object,
    ) -> AsyncIterator[_Response]:
        asked = url.update_query(params or {})
        request = make_mocked_request(method, asked.raw_path_qs, headers={**(headers or {}), "Host": asked.host or ""})
        handler = self._hosts.get(asked.host or "")
        answer = await handler(request) if handler else web.Response(status=404)
        assert isinstance(answer, web.Response)
        body = answer.body if isinstance(answer.body, bytes) else b""
        status, given = answer.status, CIMultiDict(answer.headers)
        if self._answers in self._damaged:
            body = self._wrong(body)
            if self._rng.random() < 0.1:
                status = self._rng.choice(_STATUSES)
            if status == 301 or self._rng.random() < 0.1:
                given.update([self._rng.choice(_HEADERS)])
        self._answers += 1
        yield _Response(status=status, headers=given, url=asked, content=_Content(body))

    def _wrong(self, body: bytes) -> bytes:
        rng = self._rng
        if rng.randrange(400) == 0:  # wide, or deep
            return b"[" + rng.choice((b"{},", b"[],", b"1,", b"[[[[")) * (4 << 20) + b"1]"
        for _ in range(rng.choice((1, 1, 2))):
            body = broken_bytes(rng, body) if rng.random() < 0.1 else damaged(rng, body)
        return body


@dataclass(frozen=True, kw_only=True)
class _Response:
    status: int
    headers: CIMultiDict[str]
    url: URL
    content: _Content


class _Content:
    def __init__(self, body: bytes) -> None:
        self._rest = body

    async def read(self, size: int) -> bytes:
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    async def iter_any(self) -> AsyncIterator[bytes]:
        yield self._rest


def _populate(servers: Any) -> None:
    """An account on each platform, with posts of every kind."""
    x = FakeX(token=TOKEN)
    x.install(servers)
    posts = [FakePost(text=text, urls=("https://t.co/abc",), note=text * 9, mentions={"jay": 8}) for text in TEXTS]
    x.add_user(
        "wren",
        name="Jenny Wren",
        bio="I sing.",
        posts=[*posts, FakePost(text="@jay so do I", reply_to=42, reply_to_user=8)],
    )
    x.page_sizes = [3, 3]
    bluesky = FakeBluesky(servers).add()
    for number, text in enumerate(TEXTS):
        link = "example.com/abc..."
        bluesky.post(f"{text} {link}", number, langs=["en"], facets=[facet(f"{text} {link}", link)])
    parent = {"uri": bluesky.uri(bluesky.post("First of all, I sing at dawn", 90)), "cid": "bafyreib"}
    bluesky.post("and go on and on at noon", 91, reply={"root": parent, "parent": parent})
    toots = FakeMastodon(net=servers)
    robin = toots.add_account("robin", note="<p>I sing.</p>", fields=[{"name": "Site", "value": "<a href='x'>x</a>"}])
    for text in TEXTS:
        content = (
            f"<p>{mastodon.mention('jay', 'a.test')} {text}<br>{mastodon.link('https://example.org/abcdefghijkl')}</p>"
        )
        toots.post(robin, content, in_reply_to_account_id="8", mentions=[{"id": "8", "acct": "jay@a.test"}])
    toots.post(robin, "", reblog={"url": "https://a.test/@jay/1", "uri": "https://a.test/jay/1"})
