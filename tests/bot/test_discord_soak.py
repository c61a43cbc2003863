"""A short day with accidents; the long one is `python -m benchmarks.discord_soak`, which says what is claimed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.discord_house import table
from benchmarks.discord_soak import soak, soak_config
from bot.config import Config
from tests.bot import discord_process

robin_house, with_robin = discord_process.robin_house, discord_process.with_robin


@pytest.mark.slow
async def test_accidents_lose_nothing_and_repeat_nothing(
    config: Config, tiny_base: Path, with_robin: None, tmp_path: Path
) -> None:
    result = await soak(soak_config(config.data_dir, tiny_base), tmp_path, count=300, rate=30, seed=1)
    assert result.failures == [], table(result.rows)
