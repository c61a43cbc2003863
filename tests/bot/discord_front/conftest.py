"""The house that the tests of the Discord front end are in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import discord
import pytest

from tests.fakes.simcord_house import House, open_house, quick_config


@pytest.fixture
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    """A house; `@pytest.mark.parametrize("house", [{"discord": {…}}], indirect=True)` changes its configuration."""
    changes: dict[str, Any] = getattr(request, "param", {})
    config = quick_config(tmp_path, **changes)
    async with open_house(config, tmp_path / "orders", approved_intents=discord.Intents.all()) as house:
        yield house
