"""The models as Discord shows them: the list, the page of one model, and what managers change."""

from __future__ import annotations

import io
from typing import Any

import discord

from bot.discord_front.access import admitted, caller_of
from bot.discord_front.components import Component, button, client_of, form_values, row_of, service_of
from bot.discord_front.render import MAX_EMBED_CHARS, body, fitting, literal, model_info, model_line
from bot.discord_front.respond import acknowledge, answer, privately, replace, think
from bot.discord_front.speaking import say_button
from bot.library import KEEP_DELETED
from bot.records import HOUSE, Caller, ModelVersion
from bot.strings import Strings
from models.errors import EngineTrouble, NotAllowed, NotYours

MODELS_A_PAGE = 10
SAMPLES = 2
MAX_TITLE_CHARS, MAX_HINT_CHARS = 45, 100  # of a form and its fields, by Discord
DELETE_FORM = "delete-model:"


def models_page(interaction: discord.Interaction[Any], page: int = 0) -> dict[str, Any]:
    """The parts of a message with a page of the models that one may use here."""
    service, say, caller = service_of(interaction), privately(interaction), caller_of(interaction)
    models = service.library.visible(caller)
    if not models:
        return {"content": say("models.none")}
    default = service.library.default(caller)
    last = (len(models) - 1) // MODELS_A_PAGE
    page = min(page, last)
    lines = []
    for model in models[page * MODELS_A_PAGE : (page + 1) * MODELS_A_PAGE]:
        notes = [say("models.default")] if model == default else []
        notes += [say("models.house")] if model.server_id == HOUSE else []
        lines.append(model_line(model, say, notes=notes))
    items, footer = [], ""
    if last:
        footer = "-# " + say("jobs.page", page=page + 1, pages=last + 1)
        items.append(ModelsPage(button(say("models.back"), f"models:{page - 1}", disabled=page == 0)))
        items.append(ModelsPage(button(say("models.next"), f"models:{page + 1}", disabled=page == last)))
    return {**body(fitting(lines, footer, most=MAX_EMBED_CHARS)), "suppress_embeds": False, "view": row_of(*items)}


async def show_model(interaction: discord.Interaction[Any], name: str | None) -> None:
    """Answer with everything about a model: its picture, its figures, and some posts that it makes up now."""
    service, say, caller = service_of(interaction), privately(interaction), caller_of(interaction)
    model = service.library.find(caller, name)
    await think(interaction)
    manifest = await service.library.manifest(model)
    versions = await service.library.versions(model)
    try:
        samples = (await service.say(caller, model=model, count=SAMPLES)).texts
    except (EngineTrouble, NotAllowed):  # what is known of a model can be read all the same
        samples = ()
    more = VersionsPage(button(say("models.versions_button"), f"versions:{model.model_id}:0"))
    consents = await service.registry.consents(job_id=model.job_id)
    parts: dict[str, Any] = {"view": row_of(say_button(model, say), *([more] if len(versions) > 1 else []))}
    if picture := await service.library.picture(model):
        parts["file"] = discord.File(io.BytesIO(picture), "training.png", description=model.name)
    await answer(interaction, **parts, **body(model_info(model, manifest, versions, samples, consents, say)))


async def versions_page(interaction: discord.Interaction[Any], model_id: int, page: int = 0) -> dict[str, Any]:
    """The parts of a message with a page of a model's versions."""
    service, say, caller = service_of(interaction), privately(interaction), caller_of(interaction)
    model = service.library.by_id(caller, model_id)
    versions = await service.library.versions(model)
    last = (len(versions) - 1) // MODELS_A_PAGE
    page = min(page, last)
    lines = [model_line(v, say, notes=[]) for v in versions[page * MODELS_A_PAGE : (page + 1) * MODELS_A_PAGE]]
    footer = "-# " + say("jobs.page", page=page + 1, pages=last + 1)
    older = VersionsPage(button(say("models.back"), f"versions:{model_id}:{page - 1}", disabled=page == 0))
    newer = VersionsPage(button(say("models.next"), f"versions:{model_id}:{page + 1}", disabled=page == last))
    return {
        **body(fitting(lines, footer, most=MAX_EMBED_CHARS)),
        "suppress_embeds": False,
        "view": row_of(older, newer),
    }


async def use_model(
    interaction: discord.Interaction[Any], name: str | None, channel: discord.abc.GuildChannel | discord.Thread | None
) -> None:
    """Choose the voice of the server, or of a channel."""
    await think(interaction)
    service, say = service_of(interaction), privately(interaction)
    caller = await admitted(interaction, "models")
    model = await service.library.use(caller, name, channel_id=channel.id if channel else None)
    place = channel.mention if channel else say("log_channel.server")
    who = f"<@{caller.user_id}>"
    if model is None:
        await answer(interaction, say("models.unused"))
        await client_of(interaction).tell(caller.server_id, "unused", who=who, place=place)
        return
    key = "models.used_channel" if channel else "models.used_server"
    await answer(interaction, say(key, name=literal(model.name), channel=place))
    await client_of(interaction).tell(caller.server_id, "used", who=who, name=literal(model.name), place=place)


async def rename_model(interaction: discord.Interaction[Any], name: str, new_name: str) -> None:
    """Give a model another name."""
    await think(interaction)
    caller = await admitted(interaction, "models")
    old = service_of(interaction).library.find(caller, name)
    model = await service_of(interaction).library.rename(caller, name, new_name)
    names = {"old": literal(old.name), "name": literal(model.name)}
    await answer(interaction, privately(interaction)("models.renamed", **names))
    await client_of(interaction).tell(caller.server_id, "renamed", who=f"<@{caller.user_id}>", **names)


async def ask_to_delete(interaction: discord.Interaction[Any], name: str) -> None:
    """Show the form in which the model's name has to be typed."""
    say = privately(interaction)
    model = service_of(interaction).library.find(caller_of(interaction), name)
    field = discord.ui.TextInput[discord.ui.View](
        custom_id="name", placeholder=model.name, required=True, max_length=100
    )
    form = discord.ui.Modal(title=say("models.delete_title"), custom_id=f"{DELETE_FORM}{model.model_id}")
    label = say("models.delete_label")[:MAX_TITLE_CHARS]
    form.add_item(discord.ui.Label(text=label, description=model.name[:MAX_HINT_CHARS], component=field))
    await acknowledge(interaction, lambda: interaction.response.send_modal(form))


async def delete_model(interaction: discord.Interaction[Any], model_id: int) -> None:
    """What the form says: delete the model if that was its name."""
    await think(interaction)
    service, say = service_of(interaction), privately(interaction)
    caller = await admitted(interaction, "models")
    model = service.library.by_id(caller, model_id)
    if form_values(interaction).get("name", "").strip().removeprefix("@").lower() != model.name.lower():
        await answer(interaction, say("models.delete_wrong"))
        return
    if service.library.find(caller, model.name) != model:  # the house has one of that name too
        raise NotYours(model.name)
    await service.library.delete(caller, model.name)
    until = f"<t:{int((discord.utils.utcnow() + KEEP_DELETED).timestamp())}:f>"
    restore = Restore(button(say("models.restore"), f"restore:{model.model_id}"))
    await answer(interaction, say("models.deleted", name=literal(model.name), until=until), view=row_of(restore))
    await client_of(interaction).tell(caller.server_id, "deleted", who=f"<@{caller.user_id}>", name=literal(model.name))


async def restore_model(interaction: discord.Interaction[Any], name: str) -> None:
    """Take a deletion back."""
    await think(interaction)
    caller = await admitted(interaction, "models")
    await _restore(interaction, caller, await service_of(interaction).library.find_deleted(caller, name))


async def deleted_models(interaction: discord.Interaction[Any]) -> list[ModelVersion]:
    """What can be restored, for who may restore it."""
    caller = await admitted(interaction, "models")
    return await service_of(interaction).library.deleted(caller) if caller.may_manage else []


async def _restore(interaction: discord.Interaction[Any], caller: Caller, gone: ModelVersion) -> None:
    model = await service_of(interaction).library.put_back(caller, gone)
    say: Strings = privately(interaction)
    await answer(interaction, say("models.restored", name=literal(model.name)))
    await client_of(interaction).tell(
        caller.server_id, "restored", who=f"<@{caller.user_id}>", name=literal(model.name)
    )


class Restore(Component, template=r"restore:(?P<model>\d+)"):
    """Takes back the deletion of a model."""

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        await think(interaction)
        caller = await admitted(interaction, "models")
        gone = await service_of(interaction).library.deleted(caller)
        model = next((model for model in gone if model.model_id == int(self.values["model"])), None)
        if model is None:
            await answer(interaction, privately(interaction)("models.gone"))
            return
        await _restore(interaction, caller, model)


class ModelsPage(Component, template=r"models:(?P<page>-?\d+)"):
    """Turns the pages of /models list."""

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        await acknowledge(interaction, interaction.response.defer)
        await replace(interaction, models_page(interaction, max(0, int(self.values["page"]))))


class VersionsPage(Component, template=r"versions:(?P<model>\d+):(?P<page>-?\d+)"):
    """Shows the versions of a model, and turns their pages."""

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        await acknowledge(interaction, interaction.response.defer)
        page = max(0, int(self.values["page"]))
        await replace(interaction, await versions_page(interaction, int(self.values["model"]), page))
