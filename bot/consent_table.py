"""Consents and proofs in the registry: on what ground accounts are learned, and whose they are."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from bot.database import Database, now
from bot.records import Consent, Job
from models.records import AccountSource

PROVE_WITHIN = timedelta(days=1)
CODE_BYTES = 4


class ConsentTable(Database):
    """Queries about consents and proofs."""

    async def add_consents(self, job: Job, accounts: Sequence[AccountSource]) -> None:
        """Enter who asked for the accounts whose handles are known, when and on what ground; once for each job."""
        async with self._transaction() as writer:
            await writer.executemany(
                "INSERT INTO consents VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [
                    (job.id, a.handle, a.source, a.ground, a.is_proven, job.server_id, job.user_id, now())
                    for a in accounts
                    if a.handle
                ],
            )

    async def consents(self, *, job_id: int | None = None, user_id: int | None = None) -> list[Consent]:
        """What was said for a job, or by a member."""
        rows = await self._rows(
            "SELECT * FROM consents WHERE job_id = ? OR user_id = ? ORDER BY job_id, handle", job_id, user_id
        )
        return [
            Consent(
                job_id=row["job_id"],
                handle=row["handle"],
                source=row["source"],
                ground=row["ground"],
                is_proven=bool(row["is_proven"]),
                user_id=row["user_id"],
                asked_at=datetime.fromisoformat(row["asked_at"]),
            )
            for row in rows
        ]

    async def proof_code(self, user_id: int, handle: str) -> tuple[str, bool]:
        """What the account's bio has to hold to show that it is the member's, and whether that is new.

        It is the same for a day, or until it is used.
        """
        since = (datetime.now(UTC) - PROVE_WITHIN).isoformat(timespec="seconds")
        async with self._transaction() as writer:
            await writer.execute("DELETE FROM proofs WHERE created_at < ?", (since,))
            cursor = await writer.execute(
                "INSERT INTO proofs VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (user_id, handle, f"mockingbird-{secrets.token_hex(CODE_BYTES)}", now()),
            )
            is_new = cursor.rowcount == 1
        rows = await self._rows("SELECT code FROM proofs WHERE user_id = ? AND handle = ?", user_id, handle)
        return str(rows[0]["code"]), is_new

    async def use_proof(self, user_id: int, handle: str) -> None:
        """The code has served."""
        await self._write("DELETE FROM proofs WHERE user_id = ? AND handle = ?", user_id, handle)
