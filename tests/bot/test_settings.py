"""A server's own settings: kept, checked, and never above the operator's limits."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bot.config import LimitSettings
from bot.registry import Registry
from bot.settings import ServerSettings, Settings


@pytest.fixture
async def settings(registry: Registry) -> Settings:
    settings = Settings(registry, LimitSettings(trainings_per_member_day=5))
    await settings.load()
    return settings


async def test_a_server_that_has_set_nothing_has_the_defaults(settings: Settings) -> None:
    assert settings.of(42) == ServerSettings()
    assert settings.limit(42, "trainings_per_member_day") == 5


async def test_a_change_is_kept_and_leaves_the_rest_and_other_servers_alone(
    settings: Settings, registry: Registry
) -> None:
    await settings.change(42, channels=(1, 2), persona=True)
    changed = await settings.change(42, trainer_roles=[5], log_channel=9)
    expected = ServerSettings(channels=(1, 2), persona=True, trainer_roles=(5,), log_channel=9)
    assert changed == settings.of(42) == expected
    assert settings.of(43) == ServerSettings()
    afresh = Settings(registry, LimitSettings())
    await afresh.load()
    assert (afresh.of(42), afresh.of(43)) == (expected, ServerSettings())


async def test_settings_outlive_the_registry_being_closed(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite3"
    async with Registry.open(path) as registry:
        await Settings(registry, LimitSettings()).change(1 << 62, channels=(1 << 62,))
    async with Registry.open(path) as registry:
        settings = Settings(registry, LimitSettings())
        await settings.load()
        assert settings.of(1 << 62).channels == (1 << 62,)


@pytest.mark.parametrize(("own", "expected"), [(None, 5), (3, 3), (5, 5), (99, 5), (0, 0)])
async def test_a_server_can_only_lower_a_limit(settings: Settings, own: int | None, expected: int) -> None:
    await settings.change(42, trainings_per_member_day=own)
    assert settings.limit(42, "trainings_per_member_day") == expected
    assert settings.limit(43, "trainings_per_member_day") == 5


@pytest.mark.parametrize(
    "change",
    [
        {"trainings_per_member_day": -1},
        {"asks_per_member_minute": 1001},
        {"channels": ("general",)},
        {"persona": "yes"},
        {"log_channel": "general"},
    ],
)
async def test_a_value_out_of_range_is_refused_and_nothing_is_changed(
    settings: Settings, registry: Registry, change: dict[str, object]
) -> None:
    await settings.change(42, links=True)
    with pytest.raises(msgspec.ValidationError):
        await settings.change(42, **change)
    afresh = Settings(registry, LimitSettings())
    await afresh.load()
    assert settings.of(42) == afresh.of(42) == ServerSettings(links=True)


async def test_a_setting_that_there_is_not_is_refused(settings: Settings) -> None:
    with pytest.raises(msgspec.ValidationError):
        await settings.change(42, colour="red")
    assert settings.of(42) == ServerSettings()
