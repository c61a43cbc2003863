"""/help, /status and /why, and what the bot says when it joins."""

from __future__ import annotations

import discord

from tests.fakes.simcord_house import House, private, text

COMMANDS = {"say", "train", "models", "jobs", "settings", "forget", "mydata", "help", "status", "why"}


def failed(answer: str) -> list[str]:
    """The lines of /why that stand in the way."""
    return [line for line in answer.splitlines() if line.startswith("✗")]


async def test_help_names_every_command_and_fits_in_a_message(house: House) -> None:
    shown = private(await house.member.slash(house.channel, "help"))
    assert len(shown) <= 2000
    for command in COMMANDS - {"help"} | {"Answer as…"}:
        assert command in shown, command
    assert "machine" in shown


async def test_discord_knows_the_commands_and_only_them(house: House) -> None:
    known = {(c["name"], c["type"]) for c in house.env.backend.commands[None].values()}
    assert known == {(name, 1) for name in COMMANDS} | {("Answer as…", 3)}


async def test_commands_are_synced_once_and_not_at_every_start(house: House) -> None:
    def syncs() -> int:
        return sum(r.method == "PUT" and r.path.endswith("/commands") for r in house.env.http_requests)

    assert syncs() == 1
    await house.restart()
    assert syncs() == 1


async def test_status_counts_what_is_here(house: House) -> None:
    guild, _, _ = house.other_guild()
    await house.shelve("robin")
    await house.shelve("secret", server_id=guild.id)
    await house.member.slash(house.channel, "say")
    shown = private(await house.member.slash(house.channel, "status"))
    assert "Engine: quick on cpu" in shown
    assert "Models here: 1" in shown
    assert "secret" not in shown


async def test_why_finds_nothing_in_the_way_of_who_may(house: House) -> None:
    await house.shelve()
    await house.member.slash(house.channel, "say")
    for actor, what in ((house.member, "say"), (house.member, "mention"), (house.manager, "train")):
        shown = private(await actor.slash(house.channel, "why", what=what))
        assert failed(shown) == [], (what, shown)
        assert "Nothing stands in the way" in shown
    assert failed(private(await house.manager.slash(house.channel, "why", what="manage"))) == []


async def test_why_tells_a_member_what_is_missing(house: House) -> None:
    [line] = failed(private(await house.member.slash(house.channel, "why", what="train")))
    assert "Manage Server" in line
    [line] = failed(private(await house.member.slash(house.channel, "why", what="manage")))
    assert "Manage Server" in line
    lines = failed(private(await house.member.slash(house.channel, "why")))
    assert any("/train" in line for line in lines)


async def test_why_tells_what_the_bot_is_missing(house: House) -> None:
    await house.shelve()
    refused = discord.PermissionOverwrite(
        send_messages=False, attach_files=False, read_message_history=False, manage_webhooks=False
    )
    bare = house.guild.create_text_channel("bare", overwrites={house.guild.me: refused})
    await house.service.settings.change(house.guild.id, persona=True)
    shown = " ".join(failed(private(await house.manager.slash(bare, "why", what="mention"))))
    for permission in ("Send Messages", "Read Message History", "Manage Webhooks"):
        assert permission in shown
    assert "Attach Files" in private(await house.manager.slash(bare, "why", what="train"))


async def test_why_agrees_with_what_then_happens(house: House) -> None:
    await house.shelve()
    other = house.guild.create_text_channel("other")
    await house.service.settings.change(house.guild.id, channels=(other.id,), asks_per_member_minute=0)
    lines = failed(private(await house.member.slash(house.channel, "why")))
    assert other.mention in lines[0]
    assert other.mention in private(await house.member.slash(house.channel, "say"))
    assert any("asked 0 times" in line for line in lines)
    assert "asked 0 times" in private(await house.member.slash(other, "say"))


async def test_why_tells_whether_an_account_may_be_learned(house: House) -> None:
    await house.service.registry.block(house.guild.id, "wren")
    await house.service.permits.load()
    asked = await house.manager.slash(house.channel, "why", what="train", handle="@Wren")
    assert failed(private(asked)) == [
        line for line in private(asked).splitlines() if "@Wren may not be learned" in line
    ]
    asked = await house.manager.slash(house.channel, "why", what="train", handle="@robin")
    assert failed(private(asked)) == []


async def test_why_in_a_direct_message_says_what_works_only_in_servers(house: House) -> None:
    for what in ("train", "manage"):
        assert "only in a server" in text(await house.member.user.slash("why", what=what))
    assert "direct messages" in text(await house.member.user.slash("why"))


async def test_it_says_hello_where_it_joins(house: House) -> None:
    guild = house.env.create_guild("New")
    place = guild.create_text_channel("lobby")
    await house.env.settle()
    joined = house.bot.get_guild(guild.id)
    joined._system_channel_id = place.id
    await house.bot.on_guild_join(joined)
    assert "/train" in house.said(channel=place)[0].content
