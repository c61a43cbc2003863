"""Discord's published limits on components: of messages, also of version 2, and of modals."""

from __future__ import annotations

from typing import Any

from tests.fakes.discord_payloads import Json, walk

Problems = list[tuple[str, str]]

ROW, BUTTON, STRING_SELECT, TEXT_INPUT, SECTION, TEXT, GALLERY, CONTAINER, LABEL = 1, 2, 3, 4, 9, 10, 12, 17, 18
SELECTS = (3, 5, 6, 7, 8)
TOP_LEVEL = (ROW, SECTION, TEXT, GALLERY, 13, 14, CONTAINER)
IN_LABEL = (*SELECTS, TEXT_INPUT, 19, 21, 22, 23)
LINK, PREMIUM = 5, 6


def length(
    body: Json, key: str, least: int, most: int, place: str = "", *, required: bool = False, trim: bool = False
) -> Problems:
    """A text's length, if there is one; `required` also says that there must be."""
    where, text = f"{place}.{key}" if place else key, body.get(key)
    if text is None:
        return [(where, "is required")] if required else []
    if not isinstance(text, str):
        return [(where, f"must be a string, not {text!r}")]
    size = len(text.strip() if trim else text)
    return [] if least <= size <= most else [(where, f"must be {least} to {most} in length, not {size}")]


def number(body: Json, key: str, least: int, most: int, place: str) -> Problems:
    value = body.get(key)
    if value is None or (isinstance(value, int) and least <= value <= most):
        return []
    return [(f"{place}.{key}", f"must be {least} to {most}, not {value}")]


def components_problems(components: list[Json], second_version: bool) -> Problems:
    found: Problems = []
    everything = list(walk(components))
    if second_version:
        if len(everything) > 40:
            found.append(("components", f"must be 40 or fewer in all, not {len(everything)}"))
        text = sum(len(c.get("content") or "") for c in everything if c["type"] == TEXT)
        if text > 4000:
            found.append(("components", f"all texts together must be 4000 or fewer in length, not {text}"))
    elif len(components) > 5:
        found.append(("components", f"must be 5 or fewer action rows, not {len(components)}"))
    for i, component in enumerate(components):
        if component["type"] not in (TOP_LEVEL if second_version else (ROW,)):
            found.append((f"components.{i}.type", f"{component['type']} is not one of the types that go here"))
        found += _parts(component, f"components.{i}")
    return found + custom_id_problems(components)


def custom_id_problems(components: list[Json]) -> Problems:
    known = [c["custom_id"] for c in walk(components) if c.get("custom_id")]
    return [("components", f"custom_id {i!r} is there twice") for i in sorted({i for i in known if known.count(i) > 1})]


def _parts(component: Json, place: str) -> Problems:
    kind, inner = component["type"], component.get("components") or []
    found: Problems = []
    if kind == ROW:
        types = {c["type"] for c in inner}
        if not 1 <= len(inner) <= 5:
            found.append((f"{place}.components", f"must be 1 to 5 in number, not {len(inner)}"))
        if types & {*SELECTS} and len(inner) > 1:
            found.append((f"{place}.components", "a select menu is alone in its row"))
        if types - {BUTTON, *SELECTS}:
            found.append((f"{place}.components", f"types {sorted(types)} do not go into a row"))
    elif kind == SECTION:
        if not 1 <= len(inner) <= 3 or not component.get("accessory"):
            found.append((f"{place}.components", "must be 1 to 3 texts and an accessory"))
    elif kind == CONTAINER:
        if not inner:
            found.append((f"{place}.components", "must not be empty"))
    elif kind == TEXT:
        found += length(component, "content", 1, 4000, place, required=True)
    elif kind == BUTTON:
        found += _button(component, place)
    elif kind in SELECTS:
        found += _select(component, place)
    for i, part in enumerate(inner):
        found += _parts(part, f"{place}.components.{i}")
    return found + (_parts(component["accessory"], f"{place}.accessory") if component.get("accessory") else [])


def _button(button: Json, place: str) -> Problems:
    found, style = length(button, "label", 0, 80, place), button.get("style")
    if style == LINK:
        found += length(button, "url", 1, 512, place, required=True)
    elif style != PREMIUM:
        found += length(button, "custom_id", 1, 100, place, required=True)
    if style not in range(1, 7):
        found.append((f"{place}.style", f"{style} is no style"))
    if style in (LINK, PREMIUM) and button.get("custom_id"):
        found.append((f"{place}.custom_id", "a link has none"))
    if style != PREMIUM and not (button.get("label") or "").strip() and not button.get("emoji"):
        found.append((f"{place}.label", "a label or an emoji is required"))
    return found


def _select(select: Json, place: str) -> Problems:
    found = length(select, "custom_id", 1, 100, place, required=True) + length(select, "placeholder", 0, 150, place)
    found += number(select, "min_values", 0, 25, place) + number(select, "max_values", 1, 25, place)
    if (select.get("min_values") or 0) > (1 if select.get("max_values") is None else select["max_values"]):
        found.append((f"{place}.min_values", "is more than max_values"))
    if select["type"] != STRING_SELECT:
        return found
    return found + _options(select, place)


def _options(select: Json, place: str, least: int = 1, most: int = 25) -> Problems:
    options = select.get("options") or []
    found: Problems = []
    if not least <= len(options) <= most:
        found.append((f"{place}.options", f"must be {least} to {most} in number, not {len(options)}"))
    if (select.get("max_values") or 1) > max(len(options), 1):
        found.append((f"{place}.max_values", f"is more than the {len(options)} options"))
    values: list[Any] = [option.get("value") for option in options]
    if len(set(values)) < len(values):
        found.append((f"{place}.options", f"values must be unique: {values}"))
    if sum(bool(option.get("default")) for option in options) > (select.get("max_values") or 1):
        found.append((f"{place}.options", "more defaults than max_values"))
    for i, option in enumerate(options):
        where = f"{place}.options.{i}"
        found += length(option, "label", 1, 100, where, required=True)
        found += length(option, "value", 1, 100, where, required=True) + length(option, "description", 0, 100, where)
    return found


def modal_parts(component: Json, place: str) -> Problems:
    """One of a modal's components: a row with a text input, a label with anything, or a text."""
    if component["type"] == TEXT:
        return length(component, "content", 1, 4000, place, required=True)
    if component["type"] == ROW:
        inner = component.get("components") or []
        if [c["type"] for c in inner] != [TEXT_INPUT]:
            return [(f"{place}.components", "must be one text input")]
        where = f"{place}.components.0"
        return length(inner[0], "label", 1, 45, where, required=True) + _input(inner[0], where)
    if component["type"] != LABEL:
        return [(f"{place}.type", f"{component['type']} does not go into a modal")]
    found = length(component, "label", 1, 45, place, required=True) + length(component, "description", 0, 100, place)
    inside: Json = component.get("component") or {"type": 0}
    where = f"{place}.component"
    if inside["type"] == TEXT_INPUT:
        found += _input(inside, where)
        if inside.get("label"):
            found.append((f"{where}.label", "the label has the label"))
    elif inside["type"] in SELECTS:
        found += _select(inside, where)
    elif inside["type"] in IN_LABEL:
        found += length(inside, "custom_id", 1, 100, where, required=True)
        if inside["type"] in (21, 22):
            found += _options(inside, where, 2 if inside["type"] == 21 else 1, 10)
    else:
        found.append((f"{where}.type", f"{inside['type']} does not go into a label"))
    return found


def _input(text: Json, place: str) -> Problems:
    found = length(text, "custom_id", 1, 100, place, required=True) + length(text, "placeholder", 0, 100, place)
    found += length(text, "value", 0, 4000, place)
    found += number(text, "min_length", 0, 4000, place) + number(text, "max_length", 1, 4000, place)
    least, most = text.get("min_length") or 0, text.get("max_length") or 4000
    if least > most:
        found.append((f"{place}.min_length", "is more than max_length"))
    if text.get("value") and not least <= len(text["value"]) <= most:
        found.append((f"{place}.value", f"must be {least} to {most} in length"))
    return found + ([] if text.get("style") in (1, 2) else [(f"{place}.style", "must be 1 or 2")])
