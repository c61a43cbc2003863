"""X, Bluesky and a Mastodon server as the bot's children meet them, and a gate that stops a pull where a test says."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from aiohttp import web

from bot.children import Programs
from bot.config import Config
from bot.datadir import DataDir
from bot.records import CONSOLE, Caller, Job
from bot.service import Service, open_service
from models.records import SourceSettings, XApiSettings
from tests.bot.quick import CHILDREN
from tests.conftest import made_up_posts
from tests.fakes.bluesky import POSTS, FakeAccount, FakeBluesky
from tests.fakes.children.orders import Orders
from tests.fakes.internet import FakeInternet
from tests.fakes.mastodon import FakeMastodon
from tests.fakes.x_api import FakeX

TOOTS = "toots.test"
PDS = "morel.us-east.host.bsky.network"
HANDLES = {"x": "@finch", "bluesky": "finch.bsky.social", "mastodon": f"@finch@{TOOTS}"}
PAGE_POSTS = {"x": 100, "bluesky": 100, "mastodon": 40}


@dataclass(kw_only=True)
class Platforms:
    """All three on one web. On each, @finch can have any number of made-up posts, no two alike."""

    net: FakeInternet
    x: FakeX
    bluesky: FakeBluesky
    toots: FakeMastodon
    _posted: Counter[tuple[str, str]] = field(default_factory=Counter)  # by platform and account

    @classmethod
    def on(cls, net: FakeInternet, x: FakeX) -> Platforms:
        """Bluesky and toots.test beside X."""
        return cls(net=net, x=x, bluesky=FakeBluesky(net), toots=FakeMastodon(net=net, domain=TOOTS))

    def post(self, platform: str, count: int, *, of: str = "finch") -> None:
        """So many new posts of the account, which there is from then on."""
        before = self._posted[platform, of]
        self._posted[platform, of] += count
        texts = [post["text"] for post in made_up_posts(before + count)][before:]
        if platform == "x":
            if of not in self.x.users:
                self.x.add_user(of, name=of.title())
            self.x.add_posts(of, texts)
        elif platform == "bluesky":
            known = (account for account in self.bluesky.accounts if account.handle == f"{of}.bsky.social")
            account = next(known, None) or self._skyer(of)
            start = datetime(2024, 1, 1, tzinfo=UTC)
            for number, text in enumerate(texts, before):
                at = start + timedelta(seconds=number)
                account.post(text, number, createdAt=at.isoformat().replace("+00:00", "Z"), langs=["en"])
        else:
            tooter = self.toots.accounts.get(of) or self.toots.add_account(of)
            for text in texts:
                self.toots.post(tooter, f"<p>{text}</p>")

    def _skyer(self, of: str) -> FakeAccount:
        did = f"did:plc:{of:a<24}"
        account = self.bluesky.add(f"{of}.bsky.social", did, PDS)
        account.name = of.title()
        return account

    def gate(self, platform: str, *, after: int, answer: Callable[[], web.Response] | None = None) -> Gate:
        """A gate before the platform's posts."""
        host = {"x": "api.x.com", "bluesky": PDS, "mastodon": TOOTS}[platform]
        return Gate(self.net, host, platform, after=after, answer=answer)


class Gate:
    """Lets so many pages of posts through; the next is held, or gets another answer, until the gate is opened."""

    def __init__(
        self,
        net: FakeInternet,
        host: str,
        platform: str,
        *,
        after: int,
        answer: Callable[[], web.Response] | None,
    ) -> None:
        self.pages: list[Mapping[str, str]] = []  # the queries of those that went through
        self.reached = asyncio.Event()
        self._opened = asyncio.Event()
        self._platform = platform
        self._after = after
        self._answer = answer
        self._handler = net._hosts[host]
        net.serve(host, self._pass)

    def open(self) -> None:
        """Let everything through from now on. What is held gets an error: nobody waits for it any more."""
        self._opened.set()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        if self._is_page(request):
            if len(self.pages) == self._after and not self._opened.is_set():
                self.reached.set()
                if self._answer:
                    return self._answer()
                await self._opened.wait()
                return web.Response(status=503)
            self.pages.append(dict(request.query))
        return await self._handler(request)

    def _is_page(self, request: web.Request) -> bool:
        if self._platform == "bluesky":
            return request.query.get("collection") == POSTS
        return request.path.endswith("/tweets" if self._platform == "x" else "/statuses")


def too_many(platform: str, seconds: float) -> web.Response:
    """The platform's refusal to answer more until so many seconds have passed, in its own headers."""
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    name, value = {
        "x": ("x-rate-limit-reset", str(int(until.timestamp()))),
        "bluesky": ("RateLimit-Reset", str(int(until.timestamp()))),
        "mastodon": ("X-RateLimit-Reset", until.isoformat().replace("+00:00", "Z")),
    }[platform]
    body = {"title": "Too Many Requests", "error": "Too many requests", "type": "about:blank", "status": 429}
    return web.json_response(body, status=429, headers={name: value})


def fetching(config: Config, **sources: object) -> Config:
    """The configuration with X's API switched on, and other values in its [sources] table."""
    return msgspec.structs.replace(
        config,
        x_api=XApiSettings(accept_terms=True),
        sources=SourceSettings(**sources),  # type: ignore[arg-type]
    )


@asynccontextmanager
async def hasty(config: Config, orders: Orders) -> AsyncIterator[Service]:
    """The service on stand-ins whose `collect` is the real one in a hurry. It ends as a killed one does."""
    programs = Programs(
        engine=("-m", f"{CHILDREN}.quick_engine", str(orders.folder)),
        trainer=("-m", f"{CHILDREN}.hasty_trainer", str(orders.folder)),
    )
    async with open_service(config, DataDir(config.data_dir), "test", programs=programs) as service:
        yield service


async def begin(service: Service, *handles: str, caller: Caller = CONSOLE, files: Sequence[Path] = ()) -> Job:
    """A training of accounts of the public, agreed to whatever it costs."""
    plan = await service.plan(caller, handles=handles, files=files, ground="public_figure")
    job = await service.start(caller, plan)
    return await service.confirm(caller, job.id)
