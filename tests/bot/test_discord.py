"""`python -m bot run`, the real process, against a stand-in that speaks Discord's protocol over real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT, made_up_posts
from tests.fakes.discord_server import MANAGE_GUILD, FakeDiscord

ROBIN = "".join(json.dumps(post) + "\n" for post in made_up_posts(120)).encode()
SLOW = {"epochs": 100, "batch_tokens": 64, "patience": 100, "evaluations_per_epoch": 4, "learning_rate": 1e-5}


@pytest.fixture
async def discord() -> AsyncIterator[FakeDiscord]:
    async with FakeDiscord() as fake:
        yield fake
        assert fake.unknown_routes == []


@asynccontextmanager
async def bot(fake: FakeDiscord, config_file: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The bot's process, logged in; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bot", "--config", str(config_file), "run"),
        cwd=ROOT,
        env={
            **os.environ,
            "DISCORD_TOKEN": fake.token,
            "MOCKINGBIRD_DISCORD_API": f"{fake.url}/api/v10",
        },
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await fake.wait_ready(timeout=30)
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 20) == 0


def progress_message(fake: FakeDiscord) -> dict | None:
    return next((m for m in fake.messages.values() if m["content"].startswith("**Training")), None)


def announcement(fake: FakeDiscord, word: str) -> dict | None:
    return next(
        (m for m in fake.messages.values() if f"<@{fake.member_id}>" in m["content"] and word in m["content"]), None
    )


async def train(fake: FakeDiscord, **options: object) -> str:
    interaction = await fake.slash(
        "train",
        {"handles": "@robin", **options},
        attachments={"archive": ("robin.jsonl", ROBIN)},
        permissions=MANAGE_GUILD,
    )
    return (await interaction.answered(20))["content"]


async def test_the_whole_thread_on_discord(discord: FakeDiscord, write_config: Callable[..., Path]) -> None:
    async with bot(discord, write_config()):
        assert {c["name"] for c in discord.commands or []} == {"say", "train", "models", "jobs", "status", "help"}
        early = await discord.slash("say", {"model": "robin"})
        assert "no model" in (await early.answered())["content"]

        answer = await train(discord)
        assert "Job #1" in answer
        ready = await discord.wait_for(lambda: announcement(discord, "is ready"), timeout=90)
        assert ready["mentions"], "who asked is notified"
        progress = progress_message(discord)
        assert progress
        await discord.wait_for(lambda: "done" in progress["content"])
        assert progress["components"] == []

        said = await discord.slash("say", {"prompt": "the *kettle*", "count": 3})
        content = (await said.answered(30))["content"]
        assert "**the \\*kettle\\***" in content
        assert "AI imitation" in content
        assert said.acked_after_s is not None
        assert said.acked_after_s < 2.5

        assert [c["value"] for c in await discord.autocomplete("say", "model", "rob")] == ["robin"]
        assert await discord.autocomplete("say", "model", "zzz") == []
        listed = await (await discord.slash("models", subcommand="list")).answered()
        assert "robin" in listed["content"]
        jobs = await (await discord.slash("jobs", subcommand="list")).answered()
        assert "#1" in jobs["content"]
        assert "say" in (await (await discord.slash("help")).answered())["content"]
        assert "builtin" not in (await (await discord.slash("status")).answered())["content"]

        mention = await discord.say("what did the kettle do? @everyone", mention_bot=True)
        reply = await discord.wait_for(lambda: reply_to(discord, mention), timeout=30)
        assert "AI imitation" in reply["content"]
        assert not reply["mention_everyone"]
        await discord.say("a message to nobody in particular")
        await discord.say("one bot to another", mention_bot=True, bot=True)
        await asyncio.sleep(0.5)
        assert sum(m["author"]["id"] == str(discord.bot_id) for m in discord.messages.values()) > 0
        assert [m for m in discord.messages.values() if m.get("message_reference")] == [reply]


def reply_to(fake: FakeDiscord, message_id: int) -> dict | None:
    return next(
        (m for m in fake.messages.values() if (m.get("message_reference") or {}).get("message_id") == str(message_id)),
        None,
    )


async def test_bad_requests_get_a_short_ephemeral_answer(
    discord: FakeDiscord, write_config: Callable[..., Path]
) -> None:
    async with bot(discord, write_config()):
        for options, attachments, word in (
            ({"handles": "@nasa"}, None, "can't fetch"),
            ({}, None, "what to learn from"),
            ({}, {"archive": ("notes.txt", b"?")}, "neither an X archive"),
            ({"handles": "../x"}, {"archive": ("robin.jsonl", ROBIN)}, "handle"),
        ):
            interaction = await discord.slash("train", options, attachments=attachments, permissions=MANAGE_GUILD)
            assert word in (await interaction.answered())["content"]
        too_long = await discord.slash("say", {"prompt": "x" * 5000})
        assert "at most 500" in (await too_long.answered())["content"]
        # A file that turns out to be bad fails on the progress message, and who asked is told.
        await discord.slash("train", {"handles": "@robin"}, attachments={"archive": ("fake.zip", b"no")})
        failed = await discord.wait_for(lambda: announcement(discord, "failed"), timeout=30)
        assert "not a ZIP" in failed["content"]


async def test_a_killed_bot_takes_its_job_and_its_message_up_again(
    discord: FakeDiscord, write_config: Callable[..., Path]
) -> None:
    config = write_config(training=SLOW)
    async with bot(discord, config) as first:
        await train(discord)
        await discord.wait_for(lambda: (p := progress_message(discord)) and "loss" in p["content"], timeout=60)
        message = progress_message(discord)
        assert message
        first.kill()
        await first.wait()
    puts = discord.commands_put_count
    async with bot(discord, config):
        assert discord.commands_put_count == puts, "unchanged commands are not sent again"
        edits = len(discord.edits)
        await discord.wait_for(
            lambda: any("going on from step" in e["content"] for _, e in discord.edits[edits:]), timeout=60
        )
        assert {message_id for message_id, _ in discord.edits} == {int(message["id"])}
        # The button of before the restart still works.
        button = message["components"][0]["components"][0]["custom_id"]
        stranger = await discord.click(int(message["id"]), button, member_id=discord.member_id + 1)
        assert "Only who started" in (await stranger.answered())["content"]
        click = await discord.click(int(message["id"]), button)
        assert "being cancelled" in (await click.answered())["content"]
        await discord.wait_for(lambda: announcement(discord, "is cancelled"), timeout=30)
        assert "cancelled" in message["content"]


async def test_a_dropped_gateway_and_a_failing_api_do_not_lose_the_end(
    discord: FakeDiscord, write_config: Callable[..., Path]
) -> None:
    async with bot(discord, write_config()):
        discord.fail_next("PATCH", r"/channels/\d+/messages/\d+", 503, times=2)
        await train(discord)
        await discord.drop_gateway()
        await discord.wait_ready()
        await discord.wait_for(lambda: announcement(discord, "is ready"), timeout=90)
        await discord.wait_for(lambda: "done" in (progress_message(discord) or {"content": ""})["content"], timeout=30)


async def test_a_refused_token_ends_with_a_word_and_no_restart(
    discord: FakeDiscord, write_config: Callable[..., Path]
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bot", "--config", str(write_config()), "run"),
        cwd=ROOT,
        env={**os.environ, "DISCORD_TOKEN": "wrong", "MOCKINGBIRD_DISCORD_API": f"{discord.url}/api/v10"},
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 78
    assert b"refuses the token" in stderr
    assert b"Traceback" not in stderr
    assert b"wrong" not in stderr
