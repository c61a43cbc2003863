"""What the bot does on Discord: the real process, against a stand-in that speaks the protocol over real sockets."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from bot.strings import strings
from tests.bot import discord_process
from tests.bot.discord_process import (
    ROBIN,
    WriteConfig,
    announcements,
    bot,
    killed,
    link_to,
    log_of,
    manager,
    own,
    press,
    progress,
    reply_to,
    run,
    stopped,
    train,
)
from tests.fakes.discord_server import EPHEMERAL, FakeDiscord

discord, robin_house, with_robin = (
    discord_process.discord,
    discord_process.robin_house,
    discord_process.with_robin,
)


async def test_all_commands_are_registered(discord: FakeDiscord, write_config: WriteConfig) -> None:
    async with bot(discord, write_config()):
        commands = {command["name"]: command for command in discord.commands or []}
    assert set(commands) == {
        *("say", "train", "models", "jobs", "settings", "forget", "mydata", "status", "help", "why", "Answer as…")
    }
    subcommands = {name: [o["name"] for o in commands[name]["options"]] for name in ("models", "jobs")}
    assert subcommands["models"] == ["list", "info", "use", "rename", "delete", "restore"]
    assert subcommands["jobs"] == ["list", "cancel", "retry"]
    for name in ("say", "Answer as…"):
        assert commands[name]["integration_types"] == [0, 1], "a member can take them along"
        assert commands[name]["contexts"] == [0, 1, 2]
    for name in ("train", "settings"):
        assert int(commands[name]["default_member_permissions"]) == 1 << 5, "Manage Server"
        assert commands[name]["contexts"] == [0]
    for name, command in commands.items():
        localized = "name_localizations" if name == "Answer as…" else "description_localizations"
        assert command[localized]["ja"], name


@pytest.mark.slow
async def test_a_training_and_what_is_done_with_its_model(discord: FakeDiscord, write_config: WriteConfig) -> None:
    async with bot(discord, write_config()):
        early = await run(discord, "say", {"model": "robin"})
        assert "no model" in early["content"]
        assert early["flags"] & EPHEMERAL

        plan = await train(discord)
        shown = await discord.wait_for(lambda: progress(discord))
        assert "**robin**" in plan or "an account from what its files tell" in plan
        assert "posts.jsonl" in plan
        assert "It costs nothing." in plan
        assert f"Job #1: {link_to(shown)}" in plan
        assert "Cancel" in json.dumps(shown["components"])

        (ready,) = await discord.wait_for(lambda: announcements(discord), 120)
        assert f"<@{discord.member_id}> **robin** version 1 is ready" in ready["content"]
        assert [user["id"] for user in ready["mentions"]] == [str(discord.member_id)], "who asked is notified"
        assert "AI imitation" in ready["content"]
        (picture,) = ready["attachments"]
        assert picture["filename"] == "training.png"
        assert discord.files[int(picture["id"])][1].startswith(b"\x89PNG")
        assert "done" in shown["content"]
        assert shown["components"] == []
        figures = [edit["content"] for message_id, edit in discord.edits if message_id == int(shown["id"])]
        assert any("loss" in text or "tokens/s" in text for text in figures)

        one = await (await press(discord, ready, "say:")).answered(20)
        assert "AI imitation" in one["content"]
        await _look_after_the_model(discord)
        await _what_is_held(discord)
    assert len(announcements(discord)) == 1


async def _look_after_the_model(discord: FakeDiscord) -> None:
    listed = await run(discord, "models", subcommand="list")
    assert "**robin** v1" in listed["content"]
    info = await run(discord, "models", {"model": "robin"}, "info", timeout=20)
    assert "downloaded" in info["content"] or "posts, of which" in info["content"]
    assert [a["filename"] for a in info["attachments"]] == ["training.png"]

    refused = await run(discord, "models", {"model": "robin"}, "use")
    assert "Manage Server" in refused["content"]
    other = discord.add_channel("other")
    used = await run(discord, "models", {"model": "robin", "channel": other}, "use", **manager())
    assert used["content"] == f"In <#{other}> I speak with **robin** from now on."
    renamed = await run(discord, "models", {"model": "robin", "new_name": "Red Breast"}, "rename", **manager())
    assert "Red Breast" in renamed["content"]
    assert [c["value"] for c in await discord.autocomplete("say", "model", "breas")] == ["Red Breast"]

    for typed, word in (("red", "nothing was deleted"), ("red breast", "is deleted")):
        asked = await discord.slash("models", {"model": "Red Breast"}, subcommand="delete", **manager())
        form = await discord.wait_for(lambda asked=asked: asked.modal)
        assert "Red Breast" in json.dumps(form)
        deleted = await (await discord.submit(asked, {"name": typed})).answered()
        assert word in deleted["content"]
    assert "no model" in (await run(discord, "models", subcommand="list"))["content"]
    restored = await (await press(discord, deleted, "restore:", **manager())).answered()
    assert "is back" in restored["content"]
    again = await run(discord, "models", {"model": "Red Breast"}, "restore", **manager())
    assert "no model" in again["content"].lower(), "it is not deleted any more"


async def _what_is_held(discord: FakeDiscord) -> None:
    jobs = await run(discord, "jobs", subcommand="list")
    assert "#1 **robin** done" in jobs["content"]
    retried = await run(discord, "jobs", {"job": 1}, "retry", **manager())
    assert "#1" in retried["content"]
    assert "#2" not in (await run(discord, "jobs", subcommand="list"))["content"]

    held = await run(discord, "mydata")
    (file,) = held["attachments"]
    assert json.loads(discord.files[int(file["id"])][1])["trainings"][0]["accounts"] == ["robin"]
    erased = await (await press(discord, held, "mydata:")).answered()
    assert "these 1 trainings" in erased["content"]
    assert (await run(discord, "mydata"))["content"] == strings()("mydata.heading", records=0)

    receipt = (await run(discord, "forget", {"handle": "@robin", "block": True}, timeout=20, **manager()))["content"]
    assert "Red Breast v1" in receipt
    assert "is blocked" in receipt
    assert "no model" in (await run(discord, "models", subcommand="list"))["content"]
    assert "may not be learned" in (await run(discord, "train", **_posts_of("@robin")))["content"]


def _posts_of(handle: str) -> dict[str, Any]:
    return manager(
        {"options": {"handles": handle, "ground": "public_domain"}, "attachments": {"archive": ("robin.jsonl", ROBIN)}}
    )


@pytest.mark.slow
@pytest.mark.usefixtures("with_robin")
async def test_speaking_in_all_places_and_buttons_of_before_a_restart(
    discord: FakeDiscord, write_config: WriteConfig
) -> None:
    config = write_config(discord={"message_content": True})
    async with bot(discord, config) as first:
        said = await discord.slash("say", {"prompt": "the *kettle*", "count": 3})
        old = await said.answered(30)
        assert old["content"].count("**the \\*kettle\\***") == 3
        assert "-# AI imitation of" in old["content"]
        assert said.acked_after_s is not None
        assert said.acked_after_s < 2.5

        # What is being said when it is told to stop is said before it does.
        last = [await discord.slash("say", {"count": 5, "prompt": "the tram"}) for _ in range(3)]
        mention = await discord.say("and you?", mention_bot=True)
        await discord.wait_for(lambda: all(s.response for s in last))
        await discord.wait_for(lambda: [r for r in discord.requests if r[1].endswith("/typing")])
        assert await stopped(first) == 0
        assert ["AI imitation" in ((s.answer or {}).get("content") or "") for s in last] == [True] * 3
        assert reply_to(discord, mention)

    async with bot(discord, config):
        again = await (await press(discord, old, "again:")).answered(30)
        assert again["id"] != old["id"]
        assert again["content"].count("**the \\*kettle\\***") == 3
        stranger = await (await press(discord, again, "delete:", member_id=discord.add_member("stranger"))).answered()
        assert "Only who asked" in stranger["content"]
        await press(discord, again, "delete:")
        await discord.wait_for(lambda: int(again["id"]) not in discord.messages)

        await _mentions_and_threads(discord)
        await _answer_as(discord)
        await _privately(discord)
        assert [c["value"] for c in await discord.autocomplete("say", "model", "rob")] == ["robin"]
        assert await discord.autocomplete("say", "model", "zzz") == []
        assert "cpu" in (await run(discord, "status"))["content"]
        assert "Nothing stands in the way." in (await run(discord, "why"))["content"]
    assert "kettle" not in log_of(config), "what is said is nobody's business"
    assert discord.token not in log_of(config)


async def _mentions_and_threads(discord: FakeDiscord) -> None:
    asked = await discord.say("@robin what did the kettle do? @everyone", mention_bot=True)
    reply = await discord.wait_for(lambda: reply_to(discord, asked), 20)
    assert "AI imitation of @​robin" in reply["content"]
    assert [user["id"] for user in reply["mentions"]] == [str(discord.member_id)]
    assert not reply["mention_everyone"]
    further = await discord.say("and then?", reply_to=int(reply["id"]))
    chained = await discord.wait_for(lambda: reply_to(discord, further), 20)
    other = await (await press(discord, chained, "reply:")).answered(20)
    assert "> and then?" in other["content"], "the button answers the same text"

    panel = await run(discord, "settings", **manager())
    thread = await discord.open_thread(int(reply["id"]), "kettles")
    unasked = await discord.say("nobody in particular is asked this", channel_id=thread)
    await press(discord, panel, "settings:threads", **manager())
    await discord.wait_for(lambda: "without a mention: on" in discord.messages[int(panel["id"])]["content"])
    inside = await discord.say("the lamp went out", channel_id=thread)
    answer = await discord.wait_for(lambda: reply_to(discord, inside), 20)
    assert answer["channel_id"] == str(thread)

    await discord.say("a message to nobody in particular")
    await discord.say("one bot to another", mention_bot=True, bot=True)
    await asyncio.sleep(0.5)
    answered = [int(m["message_reference"]["message_id"]) for m in own(discord) if m.get("message_reference")]
    assert [i for i in answered if i >= asked] == [asked, further, inside]
    assert unasked not in answered


async def _answer_as(discord: FakeDiscord) -> None:
    target = await discord.say("who watered the piano?")
    menu = await (await discord.context_menu("Answer as…", target)).answered()
    assert menu["flags"] & EPHEMERAL
    (option,) = menu["components"][0]["components"][0]["options"]
    assert option["label"] == "robin"
    answer = await (await press(discord, menu, "answer", values=[option["value"]])).answered(20)
    assert answer["content"].startswith("> who watered the piano?\n")
    assert not answer["flags"] & EPHEMERAL


async def _privately(discord: FakeDiscord) -> None:
    told = await discord.say("do you hear me?", where="dm")
    reply = await discord.wait_for(lambda: reply_to(discord, told), 20)
    assert reply["channel_id"] == str(discord.dm())
    for at in ({"where": "dm"}, {"where": "user_install"}, {"guild_id": discord.add_guild("far", installed=False)}):
        assert "AI imitation" in (await run(discord, "say", timeout=20, **at))["content"]


async def test_settings_count_and_their_form_outlives_a_restart(
    discord: FakeDiscord, write_config: WriteConfig
) -> None:
    role, log = discord.add_role("trainers"), discord.add_channel("log")
    trainer = discord.add_member("trainer")
    discord.give_role(trainer, role)
    config = write_config()
    async with bot(discord, config) as first:
        assert "Manage Server" in (await run(discord, "settings"))["content"]
        refused = await run(discord, "train", member_id=trainer)
        assert "Training needs Manage Server" in refused["content"]
        panel = await run(discord, "settings", **manager())
        for menu, chosen in (("trainer_roles", role), ("log_channel", log), ("channels", discord.channel_id)):
            await press(discord, panel, f"settings:{menu}", values=[chosen], **manager())
            await discord.wait_for(lambda chosen=chosen: str(chosen) in panel["content"])
        await press(discord, panel, "settings:links", **manager())
        await discord.wait_for(lambda: "Links that a model writes: shown" in panel["content"])
        unable = await (await press(discord, panel, "settings:persona", **manager())).answered()
        assert "Manage Webhooks" in unable["content"]
        form = await press(discord, panel, "settings:limits", **manager())
        await discord.wait_for(lambda: form.modal)
        await killed(first)

    async with bot(discord, config):
        wrong = await (await discord.submit(form, {"member": "many"})).answered()
        assert "“many” is not a whole number" in wrong["content"]
        await discord.submit(form, {"member": "3", "asks": "0"})
        limits = strings()("settings.limits", server=20, member=3, asks=0)
        await discord.wait_for(lambda: limits in panel["content"])
        await discord.wait_for(lambda: [m for m in own(discord, "settings") if m["channel_id"] == str(log)])
        elsewhere = discord.add_channel("elsewhere")
        allowed = await run(discord, "train", member_id=trainer)
        assert "what to learn from" in allowed["content"], "the role lets them train"
        why = await run(discord, "why", {"what": "say"}, channel_id=elsewhere)
        assert f"✗ I speak only in <#{discord.channel_id}>" in why["content"]


async def test_what_the_bot_is_and_why_it_refuses(discord: FakeDiscord, write_config: WriteConfig) -> None:
    async with bot(discord, write_config()):
        assert "`/say`" in (await run(discord, "help"))["content"]
        status = (await run(discord, "status"))["content"]
        assert "Models here: 0" in status
        assert "Trainings running: 0" in status
        why = (await run(discord, "why", {"what": "train"}))["content"]
        assert "✗ Training needs Manage Server" in why
        assert "✓ I can attach pictures" in why
        assert (await run(discord, "mydata"))["content"] == strings()("mydata.heading", records=0)
        assert (await run(discord, "help", locale="ja"))["content"] == strings("ja")("help.text")
        assert "no training here yet" in (await run(discord, "jobs", subcommand="list"))["content"]


@pytest.mark.usefixtures("with_robin")
async def test_bad_requests_get_a_short_ephemeral_answer(discord: FakeDiscord, write_config: WriteConfig) -> None:
    async with bot(discord, write_config()):
        for options, attachments, word in (
            ({"handles": "@nasa", "ground": "public_figure"}, None, "can't fetch"),
            ({}, None, "what to learn from"),
            ({}, {"archive": ("notes.docx", b"?")}, "neither an archive"),
            ({"handles": "../x"}, {"archive": ("robin.jsonl", ROBIN)}, "handle"),
        ):
            answer = await run(discord, "train", options, attachments=attachments, **manager())
            assert word in answer["content"]
            assert answer["flags"] & EPHEMERAL
        too_long = await run(discord, "say", {"prompt": "x" * 5000})
        assert "at most 500" in too_long["content"]
        assert too_long["flags"] & EPHEMERAL

        # A file that turns out to be bad fails on the progress message, and who asked is told; a retry fails as well.
        await run(discord, "train", {"handles": "@robin"}, attachments={"archive": ("fake.zip", b"no")}, **manager())
        (failed,) = await discord.wait_for(lambda: announcements(discord), 30)
        assert "not a ZIP" in failed["content"]
        refused = await (await press(discord, failed, "retry:", member_id=discord.add_member("stranger"))).answered()
        assert "Training needs" in refused["content"]
        retried = await run(discord, "jobs", {"job": failed_job(failed)}, "retry", **manager())
        assert "goes on with it" in retried["content"]
        await discord.wait_for(lambda: len(announcements(discord)) == 2, 30)


def failed_job(announcement: dict[str, Any]) -> int:
    return int(announcement["content"].partition("(job #")[2].partition(")")[0])
