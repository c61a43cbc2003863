"""The models that there are: who sees which, which is spoken with by default, and what becomes of them."""

from __future__ import annotations

import asyncio
import difflib
import shutil
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta

from bot.datadir import DataDir
from bot.permits import require_manager
from bot.plans import checked_name
from bot.records import HOUSE, Caller, ModelVersion
from bot.registry import Registry
from models.errors import AlreadyTraining, BadModelFolder, ModelGone, NoSuchModel, NotYours, Unusable
from models.files import read_manifest
from models.records import Manifest

KEEP_DELETED = timedelta(days=7)


class Library:
    """Keeps the list of models in memory: autocomplete and `say` look here, never on the disk."""

    def __init__(
        self, data: DataDir, registry: Registry, unload: Callable[[list[str]], Coroutine[object, object, None]]
    ) -> None:
        self._data = data
        self._registry = registry
        self._unload = unload
        self._models: list[ModelVersion] = []
        self._defaults: dict[tuple[int, int], int] = {}

    async def load(self) -> None:
        """Read models and defaults anew from the registry."""
        self._models = await self._registry.models()
        self._defaults = await self._registry.defaults()

    def visible(self, caller: Caller) -> list[ModelVersion]:
        """The models that the caller may use, newest first: the server's own and the house's; at the console all."""
        if caller.server_id == HOUSE:
            return list(self._models)
        return [m for m in self._models if m.server_id in (caller.server_id, HOUSE)]

    def default(self, caller: Caller) -> ModelVersion:
        """What the channel speaks with, else the server, else the newest. NoSuchModel where there is none at all."""
        visible = self.visible(caller)
        for channel in (caller.channel_id, caller.parent_id, HOUSE):
            chosen = self._defaults.get((caller.server_id, channel)) if channel is not None else None
            for model in visible:
                if model.model_id == chosen:
                    return model
        if not visible:
            raise NoSuchModel(None)
        return visible[0]

    def find(self, caller: Caller, name: str | None) -> ModelVersion:
        """The model of that name, the server's own before the house's; without a name the default. NoSuchModel."""
        if name is None:
            return self.default(caller)
        visible = sorted(self.visible(caller), key=lambda m: m.server_id != caller.server_id)
        wanted = name.strip().removeprefix("@").lower()
        for model in visible:
            if model.name.lower() == wanted:
                return model
        names = [m.name for m in visible]
        near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
        raise NoSuchModel(name.strip(), known=near or names)

    def by_id(self, caller: Caller, model_id: int) -> ModelVersion:
        """The model of that number, if the caller may use it; ModelGone if it is not there."""
        for model in self.visible(caller):
            if model.model_id == model_id:
                return model
        raise ModelGone

    async def manifest(self, model: ModelVersion) -> Manifest:
        """What is known of a version; Unusable if its folder is damaged."""
        try:
            return await asyncio.to_thread(read_manifest, self._data.models / model.folder)
        except BadModelFolder as exc:
            raise Unusable(f"This model's files are damaged: {exc.reason}.") from exc

    async def picture(self, model: ModelVersion) -> bytes | None:
        """The picture of the version's training, PNG; None for one that has none."""
        path = self._data.models / model.folder / "training.png"
        return await asyncio.to_thread(path.read_bytes) if path.is_file() else None

    async def versions(self, model: ModelVersion) -> list[ModelVersion]:
        """Every version of the model, newest first."""
        return await self._registry.versions(model.model_id)

    async def deleted(self, caller: Caller) -> list[ModelVersion]:
        """The server's own models that can still be restored."""
        return [m for m in await self._registry.models(deleted=True) if self._owns(caller, m)]

    # --- what managers do ---------------------------------------------------------------------------------------------

    async def use(self, caller: Caller, name: str | None, *, channel_id: int | None = None) -> ModelVersion | None:
        """Make a model the default of a channel, or of the server; None for the name takes the default away."""
        require_manager(caller)
        model = self.find(caller, name) if name else None
        await self._registry.set_default(caller.server_id, channel_id or 0, model.model_id if model else None)
        await self.load()
        return model

    async def rename(self, caller: Caller, name: str, new_name: str) -> ModelVersion:
        """Give one of the server's own models another name; NameTaken, AlreadyTraining for a training of either."""
        model, new_name = await self._own(caller, name), checked_name(new_name)
        await self._require_no_training(model.server_id, new_name)
        await self._registry.rename_model(model, new_name)
        await self.load()
        return self.by_id(caller, model.model_id)

    async def delete(self, caller: Caller, name: str) -> ModelVersion:
        """Take one of the server's own models away; it can be restored for KEEP_DELETED."""
        model = await self._own(caller, name)
        await self._registry.delete_model(model.model_id)
        await self.load()
        await self._unload([self._folder(v) for v in await self.versions(model)])
        return model

    async def find_deleted(self, caller: Caller, name: str) -> ModelVersion:
        """The latest deleted model of that name; NoSuchModel if there is nothing to restore."""
        require_manager(caller)
        gone = sorted(await self.deleted(caller), key=lambda m: m.deleted_at or m.created_at, reverse=True)
        wanted = name.strip().removeprefix("@").lower()
        for model in gone:
            if model.name.lower() == wanted:
                return model
        raise NoSuchModel(name.strip(), known=[m.name for m in gone])

    async def restore(self, caller: Caller, name: str) -> ModelVersion:
        """Take the latest deletion of that name back; NoSuchModel, NameTaken, or AlreadyTraining as in `put_back`."""
        return await self.put_back(caller, await self.find_deleted(caller, name))

    async def put_back(self, caller: Caller, model: ModelVersion) -> ModelVersion:
        """Take the deletion of a model back; NameTaken or AlreadyTraining if the name is in use again."""
        require_manager(caller)
        await self._require_no_training(model.server_id, model.name)
        await self._registry.restore_model(model)
        await self.load()
        return self.by_id(caller, model.model_id)

    # --- what is gone -------------------------------------------------------------------------------------------------

    async def purge(self) -> int:
        """Drop for good what was deleted long enough ago; returns how many models."""
        oldest = datetime.now(UTC) - KEEP_DELETED
        gone = [m for m in await self._registry.models(deleted=True) if m.deleted_at and m.deleted_at < oldest]
        for model in gone:
            await self.drop(model)
        return len(gone)

    async def drop(self, model: ModelVersion) -> int:
        """Drop the model, its files and what the engine holds of it; returns the bytes that were freed on disk."""
        home = self._data.models / model.home
        await self._registry.delete_model(model.model_id)  # first, so that nobody is offered a model without files
        await self.load()
        await self._unload([self._folder(v) for v in await self.versions(model)])
        size = sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
        await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)
        await self._registry.drop_model(model.model_id)
        return size

    def _folder(self, model: ModelVersion) -> str:
        return str(self._data.models / model.folder)

    async def _own(self, caller: Caller, name: str) -> ModelVersion:
        """The server's own model of that name, with no training of it under way."""
        require_manager(caller)
        model = self.find(caller, name)
        if not self._owns(caller, model):
            raise NotYours(model.name)
        await self._require_no_training(model.server_id, model.name)
        return model

    async def _require_no_training(self, server_id: int, name: str) -> None:
        """AlreadyTraining if one is under way that is to become a model of that name."""
        for job in await self._registry.jobs(server_id=server_id, active=True):
            if job.model and job.model.lower() == name.lower():
                raise AlreadyTraining(name)

    @staticmethod
    def _owns(caller: Caller, model: ModelVersion) -> bool:
        return caller.server_id in (HOUSE, model.server_id)
