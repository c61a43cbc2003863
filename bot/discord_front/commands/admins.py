"""What admins use: /settings and /forget; and /mydata, which is everybody's."""

from __future__ import annotations

import io
from typing import Any

import discord
from discord import app_commands

from bot.discord_front.access import admitted
from bot.discord_front.components import Component, button, client_of, row_of, service_of
from bot.discord_front.render import fitting, literal, when
from bot.discord_front.respond import answer, privately, think
from bot.discord_front.settings_panel import panel
from bot.discord_front.translator import command
from bot.forgetting import Receipt, data_about, forget, forget_member
from bot.permits import require_manager
from bot.progress import size
from bot.service import Service
from bot.strings import Strings

MAX_NAMES_CHARS = 500  # of a receipt, so that the rest has room too
Interaction = discord.Interaction[Any]


def add_admin_commands(tree: app_commands.CommandTree[Any], service: Service) -> None:
    """Put them into the tree."""

    @command(tree, "settings")
    @app_commands.default_permissions(manage_guild=True)
    @app_commands.guild_only()
    async def settings(interaction: Interaction) -> None:
        await think(interaction)
        caller = await admitted(interaction, "settings")
        require_manager(caller)
        await answer(interaction, **panel(interaction, caller.server_id))

    @command(tree, "forget")
    @app_commands.guild_only()
    async def forget_account(
        interaction: Interaction, handle: app_commands.Range[str, 1, 100], block: bool = False
    ) -> None:
        await think(interaction)
        caller = await admitted(interaction, "forget")
        receipt = await forget(service, caller, handle, block=block)
        await answer(interaction, receipt_text(receipt, privately(interaction)))
        who = f"<@{caller.user_id}>"
        await client_of(interaction).tell(caller.server_id, "forgot", who=who, number=receipt.number)

    @command(tree, "mydata")
    async def mydata(interaction: Interaction) -> None:
        await think(interaction)
        say, user = privately(interaction), interaction.user
        held, records = await data_about(service, user.id)
        erase = EraseMe(button(say("mydata.delete"), "mydata:delete", discord.ButtonStyle.danger))
        await answer(
            interaction,
            say("mydata.heading", records=records),
            file=discord.File(io.BytesIO(held), "mydata.json"),
            view=row_of(*([erase] if records else [])),
        )


class EraseMe(Component, template=r"mydata:delete"):
    """Forgets who pressed it."""

    async def press(self, interaction: Interaction) -> None:
        await think(interaction)
        records = await forget_member(service_of(interaction), interaction.user.id)
        await answer(interaction, privately(interaction)("mydata.deleted", records=records))


def receipt_text(receipt: Receipt, say: Strings) -> str:
    """What was forgotten, line by line."""
    handle, names = literal(receipt.handle), literal(" · ".join(receipt.models)[:MAX_NAMES_CHARS])
    lines = [
        say("forget.receipt", number=receipt.number, when=when(receipt.at)),
        say("forget.scope_everywhere" if receipt.everywhere else "forget.scope_server", handle=handle),
        say("forget.models", models=names) if receipt.models else say("forget.no_models"),
        say("forget.runs", runs=receipt.runs),
        say("forget.jobs", jobs=receipt.jobs, cancelled=receipt.cancelled),
        say("forget.memory"),
        say("forget.freed", size=size(receipt.freed_bytes)),
        say("forget.blocked" if receipt.is_blocked else "forget.not_blocked", handle=handle),
    ]
    return fitting(lines, say("forget.rest"))
