"""/settings: the panel, what its menus and its form change, and who may press them."""

from __future__ import annotations

import discord
import pytest

from bot.settings import ServerSettings
from tests.fakes.simcord_house import House, private, text


def settings(house: House) -> ServerSettings:
    return house.service.settings.of(house.guild.id)


async def test_the_panel_shows_what_is_set_and_each_menu_changes_it(house: House) -> None:
    role = house.guild.create_role("Trainers")
    log = house.guild.create_text_channel("log")
    panel = await house.manager.slash(house.channel, "settings")
    assert "everywhere that I can write" in private(panel)
    await house.manager.select(panel.response, [role], custom_id="settings:trainer_roles")
    await house.manager.select(panel.response, [house.channel, log], custom_id="settings:channels")
    await house.manager.select(panel.response, [log], custom_id="settings:log_channel")
    assert settings(house).trainer_roles == (role.id,)
    assert set(settings(house).channels) == {house.channel.id, log.id}
    assert settings(house).log_channel == log.id
    shown = text(panel)
    assert role.mention in shown
    assert f"Log channel: {log.mention}" in shown
    again = await house.manager.slash(house.channel, "settings")
    assert text(again) == shown
    await house.manager.select(again.response, [], custom_id="settings:trainer_roles")
    await house.manager.select(again.response, [], custom_id="settings:channels")
    await house.manager.select(again.response, [], custom_id="settings:log_channel")
    assert settings(house) == ServerSettings()


async def test_buttons_switch_on_and_off(house: House) -> None:
    panel = await house.manager.slash(house.channel, "settings")
    for label, name in (("Links", "links"), ("Model's name", "persona")):
        await house.manager.click(panel.response, label=label)
        assert getattr(settings(house), name), name
        await house.manager.click(panel.response, label=label)
        assert not getattr(settings(house), name), name


async def test_the_models_name_needs_webhooks(house: House) -> None:
    bare = house.guild.create_text_channel(
        "bare", overwrites={house.guild.me: discord.PermissionOverwrite(manage_webhooks=False)}
    )
    panel = await house.manager.slash(bare, "settings")
    assert "Manage Webhooks" in private(await house.manager.click(panel.response, label="Model's name"))
    assert not settings(house).persona


async def test_the_form_of_limits_sets_lowers_and_empties_them(house: House) -> None:
    panel = await house.manager.slash(house.channel, "settings")
    form = await house.manager.click(panel.response, label="Limits…")
    await house.manager.submit_modal(form, {"server": "3", "member": " 1 ", "asks": ""})
    assert (settings(house).trainings_per_server_day, settings(house).trainings_per_member_day) == (3, 1)
    assert settings(house).asks_per_member_minute is None
    assert "3 trainings a day here, 1 a day" in text(panel)
    form = await house.manager.click(panel.response, label="Limits…")
    assert '"3"' in str(form.modal).replace("'", '"')
    await house.manager.submit_modal(form, {"server": "", "member": "0", "asks": ""})
    assert (settings(house).trainings_per_server_day, settings(house).trainings_per_member_day) == (None, 0)


@pytest.mark.parametrize("house", [{"limits": {"trainings_per_server_day": 5000}}], indirect=True)
async def test_what_is_no_number_or_too_high_changes_nothing(house: House) -> None:
    panel = await house.manager.slash(house.channel, "settings")
    for value in ("many", "-1", "1.5", "21", "9999", "*1*"):
        form = await house.manager.click(panel.response, label="Limits…")
        told = await house.manager.submit_modal(form, {"server": "1", "member": "1", "asks": value})
        assert "not a whole number" in private(told), value
    form = await house.manager.click(panel.response, label="Limits…")
    told = await house.manager.submit_modal(form, {"server": "2000", "member": "", "asks": ""})
    assert "from 0 to 1000" in private(told)
    assert settings(house) == ServerSettings()


async def test_a_limit_holds_at_once(house: House) -> None:
    await house.shelve()
    await house.service.settings.change(house.guild.id, asks_per_member_minute=1)
    await house.member.slash(house.channel, "say")
    refused = private(await house.member.slash(house.channel, "say"))
    assert "1 times within a minute" in refused
    await house.manager.slash(house.channel, "say")
    await house.pass_time(61)
    assert "AI imitation" in text(await house.member.slash(house.channel, "say"))


async def test_who_lost_the_right_can_not_press_a_panel_that_is_still_open(house: House) -> None:
    panel = await house.manager.slash(house.channel, "settings")
    form = await house.manager.click(panel.response, label="Limits…")
    house.env.backend.guilds[house.guild.id].members[house.manager.id].role_ids.clear()
    assert "Manage Server" in private(await house.manager.click(panel.response, label="Links"))
    refused = await house.manager.submit_modal(form, {"server": "1", "member": "1", "asks": "1"})
    assert "Manage Server" in private(refused)
    assert settings(house) == ServerSettings()


async def test_changes_are_told_in_the_log_channel(house: House) -> None:
    log = house.guild.create_text_channel("log")
    panel = await house.manager.slash(house.channel, "settings")
    await house.manager.select(panel.response, [log], custom_id="settings:log_channel")
    await house.manager.click(panel.response, label="Links")
    told = [m.content for m in house.said(channel=log)]
    assert len(told) == 2
    assert all(house.manager.mention in line for line in told)


async def test_settings_outlive_a_restart_and_are_a_servers_own(house: House) -> None:
    guild, channel, mallory = house.other_guild()
    panel = await house.manager.slash(house.channel, "settings")
    await house.manager.click(panel.response, label="Links")
    await house.restart()
    assert settings(house).links
    assert not house.service.settings.of(guild.id).links
    assert "taken out" in private(await mallory.slash(channel, "settings"))
