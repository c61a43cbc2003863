"""What members do with the stand-in for Discord, seen by the real discord.py: menus, forms, places, permissions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import discord
import pytest
from discord import app_commands

from tests.fakes.discord_client import Client, running, serving
from tests.fakes.discord_payloads import (
    ATTACH_FILES,
    EMBED_LINKS,
    MANAGE_GUILD,
    PRIVATE_PERMISSIONS,
    READ_HISTORY,
    SEND_MESSAGES,
    VIEW_CHANNEL,
)
from tests.fakes.discord_server import FakeDiscord

Asked = discord.Interaction[Any]


class Form(discord.ui.Modal, title="Old"):
    name: discord.ui.TextInput[Any] = discord.ui.TextInput(label="Name", custom_id="name", max_length=5)
    why: discord.ui.TextInput[Any] = discord.ui.TextInput(
        label="Why", custom_id="why", required=False, min_length=3, default="because"
    )

    async def on_submit(self, interaction: Asked) -> None:
        if interaction.message:
            await interaction.response.edit_message(content=f"{self.name.value} {self.why.value}")
        else:
            await interaction.response.send_message(f"{self.name.value} {self.why.value}")


class LabelledForm(discord.ui.Modal, title="New"):
    name: discord.ui.Label[Any] = discord.ui.Label(text="Name", component=discord.ui.TextInput(custom_id="name"))
    kind: discord.ui.Label[Any] = discord.ui.Label(
        text="Kind",
        component=discord.ui.Select(
            custom_id="kind", options=[discord.SelectOption(label=k, value=k, default=k == "b") for k in "abc"]
        ),
    )
    who: discord.ui.Label[Any] = discord.ui.Label(text="Who", component=discord.ui.UserSelect(custom_id="who"))

    async def on_submit(self, interaction: Asked) -> None:
        name, kind, who = self.name.component, self.kind.component, self.who.component
        assert isinstance(name, discord.ui.TextInput) and isinstance(kind, discord.ui.Select)
        assert isinstance(who, discord.ui.UserSelect)
        await interaction.response.send_message(f"{name.value} {kind.values} {who.values[0].name}")


class Board(discord.ui.View):
    def __init__(self) -> None:
        super().__init__(timeout=None)

    async def answer(self, interaction: Asked, values: list[Any]) -> None:
        named = [getattr(v, "name", v) for v in values]
        await interaction.response.send_message(f"{sorted(named)}")

    @discord.ui.select(
        custom_id="voices",
        min_values=1,
        max_values=2,
        options=[
            discord.SelectOption(label="anna"),
            discord.SelectOption(label="bob"),
            discord.SelectOption(label="carol"),
        ],
    )
    async def voices(self, interaction: Asked, select: discord.ui.Select[Any]) -> None:
        await self.answer(interaction, select.values)

    @discord.ui.select(cls=discord.ui.UserSelect, custom_id="users", max_values=2)
    async def users(self, interaction: Asked, select: discord.ui.UserSelect[Any]) -> None:
        await self.answer(interaction, select.values)

    @discord.ui.select(cls=discord.ui.MentionableSelect, custom_id="anybody", max_values=3)
    async def anybody(self, interaction: Asked, select: discord.ui.MentionableSelect[Any]) -> None:
        await self.answer(interaction, select.values)

    @discord.ui.select(cls=discord.ui.ChannelSelect, custom_id="channels", channel_types=[discord.ChannelType.text])
    async def channels(self, interaction: Asked, select: discord.ui.ChannelSelect[Any]) -> None:
        await self.answer(interaction, select.values)

    @discord.ui.button(label="edit", custom_id="edit")
    async def edit(self, interaction: Asked, button: discord.ui.Button[Any]) -> None:
        await interaction.response.send_modal(Form())


def add_commands(client: Client) -> None:
    @client.tree.command(description="a message with every kind of component")
    async def board(interaction: Asked) -> None:
        await interaction.response.send_message("board", view=Board())

    @client.tree.command(description="a modal")
    async def form(interaction: Asked, labelled: bool = False) -> None:
        await interaction.response.send_modal(LabelledForm() if labelled else Form())

    @client.tree.command(description="where it is asked")
    @app_commands.allowed_installs(guilds=True, users=True)
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
    async def where(interaction: Asked, role: discord.Role | None = None) -> None:
        await interaction.response.send_message(f"{interaction.guild_id} {role}", ephemeral=True)

    @client.tree.command(description="an answer and what follows it")
    @app_commands.allowed_installs(guilds=True, users=True)
    async def many(interaction: Asked) -> None:
        await interaction.response.send_message("0")
        try:
            for i in range(1, 7):
                await interaction.followup.send(f"{i}")
        except discord.HTTPException as error:
            client.events.append(error.code)

    @client.tree.command(description="only in servers")
    @app_commands.guild_only()
    async def here(interaction: Asked) -> None:
        await interaction.response.send_message("here")

    @client.tree.context_menu(name="Quote This")
    async def quote(interaction: Asked, message: discord.Message) -> None:
        await interaction.response.send_message(f"> {message.content} ({message.author.name})")

    @client.tree.context_menu(name="Greet")
    async def greet(interaction: Asked, user: discord.User) -> None:
        await interaction.response.send_message(f"hello {user.name}")


@pytest.fixture
async def fake(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeDiscord]:
    async with serving(monkeypatch) as server:
        yield server
        assert server.violations == []


@pytest.fixture
async def bot(fake: FakeDiscord) -> AsyncIterator[Client]:
    client = Client()
    add_commands(client)
    async with running(fake, client):
        yield client


async def posted(fake: FakeDiscord) -> int:
    return int((await (await fake.slash("board")).answered())["id"])


async def test_select_menus_give_their_values_and_what_they_stand_for(fake: FakeDiscord, bot: Client) -> None:
    role, channel, message = fake.add_role("admins"), fake.add_channel("news"), await posted(fake)
    robin = fake.add_member("robin")
    for custom_id, values, expected in (
        ("voices", ["anna", "carol"], "['anna', 'carol']"),
        ("users", [fake.member_id], "['member']"),
        ("anybody", [role, robin], "['admins', 'robin']"),
        ("channels", [channel], "['news']"),
    ):
        click = await fake.click(message, custom_id, values=values)
        assert (await click.answered())["content"] == expected


@pytest.mark.parametrize(
    ("custom_id", "values", "why"),
    [
        ("voices", ["zoe"], "offers"),
        ("voices", ["anna", "bob", "carol"], "takes 1 to 2"),
        ("voices", [], "takes 1 to 2"),
        ("voices", None, "needs values"),
        ("users", [1], "nobody"),
        ("channels", [1], "no channel"),
        ("edit", ["x"], "is a button"),
    ],
)
async def test_a_choice_that_a_menu_does_not_offer_is_the_tests_fault(
    fake: FakeDiscord, bot: Client, custom_id: str, values: list[Any] | None, why: str
) -> None:
    message = await posted(fake)
    with pytest.raises(AssertionError, match=why):
        await fake.click(message, custom_id, values=values)


async def test_a_modal_of_a_command_is_submitted_with_defaults_kept(fake: FakeDiscord, bot: Client) -> None:
    asked = await fake.slash("form")
    await fake.wait_for(lambda: asked.modal)
    assert asked.modal and asked.modal["title"] == "Old" and asked.answer is None
    submitted = await fake.submit(asked, {"name": "robin"})
    assert (await submitted.answered())["content"] == "robin because"
    cleared = await fake.submit(asked, {"name": "robin", "why": ""})
    assert cleared.type == 5 and cleared.user == asked.user


async def test_a_modal_of_a_component_edits_its_message(fake: FakeDiscord, bot: Client) -> None:
    message = await posted(fake)
    click = await fake.click(message, "edit")
    await fake.wait_for(lambda: click.modal)
    submitted = await fake.submit(click, {"name": "anna", "why": "why not"})
    assert (await submitted.answered())["id"] == str(message) and fake.messages[message]["content"] == "anna why not"


async def test_a_modal_of_labels_is_answered_in_its_own_form(fake: FakeDiscord, bot: Client) -> None:
    asked = await fake.slash("form", {"labelled": True})
    await fake.wait_for(lambda: asked.modal)
    submitted = await fake.submit(asked, {"name": "x", "who": [fake.member_id]})
    assert (await submitted.answered())["content"] == "x ['b'] member"


async def test_texts_that_a_modal_does_not_take_are_the_tests_fault(fake: FakeDiscord, bot: Client) -> None:
    asked = await fake.slash("form")
    with pytest.raises(AssertionError, match="not answered with a modal"):
        await fake.submit(asked, {})
    await fake.wait_for(lambda: asked.modal)
    for texts, why in (
        ({}, "required"),
        ({"name": "too long"}, "1 to 5|0 to 5"),
        ({"name": "x", "why": "no"}, "3 to"),
        ({"name": "x", "nope": "x"}, "has the components"),
    ):
        with pytest.raises(AssertionError, match=why):
            await fake.submit(asked, texts)


async def test_a_context_menu_sees_a_message_that_the_bot_could_not_read(fake: FakeDiscord, bot: Client) -> None:
    message = await fake.say("hidden from the gateway")
    await fake.wait_for(lambda: bot.heard)
    assert bot.heard[0].content == ""
    quoted = await (await fake.context_menu("Quote This", message)).answered()
    assert quoted["content"] == "> hidden from the gateway (member)"
    greeted = await (await fake.context_menu("Greet", fake.member_id)).answered()
    assert greeted["content"] == "hello member"
    with pytest.raises(AssertionError, match="not registered"):
        await fake.context_menu("board", message)


async def test_members_have_the_roles_they_were_given(fake: FakeDiscord, bot: Client) -> None:
    role, robin = fake.add_role("admins", permissions=1 << 5), fake.add_member("robin")
    fake.give_role(robin, role)
    await (await fake.slash("where", {"role": role}, member_id=robin)).answered()
    user = bot.asked[-1].user
    assert isinstance(user, discord.Member) and [r.name for r in user.roles] == ["@everyone", "admins"]
    assert bot.asked[-1].permissions.manage_guild
    fake.take_role(robin, role)
    assert (await (await fake.slash("where", member_id=robin)).answered())["content"] == f"{fake.guild_id} None"
    user = bot.asked[-1].user
    assert isinstance(user, discord.Member) and len(user.roles) == 1 and not bot.asked[-1].permissions.manage_guild
    guild = bot.get_guild(fake.guild_id)
    assert guild is not None and (await guild.fetch_member(robin)).name == "robin"
    with pytest.raises(discord.NotFound):
        await guild.fetch_member(1)


async def test_every_guild_and_channel_is_a_place_of_its_own(fake: FakeDiscord, bot: Client) -> None:
    other = fake.add_guild("other", locale="de")
    news = fake.add_channel("news", guild_id=other)
    await fake.wait_for(lambda: (g := bot.get_guild(other)) and g.get_channel(news))
    asked = await fake.slash("here", guild_id=other)
    assert (await asked.answered())["channel_id"] == str(fake.general(other))
    assert bot.asked[-1].guild_id == other and str(bot.asked[-1].guild_locale) == "de"
    asked = await fake.slash("here", channel_id=news, locale="fr", guild_locale="ja")
    assert (await asked.answered())["channel_id"] == str(news)
    assert (str(bot.asked[-1].locale), str(bot.asked[-1].guild_locale)) == ("fr", "ja")
    await fake.say("hello", mention_bot=True, channel_id=news)
    await fake.wait_for(lambda: bot.heard)
    assert bot.heard[0].guild and bot.heard[0].guild.id == other and bot.heard[0].channel.id == news
    fake.remove_guild(other)
    await fake.wait_for(lambda: bot.get_guild(other) is None)
    with pytest.raises(discord.Forbidden):
        await bot.fetch_channel(news)


async def test_a_direct_message_is_context_1_without_a_guild(fake: FakeDiscord, bot: Client) -> None:
    asked = await fake.slash("where", where="dm")
    assert (await asked.answered())["channel_id"] == str(fake.dm())
    seen = bot.asked[-1]
    assert seen.guild_id is None and seen.context.dm_channel and isinstance(seen.channel, discord.DMChannel)
    assert asked.owners == {"0": "0"} and not seen.is_user_integration()
    await fake.say("psst", where="dm")
    await fake.wait_for(lambda: bot.heard)
    assert bot.heard[0].guild is None and bot.heard[0].content == "psst"
    await bot.heard[0].reply("psst yourself")
    with pytest.raises(AssertionError, match="only in contexts"):
        await fake.slash("here", where="dm")


async def test_by_user_install_the_bot_is_asked_where_it_is_not(fake: FakeDiscord, bot: Client) -> None:
    elsewhere = fake.add_guild("elsewhere", installed=False)
    for at, context in (({"guild_id": elsewhere}, "guild"), ({}, "private_channel")):
        asked = await fake.slash("where", where="user_install", **at)  # type: ignore[arg-type]
        assert (await asked.answered())["flags"] == 64
        seen = bot.asked[-1]
        assert getattr(seen.context, context) and seen.is_user_integration() and not seen.is_guild_integration()
        assert asked.owners == {"1": str(fake.member_id)}
        assert seen.app_permissions.value == PRIVATE_PERMISSIONS
    assert bot.get_guild(elsewhere) is None
    with pytest.raises(discord.Forbidden) as caught:
        await bot.get_partial_messageable(fake.general(elsewhere)).send("uninvited")
    assert caught.value.code == 50001
    heard = len(bot.heard)
    await fake.say("between others", guild_id=elsewhere)
    await fake.say("to all", mention_bot=True)
    await fake.wait_for(lambda: len(bot.heard) > heard)
    assert bot.heard[-1].content.endswith("to all")
    with pytest.raises(AssertionError, match="only in contexts"):
        await fake.slash("here", guild_id=elsewhere)
    with pytest.raises(AssertionError, match="not possible"):
        await fake.slash("where", where="dm", channel_id=fake.channel_id)


async def test_where_the_bot_is_not_it_may_follow_up_five_times(fake: FakeDiscord, bot: Client) -> None:
    asked = await fake.slash("many", where="user_install")
    await fake.wait_for(lambda: bot.events)
    assert bot.events == [40094] and len(asked.followups) == 5
    asked = await fake.slash("many")
    await fake.wait_for(lambda: len(asked.followups) == 6)


async def test_a_guild_that_the_bot_leaves_is_gone(fake: FakeDiscord, bot: Client) -> None:
    guild = bot.get_guild(fake.add_guild("second")) or await fake.wait_for(lambda: bot.get_guild(max(fake.guilds)))
    await guild.leave()
    await fake.wait_for(lambda: bot.get_guild(guild.id) is None)
    with pytest.raises(discord.NotFound):
        await bot.fetch_guild(guild.id)


@pytest.mark.parametrize(
    ("missing", "message", "code"),
    [
        (VIEW_CHANNEL, {"content": "x"}, 50001),
        (SEND_MESSAGES, {"content": "x"}, 50013),
        (EMBED_LINKS, {"embed": discord.Embed(title="x")}, 50013),
        (ATTACH_FILES, {"file": __file__}, 50013),
    ],
)
async def test_without_its_permission_a_message_is_refused_but_an_answer_is_not(
    fake: FakeDiscord, bot: Client, missing: int, message: dict[str, Any], code: int
) -> None:
    def ready() -> dict[str, Any]:
        return {k: discord.File(v) if k == "file" else v for k, v in message.items()}

    channel = bot.get_channel(fake.channel_id)
    assert isinstance(channel, discord.TextChannel)
    await channel.send(**ready())
    fake.set_permissions(MANAGE_GUILD & ~missing)
    with pytest.raises(discord.Forbidden) as caught:
        await channel.send(**ready())
    assert caught.value.code == code
    await fake.wait_for(lambda: channel.permissions_for(channel.guild.me).value & missing == 0)
    assert (await (await fake.slash("here")).answered())["content"] == "here"
    assert bot.asked[-1].app_permissions.value & missing == 0
    other = fake.add_channel("allowed")
    fake.set_permissions(MANAGE_GUILD, other)
    await bot.get_partial_messageable(other).send(**ready())


async def test_without_the_history_nothing_is_listed_and_no_reply_is_sent(fake: FakeDiscord, bot: Client) -> None:
    channel = bot.get_partial_messageable(fake.channel_id)
    message = await channel.send("x")
    fake.app_permissions &= ~READ_HISTORY
    assert [m async for m in channel.history()] == []
    with pytest.raises(discord.HTTPException, match="160002"):
        await channel.send("y", reference=message)
