"""What the tests of the bot share: a house with stand-ins for the children."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from bot.config import Config
from bot.registry import Registry
from bot.service import Service
from models.records import XApiSettings
from tests.bot.quick import quick_config, serving
from tests.conftest import made_up_posts
from tests.fakes.bluesky import FakeBluesky
from tests.fakes.children.orders import Orders
from tests.fakes.internet import FakeInternet
from tests.fakes.x_api import FakeX

X_TOKEN = "AAAA-a-token-of-X-that-nobody-may-see"


@pytest.fixture
def orders(tmp_path: Path) -> Orders:
    return Orders(tmp_path / "orders")


@pytest.fixture
def quick(tmp_path: Path) -> Config:
    """A configuration for stand-ins."""
    return quick_config(tmp_path)


@pytest.fixture
async def service(quick: Config, orders: Orders) -> AsyncIterator[Service]:
    """The service with stand-ins for its children."""
    async with serving(quick, orders) as opened:
        yield opened


@pytest.fixture
def x(net: FakeInternet, monkeypatch: pytest.MonkeyPatch) -> FakeX:
    """X's API, for which the operator has a token, and @robin's posts on it."""
    monkeypatch.setenv("X_BEARER_TOKEN", X_TOKEN)
    fake = FakeX(token=X_TOKEN)
    fake.install(net)
    fake.add_user("robin", name="Robin", posts=[post["text"] for post in made_up_posts(120)])
    return fake


@pytest.fixture
def sky(net: FakeInternet) -> FakeBluesky:
    """Bluesky, with 120 posts of @robin.bsky.social."""
    fake = FakeBluesky(net)
    robin = fake.add("robin.bsky.social")
    for number, post in enumerate(made_up_posts(120)):
        robin.post(post["text"], number)
    return fake


@pytest.fixture
def priced(quick: Config, x: FakeX) -> Config:
    """A configuration in which an account on X costs $0.51 at most."""
    return msgspec.structs.replace(
        quick,
        x_api=XApiSettings(accept_terms=True, post_usd=0.0025),
        sources=msgspec.structs.replace(quick.sources, max_posts=200),
    )


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    async with Registry.open(tmp_path / "registry.sqlite3") as opened:
        yield opened
