"""What members use: /say, “Answer as…”, /models list and info."""

from __future__ import annotations

from typing import Any

import discord
from discord import app_commands

from bot.discord_front.access import caller_of
from bot.discord_front.components import client_of
from bot.discord_front.respond import answer, privately
from bot.discord_front.shelf import (
    ask_to_delete,
    deleted_models,
    models_page,
    rename_model,
    restore_model,
    show_model,
    use_model,
)
from bot.discord_front.speaking import choice_text, choose_voice, say_posts
from bot.discord_front.translator import choices, command, group, named
from bot.plans import MAX_NAME_CHARS
from bot.sampling import Creativity, Length
from bot.service import MAX_COUNT, Service

MAX_CHOICES = 25  # of an autocomplete, by Discord
MAX_CHOICE_CHARS = 100
Interaction = discord.Interaction[Any]


def add_member_commands(tree: app_commands.CommandTree[Any], service: Service) -> None:
    """Put them into the tree; /models has its managers' part here too, for it is one group."""

    async def complete_model(interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
        say, typed, caller = privately(interaction), typed.strip().removeprefix("@").lower(), caller_of(interaction)
        if not all(check.passed for check in service.permits.presence(caller)):
            return []
        found = [
            model
            for model in service.library.visible(caller)
            if typed in model.name.lower() or any(typed in handle for handle in model.handles)
        ]
        return [
            app_commands.Choice(name=choice_text(model, say)[:MAX_CHOICE_CHARS], value=model.name)
            for model in found[:MAX_CHOICES]
        ]

    async def complete_deleted(interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
        gone = [m for m in await deleted_models(interaction) if typed.lower() in m.name.lower()]
        return [app_commands.Choice(name=m.name[:MAX_CHOICE_CHARS], value=m.name) for m in gone[:MAX_CHOICES]]

    @app_commands.allowed_installs(guilds=True, users=True)
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
    @app_commands.autocomplete(model=complete_model)
    @app_commands.choices(creativity=choices("creativity", *Creativity), length=choices("length", *Length))
    async def say(
        interaction: Interaction,
        prompt: str = "",
        model: str | None = None,
        count: app_commands.Range[int, 1, MAX_COUNT] = 1,
        creativity: str = Creativity.USUAL.value,
        length: str = Length.USUAL.value,
    ) -> None:
        found = service.library.find(caller_of(interaction), model)
        await say_posts(
            interaction,
            found,
            prompt=prompt,
            count=count,
            creativity=Creativity(creativity),
            length=Length(length),
        )

    command(tree, "say")(say)

    @tree.context_menu(name=named("command.answer_as.name"))
    @app_commands.allowed_installs(guilds=True, users=True)
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
    async def answer_as(interaction: Interaction, message: discord.Message) -> None:
        text = client_of(interaction).conversation.said(message)
        if not text:
            await answer(interaction, privately(interaction)("say.nothing_to_answer"))
            return
        await answer(interaction, **choose_voice(interaction, text))

    models = group("models")

    @command(models, "models.list")
    async def models_list(interaction: Interaction) -> None:
        await answer(interaction, **models_page(interaction))

    @command(models, "models.info")
    @app_commands.autocomplete(model=complete_model)
    async def models_info(interaction: Interaction, model: str | None = None) -> None:
        await show_model(interaction, model)

    @command(models, "models.use")
    @app_commands.autocomplete(model=complete_model)
    async def models_use(
        interaction: Interaction,
        model: str | None = None,
        channel: discord.TextChannel | discord.VoiceChannel | discord.Thread | None = None,
    ) -> None:
        await use_model(interaction, model, channel)

    @command(models, "models.rename")
    @app_commands.autocomplete(model=complete_model)
    async def models_rename(
        interaction: Interaction, model: str, new_name: app_commands.Range[str, 1, MAX_NAME_CHARS]
    ) -> None:
        await rename_model(interaction, model, new_name)

    @command(models, "models.delete")
    @app_commands.autocomplete(model=complete_model)
    async def models_delete(interaction: Interaction, model: str) -> None:
        await ask_to_delete(interaction, model)

    @command(models, "models.restore")
    @app_commands.autocomplete(model=complete_deleted)
    async def models_restore(interaction: Interaction, model: str) -> None:
        await restore_model(interaction, model)

    tree.add_command(models)
