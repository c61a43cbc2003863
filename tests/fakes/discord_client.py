"""What the tests of the stand-in for Discord share: discord.py turned to it, and clients that run while a test does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import discord
import discord.gateway
import discord.http
import pytest
import yarl
from discord import app_commands

from tests.fakes.discord_server import FakeDiscord

C = TypeVar("C", bound="Client")
INTENTS = discord.Intents(guilds=True, guild_messages=True, dm_messages=True)


@asynccontextmanager
async def serving(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeDiscord]:
    """A stand-in that this process's discord.py takes for Discord."""
    async with FakeDiscord() as server:
        monkeypatch.setattr(discord.http.Route, "BASE", f"{server.url}/api/v10")
        gateway = yarl.URL(server.gateway_url)
        monkeypatch.setattr(discord.gateway.DiscordWebSocket, "DEFAULT_GATEWAY", gateway)
        yield server
        assert server.unknown_routes == []


class Client(discord.Client):
    """Syncs its commands, and keeps what it heard, what it was asked and what went wrong."""

    def __init__(self, **options: Any) -> None:
        options = {"intents": INTENTS, "guild_ready_timeout": 0.05, **options}
        super().__init__(**options, allowed_mentions=discord.AllowedMentions.none())
        self.tree = app_commands.CommandTree(self)
        self.heard: list[discord.Message] = []
        self.asked: list[discord.Interaction[Any]] = []
        self.events: list[Any] = []

    async def setup_hook(self) -> None:
        await self.tree.sync()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Skip the wait of 5 s."""

    async def on_message(self, message: discord.Message) -> None:
        if message.author != self.user:
            self.heard.append(message)

    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        self.asked.append(interaction)


class ShardedClient(Client, discord.AutoShardedClient):
    """As many shards as the gateway recommends."""


@asynccontextmanager
async def running(fake: FakeDiscord, client: C) -> AsyncIterator[C]:
    task = asyncio.create_task(client.start(fake.token))
    try:
        await fake.wait_ready()
        await asyncio.wait_for(client.wait_until_ready(), 10)
        yield client
    finally:
        await client.close()
        await task
