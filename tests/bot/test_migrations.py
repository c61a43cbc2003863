"""An older registry comes through with everything that it had."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from bot.database import MIGRATIONS
from bot.records import CONSOLE, HOUSE, Caller, JobState
from bot.registry import Registry
from bot.settings import ServerSettings, Settings
from tests.bot.quick import entered, unplaced

JOBS = [  # id, server, user, channel, message, announced, model, handles, state, cancel, breakdowns, version, error
    (1, 42, 7, 420, 99, 1, "robin", '["robin"]', "done", 0, 1, 1, None),
    (2, 42, 7, 420, 99, 1, "Robin", '["Robin"]', "done", 0, 0, 2, None),
    (3, 0, 0, None, None, 0, "a pair", '["wren","robin"]', "done", 0, 0, 1, None),
    (4, 43, 8, 430, None, 0, "robin", '["robin"]', "failed", 0, 3, None, "it broke down"),
    (5, 43, 8, 430, 98, 0, None, "[]", "cancelled", 1, 0, None, None),
    (6, 43, 8, 430, 97, 0, "finch", '["finch"]', "fitting", 0, 1, None, None),
    (9, 42, 7, 420, 96, 0, None, "[]", "queued", 0, 0, None, None),
]
MODELS = [  # id, server, name, handles, folder
    (1, 42, "robin", '["robin"]', "robin"),
    (3, 0, "a pair", '["robin","wren"]', "a_pair"),
]
VERSIONS = [(1, 1, 1, 700, 1.75), (1, 2, 2, 800, 1.5), (3, 1, 3, 900, 1.25)]
SETTINGS = [(0, "default_model", "robin"), (42, "server", '{"persona":true,"channels":[420]}')]
AT = "2024-05-06T07:08:09+00:00"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A registry of the first schema, in use for some time."""
    path = tmp_path / "old.sqlite3"
    database = sqlite3.connect(path)
    database.executescript((MIGRATIONS / "0001_first.sql").read_text() + "PRAGMA user_version = 1;")
    columns = (
        "id, server_id, user_id, channel_id, message_id, announced, model, handles, state, cancel_requested, "
        "breakdowns, version, error, created_at, ended_at"
    )
    with database:
        for job in JOBS:
            ended = AT if job[8] in ("done", "failed", "cancelled") else None
            database.execute(f"INSERT INTO jobs ({columns}) VALUES ({'?, ' * 14}?)", (*job, AT, ended))
        database.executemany("INSERT INTO models VALUES (?, ?, ?, ?, ?, ?)", [(*model, AT) for model in MODELS])
        database.executemany("INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?)", [(*v, AT) for v in VERSIONS])
        database.executemany("INSERT INTO settings VALUES (?, ?, ?)", SETTINGS)
    database.close()
    return path


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    database = sqlite3.connect(path)
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()


async def test_every_row_of_the_first_schema_is_kept(path: Path) -> None:
    tables = ("jobs", "models", "versions", "settings")
    columns = {table: ", ".join(str(row[1]) for row in rows(path, f"PRAGMA table_info({table})")) for table in tables}
    before = {table: rows(path, f"SELECT {columns[table]} FROM {table} ORDER BY 1, 2") for table in tables}
    assert [len(before[table]) for table in tables] == [len(JOBS), len(MODELS), len(VERSIONS), len(SETTINGS)]
    async with Registry.open(path):
        pass
    assert {table: rows(path, f"SELECT {columns[table]} FROM {table} ORDER BY 1, 2") for table in tables} == before
    assert rows(path, "PRAGMA foreign_key_check") == []
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert rows(path, "SELECT sql FROM sqlite_master WHERE sql LIKE '%models_new%'") == []
    # The file as it was is beside it.
    backup = path.with_name(f"{path.name}.before-2")
    assert rows(backup, "PRAGMA user_version") == [(1,)]
    assert rows(backup, f"SELECT {columns['jobs']} FROM jobs ORDER BY 1, 2") == before["jobs"]


async def test_a_registry_that_came_through_has_the_schema_of_one_that_is_new(path: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.sqlite3"
    for one in (path, new):
        async with Registry.open(one):
            pass
    tables = [str(row[0]) for row in rows(new, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
    assert rows(path, "SELECT type, name, tbl_name FROM sqlite_master ORDER BY 1, 2") == rows(
        new, "SELECT type, name, tbl_name FROM sqlite_master ORDER BY 1, 2"
    )
    for table in tables:
        for pragma in ("table_info", "foreign_key_list", "index_list"):
            assert rows(path, f"PRAGMA {pragma}({table})") == rows(new, f"PRAGMA {pragma}({table})")


async def test_what_came_through_is_used_as_if_it_were_new(path: Path) -> None:
    async with Registry.open(path) as registry:
        assert [(m.name, m.server_id, m.version, m.folder) for m in await registry.models()] == [
            ("a pair", HOUSE, 1, "a_pair/1"),
            ("robin", 42, 2, "robin/2"),
        ]
        assert all(m.digest is None and m.deleted_at is None for m in await registry.models())
        jobs = {job.id: job for job in await registry.jobs()}
        assert all(job.confirmed and job.started_at is None and job.digest is None for job in jobs.values())
        assert [job.id for job in await registry.unfinished()] == [6, 9]
        assert {job.id for job in await registry.to_announce()} == {4, 5, 6, 9}
        settings = Settings(registry, None)  # type: ignore[arg-type]
        await settings.load()
        assert settings.of(42) == ServerSettings(persona=True, channels=(420,))
        # It goes on from there: numbers count up, a running job ends, models become new versions.
        assert (await registry.add_job(CONSOLE, model="x", handles=[], place_files=unplaced)).id == 10
        job, folder = await registry.begin_saving(jobs[6])
        assert (await registry.finish(job, folder, posts=1, bits_per_byte=1.0)).state == JobState.DONE
        again = await entered(registry, "ROBIN", caller=Caller(server_id=42, user_id=7))
        assert (again.model_id, again.version, again.folder) == (1, 3, "robin/3")
        # And what the new schema is for works on the old rows.
        await registry.set_default(42, 0, 1)
        await registry.delete_model(1)
        assert await registry.defaults() == {}
        assert (await entered(registry, "robin", caller=Caller(server_id=42, user_id=7))).folder == "robin~2/1"
        await registry.drop_model(1)
        assert await registry.versions(1) == []
        assert (await registry.job(1)).version == 1
    assert rows(path, "PRAGMA foreign_key_check") == []
