"""The commands, by who uses them."""

from __future__ import annotations

from typing import Any

from discord import app_commands

from bot.discord_front.commands.admins import add_admin_commands
from bot.discord_front.commands.house import add_house_commands
from bot.discord_front.commands.members import add_member_commands
from bot.discord_front.commands.trainers import add_trainer_commands
from bot.service import Service


def add_commands(tree: app_commands.CommandTree[Any], service: Service) -> None:
    """Put all commands into the tree."""
    add_member_commands(tree, service)
    add_trainer_commands(tree, service)
    add_admin_commands(tree, service)
    add_house_commands(tree, service)
