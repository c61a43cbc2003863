"""Manners: nothing pings, nothing is too long, and a Discord that refuses or forgets loses nothing that matters."""

from __future__ import annotations

import re
from typing import Any

import discord
import pytest

from bot.records import JobState
from tests.fakes.simcord_house import LEARNED, ROBIN, House, private, text

HANDLES = tuple(f"{letter}_" + "_" * 98 for letter in "abcdefghij")
HOSTILE = (
    "*" * 4000,
    "_\\" * 2000,
    "@everyone <@123456789012345678> <@&123456789012345678> " * 60,
    "> " * 1500 + "# " * 500,
    "[x](https://evil.example) " * 200,
    "<#123456789012345678> <:a:123456789012345678> <t:1:R> " * 80,
    "🏴󠁧󠁢󠁥󠁮󠁧󠁿" * 500,
    "\u202e\u200b\u2066" * 500 + "x",
    "`" * 3999,
    "||" * 1000 + "~~" * 900,
)
LIVE_MENTION = re.compile(r"@(everyone|here)|<@[!&]?\d+>")


def check_limits(house: House) -> None:
    """Whatever the bot has sent is within Discord's limits and pings nobody whom it should not."""
    for sent in house.sent():
        assert len(sent.get("content") or "") <= 2000
        for embed in sent.get("embeds") or []:
            assert len(embed.get("description") or "") <= 4096


def pings(house: House) -> list[Any]:
    """Who is allowed to be pinged, in all that was sent."""
    found: list[Any] = []
    for sent in house.sent():
        if "content" in sent or "embeds" in sent:
            allowed = sent.get("allowed_mentions")
            assert allowed is not None, sent
            found += [*allowed.get("parse", []), *allowed.get("users", []), *allowed.get("roles", [])]
    return found


@pytest.mark.parametrize("house", [{"limits": {"asks_per_member_minute": 100}}], indirect=True)
async def test_whatever_a_model_writes_fits_and_pings_nobody(house: House) -> None:
    await house.shelve("n" + "_" * 79, handles=HANDLES)
    for hostile in HOSTILE:
        house.orders.give("engine-says", "\n".join([hostile] * 5))
        said = await house.member.slash(house.channel, "say", prompt="*" * 500, count=5)
        assert text(said).splitlines()[-1].startswith("-# AI imitation"), hostile[:20]
        assert not LIVE_MENTION.search(text(said))
        house.orders.give("engine-says", hostile)
        await house.member.send(house.channel, f"{house.bot.user.mention} " + "\\*" * 900)
        reply = house.said()[-1]
        shown = reply.content or reply.embeds[0].description
        assert shown.splitlines()[-1].startswith("-# AI imitation"), hostile[:20]
        assert not LIVE_MENTION.search(shown)
        assert not reply.flags.suppress_embeds or not reply.embeds
    check_limits(house)
    assert pings(house) == []


async def test_500_asterisks_are_asked_again_exactly_beside_hostile_posts(house: House) -> None:
    await house.shelve(handles=HANDLES)
    prompt = "*\\" * 250
    house.orders.give("engine-says", "\n".join([f"{prompt} " + "*" * 3000] * 5))
    said = await house.member.slash(house.channel, "say", prompt=prompt, count=5)
    await house.member.click(said.response, label="Again")
    assert house.asked()[-1].prompt == prompt


async def test_the_plan_of_the_longest_names_fits(house: House) -> None:
    files = {f"archive{n}": (f"{'_' * 70}{n or 1}.jsonl", ROBIN[1]) for n in ("", 2, 3, 4)}
    handles = " ".join(HANDLES[:4])
    result = await house.manager.slash(
        house.channel, "train", handles=handles, name="n" + "_" * 79, ground="public_domain", **files
    )
    assert "Job #1: https://" in private(result)
    await house.ended(1)
    await house.pass_time()
    check_limits(house)
    assert house.message("Training n")


async def test_the_longest_model_is_shown_listed_and_told_of(house: House) -> None:
    name = "n" + "_" * 79
    await house.shelve(name, handles=HANDLES)
    for command in ("models list", "models info", "status", "jobs list"):
        assert text(await house.member.slash(house.channel, command)), command
    assert "speaks with" in private(await house.manager.slash(house.channel, "models use", model=name))
    form = await house.manager.slash(house.channel, "models delete", model=name)
    assert "is deleted" in private(await house.manager.submit_modal(form, {"name": name}))
    check_limits(house)


async def test_what_people_write_into_options_comes_back_harmless(house: House) -> None:
    await house.shelve()
    evil = "@everyone **x** [y](https://evil.example)"
    for command, options in (
        ("say", {"model": evil}),
        ("models info", {"model": evil}),
        ("models use", {"model": evil}),
        ("models rename", {"model": "robin", "new_name": evil}),
        ("models restore", {"model": evil}),
        ("forget", {"handle": evil}),
    ):
        told = private(await house.manager.slash(house.channel, command, **options))
        assert "@everyone" not in told, command
        assert "**x**" not in told, command
    assert pings(house) == []


async def test_only_the_announcement_pings_and_only_who_asked(house: House) -> None:
    await house.trained()
    log = house.guild.create_text_channel("log")
    await house.service.settings.change(house.guild.id, log_channel=log.id)
    await house.manager.slash(house.channel, "models use", model="robin")
    assert pings(house) == [str(house.manager.id)] or pings(house) == [house.manager.id]


# --- when Discord refuses, forgets or is slow -------------------------------------------------------------------------


async def test_an_interaction_that_is_unknown_does_no_harm(house: House) -> None:
    await house.shelve()
    for command in ("say", "help", "models list", "jobs list", "status"):
        house.env.inject_error("POST", "/interactions/*", status=404, code=10062, times=1)
        await house.member.slash(house.channel, command)
    assert house.asked() == []
    house.env.inject_error("POST", "/interactions/*", status=404, code=10062, times=1)
    await house.train(handles="@robin")
    assert len(await house.service.jobs(house.caller)) == 1  # the one of the model
    assert house.faults() == []


async def test_an_interaction_that_was_already_acknowledged_does_no_harm(house: House) -> None:
    await house.shelve()
    house.env.inject_error("POST", "/interactions/*", status=400, code=40060, times=1)
    await house.member.slash(house.channel, "say")
    assert house.faults() == []


async def test_posts_that_come_after_15_minutes_go_to_the_channel(house: House) -> None:
    await house.shelve()
    house.orders.give("engine-waits")
    await house.member.slash(house.channel, "say", prompt="the kettle")
    await house.pass_time(16 * 60)
    house.env.inject_error("*", "/webhooks/*", status=401, code=50027, times=None)
    house.orders.revoke("engine-waits")
    await house.until(lambda: not house.service.engine._requests)
    await house.env.settle()
    late = house.said()[-1]
    assert "AI imitation" in late.content
    assert "the kettle" in late.content
    assert len(late.components) == 1


async def test_a_progress_message_outlives_the_token_of_the_command(house: House) -> None:
    house.orders.give("fit-waits")
    await house.train(handles="@robin")
    await house.pass_time(16 * 60)
    house.env.inject_error("*", "/webhooks/*", status=401, code=50027, times=None)
    house.orders.revoke("fit-waits")
    await house.ended(1)
    await house.pass_time()
    assert "done" in house.message("Training robin").content
    assert house.message("is ready")


async def test_a_private_answer_that_comes_after_15_minutes_is_only_logged(house: House) -> None:
    await house.shelve()
    house.orders.give("engine-waits")
    await house.member.slash(house.channel, "models info")
    await house.pass_time(16 * 60)
    house.orders.revoke("engine-waits")
    await house.until(lambda: not house.service.engine._requests)
    await house.env.settle()
    assert house.said() == []
    assert house.faults() == []


@pytest.mark.parametrize(("status", "code"), [(403, 50013), (404, 10008)])
async def test_a_progress_message_that_is_gone_or_shut_does_not_stop_the_job(
    house: House, status: int, code: int
) -> None:
    house.orders.give("fit-waits")
    await house.train(handles="@robin")
    house.env.inject_error("PATCH", "/channels/*/messages/*", status=status, code=code, times=None)
    await house.pass_time(120)
    house.orders.revoke("fit-waits")
    assert (await house.ended(1)).state == JobState.DONE
    await house.pass_time(120)
    assert house.message("is ready")


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_failing_edits_and_news_arrive_in_the_end(house: House, status: int) -> None:
    house.orders.give("fit-waits")
    await house.train(handles="@robin")
    house.env.inject_error("*", "/channels/*/messages*", status=status, times=6)
    await house.pass_time(60)
    house.orders.revoke("fit-waits")
    await house.ended(1)
    await house.pass_time(900)
    assert "done" in house.message("Training robin").content
    assert len([m for m in house.said() if "is ready" in m.content]) == 1


@pytest.mark.parametrize(("status", "code"), [(403, 50001), (404, 10003), (400, 50083)])
async def test_a_channel_that_can_not_be_told_ends_it(house: House, status: int, code: int) -> None:
    await house.train(handles="@robin")
    await house.ended(1)
    house.env.inject_error("*", "/channels/*", status=status, code=code, times=None)
    await house.pass_time(900)
    assert (await house.service.registry.job(1)).announced
    assert house.faults() == []


async def test_a_job_whose_first_message_fails_is_shown_later(house: House) -> None:
    house.orders.give("fit-waits")
    house.env.inject_error("POST", "/channels/*/messages", status=503, times=2)
    told = private(await house.train(handles="@robin"))
    assert "Job #1" in told
    await house.pass_time(60)
    assert house.message("Training robin")
    house.orders.revoke("fit-waits")
    await house.ended(1)
    await house.pass_time()
    assert house.message("is ready")


async def test_what_nobody_foresaw_is_told_with_the_number_that_the_log_has(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.shelve()

    async def breaks(*args: object, **kwargs: object) -> None:
        raise RuntimeError("secret words of a bug")

    said = await house.member.slash(house.channel, "say")
    monkeypatch.setattr(house.service, "say", breaks)
    for press in (False, True):
        if press:
            told = private(await house.member.click(said.response, label="Again"))
        else:
            told = private(await house.member.slash(house.channel, "say"))
        number = re.search(r"[0-9a-f]{8}", told)
        assert number, told
        assert "secret" not in told
        assert any(number[0] in fault for fault in house.faults())
    assert len(house.said()) == 1


async def test_a_deleted_channel_or_a_lost_server_does_no_harm(house: House) -> None:
    await house.shelve()
    doomed = house.guild.create_text_channel("doomed")
    house.orders.give("fit-waits")
    await house.manager.slash(doomed, "train", **LEARNED)
    await house.pass_time(30)
    house.env.backend.delete_channel(doomed.id)
    await house.env.settle()
    await house.pass_time(60)
    house.env.backend.emit("GUILD_DELETE", {"id": str(house.guild.id), "unavailable": False})
    await house.env.settle()
    house.orders.revoke("fit-waits")
    assert (await house.ended(2)).state == JobState.DONE
    await house.pass_time(600)
    assert (await house.service.registry.job(2)).announced
    assert house.faults() == []


async def test_every_answer_but_the_posts_is_private(house: House) -> None:
    await house.shelve()
    for command, options in (
        ("help", {}),
        ("status", {}),
        ("why", {}),
        ("mydata", {}),
        ("models list", {}),
        ("models info", {}),
        ("jobs list", {}),
        ("jobs cancel", {"job": 1}),
        ("jobs retry", {"job": 1}),
        ("models use", {"model": "robin"}),
        ("settings", {}),
        ("forget", {"handle": "nobody"}),
    ):
        private(await house.manager.slash(house.channel, command, **options))
    assert [m for m in house.channel.history() if not m.flags.ephemeral] == []


async def test_every_command_is_acknowledged(house: House) -> None:
    await house.shelve()
    message = await house.manager.send(house.channel, "hello")
    assert (await house.member.context_menu(house.channel, "Answer as…", message)).acknowledged
    for command in ("say", "help", "models delete"):
        options = {"model": "robin"} if command == "models delete" else {}
        assert (await house.manager.slash(house.channel, command, **options)).acknowledged
    assert isinstance(house.bot, discord.Client)
