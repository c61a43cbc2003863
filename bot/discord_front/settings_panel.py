"""/settings: one message that shows what is set, with menus and buttons to change it."""

from __future__ import annotations

from typing import Any

import discord

from bot.discord_front.access import admitted
from bot.discord_front.components import Component, button, client_of, form_values, row_of, service_of
from bot.discord_front.respond import acknowledge, privately, replace
from bot.permits import require_manager
from bot.settings import ServerSettings
from bot.strings import Strings
from models.errors import UserError

LIMITS_FORM = "limits"
LIMITS = {
    "server": "trainings_per_server_day",
    "member": "trainings_per_member_day",
    "asks": "asks_per_member_minute",
}
MAX_LIMIT = 1000  # what a server can set at most
MAX_CHOICES = 25
TEXT_CHANNELS = [discord.ChannelType.text, discord.ChannelType.news, discord.ChannelType.voice]


def panel(interaction: discord.Interaction[Any], server_id: int) -> dict[str, Any]:
    """The parts of the message."""
    service, say = service_of(interaction), privately(interaction)
    settings = service.settings.of(server_id)
    limits = {name: service.settings.limit(server_id, key) for name, key in LIMITS.items()}
    roles = " ".join(f"<@&{role}>" for role in settings.trainer_roles)
    channels = " ".join(f"<#{channel}>" for channel in settings.channels)
    log = f"<#{settings.log_channel}>" if settings.log_channel else say("settings.log_default")
    lines = [
        say("settings.heading"),
        say("settings.trainers", roles=roles or say("settings.trainers_default")),
        say("settings.channels", channels=channels or say("settings.channels_default")),
        say("settings.log", channel=log),
        say("settings.persona", state=_on(settings.persona, say)),
        say("settings.links", state=say("settings.shown" if settings.links else "settings.removed")),
        say("settings.threads", state=_on(settings.threads, say)),
        say("settings.limits", **limits),
    ]
    return {"content": "\n".join(lines), "view": _view(settings, say)}


def _view(settings: ServerSettings, say: Strings) -> discord.ui.View:
    role = discord.SelectDefaultValueType.role
    roles = discord.ui.RoleSelect[discord.ui.View](
        custom_id="settings:trainer_roles",
        placeholder=say("settings.trainers_hint")[:150],
        min_values=0,
        max_values=MAX_CHOICES,
        default_values=[discord.SelectDefaultValue(id=each, type=role) for each in settings.trainer_roles],
        row=0,
    )
    log_channels = (settings.log_channel,) if settings.log_channel else ()
    channels = _channel_menu("channels", say("settings.channels_hint"), settings.channels, most=MAX_CHOICES, row=1)
    log = _channel_menu("log_channel", say("settings.log_hint"), log_channels, most=1, row=2)
    items: list[Component] = [Choice(menu) for menu in (roles, channels, log)]
    for name in ("persona", "links", "threads"):
        style = discord.ButtonStyle.success if getattr(settings, name) else discord.ButtonStyle.secondary
        items.append(Toggle(button(say(f"settings.{name}_button"), f"settings:{name}", style, row=3)))
    items.append(OpenLimits(button(say("settings.limits_button"), "settings:limits", row=3)))
    return row_of(*items)


def _channel_menu(
    key: str, hint: str, chosen: tuple[int, ...], *, most: int, row: int
) -> discord.ui.ChannelSelect[discord.ui.View]:
    channel = discord.SelectDefaultValueType.channel
    return discord.ui.ChannelSelect[discord.ui.View](
        custom_id=f"settings:{key}",
        placeholder=hint[:150],
        channel_types=TEXT_CHANNELS,
        min_values=0,
        max_values=most,
        default_values=[discord.SelectDefaultValue(id=each, type=channel) for each in chosen],
        row=row,
    )


async def change(interaction: discord.Interaction[Any], **changes: object) -> None:
    """Change the settings of the server in which somebody pressed, and show the panel anew."""
    await acknowledge(interaction, interaction.response.defer)
    caller = await admitted(interaction, "settings")
    require_manager(caller)
    await service_of(interaction).settings.change(caller.server_id, **changes)
    await replace(interaction, panel(interaction, caller.server_id))
    what = ", ".join(sorted(changes))
    await client_of(interaction).tell(caller.server_id, "settings", who=f"<@{caller.user_id}>", what=what)


async def change_limits(interaction: discord.Interaction[Any]) -> None:
    """What the form of limits says."""
    say, limits = privately(interaction), service_of(interaction).config.limits
    changes: dict[str, object] = {}
    for name, text in form_values(interaction).items():
        most = min(getattr(limits, LIMITS[name]), MAX_LIMIT)
        if text.strip() and not (text.strip().isdecimal() and int(text) <= most):
            raise UserError(say("settings.not_a_number", text=text[:40], most=most))
        changes[LIMITS[name]] = int(text) if text.strip() else None
    await change(interaction, **changes)


class Choice(Component, template=r"settings:(?P<key>trainer_roles|channels|log_channel)"):
    """The menus of the panel."""

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        chosen = tuple(int(value) for value in self.chosen(interaction))
        is_one = self.values["key"] == "log_channel"
        value = (chosen[0] if chosen else None) if is_one else chosen
        await change(interaction, **{self.values["key"]: value})


class Toggle(Component, template=r"settings:(?P<key>persona|links|threads)"):
    """Switches one thing on or off, if it can be."""

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        key, say = self.values["key"], privately(interaction)
        service = service_of(interaction)
        value = not getattr(service.settings.of(interaction.guild_id or 0), key)
        if value and key == "persona" and not client_of(interaction).personas.can_speak(interaction.channel):
            raise UserError(say("settings.needs_webhooks"))
        if value and key == "threads" and not service.config.discord.message_content:
            raise UserError(say("settings.needs_content"))
        await change(interaction, **{key: value})


class OpenLimits(Component, template=r"settings:limits"):
    """Opens the form of limits."""

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        service, say = service_of(interaction), privately(interaction)
        form = discord.ui.Modal(title=say("settings.limits_title"), custom_id=LIMITS_FORM)
        for name, key in LIMITS.items():
            own = getattr(service.settings.of(interaction.guild_id or 0), key)
            most = min(getattr(service.config.limits, key), MAX_LIMIT)
            field = discord.ui.TextInput[discord.ui.View](
                custom_id=name, required=False, max_length=4, default="" if own is None else str(own)
            )
            form.add_item(discord.ui.Label(text=say(f"settings.limit_{name}", most=most)[:45], component=field))
        await acknowledge(interaction, lambda: interaction.response.send_modal(form))


def _on(value: bool, say: Strings) -> str:
    return say("settings.on" if value else "settings.off")
