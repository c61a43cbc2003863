"""Forgetting: nothing that was learned from an account is left, and nothing else is touched."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot.config import Config
from bot.forgetting import Receipt, data_about, forget, forget_member
from bot.records import CONSOLE, Caller, Job, JobState
from bot.service import Service
from models.errors import CantProve, NotAllowed, OutOfRange
from models.source_errors import NotProven
from tests.bot.quick import (
    MANAGER,
    MEMBER,
    NEIGHBOUR,
    STRANGER,
    end_of,
    entered_in,
    is_training,
    plan,
    posts_of,
    serving,
    train,
    unplaced,
)
from tests.fakes.children.orders import Orders


async def learned(service: Service, folder: Path, *handles: str, caller: Caller = MANAGER, name: str = "") -> Job:
    """A model of these accounts, by a whole training."""
    files = [posts_of(folder, handle) for handle in handles]
    job = await end_of(service, (await train(service, caller, *files, handles=handles, name=name or None)).id)
    assert job.state == JobState.DONE, job.error
    return job


async def failed(service: Service, orders: Orders, folder: Path, handle: str, caller: Caller = MANAGER) -> Job:
    """A training that collected the account's posts and failed then; only the file told whose they are."""
    orders.give("fit-fails", f"@{handle} does not rhyme")
    return await end_of(service, (await train(service, caller, posts_of(folder, handle))).id)


def names(service: Service, caller: Caller = CONSOLE) -> list[str]:
    return sorted(model.name for model in service.library.visible(caller))


def runs(service: Service) -> list[str]:
    return sorted(path.name for path in service.data.runs.iterdir())


async def test_every_model_run_and_record_of_the_account_is_gone_and_counted(
    service: Service, orders: Orders, tmp_path: Path
) -> None:
    pair = await learned(service, tmp_path, "robin", "wren", name="a pair")
    broken = await failed(service, orders, tmp_path, "robin")
    model = await service.job(MANAGER, (await entered_in(service)).job_id)
    kept = await service.job(MANAGER, (await entered_in(service, "wren", handles=["wren"])).job_id)
    (service.data.runs / str(kept.id)).mkdir()
    held = [service.data.models / "robin", service.data.models / "a_pair"]
    held += [service.data.runs / str(job.id) for job in (pair, broken)]
    size = sum(path.stat().st_size for folder in held for path in folder.rglob("*") if path.is_file())
    receipt = await forget(service, MANAGER, " @Robin", block=False)
    assert names(service) == ["wren"]
    assert runs(service) == [str(kept.id)]
    assert [p.name for p in service.data.models.iterdir()] == ["wren"]
    assert receipt == Receipt(
        number=receipt.number,
        handle="robin",
        at=receipt.at,
        everywhere=False,
        models=receipt.models,
        runs=2,
        jobs=3,
        cancelled=0,
        freed_bytes=size,
        is_blocked=False,
    )
    assert sorted(receipt.models) == ["a pair v1", "robin v1"]
    assert len(receipt.number) == 8
    for job in (model, pair, broken):
        scrubbed = await service.job(MANAGER, job.id)
        assert (scrubbed.model, scrubbed.handles, scrubbed.error, scrubbed.digest) == (None, (), None, None)
        assert (scrubbed.state, scrubbed.user_id) == (job.state, job.user_id)
    assert (await service.job(MANAGER, kept.id)).model == "wren"


async def test_models_that_were_deleted_go_as_well(service: Service) -> None:
    model = await entered_in(service)
    await entered_in(service)
    await service.library.delete(MANAGER, "robin")
    receipt = await forget(service, MANAGER, "robin", block=False)
    assert receipt.models == ("robin v2, v1",)
    assert not (service.data.models / model.home).exists()
    assert await service.library.deleted(CONSOLE) == []


async def test_a_training_that_runs_is_cancelled_first(service: Service, orders: Orders, tmp_path: Path) -> None:
    orders.give("fit-waits")
    running = await train(service, MEMBER, posts_of(tmp_path))  # only the file tells whose it is
    waiting = await train(service, NEIGHBOUR, posts_of(tmp_path), handles=["robin"], name="redbreast")
    other = await train(service, NEIGHBOUR, posts_of(tmp_path, "wren"), handles=["wren"])
    await is_training(service, running.id)
    receipt = await forget(service, MANAGER, "robin", block=False)
    assert (receipt.cancelled, receipt.jobs, receipt.runs) == (2, 2, 2)
    assert [(await service.job(MANAGER, j.id)).state for j in (running, waiting)] == ["cancelled", "cancelled"]
    orders.revoke("fit-waits")
    assert (await end_of(service, other.id)).state == JobState.DONE
    assert names(service) == ["wren"]
    assert runs(service) == [str(other.id)]


async def test_a_blocked_account_is_refused_from_then_on_in_that_server(service: Service, tmp_path: Path) -> None:
    posts = posts_of(tmp_path)
    receipt = await forget(service, MANAGER, "Robin", block=True)
    assert receipt.is_blocked and receipt.models == ()
    with pytest.raises(NotAllowed, match="@rObin"):
        await plan(service, MEMBER, posts, handles=["rObin"])
    job = await end_of(service, (await train(service, MEMBER, posts)).id)  # nor by leaving the handle out
    assert job.state == JobState.FAILED
    await plan(service, STRANGER, posts, handles=["robin"])
    # Forgotten once more without it, the block stands.
    assert (await forget(service, MANAGER, "robin", block=False)).is_blocked


async def test_another_server_is_not_touched(service: Service, orders: Orders, tmp_path: Path) -> None:
    theirs = await entered_in(service, caller=STRANGER)
    house = await entered_in(service, "house", caller=CONSOLE)
    broken = await failed(service, orders, tmp_path, "robin", STRANGER)
    receipt = await forget(service, MANAGER, "robin", block=False)
    assert (receipt.models, receipt.runs, receipt.jobs, receipt.everywhere) == ((), 0, 0, False)
    assert {m.model_id for m in service.library.visible(CONSOLE)} == {theirs.model_id, house.model_id}
    assert (service.data.runs / str(broken.id)).exists()
    assert (await service.job(STRANGER, broken.id)).error


async def test_the_console_forgets_everywhere(service: Service, orders: Orders, tmp_path: Path) -> None:
    for caller in (MEMBER, STRANGER, CONSOLE):
        await entered_in(service, caller=caller)
    await failed(service, orders, tmp_path, "robin", STRANGER)
    receipt = await forget(service, CONSOLE, "robin", block=True)
    assert receipt.everywhere and receipt.is_blocked
    assert (len(receipt.models), receipt.runs, receipt.jobs) == (3, 1, 4)
    assert names(service) == runs(service) == list(service.data.models.iterdir()) == []
    for caller in (MEMBER, STRANGER):
        with pytest.raises(NotAllowed):
            await plan(service, caller, posts_of(tmp_path), handles=["robin"])


async def test_who_neither_manages_the_server_nor_proves_anything_forgets_nothing(service: Service) -> None:
    await entered_in(service)
    with pytest.raises(CantProve):  # the X API is off
        await forget(service, MEMBER, "robin", block=True)
    with pytest.raises(NotProven):
        await forget(service, MEMBER, "robin.bsky.social", block=True)
    for caller in (MANAGER, MEMBER):
        with pytest.raises(OutOfRange):
            await forget(service, caller, "no handle", block=True)
    assert names(service) == ["robin"]
    assert await service.registry.blocks() == set()


async def test_an_account_whose_name_is_part_of_anothers_is_another(service: Service) -> None:
    await entered_in(service, "robin_hood", handles=["robin_hood"])
    await entered_in(service, "robin", handles=["wren"])  # only the name is the same
    assert (await forget(service, MANAGER, "robin", block=False)).models == ()
    assert names(service) == ["robin", "robin_hood"]


async def test_the_engine_speaks_no_more_in_a_forgotten_voice(service: Service, orders: Orders) -> None:
    model = await entered_in(service)
    told: list[str] = []
    unload = service.library._unload

    async def heard(folders: list[str]) -> None:
        told.extend(folders)
        await unload(folders)

    service.library._unload = heard
    await forget(service, MANAGER, "robin", block=False)
    assert told == [str(service.data.models / model.folder)]


async def test_nothing_of_the_handle_is_left_in_the_registrys_files(
    quick: Config, orders: Orders, tmp_path: Path
) -> None:
    handle = "zaunkoenig_1957"
    async with serving(quick, orders) as service:
        await entered_in(service, handle, handles=[handle])
        await entered_in(service, "two of them", handles=["wren", handle])
        broken = await failed(service, orders, tmp_path, handle)
        assert handle in (broken.error or "")
        orders.give("fit-waits")
        running = await train(service, MEMBER, posts_of(tmp_path, handle))
        await is_training(service, running.id)
        assert traces(quick.data_dir, handle)
        await forget(service, MANAGER, handle.upper(), block=False)
        assert traces(quick.data_dir, handle) == []
    assert traces(quick.data_dir, handle) == []


def traces(folder: Path, word: str) -> list[str]:
    """The files under the folder that hold the word, in any case, or are called so."""
    wanted = word.encode()
    return [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if word in path.name.lower() or (path.is_file() and wanted in path.read_bytes().lower())
    ]


async def test_a_block_is_all_that_is_left_of_a_blocked_account(service: Service, tmp_path: Path) -> None:
    await learned(service, tmp_path, "zaunkoenig")
    await forget(service, MANAGER, "zaunkoenig", block=True)
    held = {name.removeprefix("registry.sqlite3") for name in traces(service.data.path, "zaunkoenig")}
    assert held <= {"", "-wal"}
    await service.registry._write("DELETE FROM blocks")
    await service.registry.compact()
    assert traces(service.data.path, "zaunkoenig") == []


# --- what is held about a member --------------------------------------------------------------------------------------


async def test_mydata_is_all_trainings_of_that_member_and_of_nobody_else(service: Service) -> None:
    mine = await service.registry.add_job(MEMBER, model="robin", handles=["robin"], place_files=unplaced)
    await service.show_job_at(mine.id, 420, 99)
    elsewhere = replace(MEMBER, server_id=1 << 60, channel_id=None)
    other = await service.registry.add_job(elsewhere, model=None, handles=[], place_files=unplaced)
    await service.registry.add_job(NEIGHBOUR, model="wren", handles=["wren"], place_files=unplaced)
    content, count = await data_about(service, MEMBER.user_id)
    held = json.loads(content)
    assert held["user_id"] == "7" and count == 2 and b"wren" not in content
    assert [entry["job"] for entry in held["trainings"]] == [other.id, mine.id]
    assert held["trainings"][0]["server_id"] == str(1 << 60)  # as text: JSON's numbers are too short for it
    entry = held["trainings"][1]
    assert (entry["channel_id"], entry["message_id"], entry["accounts"], entry["model"]) == (
        "420",
        "99",
        ["robin"],
        "robin",
    )
    assert await data_about(service, 12345) == (content_of_nobody(), 0)


def content_of_nobody() -> bytes:
    text = "Prompts, mentions and answers are not kept: they are on Discord only."
    return json.dumps({"user_id": "12345", "trainings": [], "grounds": [], "not_kept": text}, indent=2).encode()


async def test_a_member_who_is_forgotten_is_named_nowhere_and_the_models_stay(
    quick: Config, orders: Orders, tmp_path: Path
) -> None:
    member = Caller(server_id=42, user_id=8_070_605_040_302_010, channel_id=420, may_train=True)
    async with serving(quick, orders) as service:
        done = await learned(service, tmp_path, "robin", caller=member)
        orders.give("fit-waits")
        running = await train(service, member, posts_of(tmp_path, "wren"))
        await is_training(service, running.id)
        assert await forget_member(service, member.user_id) == 2
        assert (await service.job(CONSOLE, running.id)).state == JobState.CANCELLED
        assert {(await service.job(CONSOLE, j.id)).user_id for j in (done, running)} == {0}
        assert (await data_about(service, member.user_id))[1] == 0
        assert names(service) == ["robin"]
        assert await forget_member(service, member.user_id) == 0
        as_kept = member.user_id.to_bytes(8, "big").lstrip(b"\0")
        for path in quick.data_dir.glob("registry*"):
            assert as_kept not in path.read_bytes()


async def test_no_job_of_another_member_is_touched_by_forgetting_one(service: Service) -> None:
    mine = await service.registry.add_job(MEMBER, model=None, handles=[], confirmed=False, place_files=unplaced)
    theirs = await service.registry.add_job(NEIGHBOUR, model=None, handles=[], confirmed=False, place_files=unplaced)
    assert await forget_member(service, MEMBER.user_id) == 1
    assert (await service.job(CONSOLE, mine.id)).state == JobState.CANCELLED
    assert await service.job(CONSOLE, theirs.id) == theirs
    assert theirs.created_at.utcoffset() == timedelta(0)
