"""Webhooks of the stand-in for Discord: what follows an interaction, and personas in channels and threads."""

from __future__ import annotations

import uuid
from typing import Any

from tests.fakes.discord_messages import Messages
from tests.fakes.discord_payloads import (
    ACK_LIMIT_S,
    CALLBACKS,
    DEFER,
    DEFER_UPDATE,
    EPHEMERAL,
    LOADING,
    MANAGE_WEBHOOKS,
    MODAL,
    REPLY,
    SUBMIT,
    TOKEN_LIMIT_S,
    UPDATE,
    ApiError,
    Interaction,
    Json,
    invalid,
    snowflake,
)
from tests.fakes.discord_routes import Call, route


class Webhooks(Messages):
    def __init__(self) -> None:
        self.interactions: dict[str, Interaction] = {}
        self.webhooks: dict[int, Json] = {}
        self.avatar_urls: dict[int, str | None] = {}  # by message: what a persona was to look like
        super().__init__()

    def remove_webhook(self, webhook_id: int) -> None:
        """Somebody deletes it; the guild is told that a channel's webhooks changed."""
        gone = self.webhooks.pop(webhook_id)
        place = {"guild_id": gone["guild_id"], "channel_id": gone["channel_id"]}
        self._announce("WEBHOOKS_UPDATE", place, int(gone["guild_id"]))

    # ---- interactions

    def _interaction(self, token: str) -> Interaction:
        found = self.interactions.get(token)
        if found is None or self._clock() - found.created > TOKEN_LIMIT_S:
            raise ApiError(401, 50027, "Invalid Webhook Token")
        if found.response is None:
            raise ApiError(404, 10015, "Unknown Webhook")
        return found

    @route("POST", "/interactions/{id}/{token}/callback")
    async def _callback(self, call: Call, interaction_id: int, token: str) -> Json | None:
        interaction, kind = self.interactions.get(token), call.body["type"]
        age = self._clock() - interaction.created if interaction else 0.0
        if interaction is None or interaction.id != interaction_id or (not interaction.response and age > ACK_LIMIT_S):
            raise ApiError(404, 10062, "Unknown interaction")
        if interaction.response is not None:
            raise ApiError(400, 40060, "Interaction has already been acknowledged.")
        sourceless = interaction.type == SUBMIT and interaction.source is None and kind in (DEFER_UPDATE, UPDATE)
        if kind not in CALLBACKS[interaction.type] or sourceless:
            raise invalid("type", f"Callback type {kind} does not answer interaction type {interaction.type}.")
        data = call.body.get("data") or {}
        # taken before anything is awaited, so that of two callbacks at once one is refused
        interaction.response, interaction.acked_after_s = call.body, age
        try:
            if kind in (REPLY, DEFER):
                data = data if kind == REPLY else {"flags": data.get("flags", 0) | LOADING}
                interaction.message = await self._create(
                    interaction.channel_id, self.bot_user, data, call.files, interaction
                )
            elif kind == UPDATE and interaction.message is not None:
                await self._edit(interaction.message, data, call.files)
        except ApiError:
            interaction.response = interaction.acked_after_s = None
            raise
        if call.query.get("with_response", "0") not in ("1", "true"):
            return None
        about: Json = {"id": str(interaction_id), "type": interaction.type}
        resource: Json = {"type": kind}
        if (message := interaction.message) is not None and kind != MODAL:
            loading, ephemeral = bool(message["flags"] & LOADING), bool(message["flags"] & EPHEMERAL)
            about |= {"response_message_id": message["id"], "response_message_loading": loading}
            about |= {"response_message_ephemeral": ephemeral}
            resource |= {"message": message} if kind in (REPLY, UPDATE) else {}
        return {"interaction": about, "resource": resource}

    async def _follow_up(self, call: Call, token: str) -> Json:
        interaction = self._interaction(token)
        original = interaction.message
        if original is not None and original["flags"] & LOADING:
            # documented oddity: the first followup after a defer fills in the original, its flags ignored
            return await self._edit(original, {k: v for k, v in call.body.items() if k != "flags"}, call.files)
        if "0" not in interaction.owners and len(interaction.followups) >= 5:
            raise ApiError(400, 40094, "This interaction has reached the maximum number of follow up messages")
        message = await self._create(interaction.channel_id, self.bot_user, call.body, call.files, interaction)
        interaction.followups.append(message)
        return message

    # ---- both kinds

    @route("POST", "/webhooks/{id}/{token}")
    async def _execute(self, call: Call, webhook_id: int, token: str) -> Json | None:
        if webhook_id == self.application_id:
            message = await self._follow_up(call, token)
        else:
            message = await self._speak(call, self._webhook(webhook_id, token))
        return message if call.query.get("wait") in ("1", "true") else None

    @route("GET|PATCH|DELETE", "/webhooks/{id}/{token}/messages/(@original|[0-9]+)")
    async def _response(self, call: Call, webhook_id: int, token: str, which: int | str) -> Json | None:
        if webhook_id != self.application_id:
            self._webhook(webhook_id, token)
            known = [m for m in self.messages.values() if m.get("webhook_id") == str(webhook_id)]
            interaction = None
        else:
            interaction = self._interaction(token)
            known = [m for m in [interaction.message, *interaction.followups] if m]
            known = known[: 1 if interaction.message else 0] if which == "@original" else known
        alive = [m for m in known if int(m["id"]) in self.messages and which in ("@original", int(m["id"]))]
        if not alive:
            raise ApiError(404, 10008, "Unknown Message")
        if call.method == "DELETE" and interaction and alive[0] is interaction.message:
            interaction.message = None
        result = await self._apply(call, alive[0])
        if call.method == "PATCH" and not interaction:
            self.edits.append((int(alive[0]["id"]), call.body))
        return result

    # ---- personas

    def _webhook(self, webhook_id: int, token: Any) -> Json:
        found = self.webhooks.get(webhook_id)
        if found is None or int(found["channel_id"]) not in self.channels:
            raise ApiError(404, 10015, "Unknown Webhook")
        if found["token"] != token:
            raise ApiError(401, 50027, "Invalid Webhook Token")
        return found

    async def _speak(self, call: Call, webhook: Json) -> Json:
        place = int(webhook["channel_id"])
        if thread_id := call.query.get("thread_id"):
            thread = self.channels.get(int(thread_id))
            if thread is None or thread.get("parent_id") != webhook["channel_id"]:
                raise ApiError(404, 10003, "Unknown Channel")
            place = int(thread_id)
        author = {"id": webhook["id"], "username": call.body.get("username") or webhook["name"], "bot": True}
        author |= {"discriminator": "0000", "global_name": None, "avatar": uuid.uuid4().hex}
        if not call.body.get("avatar_url"):
            author["avatar"] = webhook["avatar"]
        message = await self._create(place, author, call.body, call.files, webhook=webhook)
        self.avatar_urls[int(message["id"])] = call.body.get("avatar_url")
        return message

    @route("GET|POST", "/channels/{id}/webhooks")
    async def _channel_webhooks(self, call: Call, channel_id: int) -> Json | list[Json]:
        channel = self._reach(channel_id, MANAGE_WEBHOOKS)
        there = [w for w in self.webhooks.values() if w["channel_id"] == str(channel_id)]
        if call.method == "GET":
            return there
        if "guild_id" not in channel or channel["type"] not in (0, 2, 5, 13, 15, 16):
            raise ApiError(400, 50024, "Cannot execute action on this channel type")
        if len(there) >= 15:
            raise ApiError(400, 30007, "Maximum number of webhooks reached (15)")
        made: Json = {"id": str(snowflake()), "type": 1, "guild_id": channel["guild_id"], "channel_id": channel["id"]}
        made |= {"name": call.body["name"].strip(), "avatar": uuid.uuid4().hex if call.body.get("avatar") else None}
        made |= {"token": uuid.uuid4().hex, "application_id": str(self.application_id), "user": self.bot_user}
        self.webhooks[int(made["id"])] = made
        place = {"guild_id": channel["guild_id"], "channel_id": channel["id"]}
        await self._dispatch("WEBHOOKS_UPDATE", place, int(channel["guild_id"]))
        return made

    @route("GET|PATCH|DELETE", "/webhooks/{id}(?:/{token})?")
    async def _one_webhook(self, call: Call, webhook_id: int, token: str | None) -> Json | None:
        found = self._webhook(webhook_id, token or self.webhooks.get(webhook_id, {}).get("token"))
        if token is None:
            self._reach(found["channel_id"], MANAGE_WEBHOOKS)
        if call.method == "DELETE":
            self.remove_webhook(webhook_id)
            return None
        if call.method == "PATCH":
            found |= {key: call.body[key] for key in ("name",) if key in call.body}
        return found
