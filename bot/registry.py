"""The registry: one SQLite file with jobs, models, versions, settings and blocks."""

from __future__ import annotations

import json

from bot.consent_table import ConsentTable
from bot.database import now
from bot.job_table import JobTable, StateConflict
from bot.model_table import ModelTable
from bot.records import HOUSE, Job


class Registry(JobTable, ModelTable, ConsentTable):
    """All queries of the house. Open it with `async with Registry.open(path)`."""

    # --- a job becomes a version --------------------------------------------------------------------------------------

    async def begin_saving(self, job: Job) -> tuple[Job, str]:
        """Move a fitted job on to `saving`; returns it with its version's number, and the folder to save it in."""
        assert job.model is not None
        async with self._transaction() as writer:
            rows = await self._rows(
                "SELECT m.folder, max(v.number) AS latest FROM models m LEFT JOIN versions v ON v.model_id = m.id "
                "WHERE m.server_id = ? AND m.name = ? AND m.deleted_at IS NULL GROUP BY m.id",
                job.server_id,
                job.model,
            )
            if rows:
                folder, version = rows[0]["folder"], (rows[0]["latest"] or 0) + 1
            else:
                folder, version = await self._new_folder(job.model), 1
            cursor = await writer.execute(
                "UPDATE jobs SET state = 'saving', version = ? WHERE id = ? AND state IN ('fitting', 'saving')",
                (version, job.id),
            )
            if cursor.rowcount != 1:
                raise StateConflict(f"job {job.id} is not fitting")
        return await self.job(job.id), f"{folder}/{version}"

    async def finish(self, job: Job, folder: str, *, posts: int, bits_per_byte: float) -> Job:
        """Enter the saved version and end the job, in one transaction."""
        handles = json.dumps(sorted(h.lower() for h in job.handles))
        async with self._transaction() as writer:
            await writer.execute(
                "INSERT INTO models (server_id, name, handles, folder, created_at) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (server_id, name) WHERE deleted_at IS NULL DO NOTHING",
                (job.server_id, job.model, handles, folder.rpartition("/")[0], now()),
            )
            await writer.execute(
                "INSERT INTO versions (model_id, number, job_id, posts, bits_per_byte, created_at) "
                "SELECT id, ?, ?, ?, ?, ? FROM models WHERE server_id = ? AND name = ? AND deleted_at IS NULL",
                (job.version, job.id, posts, bits_per_byte, now(), job.server_id, job.model),
            )
            cursor = await writer.execute(
                "UPDATE jobs SET state = 'done', ended_at = ? WHERE id = ? AND state = 'saving'", (now(), job.id)
            )
            if cursor.rowcount != 1:
                raise StateConflict(f"job {job.id} is not saving")
        return await self.job(job.id)

    # --- settings and blocks ------------------------------------------------------------------------------------------

    async def setting(self, key: str, *, server_id: int = HOUSE) -> str | None:
        for row in await self._rows("SELECT value FROM settings WHERE server_id = ? AND key = ?", server_id, key):
            return str(row["value"])
        return None

    async def settings_of_all(self, key: str) -> dict[int, str]:
        """The values of a key by server."""
        rows = await self._rows("SELECT server_id, value FROM settings WHERE key = ?", key)
        return {row["server_id"]: row["value"] for row in rows}

    async def set_setting(self, key: str, value: str, *, server_id: int = HOUSE) -> None:
        await self._write(
            "INSERT INTO settings VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
            server_id,
            key,
            value,
        )

    async def block(self, server_id: int, handle: str) -> None:
        """Never learn that account again, in a server or (0) anywhere."""
        await self._write("INSERT OR IGNORE INTO blocks VALUES (?, ?, ?)", server_id, handle.lower(), now())

    async def blocks(self) -> set[tuple[int, str]]:
        """(server, handle in lower case) of all that may not be learned."""
        return {(row["server_id"], row["handle"]) for row in await self._rows("SELECT * FROM blocks")}

    async def compact(self) -> None:
        """Leave nothing of what was deleted in the file or in its log."""
        async with self._writing:
            await self._writer.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
