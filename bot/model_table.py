"""The models in the registry: names, versions, and which is spoken with where."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime

from bot.database import Database, now
from bot.records import ModelVersion
from models.errors import NameTaken

_LATEST = (
    "SELECT m.*, v.number, v.job_id, v.posts, v.bits_per_byte, v.created_at AS trained_at, j.digest FROM models m "
    "JOIN versions v ON v.model_id = m.id JOIN jobs j ON j.id = v.job_id "
)


class ModelTable(Database):
    """Queries about models."""

    async def models(self, *, deleted: bool = False) -> list[ModelVersion]:
        """Every model with its latest version, newest first; with `deleted` the ones that can be restored instead."""
        rows = await self._rows(
            f"{_LATEST} WHERE m.deleted_at IS {'NOT NULL' if deleted else 'NULL'} "
            "AND v.number = (SELECT max(number) FROM versions WHERE model_id = m.id) ORDER BY v.job_id DESC"
        )
        return [_version(row) for row in rows]

    async def versions(self, model_id: int) -> list[ModelVersion]:
        """Every version of a model, newest first."""
        return [_version(row) for row in await self._rows(f"{_LATEST} WHERE m.id = ? ORDER BY v.number DESC", model_id)]

    async def name_of(self, server_id: int, handles: Sequence[str]) -> str | None:
        """The name of the server's model of exactly these accounts, the newest if there are several."""
        rows = await self._rows(
            "SELECT name FROM models WHERE server_id = ? AND handles = ? AND deleted_at IS NULL ORDER BY id DESC",
            server_id,
            json.dumps(sorted(h.lower() for h in handles)),
        )
        return str(rows[0]["name"]) if rows else None

    async def require_name(self, server_id: int, name: str, handles: Sequence[str]) -> None:
        """NameTaken if the server has a model of that name with other accounts."""
        for row in await self._rows(
            "SELECT handles FROM models WHERE server_id = ? AND name = ? AND deleted_at IS NULL", server_id, name
        ):
            owners = json.loads(row["handles"])
            if owners != sorted(h.lower() for h in handles):
                raise NameTaken(name, handles=owners)

    async def rename_model(self, model: ModelVersion, name: str) -> None:
        """Give the model another name; NameTaken if the server has one of that name."""
        try:
            await self._write("UPDATE models SET name = ? WHERE id = ?", name, model.model_id)
        except sqlite3.IntegrityError as exc:
            raise await self._name_taken(model.server_id, name) from exc

    async def delete_model(self, model_id: int) -> None:
        """Mark the model as deleted; its files stay until `drop_model`. Nobody speaks with it by default any more."""
        async with self._transaction() as writer:
            await writer.execute("UPDATE models SET deleted_at = ? WHERE id = ?", (now(), model_id))
            await writer.execute("DELETE FROM defaults WHERE model_id = ?", (model_id,))

    async def restore_model(self, model: ModelVersion) -> None:
        """Take the deletion back; NameTaken if another model has the name by now."""
        try:
            await self._write("UPDATE models SET deleted_at = NULL WHERE id = ?", model.model_id)
        except sqlite3.IntegrityError as exc:
            raise await self._name_taken(model.server_id, model.name) from exc

    async def drop_model(self, model_id: int) -> None:
        """Forget the model and its versions."""
        await self._write("DELETE FROM models WHERE id = ?", model_id)

    async def defaults(self) -> dict[tuple[int, int], int]:
        """The model to speak with by (server, channel); channel 0 is the server's own default."""
        rows = await self._rows("SELECT * FROM defaults")
        return {(row["server_id"], row["channel_id"]): row["model_id"] for row in rows}

    async def set_default(self, server_id: int, channel_id: int, model_id: int | None) -> None:
        """Set the default of a channel (0: of the server), or with None take it away."""
        if model_id is None:
            await self._write("DELETE FROM defaults WHERE server_id = ? AND channel_id = ?", server_id, channel_id)
            return
        await self._write(
            "INSERT INTO defaults VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET model_id = excluded.model_id",
            server_id,
            channel_id,
            model_id,
        )

    async def _name_taken(self, server_id: int, name: str) -> NameTaken:
        rows = await self._rows(
            "SELECT handles FROM models WHERE server_id = ? AND name = ? AND deleted_at IS NULL", server_id, name
        )
        return NameTaken(name, handles=json.loads(rows[0]["handles"]) if rows else [])

    async def _new_folder(self, name: str) -> str:
        """A folder name that no model has: the name where it can be one, numbered where it is taken."""
        slug = "".join(c if c.isalnum() or c in "._-" else "_" for c in name.lower()).strip(".") or "model"
        slug = slug.encode()[:100].decode(errors="ignore")  # a file system takes 255 bytes, the number included
        taken = {row["folder"] for row in await self._rows("SELECT folder FROM models")}
        return next(name for n in range(1, len(taken) + 2) if (name := slug if n == 1 else f"{slug}~{n}") not in taken)


def _version(row: sqlite3.Row) -> ModelVersion:
    return ModelVersion(
        model_id=row["id"],
        server_id=row["server_id"],
        name=row["name"],
        handles=tuple(json.loads(row["handles"])),
        home=row["folder"],
        version=row["number"],
        job_id=row["job_id"],
        posts=row["posts"],
        bits_per_byte=row["bits_per_byte"],
        digest=row["digest"],
        created_at=datetime.fromisoformat(row["trained_at"]),
        deleted_at=datetime.fromisoformat(row["deleted_at"]) if row["deleted_at"] else None,
    )
