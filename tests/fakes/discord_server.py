"""A stand-in for Discord on loopback: the REST API, the gateway and the CDN over real sockets.

It enforces the rules that bite bots (3 s to acknowledge, 15 minutes per interaction token, one callback, permissions,
the published limits, the message-content intent, exact Content-Type) and lets a test act as the members of its guilds.
"""

# ruff: noqa: ASYNC109 - callers read better with a timeout argument than with a context manager each
from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tests.fakes.discord_acts import Acts
from tests.fakes.discord_payloads import DEFAULT_PERMISSIONS, EPHEMERAL, INTENT_CONTENT, LOADING, MANAGE_GUILD

__all__ = ["DEFAULT_PERMISSIONS", "EPHEMERAL", "INTENT_CONTENT", "LOADING", "MANAGE_GUILD", "FakeDiscord"]


class FakeDiscord(Acts):
    """Discord; a fixture asserts at its end that unknown_routes and violations are []."""

    async def __aenter__(self) -> FakeDiscord:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self.gateway_url = self.url.replace("http", "ws") + "/gw"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.drop_gateway()
        await self._runner.cleanup()

    async def wait_for(self, predicate: Callable[[], Any], timeout: float = 10, *, what: str = "the condition") -> Any:
        deadline = time.monotonic() + timeout
        while not (value := predicate()):
            if time.monotonic() > deadline:
                recent = "\n".join(f"  {m} {p} {str(b)[:160]}" for m, p, b in self.requests[-15:])
                raise AssertionError(f"waited {timeout} s for {what}; the last requests were:\n{recent or '  none'}")
            self._changed.clear()
            # what the predicate looks at may change without the server knowing, so look again without being told
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), 0.05)
        return value

    async def wait_ready(self, timeout: float = 15) -> None:
        """Wait until a client is connected, or one for each of the shards that there are."""

        def ready() -> bool:
            known = list(self.sessions.values())
            return bool(known) and len(known) == known[0].shards and all(s.ws for s in known)

        await self.wait_for(ready, timeout, what="a client on the gateway")
