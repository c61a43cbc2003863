"""The jobs in the registry: each move of a job is one guarded change."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from bot.database import Database, now
from bot.records import Caller, Job, JobState
from models.errors import AlreadyTraining

ACTIVE = "('queued', 'collecting', 'fitting', 'saving')"


class StateConflict(Exception):
    """A guarded move found the job in another state: somebody else moved it."""


class JobTable(Database):
    """Queries about jobs."""

    async def add_job(
        self,
        caller: Caller,
        *,
        model: str | None,
        handles: Sequence[str],
        digest: str | None = None,
        confirmed: bool = True,
        place_files: Callable[[int], None],
    ) -> Job:
        """A new queued job. `place_files` gets its number and puts its run folder in place before it is visible.

        AlreadyTraining if a job for that model is active in the caller's server.
        """
        try:
            async with self._transaction() as writer:
                cursor = await writer.execute(
                    "INSERT INTO jobs (server_id, user_id, channel_id, model, handles, digest, confirmed, state, "
                    "created_at) VALUES (?, ?, ?, ?, ?, ?, ?, 'queued', ?)",
                    (
                        caller.server_id,
                        caller.user_id,
                        caller.channel_id,
                        model,
                        json.dumps(list(handles)),
                        digest,
                        confirmed,
                        now(),
                    ),
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

    async def jobs(
        self,
        *,
        server_id: int | None = None,
        user_id: int | None = None,
        active: bool = False,
        done: bool = False,
        limit: int = 50,
        skip: int = 0,
    ) -> list[Job]:
        """Jobs, newest first; of one server, of one member, or of all."""
        where = [f"state IN {ACTIVE}"] if active else []
        where += ["state = 'done'"] if done else []
        where += ["server_id = :server"] if server_id is not None else []
        where += ["user_id = :user"] if user_id is not None else []
        query = (
            f"SELECT * FROM jobs {'WHERE ' + ' AND '.join(where) if where else ''} "
            "ORDER BY id DESC LIMIT :limit OFFSET :skip"
        )
        values = {"server": server_id, "user": user_id, "limit": limit, "skip": skip}
        # Fetched at once: a cursor that stays open would have other readers of this connection see the past.
        return [_job(row) for row in await self._reader.execute_fetchall(query, values)]

    async def unfinished(self) -> list[Job]:
        """Jobs that are not over: begun ones first, then by age."""
        rows = await self._rows(f"SELECT * FROM jobs WHERE state IN {ACTIVE} ORDER BY state = 'queued', id")
        return [_job(row) for row in rows]

    async def ended_with_files(self) -> list[Job]:
        """Jobs that ended without a version: their run folders are kept for a while, to be retried."""
        return [_job(row) for row in await self._rows("SELECT * FROM jobs WHERE state IN ('failed', 'cancelled')")]

    async def last_turns(self) -> dict[int, str]:
        """When each server's latest job left the queue, by server."""
        rows = await self._rows("SELECT server_id, max(started_at) AS at FROM jobs GROUP BY server_id")
        return {row["server_id"]: row["at"] for row in rows if row["at"]}

    async def count_started_today(self, *, server_id: int, user_id: int | None = None) -> int:
        """Trainings asked for in the last 24 hours by a server, or by one of its members; cancelled ones count not."""
        since = (datetime.now(UTC) - timedelta(days=1)).isoformat(timespec="seconds")
        rows = await self._rows(
            "SELECT count(*) AS number FROM jobs WHERE server_id = ? AND created_at > ? AND state != 'cancelled' "
            "AND (? IS NULL OR user_id = ?)",
            server_id,
            since,
            user_id,
            user_id,
        )
        return int(rows[0]["number"])

    async def move(self, job: Job, state: JobState, *, error: str | None = None) -> Job:
        """The job, moved to a state; StateConflict if it is not where `job` says."""
        started_at = now() if job.state == JobState.QUEUED and not state.is_over else None
        changed = await self._write(
            "UPDATE jobs SET state = ?, error = ?, ended_at = ?, started_at = coalesce(?, started_at) "
            "WHERE id = ? AND state = ?",
            state,
            error,
            now() if state.is_over else None,
            started_at,
            job.id,
            job.state,
        )
        if changed != 1:
            raise StateConflict(f"job {job.id} is not {job.state}")
        return await self.job(job.id)

    async def confirm(self, job: Job) -> Job:
        """The job, agreed to."""
        return await self._change(job.id, "confirmed = 1")

    async def count_breakdown(self, job: Job) -> Job:
        """The job with one more child that died under it."""
        return await self._change(job.id, "breakdowns = breakdowns + 1")

    async def request_cancel(self, job: Job) -> Job:
        return await self._change(job.id, "cancel_requested = 1")

    async def set_message(self, job_id: int, channel_id: int, message_id: int) -> Job:
        """Remember where the job's progress is shown."""
        return await self._change(job_id, "channel_id = ?, message_id = ?", channel_id, message_id)

    async def to_announce(self) -> list[Job]:
        """Confirmed jobs of a channel that was not yet told how they ended, the active ones among them."""
        rows = await self._rows("SELECT * FROM jobs WHERE channel_id NOT NULL AND NOT announced AND confirmed")
        return [_job(row) for row in rows]

    async def set_announced(self, job_id: int) -> Job:
        """Remember that the channel was told how the job ended."""
        return await self._change(job_id, "announced = 1")

    async def name_job(self, job: Job, model: str, handles: Sequence[str]) -> Job:
        """The job with its model's name and accounts; AlreadyTraining if another active job has that name."""
        try:
            return await self._change(job.id, "model = ?, handles = ?", model, json.dumps(list(handles)))
        except sqlite3.IntegrityError as exc:
            raise AlreadyTraining(model) from exc

    async def scrub_job(self, job_id: int) -> None:
        """Forget whose account a job was about."""
        await self._write("DELETE FROM consents WHERE job_id = ?", job_id)
        await self._change(job_id, "model = NULL, handles = '[]', error = NULL, digest = NULL")

    async def disown_jobs(self, user_id: int) -> int:
        """Forget who asked for the jobs of a member that are over; returns how many."""
        await self._write("UPDATE consents SET user_id = 0 WHERE user_id = ?", user_id)
        await self._write("DELETE FROM proofs WHERE user_id = ?", user_id)
        return await self._write(f"UPDATE jobs SET user_id = 0 WHERE user_id = ? AND state NOT IN {ACTIVE}", user_id)

    async def _change(self, job_id: int, assignments: str, *values: object) -> Job:
        await self._write(f"UPDATE jobs SET {assignments} WHERE id = ?", *values, job_id)
        return await self.job(job_id)


def _job(row: sqlite3.Row) -> Job:
    values = dict(row)
    values["handles"] = tuple(json.loads(values["handles"]))
    values["state"] = JobState(values["state"])
    for name in ("cancel_requested", "announced", "confirmed"):
        values[name] = bool(values[name])
    for name in ("created_at", "started_at", "ended_at"):
        values[name] = datetime.fromisoformat(values[name]) if values[name] else None
    return Job(**values)
