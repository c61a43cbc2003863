"""/say and its buttons: what is asked of the engine, what is shown, and what is offered to whom."""

from __future__ import annotations

import discord
import msgspec
import pytest
import simcord

from models.messages import Generate
from tests.fakes.simcord_house import House, labels, private, text

PROMPTS = (
    "the *kettle* sang",
    "**bold** __under__ ~~gone~~ ||hidden||",
    "> a quote",
    "# a heading",
    "- a list",
    "ends in a backslash \\",
    r"C:\temp\*.txt",
    "`code` and ```more```",
    "[a](https://example.org) and [**b**](https://example.org)",
    "<@123456789012345678> and @everyone and <#123456789012345678>",
    "<:kettle_on:123456789012345678> </say:123456789012345678> <t:1700000000:R>",
    "https://example.org/a_b_c?d=*",
    "👩‍🚀 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ❤️ 🫨",
    "می‌خواهم",
    "100 % {sure} {0}",
    "*" * 500,
)


def last(house: House) -> Generate:
    return house.asked()[-1]


async def test_the_prompt_is_shown_apart_from_what_the_machine_added(house: House) -> None:
    await house.shelve()
    house.orders.give("engine-says", "the kettle sang all night\nthe kettle slept")
    said = text(await house.member.slash(house.channel, "say", prompt="the kettle", count=2))
    assert said.splitlines()[:3] == ["> **the kettle** sang all night", "", "> **the kettle** slept"]
    assert said.splitlines()[-1] == "-# AI imitation of @\u200brobin · model robin v1"


@pytest.mark.parametrize("house", [{"limits": {"asks_per_member_minute": 100}}], indirect=True)
async def test_again_asks_the_same_whatever_the_prompt_is(house: House) -> None:
    await house.shelve()
    for prompt in PROMPTS:
        options = {"prompt": prompt, "count": 2, "creativity": "wild", "length": "short"}
        said = await house.member.slash(house.channel, "say", **options)
        first = last(house)
        assert (first.prompt, first.count) == (prompt, 2)
        again = await house.member.click(said.response, label="Again")
        assert text(again).splitlines()[-1] == text(said).splitlines()[-1]
        second = last(house)
        assert second.seed != first.seed
        assert msgspec.structs.replace(second, id=0, seed=0) == msgspec.structs.replace(first, id=0, seed=0)


async def test_again_without_a_prompt_asks_without_one(house: House) -> None:
    await house.shelve()
    house.orders.give("engine-says", "**bold** from the start")
    said = await house.member.slash(house.channel, "say")
    assert "\\*\\*bold" in text(said)
    await house.member.click(said.response, label="Again")
    assert last(house).prompt == ""


async def test_creativity_and_length_reach_the_engine(house: House) -> None:
    await house.shelve()
    await house.member.slash(house.channel, "say", creativity="careful", length="short")
    careful = last(house)
    await house.member.slash(house.channel, "say", creativity="wild", length="long")
    wild = last(house)
    assert careful.temperature < wild.temperature
    assert careful.max_tokens < wild.max_tokens
    assert careful.min_tokens < wild.min_tokens


async def test_a_named_model_speaks_and_an_unknown_name_is_answered_with_the_near_ones(house: House) -> None:
    robin, wren = await house.shelve("robin"), await house.shelve("wren", handles=("wren",))
    await house.member.slash(house.channel, "say", model="@Robin")
    assert last(house).model.endswith(robin.folder)
    await house.member.slash(house.channel, "say")
    assert last(house).model.endswith(wren.folder)
    assert "robin" in private(await house.member.slash(house.channel, "say", model="robbin"))


async def test_autocomplete_offers_only_what_the_member_may_use(house: House) -> None:
    guild, channel, mallory = house.other_guild()
    await house.shelve("robin")
    await house.shelve("secret", handles=("secretary",), server_id=guild.id)
    await house.shelve("common", handles=("common",), server_id=0)

    async def offered(actor: simcord.MemberActor, where: simcord.ChannelHandle, typed: str) -> set[str]:
        return {c["value"] for c in await actor.autocomplete(where, "say", "model", typed)}

    assert await offered(house.member, house.channel, "") == {"robin", "common"}
    assert await offered(house.member, house.channel, "SECRET") == set()
    assert await offered(mallory, channel, "secretary") == {"secret"}
    assert {c["value"] for c in await mallory.user.autocomplete("say", "model", "")} == {"common"}
    refused = private(await house.member.slash(house.channel, "say", model="secret"))
    assert "secretary" not in refused


async def test_autocomplete_offers_25_of_30_and_finds_the_rest_by_what_is_typed(house: House) -> None:
    for number in range(30):
        await house.shelve(f"voice {number:02d} " + "x" * 70, handles=(f"handle_{number:02d}", "x" * 99))
    offered = await house.member.autocomplete(house.channel, "say", "model", "")
    assert len(offered) == 25
    assert all(len(choice["name"]) <= 100 and len(choice["value"]) <= 100 for choice in offered)
    assert [c["value"][:8] for c in await house.member.autocomplete(house.channel, "say", "model", "@handle_00")] == [
        "voice 00"
    ]


async def test_again_is_for_everybody_and_delete_for_who_asked_and_for_moderators(house: House) -> None:
    await house.shelve()
    said = await house.member.slash(house.channel, "say")
    assert labels(said.response) == ["Again", "Delete"]
    by_manager = await house.manager.click(said.response, label="Again")
    assert not by_manager.response.ephemeral
    assert "Only who asked" in private(await house.member.click(by_manager.response, label="Delete"))
    assert by_manager.response
    role = house.guild.create_role("Mod", permissions=discord.Permissions(manage_messages=True))
    moderator = house.guild.add_member(house.env.create_user("moderator"), roles=[role])
    await moderator.click(by_manager.response, label="Delete")
    assert by_manager.response is None
    await house.member.click(said.response, label="Delete")
    assert said.response is None


async def test_delete_of_what_is_gone_already_is_no_error(house: House) -> None:
    await house.shelve()
    said = await house.member.slash(house.channel, "say")
    house.env.inject_error("DELETE", "/webhooks/*", status=404, code=10008)
    await house.member.click(said.response, label="Delete")
    assert house.faults() == []


async def test_a_prompt_that_is_too_long_is_refused_in_private_and_costs_nothing(house: House) -> None:
    await house.shelve()
    result = await house.member.slash(house.channel, "say", prompt="x" * 501)
    assert "500 characters" in private(result)
    assert house.asked() == []


async def test_where_there_is_no_model_it_says_how_to_get_one(house: House) -> None:
    assert "/train" in private(await house.member.slash(house.channel, "say"))


async def test_the_engines_refusal_is_private_and_leaves_nothing_in_the_channel(house: House) -> None:
    await house.shelve()
    house.orders.give("engine-refuses", "This model is @everyone asleep.")
    result = await house.member.slash(house.channel, "say")
    assert result.response is None
    assert house.said() == []
    assert "asleep" in private(result)
    assert "@everyone" not in private(result)
    house.orders.give("engine-says", "")
    result = await house.member.slash(house.channel, "say")
    assert "Nothing fit to be seen" in private(result)
    assert house.said() == []


async def test_an_engine_that_dies_is_asked_once_more(house: House) -> None:
    await house.shelve()
    house.orders.give("engine-dies")
    assert "AI imitation" in text(await house.member.slash(house.channel, "say"))
    assert len(house.faults()) == 1


async def test_the_answer_is_acknowledged_before_the_engine_is_asked(house: House) -> None:
    await house.shelve()
    house.orders.give("engine-waits")
    result = await house.member.slash(house.channel, "say")
    assert result.deferred
    assert not result.ephemeral
    house.orders.revoke("engine-waits")
    await house.until(lambda: not house.service.engine._requests)
    await house.env.settle()
    assert "AI imitation" in text(result)


async def test_links_are_taken_out_unless_the_server_shows_them(house: House) -> None:
    await house.shelve()
    said = "see https://evil.example/x and www.evil.example and HTTPS://EVIL.example"
    house.orders.give("engine-says", said)
    assert "evil" not in text(await house.member.slash(house.channel, "say")).lower()
    await house.service.settings.change(house.guild.id, links=True)
    house.orders.give("engine-says", said)
    result = await house.member.slash(house.channel, "say")
    assert "evil.example/x" in text(result)
    assert result.response.flags.suppress_embeds


async def test_in_a_direct_message_the_house_models_speak(house: House) -> None:
    await house.shelve("robin")
    assert "operator's own models" in text(await house.member.user.slash("say"))
    await house.shelve("common", handles=("common",), server_id=0)
    assert "model common" in text(await house.member.user.slash("say"))


async def test_where_the_app_is_installed_to_a_user_a_servers_models_stay_hidden(house: House) -> None:
    await house.shelve("robin")
    await house.shelve("common", handles=("common",), server_id=0)
    owners = {"1": str(house.member.id)}
    with house.interactions(context=2, authorizing_integration_owners=owners):
        said = await house.member.slash(house.channel, "say")
        assert "model common" in text(said)
        assert not said.response.ephemeral
        assert "no model called" in private(await house.member.slash(house.channel, "say", model="robin"))
        assert [c["value"] for c in await house.member.autocomplete(house.channel, "say", "model", "")] == ["common"]
        again = await house.member.click(said.response, label="Again")
        assert "model common" in text(again)
