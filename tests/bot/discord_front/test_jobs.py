"""/jobs: the list, cancelling and trying again, by whom and in which server."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import aiosqlite
import pytest

from bot.records import JobState
from tests.fakes.simcord_house import House, private


async def test_the_list_tells_what_became_of_each_training(house: House) -> None:
    assert "no training here yet" in private(await house.member.slash(house.channel, "jobs list"))
    await house.failed_job("robin", error="Nothing *here*, @everyone.")
    house.orders.give("fit-waits")
    await house.train(handles="@robin")
    await house.until(lambda: house.message("loss"), each_s=30)
    lines = private(await house.member.slash(house.channel, "jobs list")).splitlines()
    assert lines[0].startswith("#2 **robin** training · <t:")
    assert lines[1].startswith("#1 **robin** failed")
    assert "\\*here\\*" in lines[1]
    assert "@everyone" not in lines[1]
    house.orders.revoke("fit-waits")
    await house.ended(2)


async def test_another_servers_jobs_are_neither_seen_nor_touched(house: House) -> None:
    _, channel, mallory = house.other_guild()
    house.orders.give("fit-waits")
    await house.train(handles="@robin")
    progress = house.said()[-1]
    assert "no training here yet" in private(await mallory.slash(channel, "jobs list"))
    for command in ("cancel", "retry"):
        refused = private(await mallory.slash(channel, f"jobs {command}", job=1))
        assert "#1" in refused
        assert "robin" not in refused
    house.env.backend.get_message(house.channel.id, progress.id)
    forged = await mallory.slash(channel, "help")
    stored = house.env.backend.get_message(channel.id, forged.response.id)
    stored.components = house.env.backend.get_message(house.channel.id, progress.id).components
    assert "#1" in private(await mallory.click(forged.response, label="Cancel"))
    assert not (await house.service.registry.job(1)).cancel_requested
    house.orders.revoke("fit-waits")
    assert (await house.ended(1)).state == JobState.DONE


async def test_who_started_it_and_who_manages_can_cancel_and_nobody_else(house: House) -> None:
    trainer = house.guild.add_member(house.env.create_user("trainer"))
    house.let_in("train", trainer)
    for actor in (trainer, house.manager):
        house.orders.give("fit-waits")
        await house.train(actor=trainer)
        number = (await house.service.jobs(house.caller, limit=1))[0].id
        assert "Only who started" in private(await house.member.slash(house.channel, "jobs cancel", job=number))
        assert "being cancelled" in private(await actor.slash(house.channel, "jobs cancel", job=number))
        assert (await house.ended(number)).state == JobState.CANCELLED
        house.orders.revoke("fit-waits")
        await house.pass_time()
        news = house.message(f"(job #{number}) is cancelled")
        assert [user.id for user in news.mentions] == [trainer.id]


async def test_what_is_over_can_not_be_cancelled_and_what_never_was_is_not_known(house: House) -> None:
    await house.failed_job("robin")
    assert "#1" in private(await house.manager.slash(house.channel, "jobs cancel", job=1))
    assert "#99" in private(await house.manager.slash(house.channel, "jobs cancel", job=99))
    assert "#99" in private(await house.manager.slash(house.channel, "jobs retry", job=99))


async def test_a_job_that_waits_leaves_the_queue_at_once(house: House) -> None:
    house.orders.give("fit-waits")
    await house.train(handles="@robin", name="first")
    await house.train(handles="@robin", name="second")
    await house.pass_time(1)
    await house.manager.slash(house.channel, "jobs cancel", job=2)
    assert (await house.ended(2)).state == JobState.CANCELLED
    await house.pass_time(30)
    assert house.message("(job #2) is cancelled")
    house.orders.revoke("fit-waits")
    await house.ended(1)


async def test_trying_again_needs_the_right_to_train(house: House) -> None:
    house.orders.give("fit-fails", "no")
    await house.train(handles="@robin")
    await house.ended(1)
    await house.pass_time()
    news = house.message("failed")
    assert "needs Manage Server" in private(await house.member.click(news, label="Try again"))
    assert "needs Manage Server" in private(await house.member.slash(house.channel, "jobs retry", job=1))
    assert len(await house.service.jobs(house.caller)) == 1
    result = await house.manager.slash(house.channel, "jobs retry", job=1)
    assert "Job #2" in private(result)
    assert (await house.ended(2)).state == JobState.DONE


async def test_trying_again_without_the_files_says_so(house: House) -> None:
    await house.failed_job("robin")
    assert "#1" in private(await house.manager.slash(house.channel, "jobs retry", job=1))
    assert len(await house.service.jobs(house.caller)) == 1


async def test_a_list_that_is_just_being_read_hides_no_step_of_a_job(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.failed_job("older")
    await house.failed_job("old")
    opened, gate, fetch = asyncio.Event(), asyncio.Event(), aiosqlite.Cursor.fetchmany

    async def slowly(cursor: aiosqlite.Cursor, *args: int) -> Any:
        opened.set()
        await gate.wait()
        return await fetch(cursor, *args)

    monkeypatch.setattr(aiosqlite.Cursor, "fetchmany", slowly)
    reading = asyncio.create_task(house.service.jobs(house.caller))
    with suppress(TimeoutError):
        await asyncio.wait_for(opened.wait(), 0.1)
    try:
        job = await house.service.registry.add_job(
            house.caller, model="new", handles=["new"], place_files=lambda number: None
        )
        assert (await house.service.registry.move(job, JobState.CANCELLED)).state == JobState.CANCELLED
    finally:
        gate.set()
        await reading
