"""The stand-in for Discord, tested against the real discord.py over real sockets."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import discord
import discord.gateway
import discord.http
import pytest
import yarl
from discord import app_commands

from tests.fakes.discord_server import DEFAULT_PERMISSIONS, INTENT_CONTENT, LOADING, MANAGE_GUILD, FakeDiscord


class Vote(discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"vote:(?P<count>\d+)"):
    def __init__(self, count: int) -> None:
        super().__init__(discord.ui.Button(label=f"votes {count}", custom_id=f"vote:{count}"))
        self.count = count

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str]
    ) -> Vote:
        return cls(int(match["count"]))

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        view = discord.ui.View(timeout=None).add_item(Vote(self.count + 1))
        allowed = interaction.permissions.manage_guild
        await interaction.response.edit_message(content=f"voted {self.count + 1}, manager {allowed}", view=view)


class Bot(discord.Client):
    def __init__(self, intents: discord.Intents) -> None:
        super().__init__(intents=intents, guild_ready_timeout=0.05, allowed_mentions=discord.AllowedMentions.none())
        self.tree = app_commands.CommandTree(self)
        self.release = asyncio.Event()
        self.errors: list[BaseException] = []
        self.heard: list[str] = []
        self.last: discord.Interaction[Any] | None = None
        add_commands(self)

    async def setup_hook(self) -> None:
        self.add_dynamic_items(Vote)
        await self.tree.sync()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Skip the wait of 5 s."""

    async def on_message(self, message: discord.Message) -> None:
        if message.author.bot:
            return
        self.heard.append(message.content)
        if self.user in message.mentions:
            await message.reply(f"you said: {message.clean_content} @everyone")

    async def attempt(self, coroutine: Any) -> None:
        try:
            await coroutine
        except (discord.HTTPException, discord.DiscordException) as error:
            self.errors.append(error)


def add_commands(bot: Bot) -> None:
    @bot.tree.command(description="answer at once")
    async def ping(interaction: discord.Interaction[Any], text: str, times: int = 1) -> None:
        bot.last = interaction
        await bot.attempt(interaction.response.send_message(" ".join([text] * times), ephemeral=True))

    @bot.tree.command(description="defer, wait to be released, then edit")
    async def slow(interaction: discord.Interaction[Any], how: str) -> None:
        await interaction.response.defer()
        await bot.release.wait()
        if how == "edit":
            await bot.attempt(interaction.edit_original_response(content="done"))
        else:
            await bot.attempt(interaction.followup.send("done"))

    @bot.tree.command(description="acknowledge only when released")
    async def late(interaction: discord.Interaction[Any]) -> None:
        await bot.release.wait()
        await bot.attempt(interaction.response.defer())

    @bot.tree.command(description="answer with a channel message and a button, and edit it")
    async def board(interaction: discord.Interaction[Any]) -> None:
        await interaction.response.send_message("posted", ephemeral=True)
        assert isinstance(interaction.channel, discord.TextChannel)
        message = await interaction.channel.send("0 %", view=discord.ui.View(timeout=None).add_item(Vote(0)))
        await message.edit(content="50 %")
        await message.edit(content="100 %")
        await interaction.followup.send("finished")

    @bot.tree.command(description="return a file")
    async def upload(interaction: discord.Interaction[Any], archive: discord.Attachment) -> None:
        data = await archive.read()
        await interaction.response.send_message(f"{len(data)} bytes", file=discord.File(io.BytesIO(data), "copy.txt"))

    group = app_commands.Group(name="voice", description="voices")

    @group.command(description="pick one")
    async def pick(interaction: discord.Interaction[Any], name: str, member: discord.Member | None = None) -> None:
        await interaction.response.send_message(f"picked {name} for {member}")

    @pick.autocomplete("name")
    async def names(interaction: discord.Interaction[Any], current: str) -> list[app_commands.Choice[str]]:
        return [app_commands.Choice(name=n, value=n) for n in ("anna", "andy", "bob") if n.startswith(current)]

    bot.tree.add_command(group)


@pytest.fixture
async def fake(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeDiscord]:
    async with FakeDiscord() as server:
        monkeypatch.setattr(discord.http.Route, "BASE", f"{server.url}/api/v10")
        gateway = yarl.URL(server.gateway_url)
        monkeypatch.setattr(discord.gateway.DiscordWebSocket, "DEFAULT_GATEWAY", gateway)
        yield server
        assert server.unknown_routes == []


@pytest.fixture
async def bot(fake: FakeDiscord) -> AsyncIterator[Bot]:
    client = Bot(discord.Intents(guilds=True, guild_messages=True))
    running = asyncio.create_task(client.start(fake.token))
    await fake.wait_ready()
    await client.wait_until_ready()
    yield client
    await client.close()
    await running


async def test_login_syncs_and_sees_the_guild(fake: FakeDiscord, bot: Bot) -> None:
    assert bot.user is not None and bot.user.id == fake.bot_id and bot.application_id == fake.application_id
    assert [c["name"] for c in fake.commands or []] == ["ping", "slow", "late", "board", "upload", "voice"]
    guild = bot.get_guild(fake.guild_id)
    assert guild is not None and guild.me is not None and guild.get_channel(fake.channel_id) is not None
    age = discord.utils.utcnow() - discord.utils.snowflake_time(fake.guild_id)
    assert abs(age.total_seconds()) < 60


async def test_command_ids_survive_a_second_sync_and_guild_commands_are_separate(fake: FakeDiscord, bot: Bot) -> None:
    first = [c["id"] for c in fake.commands or []]
    await bot.tree.sync()
    assert [c["id"] for c in fake.commands or []] == first and fake.commands_put_count == 2
    bot.tree.copy_global_to(guild=discord.Object(fake.guild_id))
    synced = await bot.tree.sync(guild=discord.Object(fake.guild_id))
    assert synced[0].id != int(first[0]) and len(await bot.tree.fetch_commands()) == 6
    assert (await (await fake.slash("ping", {"text": "x"})).answered())["content"] == "x"


async def test_a_wrong_token_cannot_log_in(fake: FakeDiscord) -> None:
    with pytest.raises(discord.LoginFailure):
        async with Bot(discord.Intents.none()) as client:
            await client.start("wrong")


async def test_a_privileged_intent_that_is_not_granted_closes_with_4014(fake: FakeDiscord) -> None:
    fake.granted_intents &= ~INTENT_CONTENT
    with pytest.raises(discord.PrivilegedIntentsRequired):
        async with Bot(discord.Intents(guilds=True, message_content=True)) as client:
            await client.start(fake.token)


async def test_a_slash_command_is_answered_ephemerally(fake: FakeDiscord, bot: Bot) -> None:
    interaction = await fake.slash("ping", {"text": "hi", "times": 2})
    message = await interaction.answered()
    assert message["content"] == "hi hi" and message["flags"] == 64
    assert interaction.response is not None and interaction.response["type"] == 4
    assert interaction.acked_after_s is not None and interaction.acked_after_s < 3
    assert fake.messages[int(message["id"])] is message
    channel = bot.get_partial_messageable(fake.channel_id)
    with pytest.raises(discord.NotFound) as caught:
        await channel.fetch_message(int(message["id"]))
    assert caught.value.code == 10008


@pytest.mark.parametrize("how", ["edit", "followup"])
async def test_a_deferred_command_is_answered_in_the_original_message(fake: FakeDiscord, bot: Bot, how: str) -> None:
    interaction = await fake.slash("slow", {"how": how})
    await fake.wait_for(lambda: interaction.message)
    assert interaction.answer is None and interaction.message and interaction.message["flags"] & LOADING
    bot.release.set()
    message = await interaction.answered()
    assert message is interaction.message and message["content"] == "done" and message["flags"] == 0
    assert interaction.followups == [] and bot.errors == []


async def test_an_acknowledgement_after_three_seconds_is_refused(fake: FakeDiscord, bot: Bot) -> None:
    interaction = await fake.slash("late")
    fake.clock_offset_s = 3.5
    bot.release.set()
    await fake.wait_for(lambda: bot.errors)
    assert isinstance(bot.errors[0], discord.NotFound) and bot.errors[0].code == 10062
    assert interaction.response is None
    with pytest.raises(AssertionError, match="callback"):
        await interaction.answered(timeout=0.1)


async def test_a_second_acknowledgement_is_refused(fake: FakeDiscord, bot: Bot) -> None:
    await (await fake.slash("ping", {"text": "x"})).answered()
    assert bot.last is not None
    again = discord.InteractionResponse(bot.last)
    with pytest.raises(discord.InteractionResponded):
        await bot.last.response.defer()
    await bot.attempt(again.send_message("y"))
    error = bot.errors[0]
    assert isinstance(error, discord.HTTPException) and (error.status, error.code) == (400, 40060)


async def test_a_refused_answer_leaves_the_interaction_open(fake: FakeDiscord, bot: Bot) -> None:
    interaction = await fake.slash("ping", {"text": "x" * 2001})
    await fake.wait_for(lambda: bot.errors)
    assert isinstance(bot.errors[0], discord.HTTPException) and bot.errors[0].code == 50035
    assert interaction.response is None and bot.last is not None
    await discord.InteractionResponse(bot.last).send_message("shorter")
    assert (await interaction.answered())["content"] == "shorter"


async def test_a_token_older_than_fifteen_minutes_is_refused(fake: FakeDiscord, bot: Bot) -> None:
    interaction = await fake.slash("slow", {"how": "edit"})
    await fake.wait_for(lambda: interaction.response)
    fake.clock_offset_s = 15 * 60 + 1
    bot.release.set()
    await fake.wait_for(lambda: bot.errors)
    error = bot.errors[0]
    assert isinstance(error, discord.HTTPException) and (error.status, error.code) == (401, 50027)
    assert (await (await fake.slash("ping", {"text": "new"})).answered())["content"] == "new"


async def test_autocomplete_and_subcommands_reach_the_bot(fake: FakeDiscord, bot: Bot) -> None:
    choices = await fake.autocomplete("voice", "name", "an", subcommand="pick")
    assert choices == [{"name": "anna", "value": "anna"}, {"name": "andy", "value": "andy"}]
    options = {"name": "anna", "member": fake.member_id}
    assert (await (await fake.slash("voice", options, subcommand="pick")).answered())["content"] == (
        "picked anna for member"
    )


async def test_options_the_command_does_not_have_are_the_tests_fault(fake: FakeDiscord, bot: Bot) -> None:
    with pytest.raises(AssertionError, match="requires"):
        await fake.slash("ping")
    with pytest.raises(AssertionError, match="options"):
        await fake.slash("ping", {"text": "a", "nope": 1})
    with pytest.raises(AssertionError, match="registered"):
        await fake.slash("nope")


async def test_a_mention_is_answered_with_a_reply_that_pings_nobody(fake: FakeDiscord, bot: Bot) -> None:
    asked = await fake.say("hello", mention_bot=True)
    reply = await fake.wait_for(lambda: next((m for m in fake.messages.values() if m["author"]["bot"]), None))
    assert reply["message_reference"]["message_id"] == str(asked)
    assert reply["content"].startswith("you said: @mockingbird hello") and "\u200b" not in reply["content"]
    assert reply["mentions"] == [] and reply["mention_everyone"] is False
    await fake.wait_for(lambda: bot.cached_messages and bot.cached_messages[-1].id == int(reply["id"]))


async def test_without_the_content_intent_only_mentions_and_pinging_replies_are_readable(
    fake: FakeDiscord, bot: Bot
) -> None:
    mine = await bot.get_partial_messageable(fake.channel_id).send("mine")
    await fake.say("secret")
    await fake.say("silent reply", reply_to=mine.id, ping_reply=False)
    await fake.say("reply", reply_to=mine.id)
    await fake.say("from a bot", bot=True)
    await fake.say("end", mention_bot=True)
    await fake.wait_for(lambda: len(bot.heard) == 4)
    assert bot.heard == ["", "", "reply", f"<@{fake.bot_id}> end"]


async def test_channel_messages_are_edited_listed_and_deleted(fake: FakeDiscord, bot: Bot) -> None:
    interaction = await fake.slash("board")
    await fake.wait_for(lambda: interaction.followups)
    assert [body["content"] for _, body in fake.edits] == ["50 %", "100 %"]
    message_id = fake.edits[0][0]
    assert fake.messages[message_id]["content"] == "100 %" and fake.messages[message_id]["edited_timestamp"]
    channel = bot.get_partial_messageable(fake.channel_id)
    assert [m.content async for m in channel.history(limit=5)] == ["finished", "100 %"]
    assert [m.content async for m in channel.history(after=discord.Object(message_id))] == ["finished"]
    message = await channel.fetch_message(message_id)
    async with channel.typing():
        await message.delete()
    assert message_id not in fake.messages
    for call in (message.edit(content="x"), message.delete(), channel.send("x", reference=message)):
        with pytest.raises(discord.HTTPException):
            await call
    theirs = channel.get_partial_message(await fake.say("theirs"))
    with pytest.raises(discord.Forbidden):
        await theirs.edit(content="x")


async def test_too_long_empty_and_too_large_messages_are_refused(fake: FakeDiscord, bot: Bot) -> None:
    channel = bot.get_partial_messageable(fake.channel_id)
    await channel.send("x" * 2000)
    for content, code in (("x" * 2001, 50035), ("", 50006)):
        with pytest.raises(discord.HTTPException) as caught:
            await channel.send(content)
        assert (caught.value.status, caught.value.code) == (400, code)
    fake.attachment_size_limit = 10
    with pytest.raises(discord.HTTPException) as caught:
        await channel.send(file=discord.File(__file__))
    assert caught.value.code == 40005


async def test_a_dynamic_button_answers_every_click(fake: FakeDiscord, bot: Bot) -> None:
    await (await fake.slash("board")).answered()
    message_id = (await fake.wait_for(lambda: fake.edits))[0][0]
    await fake.wait_for(lambda: len(fake.edits) == 2)
    first = await fake.click(message_id, "vote:0")
    assert (await first.answered())["content"] == "voted 1, manager False"
    second = await fake.click(message_id, "vote:1", permissions=MANAGE_GUILD)
    assert (await second.answered())["content"] == "voted 2, manager True"
    assert fake.messages[message_id]["components"][0]["components"][0]["label"] == "votes 2"
    with pytest.raises(AssertionError, match="no component"):
        await fake.click(message_id, "vote:0", permissions=DEFAULT_PERMISSIONS)


async def test_attachments_travel_in_both_directions(fake: FakeDiscord, bot: Bot) -> None:
    data = bytes(range(256)) * 8192
    message = await (await fake.slash("upload", attachments={"archive": ("my tweets.zip", data)})).answered()
    assert message["content"] == f"{len(data)} bytes"
    async with aiohttp.ClientSession() as session, session.get(message["attachments"][0]["url"]) as reply:
        assert await reply.read() == data
        assert message["attachments"][0]["filename"] == "copy.txt"


async def test_a_429_with_via_is_retried_and_a_503_is_not(fake: FakeDiscord, bot: Bot) -> None:
    channel = bot.get_partial_messageable(fake.channel_id)
    fake.fail_next("POST", r"/channels/\d+/messages$", 429, times=2)
    await channel.send("at last")
    assert [p for m, p, _ in fake.requests if m == "POST"] == [f"/channels/{fake.channel_id}/messages"] * 3
    assert len(fake.messages) == 1
    fake.fail_next("POST", "/messages", 429, headers={})
    with pytest.raises(discord.HTTPException):
        await channel.send("blocked by Cloudflare")
    fake.fail_next("POST", "/messages", 503, "<html>down</html>")
    with pytest.raises(discord.DiscordServerError):
        await channel.send("down")
    fake.fail_next("POST", "/messages", 403, {"code": 50013, "message": "Missing Permissions"})
    with pytest.raises(discord.Forbidden):
        await channel.send("forbidden")
    fake.fail_next("POST", "/messages", 0)
    with pytest.raises(aiohttp.ClientError):
        await channel.send("cut")
    assert len(fake.messages) == 1


@pytest.mark.parametrize("how", ["cut", "op 7"])
async def test_a_lost_gateway_is_resumed_and_nothing_is_missed(fake: FakeDiscord, bot: Bot, how: str) -> None:
    await (fake.drop_gateway() if how == "cut" else fake.request_reconnect())
    await fake.say("while away", mention_bot=True)
    await fake.wait_for(lambda: bot.heard == [f"<@{fake.bot_id}> while away"])
    await fake.wait_for(lambda: fake.resume_count == 1 and len(fake.messages) == 2)
    assert fake.identify_count == 1 and ("GET", "/gw-resume", None) in fake.requests


async def test_an_invalid_session_makes_the_client_identify_again(fake: FakeDiscord, bot: Bot) -> None:
    await fake.invalidate_session()
    await fake.wait_ready()
    assert (fake.identify_count, fake.resume_count) == (2, 0)
    await fake.drop_gateway(forget_session=True)
    await fake.wait_ready()
    assert (fake.identify_count, fake.resume_count) == (3, 0)
    assert (await (await fake.slash("ping", {"text": "back"})).answered())["content"] == "back"


async def test_heartbeats_are_acknowledged(fake: FakeDiscord, bot: Bot) -> None:
    await fake.wait_for(lambda: bot.latency < 1)


async def test_a_direct_message_stays_out_of_the_guild(fake: FakeDiscord, bot: Bot) -> None:
    channel = await bot.create_dm(discord.Object(fake.member_id))
    message = await channel.send("psst")
    assert message.guild is None and fake.messages[message.id]["channel_id"] != str(fake.channel_id)


async def test_a_wait_that_fails_says_what_was_requested(fake: FakeDiscord, bot: Bot) -> None:
    with pytest.raises(AssertionError, match=r"waited 0\.1 s for a pony(?s:.*)PUT /applications"):
        await fake.wait_for(lambda: False, 0.1, what="a pony")
