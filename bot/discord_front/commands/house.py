"""About the bot itself: /help, /status and /why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import discord
from discord import app_commands

from bot.discord_front.access import admitted, caller_of
from bot.discord_front.components import client_of
from bot.discord_front.render import checks_text, literal
from bot.discord_front.respond import answer, privately, think
from bot.discord_front.translator import choices, command
from bot.jobs import MODEL_ROOM_MB
from bot.permits import Check
from bot.plans import checked_handle
from bot.records import Caller
from bot.service import Service
from models.errors import NoSuchModel

Interaction = discord.Interaction[Any]
PLAUSIBLE_S = 10.0  # an answer that comes back at once makes discord.py measure from the heartbeat before
COMMANDS = {"say": "say", "mention": "say", "train": "train", "manage": "models"}


def add_house_commands(tree: app_commands.CommandTree[Any], service: Service) -> None:
    """Put them into the tree."""

    @command(tree, "help")
    async def show_help(interaction: Interaction) -> None:
        await answer(interaction, privately(interaction)("help.text"))

    @command(tree, "status")
    async def status(interaction: Interaction) -> None:
        await think(interaction)
        say, found = privately(interaction), await service.status()
        latency_s = client_of(interaction).latency
        lines = [
            say("status.engine", engine=literal(found.engine) if found.engine else say("status.starting")),
            say("status.models", models=len(service.library.visible(caller_of(interaction)))),
            say("status.jobs", running=found.running_jobs, waiting=found.waiting_jobs),
        ]
        if latency_s < PLAUSIBLE_S:  # NaN before the first heartbeat
            lines.append(say("status.latency", latency=round(latency_s * 1000)))
        await answer(interaction, "\n".join(lines))

    @command(tree, "why")
    @app_commands.choices(what=choices("what", *COMMANDS))
    async def why(
        interaction: Interaction, what: str = "say", handle: app_commands.Range[str, 1, 100] | None = None
    ) -> None:
        await think(interaction)
        handles = [checked_handle(handle)] if handle else []
        say = privately(interaction)
        caller = await admitted(interaction, COMMANDS[what])
        checks = await _checks(interaction, service, caller, what, handles)
        in_server = caller.server_id != caller.user_id
        place = say("why.here", channel=f"<#{caller.channel_id}>") if in_server else say("why.in_dm")
        end = say("why.all_well" if all(check.passed for check in checks) else "why.advice")
        heading = say("why.heading", what=say(f"choice.what.{what}"), place=place)
        await answer(interaction, "\n".join([heading, checks_text(checks, say), end]))


async def _checks(
    interaction: Interaction, service: Service, caller: Caller, what: str, handles: Sequence[str]
) -> list[Check]:
    """Everything that has to be right for it, what Discord allows before what the house allows."""
    in_server = caller.server_id != caller.user_id
    if what in ("train", "manage") and not in_server:
        return [Check(rule="server_only", passed=False)]
    checks = _permissions(interaction, service, caller, what) if in_server else []
    if what == "manage":
        return [*service.permits.presence(caller), Check(rule="manager", passed=caller.may_manage), *checks]
    if what == "train":
        needed = service.config.bot.min_free_disk_mb + MODEL_ROOM_MB
        disk = Check(rule="disk", passed=service.data.free_mb >= needed)
        return [*checks, *await service.permits.training(caller, handles), disk]
    try:
        model = Check(rule="model", passed=True, facts={"name": literal(service.library.default(caller).name)})
    except NoSuchModel:
        model = Check(rule="model", passed=False)
    engine = Check(rule="engine", passed=service.engine.ready is not None)
    return [*checks, *service.permits.speaking(caller), model, engine]


def _permissions(interaction: Interaction, service: Service, caller: Caller, what: str) -> list[Check]:
    """What Discord lets the bot do in the channel."""
    allowed = interaction.app_permissions
    is_thread = isinstance(interaction.channel, discord.Thread)
    checks = [Check(rule="bot_view", passed=allowed.view_channel)]
    if what in ("mention", "train"):
        may_send = allowed.send_messages_in_threads if is_thread else allowed.send_messages
        checks.append(Check(rule="bot_send", passed=may_send))
    if what == "mention":
        checks.append(Check(rule="bot_history", passed=allowed.read_message_history))
    if what == "train":
        checks.append(Check(rule="bot_files", passed=allowed.attach_files))
    if what in ("say", "mention") and service.settings.of(caller.server_id).persona:
        checks.append(Check(rule="bot_webhooks", passed=allowed.manage_webhooks))
    return checks
