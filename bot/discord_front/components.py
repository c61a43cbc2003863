"""Buttons and menus: each holds all that it needs in its custom id, so that it works after a restart too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, cast

import discord

from bot.discord_front.respond import answer_error

if TYPE_CHECKING:
    import re

    from bot.discord_front.client import Mockingbird
    from bot.service import Service

Item = discord.ui.Item[Any]


class Component(discord.ui.DynamicItem[Item], template=r"(?!)"):
    """Base of all of them. `values` are the named groups of the template; `press` does the work."""

    def __init__(self, item: Item, **values: str) -> None:
        super().__init__(item)
        self.values = values

    @classmethod
    async def from_custom_id(cls, interaction: discord.Interaction[Any], item: Item, match: re.Match[str], /) -> Self:
        return cls(item, **{name: value for name, value in match.groupdict().items() if value is not None})

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        try:
            await self.press(interaction)
        except Exception as exc:
            await answer_error(interaction, exc)

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        """What happens when somebody presses it or chooses from it."""
        raise NotImplementedError

    def chosen(self, interaction: discord.Interaction[Any]) -> list[str]:
        """What was chosen from a menu."""
        return list(data_of(interaction).get("values", []))


def button(
    label: str,
    custom_id: str,
    style: discord.ButtonStyle = discord.ButtonStyle.secondary,
    *,
    emoji: str | None = None,
    row: int | None = None,
    disabled: bool = False,
) -> Item:
    return discord.ui.Button[discord.ui.View](
        label=label[:80], custom_id=custom_id, style=style, emoji=emoji, row=row, disabled=disabled
    )


def row_of(*items: Item) -> discord.ui.View:
    """A view of components that never ends."""
    view = discord.ui.View(timeout=None)
    for item in items:
        view.add_item(item)
    return view


def data_of(interaction: discord.Interaction[Any]) -> dict[str, Any]:
    """What Discord sent with the interaction."""
    return cast("dict[str, Any]", interaction.data or {})


def client_of(interaction: discord.Interaction[Any]) -> Mockingbird:
    client: Mockingbird = interaction.client
    return client


def service_of(interaction: discord.Interaction[Any]) -> Service:
    return client_of(interaction).service


def form_values(interaction: discord.Interaction[Any]) -> dict[str, str]:
    """What was typed into a form, by the custom ids of its fields."""
    found: dict[str, str] = {}

    def walk(components: list[Any]) -> None:
        for component in components:
            if "value" in component:
                found[component["custom_id"]] = component["value"]
            walk(component.get("components", []))
            if inner := component.get("component"):
                walk([inner])

    walk(data_of(interaction).get("components", []))
    return found
