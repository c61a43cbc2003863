"""The whole thread through the service, with real children on a tiny base: train, watch, say, and what goes wrong."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bot.children import Programs
from bot.config import Config, LimitSettings
from bot.datadir import DataDir
from bot.records import CONSOLE, Caller, Job, JobState, JobView
from bot.service import Service, open_service
from models.errors import (
    AlreadyTraining,
    DiskFull,
    JobIsOver,
    NameTaken,
    NoSuchJob,
    NoSuchModel,
    NotAllowed,
    NothingGiven,
    NotYourJob,
    OutOfRange,
    SourceOff,
    UnevenFiles,
    Unreadable,
    UserError,
)
from models.files import RunFolder, verify
from models.messages import Delta
from tests.bot.quick import posts_of
from tests.bot.quick import serving as quick_serving
from tests.conftest import made_up_posts
from tests.fakes.children.orders import Orders

MEMBER = Caller(server_id=42, user_id=7, may_train=True)
NEIGHBOUR = Caller(server_id=42, user_id=8, may_train=True)
STRANGER = Caller(server_id=43, user_id=9, may_train=True)


@asynccontextmanager
async def serving(config: Config, orders: Orders | None = None) -> AsyncIterator[Service]:
    """The service; with orders its children are stand-ins, where it is not they that are tested."""
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(
            quick_serving(config, orders) if orders else open_service(config, DataDir(config.data_dir), "test")
        )


@asynccontextmanager
async def fitting(config: Config, orders: Orders) -> AsyncIterator[Service]:
    """The service with its real trainer; nobody speaks, so its engine is a stand-in."""
    programs = Programs(engine=("-m", "tests.fakes.children.quick_engine", str(orders.folder)))
    async with open_service(config, DataDir(config.data_dir), "test", programs=programs) as service:
        yield service


async def train(service: Service, caller: Caller, **options: Any) -> Job:
    """Plan the training of made-up posts and start it."""
    return await service.start(caller, await service.plan(caller, **{"ground": "public_domain", **options}))


async def end_of(service: Service, job_id: int) -> JobView:
    async for view in service.watch(job_id):
        last = view
    return last


async def until(service: Service, job_id: int, condition: Callable[[JobView], object]) -> JobView:
    """The first view of the job for which the condition holds."""
    async for view in service.watch(job_id):
        if condition(view):
            return view
    raise AssertionError(f"job {job_id} ended before")


async def trained(service: Service, file: Path, caller: Caller = MEMBER) -> JobView:
    job = await train(service, caller, handles=["@Robin"], files=[file])
    view = await end_of(service, job.id)
    assert view.job.state == JobState.DONE, view.job.error
    return view


def slow(config: Config) -> Config:
    """A configuration whose training lasts until it is stopped."""
    training = msgspec.structs.replace(
        config.training, epochs=100, batch_tokens=64, patience=100, evaluations_per_epoch=4, learning_rate=1e-5
    )
    return msgspec.structs.replace(config, training=training)


async def test_a_file_becomes_a_model_that_speaks(config: Config, posts_file: Path) -> None:
    async with serving(config) as service:
        job = await train(service, MEMBER, handles=["@Robin"], files=[posts_file])
        seen = [view async for view in service.watch(job.id)]
        assert seen[-1].job.state == JobState.DONE
        phases = {view.phase for view in seen}
        assert "collect" in phases and phases & {"train", "evaluate"}  # a watcher that is slow sees some only
        (model,) = service.library.visible(MEMBER)
        assert (model.name, model.version, model.handles) == ("robin", 1, ("robin",))
        verify(config.data_dir / "models" / model.folder)
        answer = await service.say(MEMBER, prompt="the kettle", count=2, seed=5)
        assert all(text.startswith("the kettle") for text in answer.texts)
        again = await service.say(MEMBER, prompt="the kettle", count=2, seed=5)
        assert again.texts == answer.texts
        deltas: list[Delta] = []

        async def on_delta(delta: Delta) -> None:
            deltas.append(delta)

        await service.say(MEMBER, answers=["hello", "what did the kettle do?"], on_delta=on_delta)
        assert deltas
        # A second training of the same accounts is the model's next version.
        assert (await trained(service, posts_of(config.data_dir, count=121))).job.version == 2
        assert service.library.visible(MEMBER)[0].version == 2
        # What a finished job needs no more is gone, what it was made from is not.
        run = config.data_dir / "runs" / str(job.id)
        assert not (run / "checkpoints").exists()
        assert not (run / "inputs").exists()
        assert (run / "dataset.jsonl").exists()
        # One server's models are not another's.
        assert service.library.visible(STRANGER) == []
        with pytest.raises(NoSuchModel):
            service.library.find(STRANGER, "robin")
        with pytest.raises(NoSuchModel):
            await service.say(STRANGER)
        with pytest.raises(NoSuchJob):
            await service.cancel(STRANGER, job.id)


async def test_the_archive_tells_whose_it_is(quick: Config, orders: Orders, tmp_path: Path) -> None:
    archive = tmp_path / "archive.zip"
    tweets = [{"tweet": {"id_str": p["id"], "full_text": p["text"]}} for p in made_up_posts(120)]
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("data/account.js", 'window.YTD.account.part0 = [{"account": {"username": "Wren"}}]')
        file.writestr("data/tweets.js", f"window.YTD.tweets.part0 = {json.dumps(tweets)}")
    async with serving(quick, orders) as service:
        job = await train(service, CONSOLE, files=[archive])
        assert job.model is None
        view = await end_of(service, job.id)
        assert view.job.model == "wren"
        # A model of the console is everybody's.
        assert [m.name for m in service.library.visible(STRANGER)] == ["wren"]


async def test_several_accounts_make_one_model(quick: Config, orders: Orders, posts_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "wren.jsonl"
    other.write_text("".join(json.dumps(p) + "\n" for p in made_up_posts(120, "wren")))
    async with serving(quick, orders) as service:
        job = await train(service, MEMBER, handles=["wren", "robin"], files=[other, posts_file])
        view = await end_of(service, job.id)
        assert view.job.model == "robin-wren"
        assert service.library.visible(MEMBER)[0].handles == ("robin", "wren")


async def test_bad_requests_are_refused_in_words_and_nothing_is_queued(
    quick: Config, orders: Orders, posts_file: Path, tmp_path: Path
) -> None:
    strange = tmp_path / "posts.docx"
    strange.write_text("?")
    async with serving(quick, orders) as service:
        plan = partial(service.plan, MEMBER, ground="public_domain")
        for error, request in (
            (NothingGiven, plan()),
            (SourceOff, plan(handles=["@nasa"])),
            (OutOfRange, plan(handles=["../../etc"], files=[posts_file])),
            (OutOfRange, plan(handles=["robin"], files=[posts_file], name="a/b")),
            (Unreadable, plan(files=[tmp_path / "absent.zip"])),
            (Unreadable, plan(files=[strange])),
            (UnevenFiles, plan(handles=["robin"], files=[posts_file, posts_file])),
            (NoSuchModel, service.say(MEMBER)),
            (OutOfRange, service.say(MEMBER, prompt="x" * 10_000)),
            (OutOfRange, service.say(MEMBER, count=0)),
            (NoSuchJob, service.cancel(MEMBER, 99)),
        ):
            with pytest.raises(error):
                await request
        assert await service.jobs(MEMBER) == []


BAD_FILES = {
    "fake.zip": (b"this is no ZIP", "not a ZIP"),
    "cut.js": (b'window.YTD.tweets.part0 = [{"tweet": {"id_str": "1", "full_text": "hel', "cut off"),
    "empty.jsonl": (b"\n", "it is empty"),
    "few.jsonl": (b'{"id": "1", "text": "one post is not enough"}\n', "6,000"),
    "broken.jsonl": (b'{"id": "1"\n', "cut off or damaged"),
}


async def test_a_bad_file_fails_its_job_with_a_reason(quick: Config, orders: Orders, tmp_path: Path) -> None:
    async with serving(quick, orders) as service:
        for name, (content, word) in BAD_FILES.items():
            path = tmp_path / name
            path.write_bytes(content)
            job = await train(service, MEMBER, handles=["robin"], files=[path])
            view = await end_of(service, job.id)
            assert view.job.state == JobState.FAILED
            assert view.job.error is not None
            assert word in view.job.error
        assert service.library.visible(MEMBER) == []


async def test_a_second_training_of_the_same_model_waits_for_nobody_and_is_refused(
    quick: Config, orders: Orders, posts_file: Path
) -> None:
    orders.give("fit-waits")
    async with serving(quick, orders) as service:
        job = await train(service, MEMBER, handles=["robin"], files=[posts_file])
        with pytest.raises(AlreadyTraining):
            await train(service, NEIGHBOUR, handles=["ROBIN"], files=[posts_file])
        # In another server it is another model: it queues up behind the first.
        other = await train(service, STRANGER, handles=["robin"], files=[posts_file])
        assert (await until(service, other.id, lambda view: view.position)).position == 1
        with pytest.raises(NotYourJob):
            await service.cancel(NEIGHBOUR, job.id)
        await service.cancel(STRANGER, other.id)
        assert (await end_of(service, other.id)).job.state == JobState.CANCELLED
        await until(service, job.id, lambda view: view.phase == "train")
        await service.cancel(MEMBER, job.id)
        assert (await end_of(service, job.id)).job.state == JobState.CANCELLED
        with pytest.raises(JobIsOver):
            await service.cancel(MEMBER, job.id)
        assert service.library.visible(MEMBER) == []


async def test_a_name_that_is_another_models_is_refused(
    quick: Config, orders: Orders, posts_file: Path, tmp_path: Path
) -> None:
    async with serving(quick, orders) as service:
        await trained(service, posts_file)
        with pytest.raises(NameTaken):
            await train(service, MEMBER, handles=["wren"], files=[posts_file], name="robin")
        # The same, where only the file tells whose posts they are.
        other = tmp_path / "wren.jsonl"
        other.write_text("".join(json.dumps(p) + "\n" for p in made_up_posts(120, "wren")))
        job = await train(service, MEMBER, files=[other], name="robin")
        view = await end_of(service, job.id)
        assert view.job.state == JobState.FAILED
        assert "already the name" in (view.job.error or "")


async def test_a_full_queue_and_a_full_disk_are_said(quick: Config, orders: Orders, posts_file: Path) -> None:
    orders.give("fit-waits")
    full_queue = msgspec.structs.replace(quick, limits=LimitSettings(waiting_jobs=1))
    async with serving(full_queue, orders) as service:
        await train(service, MEMBER, handles=["robin"], files=[posts_file])
        with pytest.raises(NotAllowed) as caught:
            await train(service, MEMBER, handles=["wren"], files=[posts_file])
        assert caught.value.rule == "queue"
    full_disk = msgspec.structs.replace(quick, bot=msgspec.structs.replace(quick.bot, min_free_disk_mb=10**9))
    async with serving(full_disk, orders) as service:
        with pytest.raises(DiskFull):
            await train(service, MEMBER, handles=["wren"], files=[posts_file])


async def test_a_trainer_that_keeps_dying_fails_the_job(quick: Config, orders: Orders, posts_file: Path) -> None:
    orders.give("fit-waits")
    async with serving(quick, orders) as service:
        job = await train(service, MEMBER, handles=["robin"], files=[posts_file])

        async def kill_each() -> None:
            pids: set[int] = set()
            while True:
                for pid in set(service.trainer_pids) - pids:
                    pids.add(pid)
                    os.kill(pid, signal.SIGKILL)
                await asyncio.sleep(0.02)

        killer = asyncio.create_task(kill_each())
        view = await end_of(service, job.id)
        killer.cancel()
        assert view.job.state == JobState.FAILED
        assert "broke down 3 times" in (view.job.error or "")


async def test_a_job_outlives_a_killed_trainer_a_killed_bot_and_a_drain(
    config: Config, orders: Orders, posts_file: Path
) -> None:
    config = slow(config)

    def goes_on(view: JobView) -> bool:
        return any("going on from step" in notice for notice in view.notices)

    async with fitting(config, orders) as service:
        job = await train(service, MEMBER, handles=["robin"], files=[posts_file])
        waiting = await train(service, MEMBER, handles=["wren"], files=[posts_file])
        await until(service, job.id, lambda view: view.sample)  # after the first checkpoint
        (pid,) = service.trainer_pids
        os.kill(pid, signal.SIGKILL)
        view = await until(service, job.id, goes_on)
        assert any("killed by signal 9" in notice for notice in view.notices)
        (pid,) = service.trainer_pids
    with pytest.raises(ProcessLookupError):  # the bot ended without a word, and its trainer with it
        os.kill(pid, 0)
    os.remove(posts_file)  # the run folder has its own
    async with fitting(config, orders) as service:
        await until(service, job.id, goes_on)
        assert [j.state for j in await service.jobs(MEMBER)] == [JobState.QUEUED, JobState.FITTING]
        await service.cancel(MEMBER, waiting.id)
        await until(service, job.id, lambda view: view.phase == "train")
        await service.drain()
        assert service.trainer_pids == []
        assert (await until(service, job.id, lambda view: view.paused)).job.state == JobState.FITTING
        checkpoints = [p.name for p in RunFolder(config.data_dir / "runs" / str(job.id)).checkpoints.glob("step-*")]
    (name,) = checkpoints
    async with fitting(config, orders) as service:
        view = await until(service, job.id, lambda view: view.notices)
        assert view.notices == (f"going on from step {name.removeprefix('step-')}",)  # that very step
        await service.cancel(MEMBER, job.id)
        assert (await end_of(service, job.id)).job.breakdowns == 1


async def test_a_killed_engine_answers_all_the_same_and_a_damaged_model_is_not_used(
    config: Config, posts_file: Path
) -> None:
    async with serving(config) as service:
        await trained(service, posts_file)
        await service.engine.wait_ready()
        before = service.engine.pid
        assert before
        os.kill(before, signal.SIGKILL)
        assert (await service.say(MEMBER)).texts
        assert service.engine.pid != before
        # The fresh engine checks the files of what it loads.
        os.kill(service.engine.pid or 0, signal.SIGKILL)
        weights = config.data_dir / "models" / service.library.visible(MEMBER)[0].folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
        with pytest.raises(UserError, match="damaged"):
            await service.say(MEMBER)


async def test_a_crash_between_rename_and_entry_loses_no_version(
    quick: Config, orders: Orders, posts_file: Path
) -> None:
    async with serving(quick, orders) as service:
        view = await trained(service, posts_file)
    # As if the bot had died after the rename: the folder is there, the registry does not know it yet.
    database = sqlite3.connect(quick.data_dir / "registry.sqlite3")
    with database:
        database.execute("DELETE FROM versions")
        database.execute("DELETE FROM models")
        database.execute("UPDATE jobs SET state = 'saving', ended_at = NULL")
    database.close()
    async with serving(quick, orders) as service:
        again = await end_of(service, view.job.id)
        assert again.job.state == JobState.DONE
        assert service.library.visible(MEMBER)[0].version == 1
        assert [p.name for p in (quick.data_dir / "models" / "robin").iterdir()] == ["1"]
