"""What the tests of the bot share: a house with stand-ins for the children."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.config import Config
from bot.registry import Registry
from bot.service import Service
from tests.bot.quick import quick_config, serving
from tests.fakes.children.orders import Orders


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
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    async with Registry.open(tmp_path / "registry.sqlite3") as opened:
        yield opened
