"""Speaking under the model's name: one webhook a channel, reused, with the name set for each message."""

from __future__ import annotations

import logging
import re
from typing import Any

import discord

from bot.records import ModelVersion
from bot.strings import Strings

log = logging.getLogger(__name__)

WEBHOOK_NAME = "Mockingbird"
MAX_NAME_CHARS = 80
_FORBIDDEN = re.compile(r"(d)(iscord)|(c)(lyde)", re.IGNORECASE)  # Discord refuses names with these in them

Speakable = discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.ForumChannel


class Personas:
    """Finds or makes the webhook of a channel, and speaks through it."""

    def __init__(self, client: discord.Client) -> None:
        self._client = client
        self._webhooks: dict[int, discord.Webhook] = {}

    def can_speak(self, channel: Any) -> bool:
        """Whether the bot may use a webhook there."""
        place = _place(channel)
        return place is not None and place.permissions_for(place.guild.me).manage_webhooks

    async def speak(
        self, channel: Any, model: ModelVersion, say: Strings, *, view: discord.ui.View, **parts: Any
    ) -> discord.WebhookMessage:
        """Send a message under the model's name; discord.HTTPException if Discord refuses."""
        place = _place(channel)
        assert place is not None
        thread = channel if isinstance(channel, discord.Thread) else discord.utils.MISSING
        for is_first in (True, False):
            webhook = await self._webhook(place)
            try:
                return await webhook.send(
                    username=persona_name(model, say),
                    thread=thread,
                    view=view,
                    wait=True,
                    suppress_embeds="embed" not in parts,
                    **parts,
                )
            except discord.NotFound:  # somebody deleted it
                self._webhooks.pop(place.id, None)
                if not is_first:
                    raise
        raise AssertionError("unreachable")

    async def delete(self, channel: Any, message: discord.Message) -> None:
        """Delete what was sent under a model's name; discord.HTTPException if Discord refuses."""
        place = _place(channel)
        assert place is not None
        webhook = await self._webhook(place)
        if webhook.id != message.webhook_id:  # of an earlier webhook, which is gone
            await message.delete()
            return
        thread = channel if isinstance(channel, discord.Thread) else discord.utils.MISSING
        await webhook.delete_message(message.id, thread=thread)

    async def _webhook(self, place: Speakable) -> discord.Webhook:
        if place.id not in self._webhooks:
            assert self._client.user is not None
            mine = [
                hook
                for hook in await place.webhooks()
                if hook.token and hook.user is not None and hook.user.id == self._client.user.id
            ]
            self._webhooks[place.id] = mine[0] if mine else await place.create_webhook(name=WEBHOOK_NAME)
        return self._webhooks[place.id]


def persona_name(model: ModelVersion, say: Strings) -> str:
    """The model's name as Discord lets a webhook be called, with the word that it is a machine."""
    name = _FORBIDDEN.sub(lambda m: "\u200b".join(part for part in m.groups() if part), model.name)
    room = MAX_NAME_CHARS - len(say("say.persona", name=""))
    return say("say.persona", name=name[:room].strip())


def _place(channel: Any) -> Speakable | None:
    """The channel that has the webhooks: a thread's parent."""
    if isinstance(channel, discord.Thread):
        channel = channel.parent
    return channel if isinstance(channel, Speakable) else None
