"""Where simcord is not as Discord: what is put right for the time of a test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import simcord.backend.serializers
import simcord.http.routes.interactions
import simcord.interactions


def mend(patch: pytest.MonkeyPatch) -> None:
    """Interactions tell to whom the app is installed; a bot's own webhooks belong to the app.

    Messages of those name the app, may have buttons, and go to threads.
    """
    base_payload = simcord.interactions.base_payload
    routes, serializers = simcord.http.routes.interactions, simcord.backend.serializers
    incoming_webhook, message_payload = routes._incoming_webhook, serializers.message_payload

    def payload_with_owners(*args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        record, fields = base_payload(*args, **kwargs)
        guild = fields.get("guild_id")
        return record, {**fields, "authorizing_integration_owners": {"0": guild} if guild else {"0": "0"}}

    def webhook_in_thread(ctx: Any) -> Any:
        webhook = incoming_webhook(ctx)
        thread_id = ctx.params.get("thread_id")
        return replace(webhook, channel_id=int(thread_id)) if thread_id else webhook

    def message_of_the_app(backend: Any, message: Any, **kwargs: Any) -> Any:
        payload = message_payload(backend, message, **kwargs)
        webhook = backend.webhooks.get(message.webhook_id)
        is_own = webhook is not None and webhook.creator_id == backend.bot_user.id
        return {**payload, "application_id": str(backend.application_id)} if is_own else payload

    patch.setattr(simcord.interactions, "base_payload", payload_with_owners)
    patch.setattr(routes, "_incoming_webhook", webhook_in_thread)
    patch.setattr(routes, "_incoming_webhook_body", lambda ctx: (dict(ctx.body()), True))
    patch.setattr(serializers, "message_payload", message_of_the_app)
