"""What the sources' tests share: the stand-in for the web, and what a source may use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from models.records import Post, SourceSettings
from tests.fakes.internet import FakeInternet
from tests.fakes.x_api import FakeX
from trainer.sources.base import Access
from trainer.sources.pages import Pages
from trainer.sources.web import Web, open_web
from trainer.sources.x_api import XApi

OpenAccess = Callable[..., AbstractAsyncContextManager[Access]]


@pytest.fixture
def open_access(tmp_path: Path) -> OpenAccess:
    """Opens what a source may use: `async with open_access(max_posts=500) as access`.

    Its pages last as long as the test, as a job's do. `check` and `notices` stand for the job.
    """

    @asynccontextmanager
    async def opened(
        *,
        pages: str = "pages",
        check: Callable[[], None] = lambda: None,
        notices: list[str] | None = None,
        **settings: object,
    ) -> AsyncIterator[Access]:
        said = [] if notices is None else notices
        async with open_web(check=check, notice=said.append) as web:
            yield Access(
                web=web,
                pages=Pages(tmp_path / pages),
                settings=SourceSettings(**settings),  # type: ignore[arg-type]
            )

    return opened


@pytest.fixture
def x(net: FakeInternet, monkeypatch: pytest.MonkeyPatch) -> FakeX:
    """X's API on the web, and the token for it in the environment."""
    fake = FakeX(token="AAAAAAAAAAAAAAAAAAAAA.not-a-real-one%2BuSeid%2BULvsea4%3D")
    monkeypatch.setenv("X_BEARER_TOKEN", fake.token)
    monkeypatch.setattr("trainer.sources.x_api.RETRY_DELAYS_S", (0.0, 0.0, 0.0))
    fake.install(net)
    return fake


async def pull_from_x(
    open_access: OpenAccess, handle: str = "nasa", since: str | None = None, **options: object
) -> list[Post]:
    """What a job pulls: the profile first, then the posts."""
    async with open_access(**options) as access:
        source = XApi(access)
        profile = await source.profile(handle)
        return [post async for post in source.posts(profile.handle, since)]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, in seconds; none takes any time."""
    made: list[float] = []

    async def pause(self: Web, seconds: float) -> None:
        made.append(seconds)

    monkeypatch.setattr(Web, "pause", pause)
    return made
