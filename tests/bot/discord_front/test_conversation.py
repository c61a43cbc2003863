"""Talking to the bot: mentions, replies, direct messages, threads, “Answer as…”; and whom it never answers."""

from __future__ import annotations

import discord
import pytest
import simcord
from simcord.backend.serializers import message_payload

from bot.discord_front.conversation import LOOP_LIMIT, LOOP_WINDOW_S
from bot.strings import strings
from tests.fakes.simcord_house import House, labels, private, text

with_content = pytest.mark.parametrize("house", [{"discord": {"message_content": True}}], indirect=True)


def me(house: House) -> str:
    assert house.bot.user
    return house.bot.user.mention


def asked_about(house: House) -> tuple[str, ...]:
    """The texts that the engine was last asked to answer."""
    return house.asked()[-1].answers


async def test_a_mention_is_answered_in_the_channels_voice_before_the_servers(house: House) -> None:
    robin = await house.shelve("robin")
    wren = await house.shelve("wren", handles=("wren",))
    await house.shelve("jay", handles=("jay",))
    elsewhere = house.guild.create_text_channel("elsewhere")
    await house.manager.slash(house.channel, "models use", model="robin")
    await house.manager.slash(house.channel, "models use", model="wren", channel=elsewhere)
    await house.member.send(house.channel, f"{me(house)} hello")
    assert house.asked()[-1].model.endswith(robin.folder)
    await house.member.send(elsewhere, f"{me(house)} hello")
    assert house.asked()[-1].model.endswith(wren.folder)
    assert asked_about(house) == ("hello",)
    answer = house.said()[-1]
    assert "model robin v1" in answer.content
    assert labels(answer) == ["Again", "Delete"]


async def test_a_handle_or_a_name_after_the_mention_picks_the_model(house: House) -> None:
    robin = await house.shelve("early bird", handles=("robin",))
    duet = await house.shelve("duet", handles=("jay", "wren"))
    await house.shelve("finch", handles=("finch",))
    for written, model, said in (
        ("@Robin what now?", robin, "what now?"),
        ("@duet: sing", duet, "sing"),
        ("@robin", robin, None),
    ):
        await house.member.send(house.channel, f"{me(house)} {written}")
        assert house.asked()[-1].model.endswith(model.folder), written
        assert asked_about(house) == ((said,) if said else ())
    await house.member.send(house.channel, f"{me(house)} @nobody sing")
    assert asked_about(house) == ("@nobody sing",)


async def test_a_reply_keeps_the_chain_and_the_voice(house: House) -> None:
    await house.shelve("robin")
    await house.shelve("wren", handles=("wren",))
    house.orders.give("engine-says", "**loud** > and @everyone clear")
    await house.member.send(house.channel, f"{me(house)} @robin who *are* you?")
    first = house.said()[-1]
    await house.manager.send(house.channel, f"{me(house)} why?", reply_to=first)
    assert asked_about(house) == ("who *are* you?", "**loud** > and @everyone clear", "why?")
    assert "model robin" in house.said()[-1].content
    await house.manager.send(house.channel, f"{me(house)} @wren you then", reply_to=house.said()[-1])
    assert "model wren" in house.said()[-1].content
    assert asked_about(house)[-2:] != asked_about(house)[-1:]


async def test_the_chain_has_an_end(house: House) -> None:
    await house.shelve()
    message = None
    for number in range(6):
        await house.member.send(house.channel, f"{me(house)} number {number}", reply_to=message)
        message = house.said()[-1]
    assert len(asked_about(house)) == 7
    assert asked_about(house)[-1] == "number 5"


async def test_a_reply_to_something_that_is_gone_is_answered_without_it(house: House) -> None:
    await house.shelve()
    lost = await house.manager.send(house.channel, "soon gone")
    await house.member.send(house.channel, "between", reply_to=lost)
    between = house.channel.last_message
    await house.manager.delete(lost)
    await house.member.send(house.channel, f"{me(house)} and now?", reply_to=between)
    assert asked_about(house)[-1] == "and now?"


async def test_a_say_that_is_replied_to_is_kept_without_its_markup(house: House) -> None:
    await house.shelve()
    house.orders.give("engine-says", "the *kettle* sang")
    said = await house.member.slash(house.channel, "say", prompt="the *kettle*")
    await house.member.send(house.channel, f"{me(house)} go on", reply_to=said.response)
    assert asked_about(house) == ("the *kettle* sang", "go on")


async def test_again_under_an_answer_answers_the_same_text(house: House) -> None:
    await house.shelve()
    await house.member.send(house.channel, f"{me(house)} @robin who *are* you \\ really?")
    again = await house.manager.click(house.said()[-1], label="Again")
    assert asked_about(house) == ("who *are* you \\ really?",)
    assert not again.response.ephemeral
    await house.manager.click(again.response, label="Again")
    assert asked_about(house) == ("who *are* you \\ really?",)


async def test_again_says_so_when_the_text_is_gone(house: House) -> None:
    await house.shelve()
    asked = await house.member.send(house.channel, f"{me(house)} hello")
    await house.member.delete(asked)
    assert "can't read any more" in private(await house.member.click(house.said()[-1], label="Again"))


async def test_a_direct_message_needs_no_mention(house: House) -> None:
    await house.shelve("common", handles=("common",), server_id=0)
    await house.shelve("robin")
    await house.member.user.send_dm("hello")
    assert asked_about(house) == ("hello",)
    answer = house.member.user.dm_channel.history()[-1]
    assert "model common" in answer.content
    await house.member.user.click(answer, label="Delete")
    assert len(house.member.user.dm_channel.history()) == 1


async def test_bots_webhooks_and_other_peoples_talk_are_never_answered(house: House) -> None:
    await house.shelve("common", handles=("common",), server_id=0)
    robot = house.guild.add_member(house.env.create_user("robot", bot=True))
    await robot.send(house.channel, f"{me(house)} hello")
    hook = house.guild.create_webhook(house.channel, "news")
    await hook.send(f"{me(house)} hello", username="somebody")
    await house.member.send(house.channel, "not to you")
    await house.member.send(house.channel, f"@everyone {house.manager.mention}")
    assert house.asked() == []


async def test_that_somebody_pinned_a_direct_message_is_nothing_to_answer(house: House) -> None:
    await house.shelve("common", handles=("common",), server_id=0)
    await house.member.user.send_dm("hello")
    assert len(house.asked()) == 1
    backend, channel = house.env.backend, house.member.user.dm_channel
    first = backend.get_message(channel.id, channel.history()[0].id)
    pin = {**message_payload(backend, first), "id": str(first.id + 1), "type": 6, "content": ""}
    backend.emit("MESSAGE_CREATE", pin)
    await house.env.settle()
    assert len(house.asked()) == 1


async def test_a_storm_of_mentions_is_answered_once_with_a_word_and_then_not_at_all(house: House) -> None:
    await house.shelve()
    members = [house.guild.add_member(house.env.create_user(f"m{n}")) for n in range(3)]
    for number in range(LOOP_LIMIT + 3):
        await members[number % 3].send(house.channel, f"{me(house)} {number}")
    said = house.said()
    assert len(house.asked()) == LOOP_LIMIT
    assert len(said) == LOOP_LIMIT + 1
    assert "pause" in said[-1].content
    elsewhere = house.guild.create_text_channel("elsewhere")
    await house.member.send(elsewhere, f"{me(house)} hello")
    assert len(house.asked()) == LOOP_LIMIT + 1
    await house.pass_time(LOOP_WINDOW_S + 1)
    await house.member.send(house.channel, f"{me(house)} again")
    assert len(house.asked()) == LOOP_LIMIT + 2


async def test_where_it_may_not_speak_a_mention_is_met_with_silence(house: House) -> None:
    await house.shelve()
    allowed = house.guild.create_text_channel("allowed")
    await house.service.settings.change(house.guild.id, channels=(allowed.id,))
    await house.member.send(house.channel, f"{me(house)} hello")
    assert house.said() == []
    await house.member.send(allowed, f"{me(house)} hello")
    assert len(house.said(channel=allowed)) == 1
    assert allowed.mention in private(await house.member.slash(house.channel, "say"))


async def test_where_it_can_not_write_a_mention_does_no_harm(house: House) -> None:
    await house.shelve()
    silent = house.guild.create_text_channel(
        "silent", overwrites={house.guild.me: discord.PermissionOverwrite(send_messages=False)}
    )
    await house.member.send(silent, f"{me(house)} hello")
    assert house.said(channel=silent) == []
    assert house.faults() == []


async def test_a_bug_is_told_with_the_number_that_the_log_has(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.shelve()

    async def breaks(*args: object, **kwargs: object) -> None:
        raise RuntimeError("secret words of a bug")

    monkeypatch.setattr(house.service, "say", breaks)
    await house.member.send(house.channel, f"{me(house)} hello")
    [told] = house.said()
    [fault] = house.faults()
    assert fault.rpartition(" ")[2] in told.content
    assert "secret" not in told.content


async def start_thread(house: House, message: discord.Message) -> simcord.ChannelHandle:
    """A thread that hangs on a message."""
    channel = house.bot.get_channel(message.channel.id)
    await channel.get_partial_message(message.id).create_thread(name="on and on")
    return house.channel.threads[-1]


@with_content
async def test_a_thread_on_its_message_goes_on_without_mentions_once_an_admin_switched_that_on(house: House) -> None:
    await house.shelve()
    await house.member.send(house.channel, f"{me(house)} hello")
    thread = await start_thread(house, house.said()[-1])
    await house.member.send(thread, "nobody is meant")
    assert len(house.asked()) == 1
    panel = await house.manager.slash(house.channel, "settings")
    await house.manager.click(panel.response, label="Threads")
    await house.member.send(thread, "go on")
    assert asked_about(house)[-1] == "go on"
    await house.member.send(thread, "and on")
    assert "go on" in asked_about(house)
    own = await house.member.send(house.channel, "mine")
    other = await start_thread(house, own)
    before = len(house.asked())
    await house.member.send(other, "not to you")
    assert len(house.asked()) == before


async def test_without_the_intent_threads_can_not_be_switched_on(house: House) -> None:
    panel = await house.manager.slash(house.channel, "settings")
    assert "content intent" in private(await house.manager.click(panel.response, label="Threads"))
    assert not house.service.settings.of(house.guild.id).threads


# --- answer as… -------------------------------------------------------------------------------------------------------


async def test_answer_as_has_the_chosen_voice_answer_a_message(house: House) -> None:
    robin = await house.shelve("robin")
    await house.shelve("wren", handles=("wren",))
    message = await house.manager.send(house.channel, "what *do* you think, @everyone? \\")
    menu = await house.member.context_menu(house.channel, "Answer as…", message)
    assert "what" in private(menu)
    result = await house.member.select(menu.response, [str(robin.model_id)], custom_id="answer")
    assert not result.response.ephemeral
    assert asked_about(house) == ("what *do* you think, @everyone? \\",)
    assert text(result).splitlines()[0].startswith("> what")
    await house.manager.click(result.response, label="Again")
    assert asked_about(house) == ("what *do* you think, @everyone? \\",)


async def test_answer_as_keeps_a_text_of_any_length_within_limits(house: House) -> None:
    robin = await house.shelve("robin")
    message = await house.manager.send(house.channel, "*" * 2000)
    menu = await house.member.context_menu(house.channel, "Answer as…", message)
    result = await house.member.select(menu.response, [str(robin.model_id)], custom_id="answer")
    assert set(asked_about(house)[0]) == {"*"}
    await house.manager.click(result.response, label="Again")
    assert set(asked_about(house)[0]) == {"*"}


async def test_answer_as_on_the_bots_own_post_leaves_its_label_out(house: House) -> None:
    robin = await house.shelve("robin")
    house.orders.give("engine-says", "the kettle *sang*")
    said = await house.member.slash(house.channel, "say", prompt="the kettle")
    menu = await house.member.context_menu(house.channel, "Answer as…", said.response)
    await house.member.select(menu.response, [str(robin.model_id)], custom_id="answer")
    assert asked_about(house) == ("the kettle *sang*",)


async def test_answer_as_says_so_where_there_is_nothing_to_answer_or_nobody_to_do_it(house: House) -> None:
    message = await house.manager.send(house.channel, "hello")
    assert "no model" in private(await house.member.context_menu(house.channel, "Answer as…", message))
    await house.shelve()
    picture = await house.manager.send(house.channel, attachments=[("a.txt", b"a")])
    assert "no text" in private(await house.member.context_menu(house.channel, "Answer as…", picture))


async def test_answer_as_turns_pages_when_there_are_more_than_25_voices(house: House) -> None:
    for number in range(30):
        await house.shelve(f"voice {number:02d}", handles=(f"h{number}",))
    message = await house.manager.send(house.channel, "hello *there*")
    menu = await house.member.context_menu(house.channel, "Answer as…", message)
    await house.member.click(menu.response, label=strings()("models.next"))
    options = menu.response.message.components[0].children[0].options
    assert [option.label for option in options] == [f"voice {number:02d}" for number in (4, 3, 2, 1, 0)]
    await house.member.select(menu.response, [options[0].value], custom_id="answer")
    assert asked_about(house) == ("hello *there*",)
