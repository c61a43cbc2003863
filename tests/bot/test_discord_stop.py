"""How the bot's process ends: drained when it is told to stop, and with an exit code that a supervisor understands."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import msgspec
import pytest

from tests.bot import discord_process
from tests.bot.discord_process import (
    SLOW,
    WriteConfig,
    announcements,
    bot,
    ended,
    fail_when,
    killed,
    log_of,
    own,
    press,
    progress,
    run,
    says,
    start,
    stopped,
    train,
)
from tests.fakes.discord_payloads import Json
from tests.fakes.discord_server import INTENT_CONTENT, FakeDiscord

discord = discord_process.discord


@pytest.mark.slow
async def test_a_job_outlives_lost_connections_a_kill_and_a_stop(
    discord: FakeDiscord, write_config: WriteConfig
) -> None:
    config = write_config(training=SLOW)
    async with bot(discord, config) as process:
        await train(discord)
        await discord.invalidate_session()
        message = await discord.wait_for(lambda: progress(discord, "loss"), 120)
        await discord.wait_for(lambda: discord.identify_count == 2, what="a new session")
        await discord.wait_ready()
        await discord.request_reconnect()
        await discord.wait_for(lambda: discord.resume_count == 1, what="a resumed session")
        await discord.drop_gateway()
        assert "Trainings running: 1" in (await run(discord, "status"))["content"]
        assert discord.resume_count == 2
        await killed(process)

    puts = discord.commands_put_count
    async with bot(discord, config) as process:
        assert discord.commands_put_count == puts, "unchanged commands are not sent again"
        await discord.wait_for(lambda: progress(discord, "going on from step"), 120)
        process.send_signal(signal.SIGTERM)
        said = await discord.slash("say")
        assert (await said.answered())["content"] in (
            "I am being restarted. Try again in a moment.",
            "There is no model here yet. Train one first: /train.",
        )
        assert await asyncio.wait_for(process.wait(), 20) == 0
        assert "I am being restarted. This goes on by itself." in message["content"]
        assert message["components"], "it can still be cancelled"

    step = _checkpoint(config)
    async with bot(discord, config) as process:
        await discord.wait_for(lambda: progress(discord, f"going on from step {step}"), 120)
        assert {message_id for message_id, _ in discord.edits} == {int(message["id"])}
        await _cancel(discord, message)
        discord.down = True
        assert await stopped(process) == 0
        discord.down = False
    async with bot(discord, config):
        assert "#1 **robin** cancelled" in (await run(discord, "jobs", subcommand="list"))["content"]
    assert len(announcements(discord)) == 1


async def _cancel(discord: FakeDiscord, message: Json) -> None:
    """By the button of before the restarts; the end is shown and told although Discord fails."""
    stranger = await press(discord, message, "cancel:", member_id=discord.add_member("stranger"))
    assert "Only who started" in (await stranger.answered())["content"]
    final = fail_when(discord, says("PATCH", "cancelled"), 503)
    told = fail_when(discord, says("POST", "is cancelled"), 0)
    click = await press(discord, message, "cancel:")
    assert "being cancelled" in (await click.answered())["content"]
    await discord.wait_for(lambda: announcements(discord), 30)
    assert not final
    assert not told
    assert "cancelled" in message["content"]
    assert message["components"] == []


def _checkpoint(config: Path) -> int:
    """The step of the latest one."""
    data_dir = Path(msgspec.toml.decode(config.read_bytes())["bot"]["data_dir"])
    return max(int(folder.name.removeprefix("step-")) for folder in data_dir.glob("runs/1/checkpoints/step-*"))


async def test_told_to_stop_while_discord_has_never_been_there(discord: FakeDiscord, write_config: WriteConfig) -> None:
    discord.down = True
    config = write_config()
    async with bot(discord, config, waits=False) as process:
        await discord.wait_for(lambda: "can't be reached" in log_of(config))
        assert await stopped(process) == 0


@pytest.mark.parametrize("arguments", [("nonsense",), (), ("run", "--fast"), ("--config",)])
async def test_a_wrong_command_line_ends_with_64(discord: FakeDiscord, arguments: tuple[str, ...]) -> None:
    code, stderr = await ended(await start(discord, *arguments, stderr=asyncio.subprocess.PIPE))
    assert code == 64
    assert "usage: mockingbird" in stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ("no token", "DISCORD_TOKEN"),
        ("refused token", "refuses the token"),
        ("config error", "progress_every_s"),
        ("no config", "there is no such file"),
        ("refused intent", "refuses the message content intent"),
        ("an address that is not on loopback", "has to be an address on loopback"),
    ],
)
async def test_what_the_operator_has_to_mend_ends_with_78(
    discord: FakeDiscord, write_config: WriteConfig, fault: str, word: str
) -> None:
    section = {"message_content": True} | ({"progress_every_s": 0} if fault == "config error" else {})
    config = write_config(discord=section)
    if fault == "no config":
        config = config.with_name("other.toml")
    discord.granted_intents &= ~(INTENT_CONTENT if fault == "refused intent" else 0)
    environment: dict[str, str | None] = {}
    if fault.endswith("token"):
        environment["DISCORD_TOKEN"] = "secret-but-wrong" if fault == "refused token" else None
    if "loopback" in fault:
        environment["MOCKINGBIRD_DISCORD_API"] = "http://192.0.2.1/api/v10"
    process = await start(discord, "--config", config, "run", environment=environment, stderr=asyncio.subprocess.PIPE)
    code, stderr = await ended(process)
    assert code == 78
    assert word in stderr
    assert "Traceback" not in stderr
    assert "secret-but-wrong" not in stderr


async def test_a_data_directory_in_use_ends_with_75(discord: FakeDiscord, write_config: WriteConfig) -> None:
    config = write_config()
    async with bot(discord, config) as running:
        second = await start(discord, "--config", config, "run", stderr=asyncio.subprocess.PIPE)
        code, stderr = await ended(second)
        assert code == 75
        assert str(running.pid) in stderr
        assert "Traceback" not in stderr
        assert discord.identify_count == 1
        assert own(discord) == []
