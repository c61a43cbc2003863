"""A stand-in for the web: https servers of any name on one loopback port, reached as production reaches the real ones.

Its names are resolved by the bot's own resolver (MOCKINGBIRD_STAND_IN) and its certificates trusted by SSL_CERT_FILE,
so that all else, TLS and host checks included, is what runs in production.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request that came."""

    host: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(kw_only=True)
class FakeInternet:
    """`async with FakeInternet(folder) as net: net.serve("api.x.com", handler)`; handlers see `request.host`."""

    folder: Path
    asked: list[Asked] = field(default_factory=list)
    _hosts: dict[str, Handler] = field(default_factory=dict)
    _port: int = 0
    _runner: web.AppRunner | None = None

    def serve(self, host: str, handler: Handler) -> None:
        """Answer for a host; `*.name` stands for all below that name."""
        self._hosts[host] = handler

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to reach these servers and no others."""
        return {"MOCKINGBIRD_STAND_IN": f"127.0.0.1:{self._port}", "SSL_CERT_FILE": str(self.folder / "ca.pem")}

    def asked_of(self, host: str) -> list[str]:
        """The paths, with their queries, that a host was asked for."""
        return [
            f"{a.path}?{'&'.join(f'{k}={v}' for k, v in a.query.items())}" if a.query else a.path
            for a in self.asked
            if a.host == host
        ]

    async def __aenter__(self) -> FakeInternet:
        self.folder.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.folder / "ca.pem"))
        contexts: dict[str, ssl.SSLContext] = {}

        def present(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: Any) -> None:
            host = name or "nameless.test"
            if host not in contexts:
                contexts[host] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                authority.issue_cert(host).configure_cert(contexts[host])
            connection.context = contexts[host]

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("nameless.test").configure_cert(context)
        context.sni_callback = present
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        addresses: Sequence[Any] = self._runner.addresses
        self._port = addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        host = request.host.partition(":")[0]
        self.asked.append(Asked(host=host, path=request.path, query=dict(request.query), headers=dict(request.headers)))
        handler = self._hosts.get(host) or self._hosts.get(f"*.{host.partition('.')[2]}")
        if handler is None:
            return web.json_response({"error": "no such host here"}, status=404)
        return await handler(request)
