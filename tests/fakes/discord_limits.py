"""Discord's published limits on what a bot sends: each request's body against those of its kind."""

from __future__ import annotations

import re
from typing import Any

from tests.fakes.discord_limits_commands import commands_problems, name_problems
from tests.fakes.discord_limits_components import Problems, components_problems, custom_id_problems, length, modal_parts
from tests.fakes.discord_payloads import CHOICES, COMPONENTS_V2, DEFER, MODAL, REPLY, UPDATE, Json

EMBED_TEXTS = {"title": 256, "description": 4096, "footer.text": 2048, "author.name": 256}
MESSAGE = re.compile(r"(POST|PATCH) /(channels/\d+/messages|webhooks/\d+/[^/]+)(/\d+|/messages/(\d+|@original))?")


def request_problems(method: str, path: str, body: Any, files: int, application_id: int) -> Problems:
    """Where in the body, and why Discord would answer 400/50035; [] if it would not."""
    call = f"{method} {path}"
    if method == "GET" or body is None:
        return []
    if re.fullmatch(r"POST /interactions/\d+/[^/]+/callback", call):
        return callback_problems(body, files)
    if re.fullmatch(r"(PUT|POST|PATCH) /applications/\d+(/guilds/\d+)?/commands(/\d+)?", call):
        return commands_problems(body if isinstance(body, list) else [body])
    if re.fullmatch(r"POST /channels/\d+/(messages/\d+/)?threads|PATCH /channels/\d+", call):
        return length(body, "name", 1, 100, required=method == "POST")
    if re.fullmatch(r"POST /channels/\d+/webhooks|PATCH /webhooks/\d+(/[^/]+)?", call):
        return webhook_name_problems(body, "name", required=method == "POST")
    if MESSAGE.fullmatch(call):
        ours = path.startswith(f"/webhooks/{application_id}/")
        persona = path.startswith("/webhooks/") and not ours
        found = webhook_name_problems(body, "username") if persona and method == "POST" else []
        return found + message_problems(body, files)
    return []


def callback_problems(body: Json, files: int) -> Problems:
    kind, data = body.get("type"), body.get("data") or {}
    if kind in (REPLY, UPDATE):
        found = message_problems(data, files)
    elif kind == CHOICES:
        found = choices_problems(data.get("choices") or [])
    elif kind == MODAL:
        found = modal_problems(data)
    else:
        unknown = kind not in (1, DEFER, 6)
        found = [("type", f"{kind} is no type of callback")] if unknown else []
    return [(f"data.{where}" if kind in (REPLY, UPDATE, CHOICES, MODAL) else where, why) for where, why in found]


def message_problems(body: Json, files: int) -> Problems:
    found = length(body, "content", 0, 2000)
    flags = body.get("flags") or 0
    if flags & COMPONENTS_V2 and (body.get("content") or body.get("embeds")):
        found.append(("flags", "with components V2 there is neither content nor embeds"))
    found += embeds_problems(body.get("embeds") or [])
    found += components_problems(body.get("components") or [], bool(flags & COMPONENTS_V2))
    if len(str(body.get("nonce") or "")) > 25:
        found.append(("nonce", "must be 25 or fewer in length"))
    attachments = body.get("attachments") or []
    if max(files, len(attachments)) > 10:
        found.append(("attachments", f"must be 10 or fewer, not {max(files, len(attachments))}"))
    for i, attachment in enumerate(attachments):
        found += length(attachment, "description", 0, 1024, f"attachments.{i}")
    allowed = body.get("allowed_mentions") or {}
    for kind in ("users", "roles"):
        listed = allowed.get(kind) or []
        if len(listed) > 100:
            found.append((f"allowed_mentions.{kind}", "must be 100 or fewer"))
        if listed and kind in (allowed.get("parse") or []):
            found.append((f"allowed_mentions.{kind}", f"parse:[{kind}] and {kind}: [ids...] are mutually exclusive"))
    if len(body.get("sticker_ids") or []) > 3:
        found.append(("sticker_ids", "must be 3 or fewer"))
    return found


def embeds_problems(embeds: list[Json]) -> Problems:
    found: Problems = []
    if len(embeds) > 10:
        found.append(("embeds", f"must be 10 or fewer, not {len(embeds)}"))
    total = 0
    for i, embed in enumerate(embeds):
        place = f"embeds.{i}"
        for key, most in EMBED_TEXTS.items():
            outer, _, inner = key.partition(".")
            text: str = ((embed.get(outer) or {}).get(inner) if inner else embed.get(outer)) or ""
            total += len(text)
            if len(text) > most:
                found.append((f"{place}.{key}", f"must be {most} or fewer in length, not {len(text)}"))
        fields = embed.get("fields") or []
        if len(fields) > 25:
            found.append((f"{place}.fields", f"must be 25 or fewer, not {len(fields)}"))
        for n, field in enumerate(fields):
            found += length(field, "name", 1, 256, f"{place}.fields.{n}", required=True)
            found += length(field, "value", 1, 1024, f"{place}.fields.{n}", required=True)
            total += len(field.get("name") or "") + len(field.get("value") or "")
    if total > 6000:
        found.append(("embeds", f"all texts together must be 6000 or fewer in length, not {total}"))
    return found


def choices_problems(choices: list[Json]) -> Problems:
    found: Problems = [("choices", f"must be 25 or fewer, not {len(choices)}")] if len(choices) > 25 else []
    for i, choice in enumerate(choices):
        found += length(choice, "name", 1, 100, f"choices.{i}", required=True)
        if isinstance(choice.get("value"), str):
            found += length(choice, "value", 1, 100, f"choices.{i}")
        elif not isinstance(choice.get("value"), int | float) or abs(choice["value"]) > 2**53:
            found.append((f"choices.{i}.value", "is required: a string or a number within 2^53"))
        found += name_problems(choice.get("name_localizations"), f"choices.{i}", most=100)
    return found


def modal_problems(data: Json) -> Problems:
    found = length(data, "title", 1, 45, required=True) + length(data, "custom_id", 1, 100, required=True)
    components = data.get("components") or []
    if not 1 <= len(components) <= 5:
        found.append(("components", f"must be 1 to 5 in number, not {len(components)}"))
    for i, component in enumerate(components):
        found += modal_parts(component, f"components.{i}")
    return found + custom_id_problems(components)


def webhook_name_problems(body: Json, key: str, *, required: bool = False) -> Problems:
    found = length(body, key, 1, 80, required=required)
    name = body.get(key) or ""
    if name and not name.strip():
        found.append((key, "must not be blank"))
    return found + [(key, f"cannot contain {w!r}") for w in ("clyde", "discord") if w in name.lower()]
