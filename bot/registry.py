"""The registry: one SQLite file with jobs, models, versions and settings. Every change is one transaction."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import aiosqlite

from bot.records import HOUSE, Caller, Job, JobState, ModelVersion
from models.errors import AlreadyTraining, NameTaken, NewerData, SetupError

MIGRATIONS = Path(__file__).with_name("migrations")
_ACTIVE = "('queued', 'collecting', 'fitting', 'saving')"


class StateConflict(Exception):
    """A guarded move found the job in another state: somebody else moved it."""


class Registry:
    """All queries of the house. Open it with `async with Registry.open(path)`."""

    def __init__(self, database: aiosqlite.Connection, reader: aiosqlite.Connection) -> None:
        self._database = database
        self._reader = reader  # sees only what is committed
        self._writing = asyncio.Lock()  # one connection: transactions of two tasks must not mingle

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path) -> AsyncIterator[Registry]:
        """The registry in a file, migrated to this version's schema; NewerData if it is from a newer one."""
        async with aiosqlite.connect(path, isolation_level=None) as database:
            database.row_factory = sqlite3.Row
            try:
                for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "busy_timeout = 5000"):
                    await database.execute(f"PRAGMA {pragma}")
                await _migrate(database, path)
            except sqlite3.DatabaseError as exc:
                if isinstance(exc, sqlite3.OperationalError):
                    raise
                raise SetupError(f"{path} is damaged ({exc}). Restore it from a backup, or move it away.") from exc
            async with aiosqlite.connect(path, isolation_level=None) as reader:
                reader.row_factory = sqlite3.Row
                await reader.execute("PRAGMA query_only = ON")
                yield cls(database, reader)

    # --- jobs ---------------------------------------------------------------------------------------------------------

    async def add_job(
        self, caller: Caller, *, model: str | None, handles: Sequence[str], place_files: Callable[[int], None]
    ) -> Job:
        """A new queued job. `place_files` gets its number and puts its run folder in place before it is visible.

        AlreadyTraining if a job for that model is active in the caller's server.
        """
        try:
            async with self._transaction():
                cursor = await self._database.execute(
                    "INSERT INTO jobs (server_id, user_id, channel_id, model, handles, state, created_at) "
                    "VALUES (?, ?, ?, ?, ?, 'queued', ?)",
                    (caller.server_id, caller.user_id, caller.channel_id, model, json.dumps(list(handles)), _now()),
                )
                assert cursor.lastrowid is not None
                job_id = cursor.lastrowid
                await asyncio.to_thread(place_files, job_id)
        except sqlite3.IntegrityError as exc:
            raise AlreadyTraining(model or "") from exc
        return await self.job(job_id)

    async def job(self, job_id: int) -> Job:
        """The job of that number; KeyError if there is none."""
        for row in await self._rows("SELECT * FROM jobs WHERE id = ?", job_id):
            return _job(row)
        raise KeyError(job_id)

    async def jobs(self, *, server_id: int | None = None, active: bool = False, limit: int = 50) -> list[Job]:
        """Jobs, newest first; of one server, or of all."""
        where = [f"state IN {_ACTIVE}"] if active else []
        where += ["server_id = :server"] if server_id is not None else []
        query = f"SELECT * FROM jobs {'WHERE ' + ' AND '.join(where) if where else ''} ORDER BY id DESC LIMIT :limit"
        async with self._reader.execute(query, {"server": server_id, "limit": limit}) as cursor:
            return [_job(row) async for row in cursor]

    async def unfinished(self) -> list[Job]:
        """Jobs that are not over, in the order in which they are to run: begun ones first, then by age."""
        rows = await self._rows(f"SELECT * FROM jobs WHERE state IN {_ACTIVE} ORDER BY state = 'queued', id")
        return [_job(row) for row in rows]

    async def move(self, job: Job, state: JobState, *, error: str | None = None) -> Job:
        """The job, moved to a state; StateConflict if it is not where `job` says."""
        ended_at = _now() if state.is_over else None
        async with self._transaction():
            cursor = await self._database.execute(
                "UPDATE jobs SET state = ?, error = ?, ended_at = ? WHERE id = ? AND state = ?",
                (state, error, ended_at, job.id, job.state),
            )
            if cursor.rowcount != 1:
                raise StateConflict(f"job {job.id} is not {job.state}")
        return await self.job(job.id)

    async def count_breakdown(self, job: Job) -> Job:
        """The job with one more child that died under it."""
        return await self._change(job.id, "breakdowns = breakdowns + 1")

    async def request_cancel(self, job: Job) -> Job:
        return await self._change(job.id, "cancel_requested = 1")

    async def set_message(self, job_id: int, channel_id: int, message_id: int) -> Job:
        """Remember where the job's progress is shown."""
        return await self._change(job_id, "channel_id = ?, message_id = ?", channel_id, message_id)

    async def to_announce(self) -> list[Job]:
        """Jobs with a progress message whose channel was not yet told how they ended, the active ones among them."""
        return [_job(row) for row in await self._rows("SELECT * FROM jobs WHERE message_id NOT NULL AND NOT announced")]

    async def set_announced(self, job_id: int) -> Job:
        """Remember that the channel was told how the job ended."""
        return await self._change(job_id, "announced = 1")

    async def name_job(self, job: Job, model: str, handles: Sequence[str]) -> Job:
        """The job with its model's name and accounts; AlreadyTraining if another active job has that name."""
        try:
            return await self._change(job.id, "model = ?, handles = ?", model, json.dumps(list(handles)))
        except sqlite3.IntegrityError as exc:
            raise AlreadyTraining(model) from exc

    # --- models -------------------------------------------------------------------------------------------------------

    async def require_name(self, server_id: int, name: str, handles: Sequence[str]) -> None:
        """NameTaken if the server has a model of that name with other accounts."""
        for row in await self._rows("SELECT handles FROM models WHERE server_id = ? AND name = ?", server_id, name):
            owners = json.loads(row["handles"])
            if owners != sorted(h.lower() for h in handles):
                raise NameTaken(name, handles=owners)

    async def begin_saving(self, job: Job) -> tuple[Job, str]:
        """Move a fitted job on to `saving`; returns it with its version's number, and the folder to save it in."""
        async with self._transaction():
            rows = await self._rows(
                "SELECT m.folder, max(v.number) AS latest FROM models m LEFT JOIN versions v ON v.model_id = m.id "
                "WHERE m.server_id = ? AND m.name = ? GROUP BY m.id",
                job.server_id,
                job.model,
            )
            if rows:
                folder, version = rows[0]["folder"], (rows[0]["latest"] or 0) + 1
            else:
                folder, version = await self._new_folder(job), 1
            cursor = await self._database.execute(
                "UPDATE jobs SET state = 'saving', version = ? WHERE id = ? AND state IN ('fitting', 'saving')",
                (version, job.id),
            )
            if cursor.rowcount != 1:
                raise StateConflict(f"job {job.id} is not fitting")
        return await self.job(job.id), f"{folder}/{version}"

    async def finish(self, job: Job, folder: str, *, posts: int, bits_per_byte: float) -> Job:
        """Enter the saved version and end the job, in one transaction."""
        handles = json.dumps(sorted(h.lower() for h in job.handles))
        async with self._transaction():
            await self._database.execute(
                "INSERT INTO models (server_id, name, handles, folder, created_at) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (server_id, name) DO NOTHING",
                (job.server_id, job.model, handles, folder.rpartition("/")[0], _now()),
            )
            await self._database.execute(
                "INSERT INTO versions (model_id, number, job_id, posts, bits_per_byte, created_at) "
                "SELECT id, ?, ?, ?, ?, ? FROM models WHERE server_id = ? AND name = ?",
                (job.version, job.id, posts, bits_per_byte, _now(), job.server_id, job.model),
            )
            cursor = await self._database.execute(
                "UPDATE jobs SET state = 'done', ended_at = ? WHERE id = ? AND state = 'saving'", (_now(), job.id)
            )
            if cursor.rowcount != 1:
                raise StateConflict(f"job {job.id} is not saving")
        return await self.job(job.id)

    async def models(self) -> list[ModelVersion]:
        """Every model with its latest version, newest first."""
        rows = await self._rows(
            "SELECT m.*, v.number, v.posts, v.bits_per_byte, v.created_at AS trained_at FROM models m "
            "JOIN versions v ON v.model_id = m.id "
            "WHERE v.number = (SELECT max(number) FROM versions WHERE model_id = m.id) ORDER BY v.job_id DESC"
        )
        return [
            ModelVersion(
                model_id=row["id"],
                server_id=row["server_id"],
                name=row["name"],
                handles=tuple(json.loads(row["handles"])),
                folder=f"{row['folder']}/{row['number']}",
                version=row["number"],
                posts=row["posts"],
                bits_per_byte=row["bits_per_byte"],
                created_at=datetime.fromisoformat(row["trained_at"]),
            )
            for row in rows
        ]

    # --- settings -----------------------------------------------------------------------------------------------------

    async def setting(self, key: str, *, server_id: int = HOUSE) -> str | None:
        for row in await self._rows("SELECT value FROM settings WHERE server_id = ? AND key = ?", server_id, key):
            return str(row["value"])
        return None

    async def set_setting(self, key: str, value: str, *, server_id: int = HOUSE) -> None:
        async with self._transaction():
            await self._database.execute(
                "INSERT INTO settings VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                (server_id, key, value),
            )

    # --- helpers ------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        async with self._writing:
            try:
                await self._database.execute("BEGIN IMMEDIATE")
                yield
            except BaseException:  # cancelled in `execute`: SQLite does it all the same
                with suppress(sqlite3.OperationalError):  # BEGIN itself failed
                    await self._database.execute("ROLLBACK")
                raise
            await self._database.execute("COMMIT")

    async def _rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        return list(await self._reader.execute_fetchall(query, values))

    async def _change(self, job_id: int, assignments: str, *values: object) -> Job:
        async with self._transaction():
            await self._database.execute(f"UPDATE jobs SET {assignments} WHERE id = ?", (*values, job_id))
        return await self.job(job_id)

    async def _new_folder(self, job: Job) -> str:
        """A folder name that no model has: the name where it can be one, numbered where it is taken."""
        assert job.model is not None
        slug = "".join(c if c.isalnum() or c in "._-" else "_" for c in job.model.lower()).strip(".") or "model"
        slug = slug.encode()[:100].decode(errors="ignore")  # a file system takes 255 bytes, the number included
        taken = {row["folder"] for row in await self._rows("SELECT folder FROM models")}
        return next(name for n in range(1, len(taken) + 2) if (name := slug if n == 1 else f"{slug}~{n}") not in taken)


async def _migrate(database: aiosqlite.Connection, path: Path) -> None:
    """Bring the schema forward by the numbered .sql files, each in one transaction, after a backup of the file."""
    async with database.execute("PRAGMA user_version") as cursor:
        row = await cursor.fetchone()
    current = int(row[0]) if row else 0
    scripts = sorted(MIGRATIONS.glob("*.sql"))
    if current > len(scripts):
        raise NewerData(path, found=current, known=len(scripts))
    for number, script in enumerate(scripts[current:], start=current + 1):
        if number > 1:
            await database.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")  # an open cursor would bar the COMMIT
            await asyncio.to_thread(shutil.copy2, path, path.with_name(f"{path.name}.before-{number}"))
        text = await asyncio.to_thread(script.read_text)
        await database.executescript(f"BEGIN;\n{text}\nPRAGMA user_version = {number};\nCOMMIT;")


def _job(row: sqlite3.Row) -> Job:
    values = dict(row)
    values["handles"] = tuple(json.loads(values["handles"]))
    values["state"] = JobState(values["state"])
    values["cancel_requested"] = bool(values["cancel_requested"])
    values["announced"] = bool(values["announced"])
    values["created_at"] = datetime.fromisoformat(values["created_at"])
    values["ended_at"] = datetime.fromisoformat(values["ended_at"]) if values["ended_at"] else None
    return Job(**values)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
