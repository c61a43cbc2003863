"""The models: who sees which, which is spoken with by default, and what managers make of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.config import Config
from bot.datadir import DataDir
from bot.library import KEEP_DELETED, Library
from bot.records import CONSOLE, HOUSE, Caller, ModelVersion
from bot.registry import Registry
from models.errors import AlreadyTraining, ModelGone, NameTaken, NoSuchModel, NotAllowed, NotYours, OutOfRange, Unusable
from tests.bot.quick import MANAGER, MEMBER, STRANGER, entered, unplaced


class Shelf:
    """A library on a registry of its own, and what the engine was told."""

    def __init__(self, data: DataDir, registry: Registry) -> None:
        self.data, self.registry = data, registry
        self.unloaded: list[str] = []
        self.library = Library(data, registry, self._unload)

    async def put(
        self, name: str = "robin", *, caller: Caller = MANAGER, handles: tuple[str, ...] = ()
    ) -> ModelVersion:
        model = await entered(self.registry, name, caller=caller, handles=handles or (name,), models=self.data.models)
        await self.library.load()
        return model

    async def train(self, name: str | None, caller: Caller = MANAGER) -> None:
        """A training of that name is under way."""
        await self.registry.add_job(caller, model=name, handles=[], place_files=unplaced)

    async def age(self, days: float) -> None:
        """What was deleted was deleted that long ago."""
        at = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds")
        await self.registry._write("UPDATE models SET deleted_at = ? WHERE deleted_at NOT NULL", at)

    def names(self, caller: Caller = MEMBER) -> list[str]:
        return [model.name for model in self.library.visible(caller)]

    async def _unload(self, folders: list[str]) -> None:
        self.unloaded += [str(Path(folder).relative_to(self.data.models)) for folder in folders]


@pytest.fixture
async def shelf(quick: Config, registry: Registry) -> Shelf:
    data = DataDir(quick.data_dir)
    data.models.mkdir(parents=True)
    return Shelf(data, registry)


Act = Callable[[Library, Caller], object]
ACTS = {
    "use": lambda library, caller: library.use(caller, "robin"),
    "rename": lambda library, caller: library.rename(caller, "robin", "redbreast"),
    "delete": lambda library, caller: library.delete(caller, "robin"),
    "restore": lambda library, caller: library.restore(caller, "robin"),
}
OWN_ACTS = {name: ACTS[name] for name in ("rename", "delete")}


# --- who sees which ---------------------------------------------------------------------------------------------------


async def test_a_server_sees_its_own_models_and_the_houses_and_the_console_sees_all(shelf: Shelf) -> None:
    await shelf.put("house", caller=CONSOLE)
    await shelf.put("robin")
    await shelf.put("wren", caller=STRANGER)
    assert shelf.names(MEMBER) == ["robin", "house"]
    assert shelf.names(STRANGER) == ["wren", "house"]
    assert shelf.names(Caller(server_id=44, user_id=1)) == ["house"]
    assert shelf.names(CONSOLE) == ["wren", "robin", "house"]


async def test_a_model_is_found_by_any_spelling_of_its_name_the_servers_own_first(shelf: Shelf) -> None:
    own = await shelf.put("Robin")
    await shelf.put("robin", caller=CONSOLE)
    for name in ("robin", " @ROBIN "):
        assert shelf.library.find(MEMBER, name) == own
    assert shelf.library.find(STRANGER, "robin").server_id == HOUSE


async def test_a_name_that_there_is_not_is_answered_with_the_nearest_ones(shelf: Shelf) -> None:
    await shelf.put("robin")
    await shelf.put("nightbus_nell")
    with pytest.raises(NoSuchModel, match="robin") as caught:
        shelf.library.find(MEMBER, "robbin")
    assert "nell" not in str(caught.value)
    with pytest.raises(NoSuchModel) as caught:
        shelf.library.find(STRANGER, "robin")
    assert "There are" not in str(caught.value)  # another server's names are not told


async def test_a_model_is_found_by_its_number_where_it_is_seen(shelf: Shelf) -> None:
    model = await shelf.put()
    assert shelf.library.by_id(MEMBER, model.model_id) == model
    for caller, number in ((STRANGER, model.model_id), (MEMBER, 99)):
        with pytest.raises(ModelGone):
            shelf.library.by_id(caller, number)


async def test_versions_are_listed_newest_first_and_the_latest_stands_for_the_model(shelf: Shelf) -> None:
    await shelf.put()
    model = await shelf.put()
    assert shelf.names() == ["robin"]
    assert [v.version for v in await shelf.library.versions(model)] == [2, 1]
    assert (await shelf.library.manifest(model)).job_id == model.job_id


async def test_damaged_files_are_told_and_a_missing_picture_is_none(shelf: Shelf) -> None:
    model = await shelf.put()
    assert await shelf.library.picture(model) is None
    folder = shelf.data.models / model.folder
    (folder / "training.png").write_bytes(b"PNG")
    assert await shelf.library.picture(model) == b"PNG"
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(Unusable, match="damaged"):
        await shelf.library.manifest(model)


# --- defaults ---------------------------------------------------------------------------------------------------------


async def test_the_default_is_the_channels_else_the_parents_else_the_servers_else_the_newest(shelf: Shelf) -> None:
    library = shelf.library
    for name in ("of_thread", "of_channel", "of_server", "newest"):
        await shelf.put(name)
    thread = replace(MEMBER, channel_id=4200, parent_id=420)
    assert library.default(thread).name == "newest"
    await library.use(MANAGER, "of_server")
    assert library.default(thread).name == "of_server"
    await library.use(MANAGER, "of_channel", channel_id=420)
    assert library.default(thread).name == library.default(MEMBER).name == "of_channel"
    await library.use(MANAGER, "of_thread", channel_id=4200)
    assert library.default(thread).name == library.find(thread, None).name == "of_thread"
    assert library.default(MEMBER).name == "of_channel"
    assert library.default(replace(MEMBER, channel_id=421)).name == "of_server"
    # Taken away one by one, the next one holds again.
    await library.use(MANAGER, None, channel_id=4200)
    await library.use(MANAGER, None, channel_id=420)
    assert library.default(thread).name == "of_server"
    await library.use(MANAGER, None)
    assert library.default(thread).name == "newest"


async def test_a_default_is_of_one_server_and_kept(shelf: Shelf) -> None:
    await shelf.put("house", caller=CONSOLE)
    await shelf.put("wren", caller=STRANGER)
    await shelf.put("robin")
    await shelf.library.use(MANAGER, "house")
    afresh = Library(shelf.data, shelf.registry, shelf._unload)
    await afresh.load()
    assert afresh.default(MEMBER).name == "house"  # one of the house's can be chosen as well
    assert afresh.default(STRANGER).name == "wren"
    assert afresh.default(CONSOLE).name == "robin"


async def test_where_there_is_no_model_there_is_no_default(shelf: Shelf) -> None:
    await shelf.put("wren", caller=STRANGER)
    with pytest.raises(NoSuchModel):
        shelf.library.default(MEMBER)


async def test_a_deleted_default_gives_way_to_the_next_and_does_not_come_back(shelf: Shelf) -> None:
    await shelf.put("robin")
    await shelf.put("wren")
    await shelf.library.use(MANAGER, "robin")
    await shelf.library.delete(MANAGER, "robin")
    assert shelf.library.default(MEMBER).name == "wren"
    await shelf.library.restore(MANAGER, "robin")
    assert shelf.library.default(MEMBER).name == "wren"


# --- what managers do -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
async def test_only_who_manages_the_server_can(shelf: Shelf, act: Act) -> None:
    await shelf.put("wren")
    await shelf.put("robin")
    with pytest.raises(NotAllowed) as caught:
        await act(shelf.library, MEMBER)  # type: ignore[misc]
    assert caught.value.rule == "manager"
    assert shelf.names() == ["robin", "wren"]


@pytest.mark.parametrize("owner", [CONSOLE, STRANGER], ids=["the house's", "somebody else's"])
@pytest.mark.parametrize("act", OWN_ACTS.values(), ids=OWN_ACTS)
async def test_a_model_that_is_not_the_servers_own_is_left_alone(shelf: Shelf, act: Act, owner: Caller) -> None:
    model = await shelf.put("robin", caller=owner)
    with pytest.raises(NotYours if owner is CONSOLE else NoSuchModel):
        await act(shelf.library, MANAGER)  # type: ignore[misc]
    assert shelf.library.visible(owner) == [model]
    assert shelf.unloaded == []


@pytest.mark.parametrize("act", OWN_ACTS.values(), ids=OWN_ACTS)
async def test_a_model_that_is_being_trained_is_left_alone(shelf: Shelf, act: Act) -> None:
    await shelf.put("robin")
    await shelf.train("ROBIN")
    with pytest.raises(AlreadyTraining):
        await act(shelf.library, MANAGER)  # type: ignore[misc]
    assert shelf.names() == ["robin"]


@pytest.mark.parametrize("act", OWN_ACTS.values(), ids=OWN_ACTS)
async def test_a_training_of_that_name_elsewhere_is_no_hindrance(shelf: Shelf, act: Act) -> None:
    await shelf.put("robin")
    await shelf.train("robin", STRANGER)
    await act(shelf.library, MANAGER)  # type: ignore[misc]
    assert shelf.names() != ["robin"]


async def test_the_console_manages_every_servers_models(shelf: Shelf) -> None:
    await shelf.put("robin")
    await shelf.library.rename(CONSOLE, "robin", "redbreast")
    assert shelf.names() == ["redbreast"]
    await shelf.library.delete(CONSOLE, "redbreast")
    assert [m.name for m in await shelf.library.deleted(CONSOLE)] == ["redbreast"]
    await shelf.library.restore(CONSOLE, "redbreast")
    assert shelf.names() == ["redbreast"]


async def test_a_renamed_model_keeps_everything_but_its_name(shelf: Shelf) -> None:
    model = await shelf.put("robin")
    await shelf.library.use(MANAGER, "robin", channel_id=420)
    renamed = await shelf.library.rename(MANAGER, "@robin", "@Red breast")
    assert renamed == replace(model, name="Red breast")
    assert shelf.library.default(MEMBER) == renamed
    assert (await shelf.library.rename(MANAGER, "red BREAST", "RED BREAST")).name == "RED BREAST"
    for bad in ("a/b", "", "x" * 81):
        with pytest.raises(OutOfRange):
            await shelf.library.rename(MANAGER, "RED BREAST", bad)


async def test_a_name_in_use_cannot_be_taken_by_renaming(shelf: Shelf) -> None:
    await shelf.put("robin")
    await shelf.put("wren")
    await shelf.put("finch", caller=STRANGER)
    with pytest.raises(NameTaken, match="@robin"):
        await shelf.library.rename(MANAGER, "wren", "ROBIN")
    assert (await shelf.library.rename(MANAGER, "wren", "finch")).name == "finch"  # another server's is no matter


async def test_a_name_that_a_training_is_about_to_use_cannot_be_taken(shelf: Shelf) -> None:
    await shelf.put("wren")
    await shelf.train("robin")
    with pytest.raises(AlreadyTraining):  # else the training would become a version of another account's model
        await shelf.library.rename(MANAGER, "wren", "Robin")
    await shelf.library.delete(MANAGER, "wren")
    await shelf.train("wren")
    with pytest.raises(AlreadyTraining):
        await shelf.library.restore(MANAGER, "wren")
    assert shelf.names() == []


# --- deleted, restored, purged ----------------------------------------------------------------------------------------


async def test_a_deleted_model_is_gone_from_every_list_and_the_engine_and_can_be_restored(shelf: Shelf) -> None:
    first = await shelf.put("robin")
    model = await shelf.put("robin")
    assert await shelf.library.delete(MANAGER, "Robin") == model
    assert shelf.names() == []
    assert sorted(shelf.unloaded) == [first.folder, model.folder]
    (gone,) = await shelf.library.deleted(MANAGER)
    assert gone.deleted_at and gone == replace(model, deleted_at=gone.deleted_at)
    assert await shelf.library.deleted(STRANGER) == []
    with pytest.raises(NoSuchModel):
        await shelf.library.restore(STRANGER, "robin")
    assert (shelf.data.models / first.folder).exists()
    assert await shelf.library.restore(MANAGER, " @ROBIN") == model
    assert shelf.names() == ["robin"]
    assert await shelf.library.deleted(MANAGER) == []


async def test_the_name_of_a_deleted_model_is_free_and_the_new_one_has_files_of_its_own(shelf: Shelf) -> None:
    old = await shelf.put("robin")
    await shelf.library.delete(MANAGER, "robin")
    new = await shelf.put("robin", handles=("wren",))
    assert (new.version, new.handles) == (1, ("wren",))
    assert new.home != old.home and new.model_id != old.model_id
    with pytest.raises(NameTaken, match="@wren"):
        await shelf.library.restore(MANAGER, "robin")
    await shelf.library.rename(MANAGER, "robin", "other")
    assert await shelf.library.restore(MANAGER, "robin") == old


async def test_of_two_deleted_models_of_one_name_the_latest_is_restored(shelf: Shelf) -> None:
    models = []
    for _ in range(2):
        models.append(await shelf.put("robin"))
        await shelf.library.delete(MANAGER, "robin")
    assert await shelf.library.restore(MANAGER, "robin") == models[1]


async def test_a_deleted_model_is_purged_after_a_week_and_not_before(shelf: Shelf) -> None:
    kept = await shelf.put("wren")
    await shelf.put("robin")
    model = await shelf.put("robin")
    await shelf.library.delete(MANAGER, "robin")
    shelf.unloaded.clear()
    assert KEEP_DELETED.days == 7
    await shelf.age(6.99)
    assert await shelf.library.purge() == 0
    assert (shelf.data.models / model.folder).exists()
    await shelf.age(7.01)
    assert await shelf.library.purge() == 1
    assert not (shelf.data.models / model.home).exists()
    assert sorted(shelf.unloaded) == ["robin/1", "robin/2"]
    assert await shelf.library.deleted(MANAGER) == await shelf.library.versions(model) == []
    with pytest.raises(NoSuchModel):
        await shelf.library.restore(MANAGER, "robin")
    assert (shelf.data.models / kept.folder).exists()
    assert (await shelf.put("robin")).folder == "robin/1"


async def test_a_dropped_model_tells_what_it_frees(shelf: Shelf) -> None:
    model = await shelf.put("robin")
    (shelf.data.models / model.folder / "big").write_bytes(bytes(12_345))
    size = sum(path.stat().st_size for path in (shelf.data.models / model.home).rglob("*") if path.is_file())
    assert await shelf.library.drop(model) == size > 12_345


async def test_of_two_who_delete_at_once_both_find_it_gone(shelf: Shelf) -> None:
    await shelf.put("robin")
    deletions = (shelf.library.delete(MANAGER, "robin") for _ in range(2))
    results = await asyncio.gather(*deletions, return_exceptions=True)
    assert all(isinstance(result, ModelVersion | NoSuchModel) for result in results)
    assert shelf.names() == []
