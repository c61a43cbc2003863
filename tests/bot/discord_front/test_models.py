"""/models: what members see of the voices, and what managers make of them."""

from __future__ import annotations

import simcord

from tests.fakes.simcord_house import House, labels, private, text


async def test_the_list_shows_whose_the_models_are_and_which_speaks_here(house: House) -> None:
    guild, _, _ = house.other_guild()
    await house.shelve("robin")
    await house.shelve("common", handles=("a", "b"), server_id=0)
    await house.shelve("secret", handles=("secretary",), server_id=guild.id)
    await house.manager.slash(house.channel, "models use", model="robin")
    lines = private(await house.member.slash(house.channel, "models list")).splitlines()
    assert len(lines) == 2
    assert "**common**" in lines[0]
    assert "@\u200ba & @\u200bb" in lines[0]
    assert "from the operator" in lines[0]
    assert "spoken with here" in lines[1]


async def test_an_empty_shelf_says_how_to_fill_it(house: House) -> None:
    assert "/train" in private(await house.member.slash(house.channel, "models list"))


async def test_info_shows_figures_picture_samples_and_a_button_for_more(house: House) -> None:
    await house.trained()
    model = house.service.library.default(house.caller)
    (house.service.data.models / model.folder / "training.png").write_bytes(b"\x89PNG")
    info = await house.member.slash(house.channel, "models info", model="@robin")
    shown = private(info)
    assert "120 posts" in shown
    assert "bits/byte" in shown
    assert shown.count("\n> ") == 2
    assert "none of this was said by the account" in shown
    assert [a.filename for a in info.response.attachments] == ["training.png"]
    said = await house.member.click(info.response, label="A post")
    assert "AI imitation" in text(said)
    assert not said.response.ephemeral


async def test_info_is_shown_when_the_engine_or_a_rule_gives_no_samples(house: House) -> None:
    await house.shelve()
    house.orders.give("engine-refuses", "not now")
    info = private(await house.member.slash(house.channel, "models info"))
    assert "bits/byte" in info
    assert "\n> " not in info
    elsewhere = house.guild.create_text_channel("elsewhere")
    await house.service.settings.change(house.guild.id, channels=(elsewhere.id,))
    assert "bits/byte" in private(await house.member.slash(house.channel, "models info"))


async def test_use_sets_and_takes_back_the_voice_of_a_channel_and_of_the_server(house: House) -> None:
    robin = await house.shelve("robin")
    wren = await house.shelve("wren", handles=("wren",))
    elsewhere = house.guild.create_text_channel("elsewhere")

    async def voice(channel: simcord.ChannelHandle) -> str:
        await house.member.slash(channel, "say")
        return house.asked()[-1].model

    assert "robin" in private(await house.manager.slash(house.channel, "models use", model="robin"))
    assert (await voice(house.channel)).endswith(robin.folder)
    used = await house.manager.slash(house.channel, "models use", model="wren", channel=elsewhere)
    assert elsewhere.mention in private(used)
    assert (await voice(elsewhere)).endswith(wren.folder)
    await house.manager.slash(house.channel, "models use", channel=elsewhere)
    assert (await voice(elsewhere)).endswith(robin.folder)
    assert "taken back" in private(await house.manager.slash(house.channel, "models use"))
    assert (await voice(elsewhere)).endswith(wren.folder)


async def test_rename_keeps_the_buttons_under_earlier_posts_working(house: House) -> None:
    await house.shelve("robin")
    said = await house.member.slash(house.channel, "say")
    renamed = await house.manager.slash(house.channel, "models rename", model="robin", new_name="red *breast*")
    assert "letters, digits" in private(renamed)
    renamed = await house.manager.slash(house.channel, "models rename", model="robin", new_name="red_breast")
    assert "red\\_breast" in private(renamed)
    assert "model red\\_breast v1" in text(await house.member.click(said.response, label="Again"))


async def test_rename_takes_no_name_that_is_in_use_and_no_model_of_the_house(house: House) -> None:
    await house.shelve("robin")
    await house.shelve("wren", handles=("wren",))
    await house.shelve("common", handles=("common",), server_id=0)
    taken = await house.manager.slash(house.channel, "models rename", model="robin", new_name="Wren")
    assert "already the name" in private(taken)
    other = await house.manager.slash(house.channel, "models rename", model="common", new_name="mine")
    assert "comes from the operator" in private(other)


async def delete(
    house: House, name: str, typed: str, actor: simcord.MemberActor | None = None
) -> simcord.InteractionResult:
    """The deletion of a model, with what is typed into the form."""
    actor = actor or house.manager
    form = await actor.slash(house.channel, "models delete", model=name)
    assert form.modal, form
    return await actor.submit_modal(form, {"name": typed})


async def test_delete_wants_the_name_typed_and_can_be_taken_back(house: House) -> None:
    await house.shelve("robin")
    said = await house.member.slash(house.channel, "say")
    assert "nothing was deleted" in private(await delete(house, "robin", "wren"))
    assert await house.member.autocomplete(house.channel, "say", "model", "")
    deleted = await delete(house, "robin", " @ROBIN ")
    assert "<t:" in private(deleted)
    assert await house.member.autocomplete(house.channel, "say", "model", "") == []
    assert "no model" in private(await house.member.click(said.response, label="Again"))
    assert labels(deleted.response) == ["Restore"]
    assert "is back" in private(await house.manager.click(deleted.response, label="Restore"))
    assert "AI imitation" in text(await house.member.click(said.response, label="Again"))


async def test_the_form_shows_the_whole_name_that_has_to_be_typed(house: House) -> None:
    name = "a very long name of a voice that goes on " * 2
    await house.shelve(name.strip()[:80])
    form = await house.manager.slash(house.channel, "models delete", model=name.strip()[:80])
    assert name.strip()[:80] in str(form.modal)


async def test_restore_offers_what_was_deleted_to_who_may_have_it_back(house: House) -> None:
    await house.shelve("robin")
    await delete(house, "robin", "robin")
    offered = await house.manager.autocomplete(house.channel, "models restore", "model", "ROB")
    assert [choice["value"] for choice in offered] == ["robin"]
    assert await house.member.autocomplete(house.channel, "models restore", "model", "") == []
    assert "is back" in private(await house.manager.slash(house.channel, "models restore", model="robin"))
    nothing = await house.manager.slash(house.channel, "models restore", model="robin")
    assert "no model called" in private(nothing)


async def test_a_deleted_model_whose_name_was_given_anew_is_not_restored_over_it(house: House) -> None:
    await house.shelve("robin")
    deleted = await delete(house, "robin", "robin")
    await house.shelve("robin", handles=("other",))
    assert "already the name" in private(await house.manager.click(deleted.response, label="Restore"))


async def test_members_change_nothing_and_nobody_changes_another_servers_models(house: House) -> None:
    _, channel, mallory = house.other_guild()
    model = await house.shelve("robin")
    needs = "Manage Server"
    assert needs in private(await house.member.slash(house.channel, "models use", model="robin"))
    assert needs in private(await house.member.slash(house.channel, "models rename", model="robin", new_name="mine"))
    assert needs in private(await delete(house, "robin", "robin", house.member))
    await delete(house, "robin", "robin")
    assert needs in private(await house.member.slash(house.channel, "models restore", model="robin"))
    await house.manager.slash(house.channel, "models restore", model="robin")
    for command, more in (("use", {}), ("rename", {"new_name": "mine"}), ("delete", {}), ("info", {}), ("restore", {})):
        refused = private(await mallory.slash(channel, f"models {command}", model="robin", **more))
        assert "no model" in refused, command
        assert model.name not in refused.replace("“robin”", ""), command
    assert [m.name for m in house.service.library.visible(house.caller)] == ["robin"]


async def test_what_managers_do_is_told_in_the_log_channel_without_pings(house: House) -> None:
    await house.shelve("robin")
    log = house.guild.create_text_channel("log")
    await house.service.settings.change(house.guild.id, log_channel=log.id)
    await house.manager.slash(house.channel, "models use", model="robin")
    await house.manager.slash(house.channel, "models use")
    await house.manager.slash(house.channel, "models rename", model="robin", new_name="wren")
    deleted = await delete(house, "wren", "wren")
    await house.manager.click(deleted.response, label="Restore")
    told = house.said(channel=log)
    assert len(told) == 5
    assert all(house.manager.mention in m.content for m in told), [m.content for m in told]
    house.env.backend.delete_channel(log.id)
    assert "wren" in private(await house.manager.slash(house.channel, "models use", model="wren"))


async def test_restore_brings_back_the_model_that_it_was_pressed_for(house: House) -> None:
    await house.shelve("robin", handles=("first",))
    first = await delete(house, "robin", "robin")
    await house.shelve("robin", handles=("second",))
    await delete(house, "robin", "robin")
    assert "is back" in private(await house.manager.click(first.response, label="Restore"))
    assert [m.handles for m in house.service.library.visible(house.caller)] == [("first",)]
