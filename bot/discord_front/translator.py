"""Names and descriptions of commands, taken from the languages' files."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import discord
from discord import app_commands

from bot.strings import strings

Handler = Callable[..., Awaitable[None]]


class Catalogue(app_commands.Translator):
    """Tells Discord what a command is called in the languages that there are."""

    async def translate(
        self, string: app_commands.locale_str, locale: discord.Locale, context: app_commands.TranslationContextTypes
    ) -> str | None:
        language = strings(locale.value)
        key = string.extras.get("key")
        return language.texts[key] if key and language.language == locale.value else None


def named(key: str) -> app_commands.locale_str:
    """The sentence of that key, in English, and in the others for Discord to choose."""
    return app_commands.locale_str(strings()(key), key=key)


def command(parent: app_commands.CommandTree[Any] | app_commands.Group, key: str) -> Callable[[Handler], Any]:
    """Register a command in a tree or a group; its names and descriptions are those under `command.<key>`.

    (An option called `name` is `name_` there: `name` is the command's own.)
    """

    def register(handler: Handler) -> Any:
        options = list(inspect.signature(handler).parameters)[1:]
        if options:
            keys = {o: f"command.{key}.{o}_" if o == "name" else f"command.{key}.{o}" for o in options}
            handler = app_commands.rename(**{o: named(f"{k}.name") for o, k in keys.items()})(handler)
            handler = app_commands.describe(**{o: named(f"{k}.about") for o, k in keys.items()})(handler)
        about, name = named(f"command.{key}.about"), named(f"command.{key}.name")
        return parent.command(name=name, description=about)(handler)  # type: ignore[arg-type]

    return register


def group(key: str, **limits: Any) -> app_commands.Group:
    """A group of commands, named under `command.<key>`."""
    return app_commands.Group(name=named(f"command.{key}.name"), description=named(f"command.{key}.about"), **limits)


def choices(kind: str, *values: str) -> list[app_commands.Choice[str]]:
    """The named values of an option, under `choice.<kind>`."""
    return [app_commands.Choice(name=named(f"choice.{kind}.{value}"), value=value) for value in values]
