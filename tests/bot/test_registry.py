"""The registry: guarded moves, one active job for one model, versions that count up, nothing half done."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from bot.database import MIGRATIONS
from bot.job_table import StateConflict
from bot.records import CONSOLE, HOUSE, Caller, Job, JobState
from bot.registry import Registry
from models.errors import AlreadyTraining, NameTaken, NewerData, SetupError

MEMBER = Caller(server_id=42, user_id=7, channel_id=99)
ELSEWHERE = Caller(server_id=43, user_id=7)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.sqlite3"


@pytest.fixture
async def registry(path: Path) -> AsyncIterator[Registry]:
    async with Registry.open(path) as opened:
        yield opened


def nothing(job_id: int) -> None:
    pass


async def add(
    registry: Registry,
    model: str | None = "robin",
    *,
    caller: Caller = MEMBER,
    handles: Sequence[str] = ("robin",),
    place_files: Callable[[int], None] = nothing,
) -> Job:
    return await registry.add_job(caller, model=model, handles=handles, place_files=place_files)


async def fitting(registry: Registry, model: str = "robin", *, caller: Caller = MEMBER) -> Job:
    job = await registry.move(await add(registry, model, caller=caller), JobState.COLLECTING)
    return await registry.move(job, JobState.FITTING)


async def trained(registry: Registry, model: str = "robin", *, caller: Caller = MEMBER) -> str:
    """A whole job; returns the folder of its version."""
    job, folder = await registry.begin_saving(await fitting(registry, model, caller=caller))
    await registry.finish(job, folder, posts=100, bits_per_byte=1.5)
    return folder


# --- jobs -------------------------------------------------------------------------------------------------------------


async def test_new_job_is_queued_as_asked_for(registry: Registry) -> None:
    job = await add(registry, "Robin", handles=["Robin", "wren"])
    assert (job.server_id, job.user_id, job.channel_id, job.model) == (42, 7, 99, "Robin")
    assert job.handles == ("Robin", "wren")
    assert job.state == JobState.QUEUED and not job.state.is_over
    assert (job.cancel_requested, job.breakdowns, job.version, job.error) == (False, 0, None, None)
    assert job.created_at.tzinfo and job.ended_at is None
    assert await registry.job(job.id) == job


async def test_job_that_is_not_there_is_a_key_error(registry: Registry) -> None:
    with pytest.raises(KeyError):
        await registry.job(1)


async def test_move_from_another_state_is_a_conflict_and_changes_nothing(registry: Registry) -> None:
    stale = await add(registry)
    await registry.move(stale, JobState.CANCELLED)
    with pytest.raises(StateConflict):
        await registry.move(stale, JobState.COLLECTING)
    assert (await registry.job(stale.id)).state == JobState.CANCELLED


async def test_of_two_concurrent_moves_one_wins(registry: Registry) -> None:
    job = await add(registry)
    moves = (registry.move(job, state) for state in (JobState.COLLECTING, JobState.CANCELLED))
    results = await asyncio.gather(*moves, return_exceptions=True)
    assert {type(result) for result in results} == {Job, StateConflict}


async def test_ended_job_has_its_time_and_error(registry: Registry) -> None:
    job = await registry.move(await add(registry), JobState.FAILED, error="no posts")
    assert job.state.is_over and job.error == "no posts" and job.ended_at


@pytest.mark.parametrize("name", ["robin", "ROBIN"])
async def test_second_active_job_for_one_model_is_refused(registry: Registry, name: str) -> None:
    first = await add(registry, "Robin")
    placed: list[int] = []
    with pytest.raises(AlreadyTraining):
        await add(registry, name, place_files=placed.append)
    assert placed == []
    assert [job.id for job in await registry.jobs()] == [first.id]


@pytest.mark.parametrize("end", [JobState.DONE, JobState.FAILED, JobState.CANCELLED])
async def test_model_can_be_trained_again_when_its_job_is_over(registry: Registry, end: JobState) -> None:
    await registry.move(await add(registry), end)
    assert (await add(registry)).state == JobState.QUEUED


async def test_same_model_can_be_trained_in_two_servers_at_once(registry: Registry) -> None:
    await add(registry)
    assert (await add(registry, caller=ELSEWHERE)).state == JobState.QUEUED


async def test_jobs_without_a_name_do_not_collide(registry: Registry) -> None:
    first, second = await add(registry, None, handles=[]), await add(registry, None, handles=[])
    assert first.id != second.id
    assert first.title == "an archive"
    await registry.name_job(first, "robin", ["robin"])
    with pytest.raises(AlreadyTraining):
        await registry.name_job(second, "Robin", ["robin"])
    assert (await registry.job(second.id)).model is None


async def test_of_two_concurrent_jobs_for_one_model_exactly_one_is_added(registry: Registry) -> None:
    results = await asyncio.gather(add(registry), add(registry, "ROBIN"), return_exceptions=True)
    assert {type(result) for result in results} == {Job, AlreadyTraining}
    assert len(await registry.jobs()) == 1


async def test_job_whose_files_cannot_be_placed_is_rolled_back(registry: Registry) -> None:
    def full(job_id: int) -> None:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        await add(registry, place_files=full)
    assert await registry.jobs() == []
    assert (await add(registry)).state == JobState.QUEUED  # and the registry goes on


async def test_job_is_not_visible_before_its_files_are_placed(registry: Registry) -> None:
    placing, go_on = threading.Event(), threading.Event()

    def place(job_id: int) -> None:
        placing.set()
        assert go_on.wait(10)

    adding = asyncio.create_task(add(registry, place_files=place))
    try:
        assert await asyncio.to_thread(placing.wait, 10)
        assert await asyncio.wait_for(registry.unfinished(), 5) == []
    finally:
        go_on.set()
        job = await adding
    assert await registry.unfinished() == [job]


async def test_cancelled_change_leaves_the_registry_usable(registry: Registry) -> None:
    job = await add(registry)
    for turns in range(6):  # cancelled at each of the places where it waits
        task = asyncio.create_task(registry.count_breakdown(job))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        before = (await registry.job(job.id)).breakdowns
        assert (await registry.count_breakdown(job)).breakdowns == before + 1


async def test_unfinished_jobs_come_begun_ones_first_then_by_age(registry: Registry) -> None:
    first, second, third, over = [await add(registry, name) for name in ("a", "b", "c", "d")]
    await registry.move(third, JobState.COLLECTING)
    await registry.move(over, JobState.CANCELLED)
    assert [job.id for job in await registry.unfinished()] == [third.id, first.id, second.id]


async def test_jobs_are_listed_newest_first_by_server_and_activity(registry: Registry) -> None:
    first, second = await add(registry, "a"), await add(registry, "b")
    other = await add(registry, "a", caller=ELSEWHERE)
    await registry.move(first, JobState.CANCELLED)
    assert [job.id for job in await registry.jobs()] == [other.id, second.id, first.id]
    assert [job.id for job in await registry.jobs(limit=1)] == [other.id]
    assert [job.id for job in await registry.jobs(server_id=42)] == [second.id, first.id]
    assert [job.id for job in await registry.jobs(server_id=42, active=True)] == [second.id]


async def test_breakdowns_and_the_wish_to_cancel_are_kept(registry: Registry) -> None:
    job = await add(registry)
    assert (await registry.count_breakdown(await registry.count_breakdown(job))).breakdowns == 2
    assert (await registry.request_cancel(job)).cancel_requested


async def test_job_with_a_message_is_to_announce_until_it_was_announced(registry: Registry) -> None:
    silent, shown = await add(registry, "a", caller=ELSEWHERE), await add(registry, "b", caller=ELSEWHERE)
    assert await registry.to_announce() == []  # nobody asked in a channel
    shown = await registry.set_message(shown.id, 5, 6)
    assert (shown.channel_id, shown.message_id) == (5, 6)
    assert await registry.to_announce() == [shown]
    ended = await registry.move(shown, JobState.CANCELLED)
    assert await registry.to_announce() == [ended]
    assert (await registry.set_announced(shown.id)).announced
    assert await registry.to_announce() == []
    assert not (await registry.job(silent.id)).announced


async def test_job_of_a_channel_is_to_announce_even_without_a_message_but_not_before_it_is_agreed_to(
    registry: Registry,
) -> None:
    job = await registry.add_job(MEMBER, model="robin", handles=[], confirmed=False, place_files=nothing)
    assert await registry.to_announce() == []
    agreed = await registry.confirm(job)
    assert agreed.confirmed and await registry.to_announce() == [agreed]


async def test_job_that_leaves_the_queue_has_its_turn_written_down(registry: Registry) -> None:
    assert await registry.last_turns() == {}
    begun = await registry.move(await add(registry), JobState.COLLECTING)
    await registry.move(await add(registry, caller=ELSEWHERE), JobState.CANCELLED)  # it never had a turn
    assert begun.started_at
    assert await registry.last_turns() == {42: begun.started_at.isoformat(timespec="seconds")}
    assert (await registry.move(begun, JobState.FITTING)).started_at == begun.started_at


# --- models -----------------------------------------------------------------------------------------------------------


async def test_finish_enters_version_and_model_and_ends_the_job(registry: Registry) -> None:
    job, folder = await registry.begin_saving(await fitting(registry))
    assert (job.state, job.version, folder) == (JobState.SAVING, 1, "robin/1")
    assert await registry.models() == []
    done = await registry.finish(job, folder, posts=321, bits_per_byte=1.25)
    assert done.state == JobState.DONE and done.ended_at
    (model,) = await registry.models()
    assert (model.name, model.server_id, model.handles) == ("robin", 42, ("robin",))
    assert (model.version, model.folder, model.posts, model.bits_per_byte) == (1, "robin/1", 321, 1.25)


async def test_finish_of_a_job_that_is_not_saving_enters_nothing(registry: Registry) -> None:
    job, folder = await registry.begin_saving(await fitting(registry))
    await registry.move(job, JobState.CANCELLED)
    with pytest.raises(StateConflict):
        await registry.finish(job, folder, posts=1, bits_per_byte=1.0)
    assert await registry.models() == []


async def test_only_a_fitted_job_is_saved(registry: Registry) -> None:
    with pytest.raises(StateConflict):
        await registry.begin_saving(await add(registry))


async def test_saving_begun_again_after_a_crash_is_the_same_version(registry: Registry) -> None:
    job, folder = await registry.begin_saving(await fitting(registry))
    again, same = await registry.begin_saving(job)
    assert (again.version, same) == (1, folder)


async def test_versions_count_up_and_the_latest_is_listed(registry: Registry) -> None:
    folders = [await trained(registry, name) for name in ("Robin", "robin", "wren")]
    assert folders == ["robin/1", "robin/2", "wren/1"]
    assert [(m.name, m.version, m.folder) for m in await registry.models()] == [
        ("wren", 1, "wren/1"),
        ("Robin", 2, "robin/2"),
    ]


async def test_models_of_one_name_in_two_servers_have_folders_of_their_own(registry: Registry) -> None:
    callers = (MEMBER, ELSEWHERE, CONSOLE)
    first = [await trained(registry, caller=caller) for caller in callers]
    second = [await trained(registry, caller=caller) for caller in callers]
    assert first == ["robin/1", "robin~2/1", "robin~3/1"]
    assert second == ["robin/2", "robin~2/2", "robin~3/2"]
    assert {(m.server_id, m.folder) for m in await registry.models()} == {
        (42, "robin/2"),
        (43, "robin~2/2"),
        (HOUSE, "robin~3/2"),
    }


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "a b", "Ünïcode", "../../etc", "con:1", "robin~2"])
async def test_folder_of_a_model_is_one_plain_folder_name(registry: Registry, name: str) -> None:
    folder, _, version = (await trained(registry, name)).rpartition("/")
    assert version == "1"
    assert folder and "/" not in folder and not folder.startswith(".") and "~" not in folder and " " not in folder


@pytest.mark.parametrize(
    "name", ["-".join(f"{'a' * 90}{i}" for i in range(10)), "𝔯" * 80], ids=["ten handles", "four bytes a letter"]
)
async def test_folder_of_a_long_name_fits_a_file_system(registry: Registry, name: str) -> None:
    folder = (await trained(registry, name)).partition("/")[0]
    assert len(folder.encode()) <= 200


async def test_name_of_a_model_of_other_accounts_is_taken(registry: Registry) -> None:
    await trained(registry)
    await registry.require_name(42, "ROBIN", ["Robin"])
    await registry.require_name(43, "robin", ["wren"])
    with pytest.raises(NameTaken, match="@robin"):
        await registry.require_name(42, "ROBIN", ["wren"])


# --- settings and the file --------------------------------------------------------------------------------------------


async def test_settings_are_by_server_and_can_be_changed(registry: Registry) -> None:
    assert await registry.setting("default_model") is None
    await registry.set_setting("default_model", "robin")
    await registry.set_setting("default_model", "wren", server_id=42)
    await registry.set_setting("default_model", "finch")
    assert await registry.setting("default_model") == "finch"
    assert await registry.setting("default_model", server_id=42) == "wren"


async def test_reopened_registry_has_everything(path: Path) -> None:
    async with Registry.open(path) as registry:
        await trained(registry, caller=ELSEWHERE)
        queued = await registry.set_message((await add(registry, "wren")).id, 5, 6)
        await registry.set_setting("key", "value")
        jobs, models = await registry.jobs(), await registry.models()
    async with Registry.open(path) as registry:
        assert await registry.jobs() == jobs
        assert await registry.models() == models
        assert await registry.to_announce() == await registry.unfinished() == [queued]
        assert await registry.setting("key") == "value"
        assert await trained(registry, caller=ELSEWHERE) == "robin/2"


async def test_registry_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    known = len(list(MIGRATIONS.glob("*.sql")))
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {known + 2}")
    database.close()
    with pytest.raises(NewerData) as caught:
        async with Registry.open(path):
            pass
    assert (caught.value.found, caught.value.known) == (known + 2, known)


async def test_file_that_is_no_registry_is_for_the_operator(path: Path) -> None:
    await asyncio.to_thread(path.write_bytes, b"anything else " * 100)
    with pytest.raises(SetupError, match=path.name):
        async with Registry.open(path):
            pass


def one_more_migration(folder: Path, sql: str) -> tuple[Path, int]:
    """A folder with the real migrations and that one after them, and its number."""
    scripts = folder / "migrations"
    scripts.mkdir()
    for script in MIGRATIONS.glob("*.sql"):
        (scripts / script.name).write_text(script.read_text())
    number = len(list(scripts.iterdir())) + 1
    (scripts / f"{number:04d}_next.sql").write_text(sql)
    return scripts, number


async def test_migration_backs_up_the_file_and_keeps_its_rows(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Registry.open(path) as registry:
        job = await add(registry)
    scripts, number = one_more_migration(tmp_path, "CREATE TABLE next (id INTEGER);")
    monkeypatch.setattr("bot.database.MIGRATIONS", scripts)
    async with Registry.open(path) as registry:
        assert await registry.jobs() == [job]
    backup = sqlite3.connect(path.with_name(f"{path.name}.before-{number}"))
    assert backup.execute("PRAGMA user_version").fetchone() == (number - 1,)
    assert backup.execute("SELECT count(*) FROM jobs").fetchone() == (1,)
    backup.close()


async def test_failed_migration_changes_nothing(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Registry.open(path) as registry:
        job = await add(registry)
    scripts, _ = one_more_migration(tmp_path, "CREATE TABLE half (id INTEGER);\nCREATE TABEL whole (id INTEGER);")
    with monkeypatch.context() as patch:
        patch.setattr("bot.database.MIGRATIONS", scripts)
        with pytest.raises(sqlite3.OperationalError):
            async with Registry.open(path):
                pass
    async with Registry.open(path) as registry:
        assert await registry.jobs() == [job]
    database = sqlite3.connect(path)
    assert database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'half'").fetchone() == (0,)
    database.close()
