"""Who may do what: each rule of the operator and of a server's admins, one by one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from types import SimpleNamespace

import pytest

from bot.config import BlockSettings, Config, LimitSettings
from bot.permits import Check, Permits, require, require_manager
from bot.records import CONSOLE, Caller, Job, JobState
from bot.registry import Registry
from bot.settings import Settings
from models.errors import NotAllowed
from tests.bot.quick import MANAGER, MEMBER, NEIGHBOUR, STRANGER, unplaced

BLOCKS = BlockSettings(servers=(66,), users=(666,), handles=("@Ghost",))
LIMITS = LimitSettings(
    waiting_jobs=6,
    waiting_per_server=3,
    waiting_per_member=2,
    trainings_per_server_day=5,
    trainings_per_member_day=4,
    asks_per_member_minute=3,
)


@pytest.fixture
async def permits(registry: Registry) -> Permits:
    settings = Settings(registry, LIMITS)
    permits = Permits(Config(limits=LIMITS, blocks=BLOCKS), registry, settings)
    await permits.load()
    return permits


@pytest.fixture
def settings(permits: Permits) -> Settings:
    return permits._settings


async def asked(registry: Registry, caller: Caller = MEMBER, *, state: JobState | None = None) -> Job:
    """One more training of the caller's, of nobody known yet, in that state."""
    job = await registry.add_job(caller, model=None, handles=[], place_files=unplaced)
    return await registry.move(job, state) if state else job


def failing(checks: Iterable[Check]) -> list[str]:
    return [check.rule for check in checks if not check.passed]


async def refused(permits: Permits, caller: Caller, *handles: str) -> list[str]:
    """The rules that do not let the caller train."""
    return failing(await permits.training(caller, handles))


# --- the operator's blocks --------------------------------------------------------------------------------------------


async def test_everybody_is_served_where_nothing_is_set(permits: Permits) -> None:
    assert failing(permits.presence(MEMBER)) == failing(permits.speaking(MEMBER)) == []
    assert await refused(permits, MEMBER, "robin") == []


async def test_a_server_that_the_operator_blocks_is_not_served(permits: Permits) -> None:
    there = replace(MANAGER, server_id=66)
    assert failing(permits.speaking(there)) == ["served_server"]
    assert await refused(permits, there) == ["served_server"]


async def test_a_member_whom_the_operator_blocks_is_served_nowhere(permits: Permits) -> None:
    for server in (42, 43, 666):
        caller = replace(MANAGER, server_id=server, user_id=666)
        assert failing(permits.speaking(caller)) == ["served_member"]
        assert await refused(permits, caller) == ["served_member"]


@pytest.mark.parametrize("caller", [MEMBER, CONSOLE], ids=["member", "console"])
async def test_an_account_that_the_operator_blocks_is_learned_nowhere(permits: Permits, caller: Caller) -> None:
    assert await refused(permits, caller, "robin", "GHOST") == ["account"]
    assert await refused(permits, caller, "robin", "ghosts") == []


async def test_an_account_blocked_in_one_server_is_refused_there_only(permits: Permits, registry: Registry) -> None:
    await registry.block(42, "Robin")
    await permits.load()
    assert await refused(permits, MANAGER, "rObIn") == ["account"]
    assert await refused(permits, STRANGER, "robin") == []
    assert await refused(permits, CONSOLE, "robin") == []


async def test_an_account_blocked_at_the_console_is_refused_everywhere(permits: Permits, registry: Registry) -> None:
    await registry.block(0, "robin")
    await permits.load()
    for caller in (MEMBER, STRANGER, CONSOLE):
        assert await refused(permits, caller, "robin") == ["account"]


async def test_the_refusal_names_the_accounts_and_the_rule(permits: Permits) -> None:
    with pytest.raises(NotAllowed, match="@ghost") as caught:
        require(await permits.training(MEMBER, ["ghost", "robin"]))
    assert caught.value.rule == "account"
    assert "robin" not in str(caught.value)


# --- channels ---------------------------------------------------------------------------------------------------------


async def test_the_bot_speaks_and_trains_only_in_the_channels_that_the_admins_allow(
    permits: Permits, settings: Settings
) -> None:
    await settings.change(42, channels=(420, 421))
    assert failing(permits.speaking(MEMBER)) == []
    elsewhere = replace(MEMBER, channel_id=422)
    assert failing(permits.speaking(elsewhere)) == ["channel"]
    assert await refused(permits, elsewhere) == ["channel"]
    assert failing(permits.speaking(replace(elsewhere, server_id=43))) == []
    with pytest.raises(NotAllowed, match="<#420> <#421>"):
        require(permits.speaking(elsewhere))


async def test_a_thread_is_as_its_parent_channel(permits: Permits, settings: Settings) -> None:
    await settings.change(42, channels=(420,))
    assert failing(permits.speaking(replace(MEMBER, channel_id=9000, parent_id=420))) == []
    assert failing(permits.speaking(replace(MEMBER, channel_id=420, parent_id=422))) == ["channel"]


# --- asking -----------------------------------------------------------------------------------------------------------


async def test_a_member_asks_so_often_a_minute_and_others_are_not_held_up(
    permits: Permits, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("bot.windows.time", SimpleNamespace(monotonic=lambda: now))
    for _ in range(3):
        assert failing(permits.speaking(MEMBER)) == []
        permits.count_ask(MEMBER)
    now += 17.5
    assert failing(permits.speaking(MEMBER)) == ["asks"]
    with pytest.raises(NotAllowed) as caught:
        require(permits.speaking(MEMBER))
    assert caught.value.facts == {"limit": 3, "seconds": 43}
    assert failing(permits.speaking(NEIGHBOUR)) == []
    assert failing(permits.speaking(replace(MEMBER, server_id=43))) == []
    assert await refused(permits, MEMBER) == []  # trainings have limits of their own
    now += 42.5
    assert failing(permits.speaking(MEMBER)) == []


async def test_a_servers_limit_of_asks_can_only_be_lower(permits: Permits, settings: Settings) -> None:
    await settings.change(42, asks_per_member_minute=1)
    await settings.change(43, asks_per_member_minute=99)
    permits.count_ask(MEMBER)
    assert failing(permits.speaking(MEMBER)) == ["asks"]
    for _ in range(3):
        assert failing(permits.speaking(STRANGER)) == []
        permits.count_ask(STRANGER)
    assert failing(permits.speaking(STRANGER)) == ["asks"]


async def test_a_server_that_allows_no_asks_gets_none(permits: Permits, settings: Settings) -> None:
    await settings.change(42, asks_per_member_minute=0)
    assert failing(permits.speaking(MEMBER)) == ["asks"]


# --- who trains -------------------------------------------------------------------------------------------------------


async def test_without_trainer_roles_discords_own_settings_decide(permits: Permits) -> None:
    assert await refused(permits, replace(MEMBER, may_train=False)) == ["trainer"]
    assert await refused(permits, replace(MEMBER, may_train=True)) == []


async def test_trainer_roles_decide_in_the_place_of_discords_settings(permits: Permits, settings: Settings) -> None:
    await settings.change(42, trainer_roles=(5, 6))
    assert await refused(permits, replace(MEMBER, may_train=True)) == ["trainer"]
    assert await refused(permits, replace(MEMBER, may_train=True, roles=frozenset({7}))) == ["trainer"]
    assert await refused(permits, replace(MEMBER, may_train=False, roles=frozenset({1, 6}))) == []


async def test_who_manages_the_server_may_always_train(permits: Permits, settings: Settings) -> None:
    assert await refused(permits, replace(MANAGER, may_train=False)) == []
    await settings.change(42, trainer_roles=(5,))
    assert await refused(permits, replace(MANAGER, may_train=False)) == []


async def test_only_who_manages_the_server_passes_as_a_manager() -> None:
    require_manager(MANAGER)
    require_manager(CONSOLE)
    with pytest.raises(NotAllowed) as caught:
        require_manager(MEMBER)
    assert caught.value.rule == "manager"


# --- how many trainings -----------------------------------------------------------------------------------------------


async def test_a_member_has_so_many_trainings_waiting(permits: Permits, registry: Registry) -> None:
    first = await asked(registry)
    await asked(registry)
    assert await refused(permits, MEMBER) == ["waiting_member"]
    assert await refused(permits, NEIGHBOUR) == []
    assert await refused(permits, replace(MEMBER, server_id=43)) == []
    await registry.move(first, JobState.COLLECTING)  # it waits no more
    assert await refused(permits, MEMBER) == []


async def test_a_server_has_so_many_trainings_waiting(permits: Permits, registry: Registry) -> None:
    for number in range(3):
        await asked(registry, replace(MEMBER, user_id=100 + number))
    assert await refused(permits, MEMBER) == ["waiting_server"]
    assert await refused(permits, STRANGER) == []


async def test_a_member_asks_for_so_many_trainings_a_day(permits: Permits, registry: Registry) -> None:
    for _ in range(4):
        await asked(registry, state=JobState.FAILED)
    assert await refused(permits, MEMBER) == ["day_member"]
    assert await refused(permits, NEIGHBOUR) == []
    assert await refused(permits, replace(MEMBER, server_id=43)) == []


async def test_a_server_asks_for_so_many_trainings_a_day(permits: Permits, registry: Registry) -> None:
    for number in range(5):
        await asked(registry, replace(MEMBER, user_id=100 + number), state=JobState.FAILED)
    assert await refused(permits, MEMBER) == ["day_server"]
    assert await refused(permits, STRANGER) == []


async def test_a_cancelled_training_and_one_of_yesterday_count_not(
    permits: Permits, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        await asked(registry, state=JobState.CANCELLED)
    with monkeypatch.context() as patch:
        patch.setattr("bot.job_table.now", lambda: "2024-05-06T07:08:09+00:00")
        for _ in range(4):
            await asked(registry, state=JobState.FAILED)
    assert await refused(permits, MEMBER) == []


@pytest.mark.parametrize("rule", ["member", "server"])
async def test_a_servers_limit_of_trainings_can_only_be_lower(
    permits: Permits, settings: Settings, registry: Registry, rule: str
) -> None:
    name = f"trainings_per_{rule}_day"
    await settings.change(42, **{name: 0})
    assert await refused(permits, MEMBER) == [f"day_{rule}"]
    await settings.change(42, **{name: 1})
    assert await refused(permits, MEMBER) == []
    await asked(registry, state=JobState.FAILED)
    assert await refused(permits, MEMBER) == [f"day_{rule}"]
    await settings.change(42, **{name: 1000})
    for _ in range(4):
        await asked(registry, state=JobState.FAILED)
    assert f"day_{rule}" in await refused(permits, MEMBER)


async def test_the_whole_house_has_so_many_trainings_and_the_console_is_no_exception(
    permits: Permits, registry: Registry
) -> None:
    for number in range(6):
        await asked(registry, Caller(server_id=100 + number, user_id=number))
    assert await refused(permits, MEMBER) == await refused(permits, CONSOLE) == ["queue"]


async def test_the_console_has_no_other_limits(permits: Permits, registry: Registry) -> None:
    for _ in range(5):
        await asked(registry, CONSOLE)
        permits.count_ask(CONSOLE)
    assert await refused(permits, CONSOLE) == failing(permits.speaking(CONSOLE)) == []


async def test_every_rule_has_a_sentence_that_its_facts_complete(permits: Permits) -> None:
    checks = [*permits.speaking(MEMBER), *await permits.training(MEMBER, ["robin"])]
    for check in checks:
        with pytest.raises(NotAllowed) as caught:
            require([replace(check, passed=False)])
        assert caught.value.rule == check.rule
        assert "{" not in str(caught.value)
