"""What members choose in select menus and write into modals, in the stand-in for Discord."""

from __future__ import annotations

from typing import Any

from tests.fakes.discord_payloads import DEFAULT_PERMISSIONS, Json, walk
from tests.fakes.discord_rest import DiscordRest

TEXT, FILES = 4, 19
# by kind of select menu, the kind of command option that takes the same
AS_OPTION = {5: 6, 6: 8, 7: 9, 8: 7}


def resolve(server: DiscordRest, found: list[tuple[int, Any]], guild_id: int | None) -> Json:
    """What ids stand for; each with the kind of option: 6 user, 7 channel, 8 role, 9 either, 11 file (stored)."""
    resolved: Json = {key: {} for key in ("attachments", "users", "members", "channels", "roles")}
    roles = {r["id"]: r for r in server.guilds[guild_id]["roles"]} if guild_id else {}
    for kind, value in found:
        if kind == 11:
            resolved["attachments"][value["id"]] = value | {"ephemeral": True}
        elif kind == 7:
            channel = server.channels.get(int(value))
            assert channel is not None, f"there is no channel {value}"
            resolved["channels"][str(value)] = channel | {"permissions": str(DEFAULT_PERMISSIONS)}
        elif kind == 8 or (kind == 9 and str(value) in roles):
            assert str(value) in roles, f"there is no role {value}"
            resolved["roles"][str(value)] = roles[str(value)]
        else:
            user = server._user(int(value))
            resolved["users"][str(value)] = user
            if guild_id is not None:
                member = server._member(None, guild_id, int(value))
                resolved["members"][str(value)] = member | {"permissions": str(DEFAULT_PERMISSIONS)}
    return resolved


def chosen(server: DiscordRest, component: Json, values: list[Any] | None, guild_id: int | None) -> Json:
    """The values of a select menu, and what they stand for."""
    name, kind = component["custom_id"], component["type"]
    assert values is not None, f"component {name!r} is a select menu: it needs values"
    least, most = component.get("min_values", 1), component.get("max_values", 1)
    assert least <= len(values) <= most, f"select {name!r} takes {least} to {most} values, not {values}"
    assert len({str(v) for v in values}) == len(values), f"select {name!r} takes a value once: {values}"
    if kind == 3:
        offered = [option["value"] for option in component["options"]]
        assert set(values) <= set(offered), f"select {name!r} offers {offered}, not {values}"
        return {"values": list(values)}
    if kind in (5, 7):
        roles = {r["id"] for r in server.guilds[guild_id]["roles"]} if guild_id and kind == 7 else set()
        unknown = [v for v in values if int(v) not in server.users and str(v) not in roles]
        assert not unknown, f"nobody has the ids {unknown}"
    resolved = resolve(server, [(AS_OPTION[kind], v) for v in values], guild_id)
    if kind == 8 and (types := component.get("channel_types")):
        wrong = [c["id"] for c in resolved["channels"].values() if c["type"] not in types]
        assert not wrong, f"select {name!r} offers channels of types {types}, not {wrong}"
    return {"values": [str(v) for v in values], "resolved": {k: v for k, v in resolved.items() if v}}


def filled_in(server: DiscordRest, modal: Json, values: Json, guild_id: int | None) -> Json:
    """The data of a submitted modal, in the form that its components have."""
    known = [c["custom_id"] for c in walk(modal["components"]) if "custom_id" in c]
    assert values.keys() <= set(known), f"the modal has the components {known}, not {list(values)}"
    resolved: Json = {}

    def answer(component: Json) -> Json:
        made = {key: component[key] for key in ("type", "id", "custom_id") if key in component}
        kind, value = component["type"], values.get(component.get("custom_id", ""))
        if kind == 1:
            return made | {"components": [answer(c) for c in component["components"]]}
        if kind == 18:
            return made | {"component": answer(component["component"])}
        if kind == TEXT:
            return made | {"value": _text(component, value)}
        if kind == FILES:
            stored = [server._store(*file) for file in value or []]
            least, most = component.get("min_values", 1), component.get("max_values", 1)
            least = least if component.get("required", True) else 0
            assert least <= len(stored) <= most, f"upload {made['custom_id']!r} takes {least} to {most} files"
            resolved.setdefault("attachments", {}).update({f["id"]: f | {"ephemeral": True} for f in stored})
            return made | {"values": [f["id"] for f in stored]}
        if kind in AS_OPTION or kind == 3:
            if value is None:
                value = [o["value"] for o in component.get("options", []) if o.get("default")]
            if not value and not component.get("required", True):
                return made | {"values": []}
            picked = chosen(server, component, value, guild_id)
            for key, found in picked.pop("resolved", {}).items():
                resolved.setdefault(key, {}).update(found)
            return made | picked
        if kind == 22:
            return made | {"values": list(value or [])}
        return made | ({"value": value} if kind in (21, 23) else {})

    components = [answer(c) for c in modal["components"]]
    data = {"custom_id": modal["custom_id"], "components": components}
    return data | ({"resolved": resolved} if resolved else {})


def _text(component: Json, value: Any) -> str:
    """What is left alone keeps the text that the bot put there."""
    name, text = component["custom_id"], component.get("value") or "" if value is None else value
    assert isinstance(text, str), f"input {name!r} takes a text, not {text!r}"
    assert text or not component.get("required", True), f"input {name!r} is required"
    least, most = component.get("min_length") or 0, component.get("max_length") or 4000
    assert not text or least <= len(text) <= most, f"input {name!r} takes {least} to {most} characters, not {len(text)}"
    return text
