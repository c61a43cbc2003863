"""The stand-in's gateway and its faults, with the real discord.py: shards, frames, outages, slowness, permissions."""

from __future__ import annotations

import asyncio
import io
import json
import time
import zlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import discord
import pytest
import zstandard
from discord import utils

from tests.fakes.discord_client import Client, ShardedClient, running, serving
from tests.fakes.discord_payloads import snowflake
from tests.fakes.discord_server import FakeDiscord


@pytest.fixture
async def fake(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeDiscord]:
    async with serving(monkeypatch) as server:
        yield server
        assert server.violations == []


def guild_on(fake: FakeDiscord, shard: int, shards: int) -> int:
    """A guild's id that belongs to a shard."""
    while True:
        if (made := snowflake() + (1 << 22)) >> 22 and (made >> 22) % shards == shard and made not in fake.guilds:
            return fake.add_guild(f"on {shard}", guild_id=made)
        time.sleep(0.001)


async def test_guilds_go_to_their_shards_and_direct_messages_to_the_first(fake: FakeDiscord) -> None:
    fake.shards = 2
    guilds = [guild_on(fake, shard, 2) for shard in (0, 1)]
    async with running(fake, ShardedClient()) as bot:
        assert bot.shard_count == 2 and fake.identify_count == 2
        assert ("GET", "/gateway/bot", None) in fake.requests
        for shard, guild in enumerate(guilds):
            assert (found := bot.get_guild(guild)) is not None and found.shard_id == shard
            await fake.say("hello", mention_bot=True, guild_id=guild)
        await fake.say("psst", where="dm")
        await fake.wait_for(lambda: len(bot.heard) == 3)
        logs = ["".join(fake.sessions[shard].log) for shard in (0, 1)]
        assert "psst" in logs[0] and "psst" not in logs[1]
        assert logs[0].count("hello") == logs[1].count("hello") == 1
        await fake.drop_gateway(1)
        assert fake.session is fake.sessions[0] and fake.session.ws
        await fake.say("while away", mention_bot=True, guild_id=guilds[1])
        await fake.wait_for(lambda: len(bot.heard) == 4)
        assert (fake.resume_count, fake.identify_count) == (1, 2)
        await fake.request_reconnect(1)
        await fake.wait_for(lambda: fake.resume_count == 2)


@pytest.mark.parametrize("plain", [False, True])
async def test_frames_are_packed_as_the_client_asked(fake: FakeDiscord, plain: bool) -> None:
    fake.plain_frames = plain
    async with running(fake, Client()) as bot:
        assert fake.session is not None and fake.session.ws is not None
        assert fake.session.ws.compress == ("" if plain else utils._ActiveDecompressionContext.COMPRESSION_TYPE)
        for i in range(20):
            await fake.say(f"{i} {'long ' * 300}", mention_bot=True)
        await fake.wait_for(lambda: len(bot.heard) == 20)
        assert [m.content.split()[1] for m in bot.heard] == [str(i) for i in range(20)]
        await fake.drop_gateway()
        await fake.say("after", mention_bot=True)
        await fake.wait_for(lambda: len(bot.heard) == 21)


# discord.py knows one kind of compression only, which one depends on what is installed; so without it
@pytest.mark.parametrize("compression", ["zlib-stream", "zstd-stream"])
async def test_one_compressor_lasts_as_long_as_its_connection(fake: FakeDiscord, compression: str) -> None:
    inflate = zlib.decompressobj() if compression == "zlib-stream" else zstandard.ZstdDecompressor().decompressobj()
    url = f"{fake.gateway_url}?v=10&encoding=json&compress={compression}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
        identify = {"op": 2, "d": {"token": fake.token, "intents": 1}}
        for expected in (10, "READY", "GUILD_CREATE"):
            frame = await ws.receive_bytes(timeout=5)
            assert compression != "zlib-stream" or frame.endswith(b"\x00\x00\xff\xff")
            message = json.loads(inflate.decompress(frame))
            assert expected in (message["op"], message.get("t"))
            if expected == 10:
                await ws.send_json(identify)


async def test_in_an_outage_nothing_answers_and_after_it_nothing_is_lost(fake: FakeDiscord) -> None:
    async with running(fake, Client()) as bot:
        fake.down = True
        with pytest.raises(aiohttp.ClientError):
            await bot.get_partial_messageable(fake.channel_id).send("x")
        await fake.say("in the dark", mention_bot=True)
        await asyncio.sleep(0.2)
        assert not bot.heard and fake.session is not None and fake.session.ws is None
        fake.down = False
        await fake.wait_for(lambda: bot.heard, 20)
        assert (fake.resume_count, fake.identify_count) == (1, 1)


async def test_a_slow_answer_comes_after_what_was_asked_is_done(fake: FakeDiscord) -> None:
    async with running(fake, Client()) as bot:
        fake.delay_s = 0.4
        sending = asyncio.create_task(bot.get_partial_messageable(fake.channel_id).send("x"))
        await fake.wait_for(lambda: fake.messages, 0.3)
        assert not sending.done()
        await sending


async def test_a_file_that_vanished_is_not_found(fake: FakeDiscord) -> None:
    async with running(fake, Client()) as bot:
        channel = bot.get_partial_messageable(fake.channel_id)
        files = [discord.File(io.BytesIO(b"x"), name) for name in ("a.txt", "b.txt", "c.txt")]
        first, second, third = (await channel.send(files=files)).attachments
        fake.vanish(first.id)
        fake.vanish("b.txt")
        for gone in (first, second):
            with pytest.raises(discord.NotFound):
                await gone.read()
        assert await third.read() == b"x"


async def test_the_settings_of_commands_are_read_and_announced(fake: FakeDiscord) -> None:
    class Watching(Client):
        async def on_raw_app_command_permissions_update(self, event: Any) -> None:
            self.events.append(event)

    bot = Watching()

    @bot.tree.command(description="x")
    async def train(interaction: discord.Interaction[Any]) -> None:
        await interaction.response.defer(thinking=True)
        await interaction.delete_original_response()

    async with running(fake, bot):
        guild = discord.Object(fake.guild_id)
        command = (await bot.tree.fetch_commands())[0]
        assert await bot.tree.fetch_commands(guild=guild) == []
        with pytest.raises(discord.NotFound) as caught:
            await command.fetch_permissions(guild)
        assert caught.value.code == 10066
        role = fake.add_role("trainers")
        fake.set_command_permissions("train", [{"id": role, "type": 1, "permission": True}])
        await fake.wait_for(lambda: bot.events)
        assert bot.events[0].target_id == command.id and bot.events[0].permissions[0].id == role
        found = await command.fetch_permissions(guild)
        assert [(p.id, p.permission) for p in found.permissions] == [(role, True)]
        listed = await bot.http.get_guild_application_command_permissions(fake.application_id, fake.guild_id)
        assert [p["id"] for p in listed] == [str(command.id)]
        fake.set_command_permissions(None, [{"id": fake.member_id, "type": 2, "permission": False}])
        await fake.wait_for(lambda: len(bot.events) == 2)
        assert bot.events[1].target_id == fake.application_id and len(fake.command_permissions[fake.guild_id]) == 2
        fake.set_command_permissions("train", [])
        assert len(fake.command_permissions[fake.guild_id]) == 1
        asked = await fake.slash("train")
        await fake.wait_for(lambda: ("DELETE", asked.token) in [(m, p.split("/")[3]) for m, p, _ in fake.requests[4:]])
        assert asked.message is None
