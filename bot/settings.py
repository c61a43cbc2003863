"""What a server's admins have set, kept in memory and in the registry."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from bot.config import LimitSettings
from bot.registry import Registry

_KEY = "server"

Limit = Annotated[int, Meta(ge=0, le=1000)] | None


class ServerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A server's own settings. A limit of None is the operator's; 0 switches the thing off."""

    trainer_roles: tuple[int, ...] = ()  # who may train; without any, whom Discord's Integrations let
    channels: tuple[int, ...] = ()  # where the bot speaks; without any, everywhere
    log_channel: int | None = None
    persona: bool = False  # speak through a webhook with the model's name
    links: bool = False  # show links that a model writes
    threads: bool = False  # go on in threads of one's own without a mention
    trainings_per_server_day: Limit = None
    trainings_per_member_day: Limit = None
    asks_per_member_minute: Limit = None


class Settings:
    """The settings of all servers."""

    def __init__(self, registry: Registry, limits: LimitSettings) -> None:
        self._registry = registry
        self._limits = limits
        self._servers: dict[int, ServerSettings] = {}

    async def load(self) -> None:
        """Read them from the registry."""
        stored = await self._registry.settings_of_all(_KEY)
        self._servers = {server: msgspec.json.decode(value, type=ServerSettings) for server, value in stored.items()}

    def of(self, server_id: int) -> ServerSettings:
        """The settings of a server; the defaults for one that has set nothing."""
        return self._servers.get(server_id, ServerSettings())

    async def change(self, server_id: int, **changes: object) -> ServerSettings:
        """Set some of a server's settings; returns them all. msgspec.ValidationError for a value out of range."""
        values = {**msgspec.structs.asdict(self.of(server_id)), **changes}
        settings = msgspec.convert(values, ServerSettings)
        await self._registry.set_setting(_KEY, msgspec.json.encode(settings).decode(), server_id=server_id)
        self._servers[server_id] = settings
        return settings

    def limit(self, server_id: int, name: str) -> int:
        """The lower one of the operator's limit and the server's own."""
        highest: int = getattr(self._limits, name)
        own: int | None = getattr(self.of(server_id), name)
        return highest if own is None else min(own, highest)
