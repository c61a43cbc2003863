"""Who may do what: members, trainers by Integrations or by role, managers; and whom the operator does not serve."""

from __future__ import annotations

import discord
import msgspec
import pytest
import simcord

from tests.fakes.simcord_house import LEARNED, House, private, text

NEEDS = "Manage Server"
MEMBERS = ("say", "models list", "models info", "jobs list", "mydata", "help", "status", "why")
HIDDEN = {"train", "settings"}


async def attempt(house: House, actor: simcord.MemberActor, command: str) -> str:
    """What the actor is told for a command that is for trainers or for managers."""
    options = {
        "train": {**LEARNED, "name": f"by {actor.name}"},
        "forget": {"handle": "nobody"},
        "models use": {"model": "robin"},
        "models rename": {"model": "robin", "new_name": "robin"},
        "models restore": {"model": "gone"},
        "jobs cancel": {"job": 1},
        "jobs retry": {"job": 1},
        "settings": {},
    }[command]
    return private(await actor.slash(house.channel, command, **options))


async def test_members_have_the_members_commands_and_see_no_others(house: House) -> None:
    await house.shelve()
    offered = set(house.member.available_commands(house.channel))
    assert not offered & HIDDEN
    for command in MEMBERS:
        assert text(await house.member.slash(house.channel, command)), command
    for command in sorted(HIDDEN):
        with pytest.raises(simcord.SetupError, match="default-member-permissions"):
            await attempt(house, house.member, command)
    for command in ("models use", "models rename", "models restore", "jobs retry"):
        assert NEEDS in await attempt(house, house.member, command), command
    assert HIDDEN <= set(house.manager.available_commands(house.channel))
    assert not set(house.member.user.available_commands()) & {*HIDDEN, "jobs"}


async def test_who_is_let_in_for_one_command_may_use_that_one_only(house: House) -> None:
    await house.shelve()
    house.let_in("train", house.member)
    assert "Job #2" in await attempt(house, house.member, "train")
    assert (await house.ended(2)).version
    with pytest.raises(simcord.SetupError):
        await attempt(house, house.member, "settings")
    for command in ("models use", "models rename"):
        assert NEEDS in await attempt(house, house.member, command), command
    house.let_in("settings", house.member)
    assert "Settings of this server" in await attempt(house, house.member, "settings")
    house.let_in("models", house.member)
    assert "speaks with" in await attempt(house, house.member, "models use")


async def test_a_role_that_is_let_in_may_train(house: House) -> None:
    role = house.guild.create_role("Trainers")
    trainer = house.guild.add_member(house.env.create_user("trainer"), roles=[role])
    house.let_in("train", role)
    assert "Job #1" in await attempt(house, trainer, "train")
    with pytest.raises(simcord.SetupError):
        await attempt(house, house.member, "train")
    await house.ended(1)


async def test_what_is_opened_for_all_commands_lets_nobody_manage(house: House) -> None:
    role = house.guild.create_role("Friends")
    friend = house.guild.add_member(house.env.create_user("friend"), roles=[role])
    await house.shelve()
    house.guild.set_command_permissions(house.bot.application_id, {role: True})
    for command in ("models use", "models rename", "jobs retry"):
        assert NEEDS in await attempt(house, friend, command), command
    form = await friend.slash(house.channel, "models delete", model="robin")
    assert NEEDS in private(await friend.submit_modal(form, {"name": "robin"}))


async def test_who_is_shut_out_by_name_is_shut_out(house: House) -> None:
    role = house.guild.create_role("Trainers")
    trainer = house.guild.add_member(house.env.create_user("trainer"), roles=[role])
    command_id = int(house.env.backend.commands[None]["train", 1]["id"])
    house.guild.set_command_permissions(command_id, {role: True, trainer: False})
    with pytest.raises(simcord.SetupError):
        await attempt(house, trainer, "train")
    await house.failed_job("robin")
    assert NEEDS in await attempt(house, trainer, "jobs retry")


async def test_a_change_of_the_integrations_page_holds_at_once(house: House) -> None:
    await house.shelve()
    house.let_in("models", house.member)
    assert "speaks with" in await attempt(house, house.member, "models use")
    house.let_in("models", house.guild.create_role("Others"))
    assert NEEDS in await attempt(house, house.member, "models use")


async def test_trainer_roles_decide_who_trains_among_those_that_discord_lets_in(house: House) -> None:
    role, other = house.guild.create_role("Trainers"), house.guild.create_role("Others")
    trainer = house.guild.add_member(house.env.create_user("trainer"), roles=[role])
    visitor = house.guild.add_member(house.env.create_user("visitor"), roles=[other])
    await house.service.settings.change(house.guild.id, trainer_roles=(role.id,))
    house.let_in("train", house.guild.default_role)
    assert "Job #1" in await attempt(house, trainer, "train")
    assert NEEDS in await attempt(house, visitor, "train")
    assert "Job #2" in await attempt(house, house.manager, "train")
    await house.ended(2)


async def test_without_trainer_roles_everybody_trains_who_is_let_in(house: House) -> None:
    house.let_in("train", house.guild.default_role)
    assert "Job #1" in await attempt(house, house.member, "train")
    await house.ended(1)


async def test_when_the_integrations_page_can_not_be_read_nobody_is_let_in_by_it(house: House) -> None:
    house.let_in("train", house.member)
    house.env.inject_error("GET", "/applications/*/guilds/*/commands/*/permissions", status=503)
    assert NEEDS in await attempt(house, house.member, "train")
    assert "Job #1" in await attempt(house, house.member, "train")
    await house.ended(1)


async def test_managing_another_server_gives_no_right_here(house: House) -> None:
    guild, channel, mallory = house.other_guild()
    await house.shelve()
    visiting = house.guild.add_member(mallory.user)
    for command in ("models use", "models rename", "jobs retry"):
        assert NEEDS in await attempt(house, visiting, command), command
    assert "somebody who manages the server" in (await attempt(house, visiting, "forget")).lower()
    assert guild.id != house.guild.id
    assert "There is no model" in private(await mallory.slash(channel, "models info", model="robin"))


async def test_in_a_server_without_the_bot_a_manager_there_manages_nothing(house: House) -> None:
    await house.shelve()
    with house.interactions(context=2, authorizing_integration_owners={"1": str(house.manager.id)}):
        assert "operator's own models" in private(await house.manager.slash(house.channel, "say"))
        refused = await house.manager.slash(house.channel, "models use", model="robin")
        assert NEEDS in private(refused)


async def test_where_the_bot_can_not_write_no_training_begins(house: House) -> None:
    silent = house.guild.create_text_channel(
        "silent", overwrites={house.guild.me: discord.PermissionOverwrite(send_messages=False)}
    )
    assert "Send Messages" in private(await house.manager.slash(silent, "train", **LEARNED))
    assert await house.service.jobs(house.caller) == []


def blocked(house: House, **blocks: tuple[int, ...]) -> None:
    """Have the operator's block list name them."""
    config = house.service.config
    changed = msgspec.structs.replace(config, blocks=msgspec.structs.replace(config.blocks, **blocks))
    house.service.config = changed
    house.service.permits._config = changed


async def test_whom_the_operator_does_not_serve_gets_nothing(house: House) -> None:
    await house.shelve()
    said = await house.manager.slash(house.channel, "say")
    blocked(house, users=(house.member.id, house.manager.id))
    for actor in (house.member, house.manager):
        assert "does not serve you" in private(await actor.slash(house.channel, "say"))
        assert "does not serve you" in private(await actor.click(said.response, label="Again"))
        assert await actor.autocomplete(house.channel, "say", "model", "") == []
    assert "does not serve you" in private(await house.train())
    asked = len(house.asked())
    await house.member.send(house.channel, f"{house.bot.user.mention} hello")
    assert len(house.asked()) == asked
    shown = private(await house.member.slash(house.channel, "why"))
    assert "✗ The operator does not serve you." in shown


async def test_a_server_that_the_operator_does_not_serve_gets_nothing(house: House) -> None:
    await house.shelve()
    blocked(house, servers=(house.guild.id,))
    assert "does not serve this server" in private(await house.member.slash(house.channel, "say"))
    assert "does not serve this server" in private(await house.train())
    await house.member.send(house.channel, f"{house.bot.user.mention} hello")
    assert house.said() == []
    assert house.asked() == []
