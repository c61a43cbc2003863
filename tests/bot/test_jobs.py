"""The queue: how many run at once and in which order, what costs waits for a yes, and trouble ends no job unsaid."""

from __future__ import annotations

import os
import signal
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.config import BlockSettings, Config
from bot.records import CONSOLE, Job, JobState
from bot.service import Service
from models.errors import JobIsOver, NotYourJob
from tests.bot.quick import (
    MANAGER,
    MEMBER,
    NEIGHBOUR,
    STRANGER,
    end_of,
    entered_in,
    is_training,
    posts_of,
    quick_config,
    serving,
    train,
    until,
    views_of,
    with_bot,
)
from tests.fakes.children.orders import Orders

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job in trouble is taken up again at once."""
    monkeypatch.setattr("bot.jobs.TROUBLE_DELAY_S", 0.01)


@pytest.fixture
def posts(tmp_path: Path) -> Path:
    return posts_of(tmp_path)


async def set_back(service: Service, job: Job, **ago: float) -> None:
    """As if the job had been asked for, and had ended, that long ago."""
    at = (datetime.now(UTC) - timedelta(**ago)).isoformat(timespec="seconds")
    ended = at if (await service.registry.job(job.id)).state.is_over else None
    await service.registry._change(job.id, "created_at = ?, ended_at = ?", at, ended)


# --- at once, and in turn ---------------------------------------------------------------------------------------------


async def test_as_many_trainings_run_at_once_as_the_operator_says(quick: Config, orders: Orders, posts: Path) -> None:
    orders.give("fit-waits")
    async with serving(with_bot(quick, parallel_trainings=2), orders) as service:
        jobs = [await train(service, MEMBER, posts, name=name) for name in ("a", "b")]
        third = await train(service, NEIGHBOUR, posts, name="c")
        for job in jobs:
            await is_training(service, job.id)
        assert len(set(service.trainer_pids)) == 2
        status = await service.status()
        assert (status.running_jobs, status.waiting_jobs) == (2, 1)
        assert (await until(service, third.id, lambda view: view.position)).position == 1
        # A place that becomes free is taken.
        await service.cancel(MEMBER, jobs[0].id)
        await is_training(service, third.id)
        orders.revoke("fit-waits")
        assert [(await end_of(service, j.id)).state for j in (*jobs, third)] == ["cancelled", "done", "done"]


async def test_one_at_a_time_servers_take_turns(quick: Config, orders: Orders, posts: Path) -> None:
    orders.give("collect-waits")
    async with serving(quick, orders) as service:
        asked = [await train(service, caller, posts, name=name) for caller in (MEMBER, STRANGER) for name in "ab"]
        first, second, third, fourth = asked
        await until(service, third.id, lambda view: view.position == 1)
        await until(service, second.id, lambda view: view.position == 2)
        await until(service, fourth.id, lambda view: view.position == 3)
        orders.revoke("collect-waits")
        ended: list[int] = []
        service._jobs.on_model = lambda: _note_done(service, ended)
        for job in asked:
            await end_of(service, job.id)
        assert ended == [first.id, third.id, second.id, fourth.id]


async def _note_done(service: Service, ended: list[int]) -> None:
    ended += [j.id for j in reversed(await service.jobs(CONSOLE)) if j.state == JobState.DONE and j.id not in ended]


async def test_who_watches_sees_each_step_up_to_the_end(service: Service, orders: Orders, posts: Path) -> None:
    orders.give("fit-says", "the kettle sang")
    orders.give("fit-waits")
    job = await train(service, MEMBER, posts, handles=["Robin"])
    await until(service, job.id, lambda view: view.sample == "the kettle sang")
    shown = await service.show_job_at(job.id, 5, 6)
    view = await until(service, job.id, lambda view: view.job.message_id)
    assert (view.job, view.loss, view.bits_per_byte, view.phase) == (shown, 4.5, 2.5, "train")
    orders.revoke("fit-waits")
    views = await views_of(service, job.id)
    assert views[-1].job.state == JobState.DONE
    assert [view.job.state for view in await views_of(service, job.id)] == [JobState.DONE]  # and who comes late


async def test_a_cancelled_job_leaves_the_queue_or_stops_where_it_is(
    service: Service, orders: Orders, posts: Path
) -> None:
    orders.give("fit-waits")
    running = await train(service, MEMBER, posts, name="a")
    waiting = await train(service, MEMBER, posts, name="b")
    await is_training(service, running.id)
    with pytest.raises(NotYourJob):
        await service.cancel(NEIGHBOUR, running.id)
    assert (await service.cancel(MANAGER, waiting.id)).state == JobState.CANCELLED
    await service.cancel(MEMBER, running.id)
    assert (await end_of(service, running.id)).state == JobState.CANCELLED
    for job in (running, waiting):
        with pytest.raises(JobIsOver):
            await service.cancel(CONSOLE, job.id)
    assert service.trainer_pids == []


async def test_a_job_that_is_cancelled_while_its_trainer_starts_is_cancelled_all_the_same(
    service: Service, orders: Orders, posts: Path
) -> None:
    orders.give("collect-waits")
    job = await train(service, MEMBER, posts, handles=["robin"])
    await until(service, job.id, lambda view: view.job.state == JobState.COLLECTING)
    await service.cancel(MEMBER, job.id)
    assert (await end_of(service, job.id)).state == JobState.CANCELLED


# --- trouble ----------------------------------------------------------------------------------------------------------


async def test_a_trainer_that_dies_is_followed_by_another(service: Service, orders: Orders, posts: Path) -> None:
    for order in ("collect-dies", "fit-dies"):
        orders.give(order)
    job = await train(service, MEMBER, posts, handles=["robin"])
    views = await views_of(service, job.id)
    assert (views[-1].job.state, views[-1].job.breakdowns) == (JobState.DONE, 2)


async def test_a_trainer_that_says_why_fails_its_job_in_these_words(
    service: Service, orders: Orders, posts: Path
) -> None:
    orders.give("fit-fails", "there is no rhyme in it")
    job = await end_of(service, (await train(service, MEMBER, posts, handles=["robin"])).id)
    assert (job.state, job.error) == (JobState.FAILED, "there is no rhyme in it")
    orders.give("fit-breaks", "a secret detail")
    other = await end_of(service, (await train(service, MEMBER, posts, name="wren")).id)
    assert other.state == JobState.FAILED
    assert "RuntimeError" in (other.error or "") and "secret" not in (other.error or "")
    assert f"job {other.id}" in (other.error or "")
    assert service.library.visible(MEMBER) == []


async def test_a_job_survives_a_registry_that_cannot_be_written_for_a_while(
    service: Service, orders: Orders, posts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move, failures = service.registry.move, 0

    async def troubled(*args: Any, **kwargs: Any) -> Job:
        nonlocal failures
        if orders.stands("registry-fails"):
            failures += 1
            if failures == 6:
                orders.revoke("registry-fails")
            raise sqlite3.OperationalError("disk I/O error")
        return await move(*args, **kwargs)

    monkeypatch.setattr(service.registry, "move", troubled)
    orders.give("registry-fails")
    job = await train(service, MEMBER, posts, handles=["robin"])
    assert (await end_of(service, job.id)).state == JobState.DONE
    assert failures == 6
    assert [m.version for m in service.library.visible(MEMBER)] == [1]


async def test_a_version_that_could_not_be_entered_is_entered_once_when_that_is_possible(
    service: Service, orders: Orders, posts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, move, failures = service.registry.finish, service.registry.move, 0

    async def troubled_finish(*args: Any, **kwargs: Any) -> Job:
        nonlocal failures
        failures += 1
        if failures <= 2:
            raise sqlite3.OperationalError("disk I/O error")
        return await finish(*args, **kwargs)

    async def troubled_move(job: Job, state: JobState, **kwargs: Any) -> Job:
        if state == JobState.FAILED:
            raise sqlite3.OperationalError("disk I/O error")
        return await move(job, state, **kwargs)

    monkeypatch.setattr(service.registry, "finish", troubled_finish)
    monkeypatch.setattr(service.registry, "move", troubled_move)
    job = await train(service, MEMBER, posts, handles=["robin"])
    assert (await end_of(service, job.id)).state == JobState.DONE
    (model,) = service.library.visible(MEMBER)
    assert (model.version, (await service.library.manifest(model)).job_id) == (1, job.id)
    assert [p.name for p in (service.data.models / "robin").iterdir()] == ["1"]


async def test_a_name_that_turns_out_to_be_in_training_fails_the_later_job(
    service: Service, orders: Orders, posts: Path
) -> None:
    orders.give("collect-waits")
    unnamed = await train(service, MEMBER, posts)
    named = await train(service, NEIGHBOUR, posts, handles=["robin"])
    orders.revoke("collect-waits")
    assert (await end_of(service, unnamed.id)).state == JobState.FAILED
    assert (await end_of(service, named.id)).state == JobState.DONE


async def test_an_account_that_may_not_be_learned_is_refused_when_only_the_file_tells_whose_it_is(
    tmp_path: Path, orders: Orders, posts: Path
) -> None:
    config = quick_config(tmp_path, blocks=BlockSettings(handles=("Robin",)))
    async with serving(config, orders) as service:
        await service.registry.block(43, "wren")
        await service.permits.load()
        wrens = posts_of(tmp_path, "wren")
        jobs = [
            await train(service, MEMBER, posts),
            await train(service, CONSOLE, posts, name="somebody"),
            await train(service, STRANGER, wrens),
            await train(service, MEMBER, wrens),
        ]
        ended = [await end_of(service, job.id) for job in jobs]
        assert [job.state for job in ended] == ["failed", "failed", "failed", "done"]
        assert "@robin" in (ended[0].error or "")


# --- what costs -------------------------------------------------------------------------------------------------------


async def test_what_costs_waits_until_who_asked_has_agreed(priced: Config, orders: Orders, posts: Path) -> None:
    async with serving(priced, orders) as service:
        job = await train(service, MEMBER, handles=["robin"])
        assert (job.state, job.confirmed) == (JobState.QUEUED, False)
        # It does not keep others waiting, and does not run meanwhile.
        other = await train(service, NEIGHBOUR, posts, name="wren")
        assert (await end_of(service, other.id)).state == JobState.DONE
        assert (await service.job(MEMBER, job.id)).state == JobState.QUEUED
        for caller in (NEIGHBOUR, MANAGER, CONSOLE):
            with pytest.raises(NotYourJob):
                await service.confirm(caller, job.id)
        agreed = await service.confirm(MEMBER, job.id)
        assert agreed.confirmed
        assert (await service.confirm(MEMBER, job.id)).id == job.id  # twice is once
        assert (await end_of(service, job.id)).state == JobState.DONE
        with pytest.raises(JobIsOver):
            await service.confirm(MEMBER, job.id)


async def test_what_nobody_agrees_to_runs_never_and_is_dropped_after_an_hour(
    priced: Config, orders: Orders, posts: Path
) -> None:
    async with serving(priced, orders) as service:
        job = await train(service, MEMBER, handles=["robin"])
    async with serving(priced, orders) as service:  # not at the next start either
        done = await train(service, NEIGHBOUR, posts, name="wren")
        await end_of(service, done.id)
        await set_back(service, job, minutes=59)
        await service.tidy()
        assert (await service.job(MEMBER, job.id)).state == JobState.QUEUED
        await set_back(service, job, minutes=61)
        await service.tidy()
        assert (await end_of(service, job.id)).state == JobState.CANCELLED
        with pytest.raises(JobIsOver):
            await service.confirm(MEMBER, job.id)
        assert not (service.data.runs / str(job.id) / "raw.jsonl.zst").exists()


async def test_a_job_that_was_agreed_to_is_not_dropped_however_long_it_waits(priced: Config, orders: Orders) -> None:
    orders.give("collect-waits")
    async with serving(priced, orders) as service:
        job = await train(service, MEMBER, handles=["robin"])
        await service.confirm(MEMBER, job.id)
        await set_back(service, job, days=3)
        await service.tidy()
        assert not (await service.job(MEMBER, job.id)).state.is_over
        orders.revoke("collect-waits")
        assert (await end_of(service, job.id)).state == JobState.DONE


# --- tidying ----------------------------------------------------------------------------------------------------------


async def test_the_files_of_a_failed_job_are_kept_for_a_week_and_those_of_a_finished_one_are_not(
    service: Service, orders: Orders, posts: Path, tmp_path: Path
) -> None:
    orders.give("fit-fails", "no")
    failed = await end_of(service, (await train(service, MEMBER, posts, handles=["robin"])).id)
    done = await end_of(service, (await train(service, MEMBER, posts, name="wren")).id)
    inputs = {job.id: service.data.runs / str(job.id) / "inputs" for job in (failed, done)}
    assert inputs[failed.id].exists() and not inputs[done.id].exists()
    await set_back(service, failed, days=6.9)
    await service.tidy()
    assert inputs[failed.id].exists()
    await set_back(service, failed, days=7.1)
    await service.tidy()
    assert not inputs[failed.id].exists()


async def test_tidying_leaves_what_runs_alone_and_purges_what_was_deleted(
    service: Service, orders: Orders, posts: Path
) -> None:
    model = await entered_in(service, "wren")
    await service.library.delete(MANAGER, "wren")
    await service.registry._write("UPDATE models SET deleted_at = '2024-05-06T07:08:09+00:00'")
    orders.give("fit-waits")
    job = await train(service, MEMBER, posts, handles=["robin"])
    await is_training(service, job.id)
    await service.tidy()
    assert (service.data.runs / str(job.id) / "inputs").exists()
    assert not (service.data.models / model.home).exists()
    orders.revoke("fit-waits")
    assert (await end_of(service, job.id)).state == JobState.DONE


async def test_a_hung_trainer_that_is_killed_from_outside_is_not_the_end(
    service: Service, orders: Orders, posts: Path
) -> None:
    orders.give("fit-waits")
    job = await train(service, replace(MEMBER, channel_id=None), posts, handles=["robin"])
    await is_training(service, job.id)
    (pid,) = service.trainer_pids
    os.kill(pid, signal.SIGKILL)
    await until(service, job.id, lambda view: any("signal 9" in notice for notice in view.notices))
    orders.revoke("fit-waits")
    ended = await end_of(service, job.id)
    assert (ended.state, ended.breakdowns) == (JobState.DONE, 1)
