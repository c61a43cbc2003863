"""Having posts written and showing them, with their buttons."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import discord

from bot.discord_front.access import caller_of
from bot.discord_front.components import Component, button, client_of, row_of, service_of
from bot.discord_front.render import answer_text, body, literal, prompt_of, quoted_in, reply_text, text_of
from bot.discord_front.respond import acknowledge, answer, insist, privately, publicly, think
from bot.records import Caller, ModelVersion
from bot.sampling import Creativity, Length
from bot.service import Answer
from bot.strings import Strings
from models.errors import UserError

MAX_OPTIONS = 25  # of a menu, by Discord
MAX_OPTION_CHARS = 100


async def say_posts(
    interaction: discord.Interaction[Any],
    model: ModelVersion,
    *,
    prompt: str = "",
    count: int = 1,
    creativity: Creativity = Creativity.USUAL,
    length: Length = Length.USUAL,
) -> None:
    """Answer an interaction with posts in the model's voice."""
    service, caller = service_of(interaction), caller_of(interaction)
    service.require_say(caller, prompt=prompt, count=count)
    await _think(interaction, caller)
    spoken = await service.say(caller, model=model, prompt=prompt, count=count, creativity=creativity, length=length)
    say = publicly(interaction)
    view = row_of(
        again_button(caller, model, say, count=count, creativity=creativity, length=length), delete_button(caller, say)
    )
    links = service.settings.of(caller.server_id).links
    await _show(interaction, caller, spoken, answer_text(spoken, say, links=links), view)


async def say_reply(interaction: discord.Interaction[Any], model: ModelVersion, text: str) -> None:
    """Answer an interaction with what the model's voice replies to a text, which is quoted."""
    service, caller = service_of(interaction), caller_of(interaction)
    service.require_say(caller)
    await _think(interaction, caller)
    spoken = await service.say(caller, model=model, answers=[text])
    say = publicly(interaction)
    links = service.settings.of(caller.server_id).links
    shown = reply_text(spoken, say, links=links, quoted=text)
    await _show(interaction, caller, spoken, shown, reply_buttons(caller, model, say))


def reply_buttons(caller: Caller, model: ModelVersion, say: Strings) -> discord.ui.View:
    """The buttons of an answer to somebody's text."""
    again = AnswerAgain(button(say("say.again"), f"reply:{model.model_id}", emoji="🔁"))
    return row_of(again, delete_button(caller, say))


def again_button(
    caller: Caller,
    model: ModelVersion,
    say: Strings,
    *,
    count: int,
    creativity: Creativity,
    length: Length,
) -> Component:
    custom_id = f"again:{model.model_id}:{count}:{creativity}:{length}"
    return SayAgain(button(say("say.again"), custom_id, emoji="🔁"))


def delete_button(caller: Caller, say: Strings) -> Component:
    return Delete(button(say("say.delete"), f"delete:{caller.user_id}", emoji="🗑️"))


def say_button(model: ModelVersion, say: Strings) -> Component:
    return SayOne(button(say("say.one"), f"say:{model.model_id}", discord.ButtonStyle.primary, emoji="💬"))


def model_behind(message: discord.Message) -> int | None:
    """The number of the model that a message of the bot is by, as its buttons have it."""
    for row in message.components:
        for item in getattr(row, "children", []):
            for kind in (SayAgain, AnswerAgain):
                if found := kind.__discord_ui_compiled_template__.fullmatch(getattr(item, "custom_id", None) or ""):
                    return int(found["model"])
    return None


class SayAgain(
    Component,
    template=r"again:(?P<model>\d+):(?P<count>[1-5]):(?P<creativity>[a-z]+):(?P<length>[a-z]+)",
):
    """The same once more, for whoever presses; the prompt is read from the message."""

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        assert interaction.message is not None
        model = service_of(interaction).library.by_id(caller_of(interaction), int(self.values["model"]))
        await say_posts(
            interaction,
            model,
            prompt=prompt_of(text_of(interaction.message)),
            count=int(self.values["count"]),
            creativity=Creativity(self.values["creativity"]),
            length=Length(self.values["length"]),
        )


class AnswerAgain(Component, template=r"reply:(?P<model>\d+)"):
    """Another reply to the same text."""

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        assert interaction.message is not None
        model = service_of(interaction).library.by_id(caller_of(interaction), int(self.values["model"]))
        text = quoted_in(text_of(interaction.message)) or await self._replied_to(interaction, interaction.message)
        if not text:
            raise UserError(privately(interaction)("say.prompt_gone"))
        await say_reply(interaction, model, text)

    @staticmethod
    async def _replied_to(interaction: discord.Interaction[Any], message: discord.Message) -> str:
        reference = message.reference
        if reference is None or reference.message_id is None:
            return ""
        original = reference.resolved
        if not isinstance(original, discord.Message):
            channel = client_of(interaction).get_partial_messageable(message.channel.id)
            try:
                original = await channel.fetch_message(reference.message_id)
            except discord.HTTPException:
                return ""
        return client_of(interaction).conversation.said_to_me(original)


class SayOne(Component, template=r"say:(?P<model>\d+)"):
    """One post of a model."""

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        model = service_of(interaction).library.by_id(caller_of(interaction), int(self.values["model"]))
        await say_posts(interaction, model)


class Delete(Component, template=r"delete:(?P<asker>\d+)"):
    """Takes a message of the bot away: for who asked for it, and for who manages messages."""

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        if interaction.user.id != int(self.values["asker"]) and not interaction.permissions.manage_messages:
            await answer(interaction, privately(interaction)("say.not_yours"))
            return
        await acknowledge(interaction, interaction.response.defer)
        message, personas = interaction.message, client_of(interaction).personas
        delete: Callable[[], Awaitable[object]] = interaction.delete_original_response
        if message is not None and message.webhook_id not in (None, interaction.application_id):
            delete = partial(personas.delete, interaction.channel, message)
        with suppress(discord.NotFound):  # it is gone already
            await insist(delete)


# --- answer as… -------------------------------------------------------------------------------------------------------


def choose_voice(interaction: discord.Interaction[Any], text: str, *, page: int = 0) -> dict[str, Any]:
    """The parts of a private message in which to choose who answers a text."""
    say, caller = privately(interaction), caller_of(interaction)
    service = service_of(interaction)
    models = service.library.visible(caller)
    service.library.default(caller)  # NoSuchModel if there is none at all
    options = [
        discord.SelectOption(
            label=model.name[:MAX_OPTION_CHARS],
            value=str(model.model_id),
            description=choice_text(model, say)[:MAX_OPTION_CHARS],
        )
        for model in models[page * MAX_OPTIONS : (page + 1) * MAX_OPTIONS]
    ]
    menu = discord.ui.Select[discord.ui.View](
        custom_id="answer", placeholder=say("say.choose_placeholder"), options=options, row=0
    )
    items: list[Component] = [AnswerAs(menu)]
    if len(models) > MAX_OPTIONS:
        items.append(VoicePage(button(say("models.back"), f"voices:{page - 1}", row=1, disabled=page == 0)))
        last = (len(models) - 1) // MAX_OPTIONS
        items.append(VoicePage(button(say("models.next"), f"voices:{page + 1}", row=1, disabled=page == last)))
    shown = literal(text[: service.config.engine.max_prompt_chars])
    return {"content": say("say.choose_voice", text=shown), "view": row_of(*items)}


def choice_text(model: ModelVersion, say: Strings) -> str:
    """A model as a choice shows it."""
    handles = " & ".join(f"@{handle}" for handle in model.handles)
    return say("say.choice", name=model.name, accounts=handles, version=model.version, posts=model.posts)


class AnswerAs(Component, template=r"answer"):
    """The menu of voices; the text to answer is quoted above it."""

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        assert interaction.message is not None
        model = service_of(interaction).library.by_id(caller_of(interaction), int(self.chosen(interaction)[0]))
        await say_reply(interaction, model, quoted_in(interaction.message.content))


class VoicePage(Component, template=r"voices:(?P<page>-?\d+)"):
    """Turns the pages of the menu of voices."""

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        assert interaction.message is not None
        text = quoted_in(interaction.message.content)
        parts = choose_voice(interaction, text, page=max(0, int(self.values["page"])))
        await acknowledge(interaction, lambda: interaction.response.edit_message(**parts))


# --- showing ----------------------------------------------------------------------------------------------------------


async def _think(interaction: discord.Interaction[Any], caller: Caller) -> None:
    """Acknowledge: in public, or in private where the posts will come by webhook."""
    has_persona = client_of(interaction).speaks_as_model(caller, interaction.channel)
    await think(interaction, in_public=not has_persona)


async def _show(
    interaction: discord.Interaction[Any], caller: Caller, spoken: Answer, text: str, view: discord.ui.View
) -> None:
    client = client_of(interaction)
    if not client.speaks_as_model(caller, interaction.channel):
        await answer(interaction, ephemeral=False, view=view, **body(text))
        return
    message = await client.speak_as_model(interaction.channel, spoken.model, publicly(interaction), view, body(text))
    await answer(interaction, privately(interaction)("say.spoken", link=message.jump_url))
