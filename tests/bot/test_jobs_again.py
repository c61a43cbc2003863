"""A job goes on where it was: after the bot was drained, after it was killed, and when somebody tries it again."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from bot.config import Config
from bot.records import CONSOLE, Job, JobState
from bot.service import Service
from models.errors import AlreadyTraining, CantRetry, NoSuchJob, NotAllowed, Restarting
from models.files import RunFolder
from tests.bot.quick import (
    MANAGER,
    MEMBER,
    NEIGHBOUR,
    STRANGER,
    asked,
    end_of,
    entered_in,
    is_training,
    plan,
    posts_of,
    serving,
    train,
    until,
    with_bot,
)
from tests.fakes.children.orders import Orders


@pytest.fixture
def posts(tmp_path: Path) -> Path:
    return posts_of(tmp_path)


def run_folder(service: Service, job: Job) -> RunFolder:
    return RunFolder(service.data.runs / str(job.id))


# --- drained and killed -----------------------------------------------------------------------------------------------


async def test_a_drained_bot_pauses_what_runs_and_it_ends_once_after_the_next_start(
    quick: Config, orders: Orders, posts: Path
) -> None:
    orders.give("fit-waits")
    async with serving(with_bot(quick, parallel_trainings=2), orders) as service:
        jobs = [await train(service, MEMBER, posts, name=name) for name in ("a", "b")]
        waiting = await train(service, NEIGHBOUR, posts, name="c")
        for job in jobs:
            await is_training(service, job.id)
        await service.drain()
        assert service.trainer_pids == []
        for job in (*jobs, waiting):
            assert (await until(service, job.id, lambda view: view.paused)).job.state in ("queued", "fitting")
        states = [job.state for job in await service.registry.unfinished()]
        assert states == ["fitting", "fitting", "queued"]
    orders.revoke("fit-waits")
    async with serving(quick, orders) as service:
        ended = [await end_of(service, job.id) for job in (*jobs, waiting)]
        assert [(job.state, job.breakdowns, job.version) for job in ended] == [("done", 0, 1)] * 3
        assert sorted(m.name for m in service.library.visible(MEMBER)) == ["a", "b", "c"]
    async with serving(quick, orders) as service:  # and not again
        assert await service.registry.unfinished() == []
        assert {m.version for m in service.library.visible(MEMBER)} == {1}


async def test_a_drained_bot_takes_no_more_work(service: Service, posts: Path) -> None:
    model = await entered_in(service)
    wanted = await plan(service, MEMBER, posts, handles=["wren"])
    job = await service.registry.add_job(MEMBER, model="finch", handles=[], place_files=lambda _: None)
    failed = await service.registry.move(job, JobState.FAILED)
    await service.drain()
    for request in (
        plan(service, MEMBER, posts, handles=["wren"]),
        service.start(MEMBER, wanted),
        service.retry(MEMBER, failed.id),
        service.say(MEMBER, model=model),
    ):
        with pytest.raises(Restarting):
            await request
    assert await service.registry.unfinished() == []


async def test_a_drained_bot_finishes_what_is_being_said(service: Service, orders: Orders) -> None:
    await entered_in(service)
    orders.give("engine-waits")
    saying = asyncio.create_task(service.say(MEMBER, prompt="the kettle"))
    await asyncio.sleep(0)  # it asks
    draining = asyncio.create_task(service.drain())
    await asyncio.sleep(0)
    with pytest.raises(Restarting):
        await service.say(MEMBER)
    assert not draining.done()
    orders.revoke("engine-waits")
    assert (await saying).texts[0].startswith("the kettle")
    await draining
    assert len(asked(orders)) == 1


async def test_a_bot_that_is_drained_while_nothing_is_done_is_drained_at_once(service: Service) -> None:
    async with asyncio.timeout(5):
        await service.drain()


async def test_a_trainer_that_starts_while_the_bot_is_drained_is_paused_as_well(
    quick: Config, orders: Orders, posts: Path
) -> None:
    orders.give("collect-waits")
    async with serving(quick, orders) as service:
        job = await train(service, MEMBER, posts, handles=["robin"])
        await until(service, job.id, lambda view: view.job.state == JobState.COLLECTING)  # its child is not there yet
        await service.drain()
        assert (await service.job(MEMBER, job.id)).state == JobState.COLLECTING
    orders.revoke("collect-waits")
    async with serving(quick, orders) as service:
        assert (await end_of(service, job.id)).state == JobState.DONE


async def test_a_job_that_is_cancelled_while_the_bot_is_drained_is_over(
    quick: Config, orders: Orders, posts: Path
) -> None:
    orders.give("fit-waits")
    async with serving(quick, orders) as service:
        job = await train(service, MEMBER, posts, handles=["robin"])
        await is_training(service, job.id)
        await service.drain()
        await service.cancel(MEMBER, job.id)
        assert (await end_of(service, job.id)).state == JobState.CANCELLED
    async with serving(quick, orders) as service:
        assert await service.registry.unfinished() == []


@pytest.mark.parametrize("stage", ["collect", "fit"])
async def test_a_bot_that_ends_without_a_word_goes_on_from_the_last_complete_stage(
    quick: Config, orders: Orders, posts: Path, stage: str
) -> None:
    orders.give(f"{stage}-waits")
    async with serving(quick, orders) as service:
        job = await train(service, MEMBER, posts, handles=["robin"])
        state = JobState.COLLECTING if stage == "collect" else JobState.FITTING
        await until(service, job.id, lambda view: view.job.state == state)
    os.remove(posts)  # the run folder has its own
    orders.revoke(f"{stage}-waits")
    if stage == "fit":
        orders.give("collect-fails", "it was collected already")
    async with serving(quick, orders) as service:
        assert (await end_of(service, job.id)).state == JobState.DONE
        assert [m.version for m in service.library.visible(MEMBER)] == [1]


# --- tried again ------------------------------------------------------------------------------------------------------


async def test_a_retry_goes_on_from_the_last_complete_stage_and_takes_the_files_along(
    service: Service, orders: Orders, posts: Path
) -> None:
    orders.give("fit-fails", "no rhyme")
    old = await end_of(service, (await train(service, MEMBER, posts, handles=["Robin"], name="Red breast")).id)
    assert old.state == JobState.FAILED
    raw = run_folder(service, old).raw_file.stat().st_ino
    orders.give("fit-waits")
    again = await service.retry(NEIGHBOUR, old.id)
    assert (again.user_id, again.model, again.handles) == (NEIGHBOUR.user_id, "Red breast", ("Robin",))
    assert again.id != old.id and again.digest == old.digest
    assert not run_folder(service, old).path.exists()
    await is_training(service, again.id)
    assert run_folder(service, again).raw_file.stat().st_ino == raw  # not collected once more
    assert run_folder(service, again).read_spec().job_id == again.id
    orders.revoke("fit-waits")
    assert (await end_of(service, again.id)).state == JobState.DONE
    model = service.library.find(MEMBER, "red breast")
    assert (model.job_id, model.version) == (again.id, 1)
    assert (await service.library.manifest(model)).job_id == again.id
    assert (await service.job(MEMBER, old.id)).state == JobState.FAILED  # the old record stays as it was


async def test_a_cancelled_job_is_tried_again_from_its_uploads_and_its_checkpoints(
    service: Service, orders: Orders, posts: Path
) -> None:
    orders.give("fit-waits")
    old = await train(service, MEMBER, posts, handles=["robin"])
    await is_training(service, old.id)
    checkpoint = run_folder(service, old).checkpoints / "step-3" / "state.json"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_text("{}")
    await service.cancel(MEMBER, old.id)
    await end_of(service, old.id)
    again = await service.retry(MEMBER, old.id)
    await is_training(service, again.id)
    assert (run_folder(service, again).checkpoints / "step-3" / "state.json").read_text() == "{}"
    orders.revoke("fit-waits")
    assert (await end_of(service, again.id)).state == JobState.DONE


async def test_a_model_that_could_not_be_saved_is_made_anew_for_the_job_that_tries_again(
    service: Service, orders: Orders, posts: Path
) -> None:
    orders.give("fit-waits")
    old = await train(service, MEMBER, posts, handles=["robin"])
    await is_training(service, old.id)
    (service.data.models / "robin").write_text("in the way")  # so that the rename fails
    orders.revoke("fit-waits")
    assert (await end_of(service, old.id)).state == JobState.FAILED
    assert run_folder(service, old).is_fitted
    (service.data.models / "robin").unlink()
    again = await end_of(service, (await service.retry(MEMBER, old.id)).id)
    assert again.state == JobState.DONE
    (model,) = service.library.visible(MEMBER)
    assert (await service.library.manifest(model)).job_id == again.id


async def test_only_what_failed_or_was_cancelled_and_has_its_files_is_tried_again(
    service: Service, orders: Orders, posts: Path
) -> None:
    done = await end_of(service, (await train(service, MEMBER, posts, name="a")).id)
    orders.give("fit-fails", "no")
    failed = await end_of(service, (await train(service, MEMBER, posts, name="b")).id)
    orders.give("fit-waits")
    running = await train(service, MEMBER, posts, name="c")
    await is_training(service, running.id)
    run_folder(service, failed).forget_bulk()
    for job in (done, failed, running):
        with pytest.raises(CantRetry):
            await service.retry(MEMBER, job.id)
    with pytest.raises(NoSuchJob):
        await service.retry(STRANGER, failed.id)
    with pytest.raises(NotAllowed):
        await service.retry(replace(MEMBER, may_train=False), failed.id)
    assert len(await service.jobs(CONSOLE)) == 3


async def test_a_retry_beside_a_training_of_the_same_model_is_refused_and_loses_nothing(
    service: Service, orders: Orders, posts: Path
) -> None:
    orders.give("fit-fails", "no")
    old = await end_of(service, (await train(service, MEMBER, posts, handles=["robin"])).id)
    orders.give("fit-waits")
    newer = await train(service, MEMBER, posts, handles=["robin"])
    await is_training(service, newer.id)
    with pytest.raises(AlreadyTraining):
        await service.retry(MEMBER, old.id)
    assert run_folder(service, old).inputs.exists()
    await service.cancel(MEMBER, newer.id)
    await end_of(service, newer.id)
    orders.revoke("fit-waits")
    assert (await end_of(service, (await service.retry(MEMBER, old.id)).id)).state == JobState.DONE


async def test_an_account_that_was_blocked_meanwhile_is_not_tried_again(
    service: Service, orders: Orders, posts: Path
) -> None:
    orders.give("fit-fails", "no")
    old = await end_of(service, (await train(service, MEMBER, posts)).id)
    await service.registry.block(42, "robin")
    await service.permits.load()
    with pytest.raises(NotAllowed):
        await service.retry(MANAGER, old.id)


async def test_a_training_whose_cost_nobody_agreed_to_cannot_be_had_by_trying_it_again(
    priced: Config, orders: Orders
) -> None:
    async with serving(priced, orders) as service:
        job = await train(service, MEMBER, handles=["robin"])
        await service.cancel(MEMBER, job.id)
        with pytest.raises(CantRetry):
            await service.retry(MEMBER, job.id)
        # One that was agreed to is tried again without another question.
        orders.give("fit-fails", "no")
        agreed = await train(service, MEMBER, handles=["robin"])
        await service.confirm(MEMBER, agreed.id)
        await end_of(service, agreed.id)
        assert (await end_of(service, (await service.retry(MEMBER, agreed.id)).id)).state == JobState.DONE
