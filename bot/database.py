"""One SQLite file: its two connections, its transactions and its migrations."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import aiosqlite

from models.errors import NewerData, SetupError

MIGRATIONS = Path(__file__).with_name("migrations")


class Database:
    """What the tables share. Every change is one transaction; readers see only what is committed."""

    def __init__(self, writer: aiosqlite.Connection, reader: aiosqlite.Connection) -> None:
        self._writer = writer
        self._reader = reader
        self._writing = asyncio.Lock()  # one connection: transactions of two tasks must not mingle

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path) -> AsyncIterator[Self]:
        """The database in a file, migrated to this version's schema; NewerData if it is from a newer one."""
        async with aiosqlite.connect(path, isolation_level=None) as writer:
            writer.row_factory = sqlite3.Row
            try:
                # Foreign keys are off until the schema is there: a table that is rebuilt must not empty its children.
                for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 5000", "foreign_keys = OFF"):
                    await writer.execute(f"PRAGMA {pragma}")
                await _migrate(writer, path)
                await writer.execute("PRAGMA foreign_keys = ON")
                await writer.execute("PRAGMA secure_delete = ON")  # what is forgotten leaves no bytes behind
            except sqlite3.DatabaseError as exc:
                if isinstance(exc, sqlite3.OperationalError):
                    raise
                raise SetupError(f"{path} is damaged ({exc}). Restore it from a backup, or move it away.") from exc
            async with aiosqlite.connect(path, isolation_level=None) as reader:
                reader.row_factory = sqlite3.Row
                await reader.execute("PRAGMA query_only = ON")
                yield cls(writer, reader)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        async with self._writing:
            try:
                await self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
            except BaseException:  # cancelled in `execute`: SQLite does it all the same
                with suppress(sqlite3.OperationalError):  # BEGIN itself failed
                    await self._writer.execute("ROLLBACK")
                raise
            await self._writer.execute("COMMIT")

    async def _write(self, statement: str, *values: object) -> int:
        """Run one statement as a transaction; returns how many rows it changed."""
        async with self._transaction() as writer:
            return (await writer.execute(statement, values)).rowcount

    async def _rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        return list(await self._reader.execute_fetchall(query, values))


def now() -> str:
    """The time as the tables keep it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


async def _migrate(writer: aiosqlite.Connection, path: Path) -> None:
    """Bring the schema forward by the numbered .sql files, each in one transaction, after a backup of the file."""
    async with writer.execute("PRAGMA user_version") as cursor:
        row = await cursor.fetchone()
    current = int(row[0]) if row else 0
    scripts = sorted(MIGRATIONS.glob("*.sql"))
    if current > len(scripts):
        raise NewerData(path, found=current, known=len(scripts))
    for number, script in enumerate(scripts[current:], start=current + 1):
        if current:  # a database that is made just now has nothing to lose
            await writer.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")  # an open cursor would bar the COMMIT
            await asyncio.to_thread(shutil.copy2, path, path.with_name(f"{path.name}.before-{number}"))
        text = await asyncio.to_thread(script.read_text)
        await writer.executescript(f"BEGIN;\n{text}\nPRAGMA user_version = {number};\nCOMMIT;")
