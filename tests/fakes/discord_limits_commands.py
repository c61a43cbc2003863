"""Discord's published limits on commands, their options, choices and localizations."""

from __future__ import annotations

from typing import Any

import regex

from tests.fakes.discord_limits_components import Problems, length
from tests.fakes.discord_payloads import Json

NAME = regex.compile(r"[-_'\p{L}\p{N}\p{Script=Deva}\p{Script=Thai}]{1,32}")
LOCALES = set(
    "id da de en-GB en-US es-ES es-419 fr hr it lt hu nl no pl pt-BR ro fi sv-SE vi tr cs el bg ru uk hi th zh-CN ja "
    "zh-TW ko".split()
)
SUBCOMMAND, GROUP, STRING, INTEGER, NUMBER = 1, 2, 3, 4, 10
OF_A_KIND = {1: 100, 2: 15, 3: 15}
EACH_IN_ALL = 8000


def commands_problems(commands: list[Json]) -> Problems:
    found: Problems = []
    keys = [(c.get("type") or 1, c.get("name")) for c in commands]
    for kind, most in OF_A_KIND.items():
        if sum(k == kind for k, _ in keys) > most:
            found.append(("", f"must be {most} or fewer commands of type {kind}"))
    if len(set(keys)) < len(keys):
        found.append(("", "names must be unique"))
    for i, command in enumerate(commands):
        place, in_all = f"{i}({command.get('name')})", _characters(command)
        if in_all > EACH_IN_ALL:
            found.append((place, f"must be {EACH_IN_ALL} or fewer characters in all, not {in_all}"))
        if (command.get("type") or 1) == 1:
            found += _named(command, place)
            found += _options(command.get("options") or [], place)
        else:
            found += length(command, "name", 1, 32, place, required=True)
            found += name_problems(command.get("name_localizations"), place, most=32)
            if command.get("description") or command.get("options") or command.get("description_localizations"):
                found.append((place, "a context menu has neither description nor options"))
    return found


def name_problems(
    localizations: Json | None, place: str, *, most: int, key: str = "name", slash: bool = False
) -> Problems:
    """Localizations obey the rules of what they translate."""
    found: Problems = []
    for locale, text in (localizations or {}).items():
        where = f"{place}.{key}_localizations"
        found += [(f"{where}.{locale}", "is no locale")] if locale not in LOCALES else []
        found += length({locale: text}, locale, 1, most, where, required=True)
        found += [(f"{where}.{locale}", f"{text!r} is no name")] if slash and not _is_name(text) else []
    return found


def _is_name(text: Any) -> bool:
    return isinstance(text, str) and NAME.fullmatch(text) is not None and text == text.lower()


def _named(thing: Json, place: str) -> Problems:
    found: Problems = [] if _is_name(thing.get("name")) else [(f"{place}.name", f"{thing.get('name')!r} is no name")]
    found += length(thing, "description", 1, 100, place, required=True)
    found += name_problems(thing.get("name_localizations"), place, most=32, slash=True)
    return found + name_problems(thing.get("description_localizations"), place, most=100, key="description")


def _options(options: list[Json], place: str, depth: int = 0) -> Problems:
    found: Problems = []
    if len(options) > 25:
        found.append((f"{place}.options", f"must be 25 or fewer, not {len(options)}"))
    names = [o.get("name") for o in options]
    if len(set(names)) < len(names):
        found.append((f"{place}.options", f"names must be unique: {names}"))
    nests = [o["type"] in (SUBCOMMAND, GROUP) for o in options]
    if any(nests) and not all(nests):
        found.append((f"{place}.options", "subcommands and other options do not mix"))
    required = [bool(o.get("required")) for o in options]
    if required != sorted(required, reverse=True):
        found.append((f"{place}.options", "required options come before optional ones"))
    for i, option in enumerate(options):
        where = f"{place}.options.{i}({option.get('name')})"
        found += _named(option, where)
        if option["type"] in (SUBCOMMAND, GROUP):
            if depth + (option["type"] == GROUP) > 1:
                found.append((where, "groups do not nest"))
            if option["type"] == GROUP and not option.get("options"):
                found.append((where, "a group needs subcommands"))
            found += _options(option.get("options") or [], where, depth + 1)
        else:
            found += _option(option, where)
    return found


def _option(option: Json, place: str) -> Problems:
    found: Problems = []
    choices = option.get("choices") or []
    if len(choices) > 25:
        found.append((f"{place}.choices", f"must be 25 or fewer, not {len(choices)}"))
    if choices and (option.get("autocomplete") or option["type"] not in (STRING, INTEGER, NUMBER)):
        found.append((f"{place}.choices", "go neither with autocomplete nor with this type"))
    for i, choice in enumerate(choices):
        found += length(choice, "name", 1, 100, f"{place}.choices.{i}", required=True)
        found += name_problems(choice.get("name_localizations"), f"{place}.choices.{i}", most=100)
        if option["type"] == STRING:
            found += length(choice, "value", 1, 100, f"{place}.choices.{i}", required=True)
    least, most = option.get("min_length"), option.get("max_length")
    if not 0 <= (least or 0) <= (6000 if most is None else most) or not 1 <= (6000 if most is None else most) <= 6000:
        found.append((place, f"min_length {least} and max_length {most} must be within 6000"))
    low, high = option.get("min_value"), option.get("max_value")
    if low is not None and high is not None and low > high:
        found.append((place, f"min_value {low} is more than max_value {high}"))
    return found


def _characters(thing: Json) -> int:
    """Those of names, descriptions and values; of a text and its translations the longest counts."""
    total = 0
    for key in ("name", "description"):
        texts = [thing.get(key) or "", *(thing.get(f"{key}_localizations") or {}).values()]
        total += max(map(len, texts))
    total += len(thing["value"]) if isinstance(thing.get("value"), str) else 0
    nested = [*(thing.get("options") or []), *(thing.get("choices") or [])]
    return total + sum(map(_characters, nested))
