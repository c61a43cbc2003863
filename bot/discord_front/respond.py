"""The one way to answer an interaction, and what is said when something goes wrong."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import discord
from discord import app_commands

from bot.discord_front.api import TROUBLE, is_passing
from bot.discord_front.render import literal
from bot.strings import Strings, strings
from models.errors import NoSuchModel, UserError

log = logging.getLogger(__name__)

GONE = 10062  # Unknown interaction: acknowledged too late, or by another process
ACKNOWLEDGED = 40060
CALLBACK_PAUSE_S = 0.3  # of the 3 s that Discord waits
ANSWER_PAUSES_S = (0.5, 2.0)
PUBLIC = "thinks in public"  # in an interaction's extras
ARRIVED = "its first response arrived, though Discord's word for that did not"  # the same
TOKEN_DEAD = (50027, 10015)  # Invalid webhook token, unknown webhook: the interaction is older than 15 minutes


def privately(interaction: discord.Interaction[Any]) -> Strings:
    """The language of who asks."""
    return strings(interaction.locale.value)


def publicly(interaction: discord.Interaction[Any]) -> Strings:
    """The language of the server; in direct messages of who asks."""
    return strings((interaction.guild_locale or interaction.locale).value)


async def acknowledge(interaction: discord.Interaction[Any], respond: Callable[[], Awaitable[object]]) -> None:
    """Send the first response to an interaction, and once more if Discord could not be reached.

    If it had arrived all the same, Discord says so to the second try; then it is remembered that it did.
    """
    try:
        await respond()
    except TROUBLE as exc:
        if not is_passing(exc):
            raise
        await asyncio.sleep(CALLBACK_PAUSE_S)
        try:
            await respond()
        except discord.HTTPException as exc:
            if exc.code != ACKNOWLEDGED:
                raise
            interaction.extras[ARRIVED] = True


async def think(interaction: discord.Interaction[Any], *, in_public: bool = False) -> None:
    """Acknowledge: Discord waits 3 seconds for that, and 15 minutes for the answer."""
    defer = partial(interaction.response.defer, ephemeral=not in_public, thinking=True)
    await acknowledge(interaction, defer)
    interaction.extras[PUBLIC] = in_public


async def answer(
    interaction: discord.Interaction[Any],
    content: str = discord.utils.MISSING,
    *,
    ephemeral: bool = True,
    **parts: Any,
) -> None:
    """Answer, whether or not it was acknowledged.

    A public answer whose token has died goes to the channel instead; a private one can't be shown then.
    """
    parts = {"content": content, "suppress_embeds": "embed" not in parts, **parts}
    try:
        if interaction.response.is_done() or interaction.extras.get(ARRIVED):
            send = partial(interaction.followup.send, ephemeral=ephemeral, wait=True, **parts)
            await insist(send, file=parts.get("file"))
        else:
            await acknowledge(interaction, partial(interaction.response.send_message, ephemeral=ephemeral, **parts))
    except discord.HTTPException as exc:
        if exc.code not in (GONE, ACKNOWLEDGED, *TOKEN_DEAD):
            raise
        if ephemeral or not isinstance(interaction.channel, discord.abc.Messageable):
            log.warning("an interaction of %s was gone before it could be answered", _name(interaction))
            return
        await interaction.channel.send(**{k: v for k, v in parts.items() if v is not discord.utils.MISSING})


async def insist(send: Callable[[], Awaitable[object]], *, file: discord.File | None = None) -> None:
    """Send what follows an acknowledgement; again if Discord could not be reached, for somebody waits."""
    for pause_s in (*ANSWER_PAUSES_S, None):
        try:
            await send()
            return
        except TROUBLE as exc:
            if pause_s is None or not is_passing(exc):
                raise
        await asyncio.sleep(pause_s)
        if file is not None:
            file.reset()


async def replace(interaction: discord.Interaction[Any], parts: dict[str, Any]) -> None:
    """Put other content in the place of the message whose button was pressed, once it was acknowledged."""
    fresh = {"content": None, "embed": None, "view": None, "attachments": [], **parts}
    fresh.pop("suppress_embeds", None)  # this can't be edited here
    await insist(partial(interaction.edit_original_response, **fresh))


async def answer_error(interaction: discord.Interaction[Any], error: Exception) -> None:
    """Tell who asked what to do, if it is theirs to mend; else apologise, with the number that the log has."""
    say = privately(interaction)
    cause = error.original if isinstance(error, app_commands.CommandInvokeError) else error
    if isinstance(cause, discord.HTTPException) and cause.code in (GONE, ACKNOWLEDGED, *TOKEN_DEAD):
        log.warning("an interaction of %s was gone before it could be answered", _name(interaction))
        return
    if isinstance(cause, NoSuchModel) and cause.name is None and not interaction.is_guild_integration():
        text = say("say.no_model_private")
    elif isinstance(cause, UserError):
        text = literal(say.error(cause), mentions=True)[:1900]
    elif isinstance(cause, app_commands.MissingPermissions):
        text = say("why.manager.no")
    elif isinstance(cause, app_commands.NoPrivateMessage):
        text = say("why.server_only.no")
    else:
        error_id = secrets.token_hex(4)
        log.error("%s failed, error %s", _name(interaction), error_id, exc_info=cause)
        text = say("error.apology", id=error_id)
    try:
        if interaction.extras.get(PUBLIC):
            # What fills in a deferral is as public as that was, and an error is for one pair of eyes: fill in
            # anything, tell them apart from it, and take it away.
            with suppress(*TROUBLE):
                await interaction.edit_original_response(content="…")
        await answer(interaction, text)
        if interaction.extras.get(PUBLIC):
            await insist(interaction.delete_original_response)
    except TROUBLE as exc:
        log.warning("an error could not be shown: %s", exc)


def _name(interaction: discord.Interaction[Any]) -> str:
    if interaction.command:
        return f"/{interaction.command.qualified_name}"
    data: Any = interaction.data
    return str(data.get("custom_id", "?")).partition(":")[0] if data else "?"
