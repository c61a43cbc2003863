"""Who asks: their permissions as Discord has them, and what the server's Integrations page lets them use."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import discord

from bot.discord_front.api import TROUBLE
from bot.records import Caller

if TYPE_CHECKING:
    from bot.discord_front.client import Mockingbird

log = logging.getLogger(__name__)

ROLE, USER = 1, 2  # kinds of a command permission
DEFAULT_MANAGED = ("train", "settings")  # hidden by Discord from who may not manage, until opened


class Grants:
    """Whom a server's Integrations page lets use a command. Kept until Discord says that it changed."""

    def __init__(self, client: Mockingbird) -> None:
        self._client = client
        self._pages: dict[tuple[int, int], dict[tuple[int, int], bool]] = {}
        self._commands: dict[str, int] = {}

    def forget(self, guild_id: int) -> None:
        """The page of a server changed."""
        self._pages = {key: page for key, page in self._pages.items() if key[0] != guild_id}

    async def allows(self, guild_id: int, command: str, member: discord.Member) -> bool:
        """Whether the page opens the command to that member, by name or by role.

        For everybody only where Discord hides the command otherwise: /jobs and /models are seen by all anyway.
        """
        assert self._client.application_id is not None
        try:
            if not self._commands:
                self._commands = {c.name: c.id for c in await self._client.tree.fetch_commands()}
            # Not what is set for all commands at once: that says who may use the bot, not who may manage it.
            said = await self._page(guild_id, self._commands[command]) if command in self._commands else {}
        except TROUBLE as exc:
            log.warning("the Integrations page of server %d can't be read: %s", guild_id, exc)
            return False
        if (USER, member.id) in said:
            return said[USER, member.id]
        if any(said.get((ROLE, role.id)) for role in member.roles if role.id != guild_id):
            return True
        return command in DEFAULT_MANAGED and said.get((ROLE, guild_id), False)

    async def _page(self, guild_id: int, subject: int) -> dict[tuple[int, int], bool]:
        """What is set for a command, or for the application: (kind, id) of whom -> allowed or not."""
        assert self._client.application_id is not None
        if (guild_id, subject) not in self._pages:
            try:
                found = await self._client.http.get_application_command_permissions(
                    self._client.application_id, guild_id, subject
                )
                entries = found["permissions"]
            except discord.NotFound:  # nothing was ever set
                entries = []
            page = {(int(entry["type"]), int(entry["id"])): bool(entry["permission"]) for entry in entries}
            self._pages[guild_id, subject] = page
        return self._pages[guild_id, subject]


def caller_of(interaction: discord.Interaction[Any]) -> Caller:
    """Who asks. Where the app is not installed to the server, the member's own id stands for it."""
    user, channel = interaction.user, interaction.channel
    in_server = interaction.is_guild_integration()
    manages = in_server and interaction.permissions.manage_guild
    return Caller(
        server_id=interaction.guild_id if in_server and interaction.guild_id else user.id,
        user_id=user.id,
        channel_id=interaction.channel_id,
        parent_id=channel.parent_id if isinstance(channel, discord.Thread) else None,
        roles=frozenset(role.id for role in user.roles) if isinstance(user, discord.Member) else frozenset(),
        may_manage=manages,
        may_train=manages,
    )


async def admitted(interaction: discord.Interaction[Any], command: str) -> Caller:
    """Who asks, with what the server's Integrations page lets them do by this command."""
    caller = caller_of(interaction)
    if caller.may_manage or not isinstance(interaction.user, discord.Member) or caller.server_id == caller.user_id:
        return caller
    client: Mockingbird = interaction.client
    if not await client.grants.allows(caller.server_id, command, interaction.user):
        return caller
    return replace(caller, may_train=True) if command == "train" else replace(caller, may_manage=True)


def caller_of_message(message: discord.Message) -> Caller:
    """Who wrote a message. They can't manage anything by it."""
    author, channel = message.author, message.channel
    return Caller(
        server_id=message.guild.id if message.guild else author.id,
        user_id=author.id,
        channel_id=channel.id,
        parent_id=channel.parent_id if isinstance(channel, discord.Thread) else None,
    )
