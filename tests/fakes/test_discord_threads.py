"""Threads and personas in the stand-in for Discord, made with the real discord.py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import discord
import pytest

from tests.fakes.discord_client import Client, running, serving
from tests.fakes.discord_payloads import CREATE_THREADS, MANAGE_WEBHOOKS, SEND_IN_THREADS
from tests.fakes.discord_server import FakeDiscord


@pytest.fixture
async def fake(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeDiscord]:
    async with serving(monkeypatch) as server:
        yield server


@pytest.fixture
async def bot(fake: FakeDiscord) -> AsyncIterator[Client]:
    async with running(fake, Client()) as client:
        yield client


def general(fake: FakeDiscord, bot: Client) -> discord.TextChannel:
    channel = bot.get_channel(fake.channel_id)
    assert isinstance(channel, discord.TextChannel)
    return channel


async def test_a_thread_that_a_member_opens_is_a_place_to_talk(fake: FakeDiscord, bot: Client) -> None:
    message = await general(fake, bot).send("talk about this")
    thread_id = await fake.open_thread(message.id, "about this")
    thread = await fake.wait_for(lambda: bot.get_channel(thread_id))
    assert isinstance(thread, discord.Thread) and thread_id == message.id and thread.name == "about this"
    assert thread.parent_id == fake.channel_id and thread.owner_id == fake.member_id
    await fake.say("hello", mention_bot=True, channel_id=thread_id)
    await fake.wait_for(lambda: bot.heard)
    reply = await bot.heard[0].reply("hello yourself")
    assert fake.messages[reply.id]["channel_id"] == str(thread_id)
    assert (await bot.fetch_channel(thread_id)).id == thread_id
    fake.set_permissions(fake.app_permissions & ~SEND_IN_THREADS)
    with pytest.raises(discord.Forbidden):
        await thread.send("no more")
    await general(fake, bot).send("but here")
    fake.remove_channel(thread_id)
    await fake.wait_for(lambda: bot.get_channel(thread_id) is None)


async def test_threads_of_the_bot_are_opened_renamed_locked_and_seen_by_the_next_login(
    fake: FakeDiscord, bot: Client
) -> None:
    message = await general(fake, bot).send("x")
    mine = await message.create_thread(name="mine")
    assert mine.id == message.id and mine.me is not None
    with pytest.raises(discord.HTTPException, match="160004"):
        await message.create_thread(name="again")
    private = await general(fake, bot).create_thread(name="private")
    assert private.type is discord.ChannelType.private_thread
    await mine.edit(name="ours")
    await private.edit(archived=True, locked=True)
    with pytest.raises(discord.HTTPException, match="archived"):
        await private.send("x")
    async with running(fake, Client()) as second:
        threads = general(fake, second).threads
        assert [t.name for t in threads] == ["ours"]
    fake.app_permissions &= ~CREATE_THREADS
    with pytest.raises(discord.Forbidden):
        await general(fake, bot).create_thread(name="x")


async def test_webhooks_need_their_permission(fake: FakeDiscord, bot: Client) -> None:
    for call in (general(fake, bot).webhooks, lambda: general(fake, bot).create_webhook(name="x")):
        with pytest.raises(discord.Forbidden) as caught:
            await call()
        assert caught.value.code == 50013


async def test_a_persona_speaks_edits_and_deletes_in_channels_and_threads(fake: FakeDiscord, bot: Client) -> None:
    fake.app_permissions |= MANAGE_WEBHOOKS
    hook = await general(fake, bot).create_webhook(name="voices")
    assert [w.id for w in await general(fake, bot).webhooks()] == [hook.id] == list(fake.webhooks)
    assert hook.token and hook.user == bot.user
    view = discord.ui.View(timeout=None).add_item(discord.ui.Button(label="x", custom_id="x"))
    said = await hook.send("hi", username="Robin (AI)", avatar_url="https://x.test/a.png", view=view, wait=True)
    made = fake.messages[said.id]
    assert made["author"]["username"] == "Robin (AI)" and made["author"]["bot"] and made["components"]
    assert made["webhook_id"] == str(hook.id) and fake.avatar_urls[said.id] == "https://x.test/a.png"
    await fake.wait_for(lambda: bot.heard)
    assert bot.heard[0].webhook_id == hook.id and bot.heard[0].author.bot and bot.heard[0].content == "hi"
    thread_id = await fake.open_thread(await fake.say("x"), "thread")
    inside = await hook.send("in here", thread=discord.Object(thread_id), wait=True)
    assert fake.messages[inside.id]["channel_id"] == str(thread_id)
    await hook.edit_message(inside.id, content="edited", thread=discord.Object(thread_id))
    assert fake.messages[inside.id]["content"] == "edited" and fake.edits[-1][0] == inside.id
    await hook.delete_message(said.id)
    assert said.id not in fake.messages
    again = discord.Webhook.partial(hook.id, hook.token, client=bot)
    with pytest.raises(discord.NotFound, match="10003"):
        await again.send("x", thread=discord.Object(1))
    assert fake.violations == []
    await hook.delete()
    with pytest.raises(discord.NotFound) as caught:
        await again.send("gone")
    assert caught.value.code == 10015


async def test_a_button_under_a_persona_can_be_clicked(fake: FakeDiscord, bot: Client) -> None:
    fake.app_permissions |= MANAGE_WEBHOOKS
    hook = await general(fake, bot).create_webhook(name="voices")
    view = discord.ui.View(timeout=None)
    button: discord.ui.Button[Any] = discord.ui.Button(label="x", custom_id="again")
    view.add_item(button)
    bot.add_view(view)

    async def answer(interaction: discord.Interaction[Any]) -> None:
        await interaction.response.send_message("clicked", ephemeral=True)

    button.callback = answer  # type: ignore[method-assign]
    said = await hook.send("hi", view=view, wait=True)
    assert (await (await fake.click(said.id, "again")).answered())["content"] == "clicked"


async def test_a_webhook_somebody_deletes_is_unknown(fake: FakeDiscord, bot: Client) -> None:
    fake.app_permissions |= MANAGE_WEBHOOKS
    hook = await general(fake, bot).create_webhook(name="voices")
    fake.remove_webhook(hook.id)
    with pytest.raises(discord.NotFound):
        await hook.send("x")
    assert await general(fake, bot).webhooks() == []
    for _ in range(15):
        await general(fake, bot).create_webhook(name="x")
    with pytest.raises(discord.HTTPException, match="30007"):
        await general(fake, bot).create_webhook(name="x")


@pytest.mark.parametrize("name", ["Discord fan", "a CLYDE b", "x" * 81])
async def test_names_that_webhooks_must_not_have_are_refused(fake: FakeDiscord, bot: Client, name: str) -> None:
    fake.app_permissions |= MANAGE_WEBHOOKS
    with pytest.raises(discord.HTTPException) as caught:
        await general(fake, bot).create_webhook(name=name)
    assert caught.value.code == 50035 and len(fake.violations) == 1
    hook = await general(fake, bot).create_webhook(name="ok")
    with pytest.raises(discord.HTTPException):
        await hook.send("x", username=name, wait=True)
    assert len(fake.violations) == 2
