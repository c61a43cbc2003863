"""Speaking under the model's name: the webhook, the name, and what holds there as everywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator

import discord
import pytest

from bot.discord_front.persona import persona_name
from bot.strings import strings
from tests.fakes.simcord_house import House, labels, private


@pytest.fixture
async def stage(house: House) -> AsyncIterator[House]:
    """A house with a model that speaks under its own name."""
    await house.shelve("Robin")
    await house.service.settings.change(house.guild.id, persona=True)
    yield house


def spoken(house: House, channel: object = None) -> list[discord.Message]:
    """What was said through webhooks."""
    return [m for m in (channel or house.channel).history() if m.webhook_id]


async def test_posts_come_under_the_models_name_and_say_that_it_is_a_machine(stage: House) -> None:
    result = await stage.member.slash(stage.channel, "say", prompt="the *kettle*")
    [message] = spoken(stage)
    assert message.author.name == "Robin (AI)"
    assert "> **the \\*kettle\\***" in message.content
    assert "AI imitation" in message.content
    assert labels(message) == ["Again", "Delete"]
    assert f"/{message.id}" in private(result)


async def test_one_webhook_is_made_and_used_again_after_a_restart_too(stage: House) -> None:
    for _ in range(2):
        await stage.member.slash(stage.channel, "say")
    await stage.restart()
    await stage.member.slash(stage.channel, "say")
    assert len({m.webhook_id for m in spoken(stage)}) == 1
    assert len(await stage.bot.get_channel(stage.channel.id).webhooks()) == 1


async def test_a_webhook_that_somebody_deleted_is_made_anew(stage: House) -> None:
    await stage.member.slash(stage.channel, "say")
    [hook] = await stage.bot.get_channel(stage.channel.id).webhooks()
    await hook.delete()
    await stage.member.slash(stage.channel, "say")
    assert len(spoken(stage)) == 2


async def test_again_and_delete_work_there(stage: House) -> None:
    await stage.member.slash(stage.channel, "say", prompt="**the** kettle", count=2)
    [message] = spoken(stage)
    await stage.manager.click(message, label="Again")
    assert (stage.asked()[-1].prompt, stage.asked()[-1].count) == ("**the** kettle", 2)
    assert "Only who asked" in private(await stage.manager.click(message, label="Delete"))
    await stage.member.click(message, label="Delete")
    [left] = spoken(stage)
    assert left.id != message.id
    await stage.restart()
    await stage.manager.click(left, label="Delete")
    assert spoken(stage) == []


async def test_a_mention_is_answered_there_with_the_text_quoted(stage: House) -> None:
    await stage.member.send(stage.channel, f"{stage.bot.user.mention} who *are* you?")
    [message] = spoken(stage)
    assert message.content.splitlines()[0] == "> who \\*are\\* you?"
    await stage.manager.click(message, label="Again")
    assert stage.asked()[-1].answers == ("who *are* you?",)
    assert message.mentions == []


async def test_a_reply_to_it_goes_on_in_its_voice(stage: House) -> None:
    await stage.member.send(stage.channel, f"{stage.bot.user.mention} who are you?")
    [first] = spoken(stage)
    await stage.shelve("wren", handles=("wren",))
    await stage.member.send(stage.channel, f"{stage.bot.user.mention} really?", reply_to=first)
    assert spoken(stage)[-1].author.name == "Robin (AI)"
    assert stage.asked()[-1].answers[-1] == "really?"
    assert "AI imitation" not in " ".join(stage.asked()[-1].answers)


async def test_what_it_says_under_a_models_name_is_never_answered(stage: House) -> None:
    stage.orders.give("engine-says", f"{stage.bot.user.mention} hello")
    await stage.member.slash(stage.channel, "say")
    assert len(stage.asked()) == 1


async def test_without_the_permission_the_bot_speaks_itself(stage: House) -> None:
    overwrite = discord.PermissionOverwrite(manage_webhooks=False)
    bare = stage.guild.create_text_channel("bare", overwrites={stage.guild.me: overwrite})
    result = await stage.member.slash(bare, "say")
    assert spoken(stage, bare) == []
    assert "AI imitation" in result.response.content
    await stage.member.send(bare, f"{stage.bot.user.mention} hello")
    assert "AI imitation" in stage.said(channel=bare)[-1].content


async def test_where_discord_refuses_a_webhook_the_bot_speaks_itself(stage: House) -> None:
    stage.env.inject_error("POST", "/channels/*/webhooks", status=400, code=30007, times=1)
    result = await stage.member.slash(stage.channel, "say")
    assert "AI imitation" in stage.said()[-1].content
    assert f"/{stage.said()[-1].id}" in private(result)


async def test_in_a_thread_it_speaks_through_the_parents_webhook(stage: House) -> None:
    message = await stage.manager.send(stage.channel, "a place to talk")
    await stage.bot.get_channel(stage.channel.id).get_partial_message(message.id).create_thread(name="talk")
    thread = stage.channel.threads[0]
    await stage.member.slash(thread, "say")
    [said] = spoken(stage, thread)
    assert spoken(stage) == []
    await stage.member.click(said, label="Delete")
    assert spoken(stage, thread) == []


async def test_a_refusal_of_the_engine_stays_private(stage: House) -> None:
    stage.orders.give("engine-refuses", "asleep")
    assert "asleep" in private(await stage.member.slash(stage.channel, "say"))
    assert spoken(stage) == []


async def test_names_that_discord_forbids_are_changed_and_long_ones_cut(stage: House) -> None:
    for name in ("Discord", "my dIsCoRd voice", "CLYDE", "x" * 80, "everyone", "clyde discord clyde", "_"):
        model = await stage.shelve(name)
        shown = persona_name(model, strings())
        assert shown.endswith(" (AI)"), name
        assert 1 <= len(shown) <= 80
        assert "discord" not in shown.lower()
        assert "clyde" not in shown.lower()
        await stage.member.slash(stage.channel, "say", model=name)
        assert spoken(stage)[-1].author.name == shown
