"""What the bot makes of Discord's errors and outages: nothing is lost, nothing is told twice."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.bot import discord_process
from tests.bot.discord_process import (
    WriteConfig,
    announcements,
    bot,
    fail_when,
    log_of,
    lose_answers,
    manager,
    own,
    press,
    progress,
    run,
    says,
    train,
)
from tests.fakes.discord_payloads import snowflake
from tests.fakes.discord_server import FakeDiscord

discord, robin_house, with_robin = (
    discord_process.discord,
    discord_process.robin_house,
    discord_process.with_robin,
)

# discord.py asks for zstd frames where it finds zstandard, which the bot itself can't do without.
NO_ZSTD_FOR_DISCORD = """
import builtins
ordinary = builtins.__import__
def without(name, globals=None, *rest, **more):
    if name == "zstandard" and (globals or {}).get("__name__", "").startswith("discord"):
        raise ImportError(name)
    return ordinary(name, globals, *rest, **more)
builtins.__import__ = without
"""


@pytest.mark.slow
async def test_the_end_is_told_once_whatever_fails(discord: FakeDiscord, write_config: WriteConfig) -> None:
    async with bot(discord, write_config()):
        posted = lose_answers(discord, says("POST", "**Training"))
        plan = await train(discord)
        assert f"Job #1: <#{discord.channel_id}>" in plan
        path = r"/channels/\d+/messages/\d+"
        discord.fail_next("PATCH", path, 429)
        discord.fail_next("PATCH", path, 429, body="<html>1015 You are being rate limited</html>", headers={})
        final = fail_when(discord, says("PATCH", "done"), 0)
        told = lose_answers(discord, says("POST", "is ready"))
        await discord.wait_for(lambda: announcements(discord), 120)
        await discord.wait_for(lambda: progress(discord, "done"))
        await discord.wait_for(lambda: not (posted or final or told))
        told_twice = says("POST", "is ready")
        await discord.wait_for(lambda: sum(told_twice(*r) for r in discord.requests) == 2, what="another try")
    assert len(announcements(discord)) == 1
    assert not discord._failures, "the 429s came"


@pytest.mark.slow
async def test_a_training_goes_on_while_discord_is_down(discord: FakeDiscord, write_config: WriteConfig) -> None:
    config = write_config()
    async with bot(discord, config, breaks=True):
        await train(discord)
        discord.down = True
        await discord.wait_for(lambda: _state(config) == "done", 120)
        await discord.wait_for(lambda: "not shown" in log_of(config), what="an edit that fails")
        discord.down = False
        await discord.wait_for(lambda: progress(discord, "done"), 20)
        await discord.wait_for(lambda: announcements(discord), 20)
        await discord.wait_ready(70)  # discord.py waits longer with each try
        assert "#1 **robin** done" in (await run(discord, "jobs", subcommand="list"))["content"]
    assert len(announcements(discord)) == 1


def _state(config: Path) -> str:
    data_dir = msgspec.toml.decode(config.read_bytes())["bot"]["data_dir"]
    with sqlite3.connect(f"file:{data_dir}/registry.sqlite3?mode=ro", uri=True) as registry:
        (state,) = registry.execute("SELECT state FROM jobs").fetchone()
    registry.close()
    return str(state)


async def test_a_bot_that_starts_while_discord_is_down_waits(discord: FakeDiscord, write_config: WriteConfig) -> None:
    discord.down = True
    config = write_config()
    async with bot(discord, config, waits=False):
        await discord.wait_for(lambda: "can't be reached" in log_of(config))
        discord.down = False
        await discord.wait_ready()
        assert "`/say`" in (await run(discord, "help"))["content"]


async def test_a_malformed_event_does_not_end_the_bot(discord: FakeDiscord, write_config: WriteConfig) -> None:
    async with bot(discord, write_config(), breaks=True) as process:
        event = {"id": str(snowflake()), "type": 2, "token": "t", "version": 1, "data": {"name": "help", "type": 1}}
        event["application_id"] = str(discord.application_id)  # and no attachment_size_limit
        await discord._dispatch("INTERACTION_CREATE", event, None)
        await discord.wait_for(lambda: discord.identify_count == 2, what="a new client")
        await discord.wait_ready()
        assert "`/say`" in (await run(discord, "help"))["content"]
        assert process.returncode is None


async def test_files_that_discord_does_not_hand_out(discord: FakeDiscord, write_config: WriteConfig) -> None:
    async with bot(discord, write_config()):
        discord.fail_next("GET", "/cdn/", 0, times=2)  # aiohttp asks twice itself
        assert "did not hand me posts.jsonl" in await train(discord)
        discord.vanish("posts.jsonl")
        assert "did not hand me posts.jsonl" in await train(discord)
        assert "no training here yet" in (await run(discord, "jobs", subcommand="list"))["content"]


@pytest.mark.usefixtures("with_robin")
async def test_interactions_older_than_fifteen_minutes(discord: FakeDiscord, write_config: WriteConfig) -> None:
    async with bot(discord, write_config()):
        said = await discord.slash("say", {"prompt": "the lamp"})  # the engine is still loading
        await discord.wait_for(lambda: said.response)
        download = asyncio.Event()
        ordinary = discord._answer

        async def answer(request: Any, path: str, body: Any, files: Any) -> Any:
            if path.startswith("/cdn/"):
                await download.wait()
            return await ordinary(request, path, body, files)

        discord._answer = answer  # type: ignore[method-assign]
        trained = await discord.slash("train", attachments={"archive": ("fake.zip", b"no")}, **manager())
        await discord.wait_for(lambda: trained.response)
        discord.clock_offset_s = 15 * 60 + 1
        download.set()
        (failed,) = await discord.wait_for(lambda: announcements(discord), 30)
        assert "not a ZIP" in failed["content"], "the training was begun"
        assert progress(discord, "failed")
        (spoken,) = await discord.wait_for(lambda: own(discord, "**the lamp**"), 30)
        assert spoken["channel_id"] == str(discord.channel_id)
        assert said.answer is None
        again = await (await press(discord, spoken, "again:")).answered(20)
        assert "**the lamp**" in again["content"]


async def test_zlib_frames_and_two_shards(discord: FakeDiscord, write_config: WriteConfig, tmp_path: Path) -> None:
    async with bot(discord, write_config()):
        assert discord.session.ws.compress == "zstd-stream"
    discord.shards = 2
    other = next(i for i in iter(snowflake, 0) if (i >> 22) % 2 != (discord.guild_id >> 22) % 2)
    discord.add_guild("other", guild_id=other)
    (tmp_path / "sitecustomize.py").write_text(NO_ZSTD_FOR_DISCORD)
    async with bot(discord, write_config(), environment={"PYTHONPATH": str(tmp_path)}):
        await discord.wait_for(lambda: len(discord.sessions) == 2)
        assert [discord.sessions[shard].ws.compress for shard in (0, 1)] == ["zlib-stream"] * 2
        for guild in (discord.guild_id, other):
            assert "Discord: " in (await run(discord, "status", guild_id=guild))["content"]
            asked = await discord.say("hello", mention_bot=True, guild_id=guild)
            await discord.wait_for(lambda asked=asked: discord_process.reply_to(discord, asked))
