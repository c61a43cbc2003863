"""Where Discord's REST API is, at Discord or for tests at a stand-in on loopback, and how it fails."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import aiohttp
import discord

from models.errors import SetupError

TROUBLE = (discord.HTTPException, aiohttp.ClientError, OSError, TimeoutError)  # refused, or not reached

VARIABLE = "MOCKINGBIRD_DISCORD_API"
DISCORD = "https://discord.com/api/v10"


def is_passing(trouble: BaseException) -> bool:
    """Whether the same request may well succeed in a moment: Discord was not reached, or is too busy."""
    return not isinstance(trouble, discord.HTTPException) or trouble.status == 429 or trouble.status >= 500


def api_base() -> str:
    """The base of REST URLs. SetupError if the environment names one that is not on loopback: the token goes there."""
    base = os.environ.get(VARIABLE, DISCORD)
    if base != DISCORD and urlsplit(base).hostname not in ("127.0.0.1", "::1", "localhost"):
        raise SetupError(f"{VARIABLE} is for tests: it has to be an address on loopback, not {base}.")
    return base
