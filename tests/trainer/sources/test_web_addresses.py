"""Where the web's requests may go: names of the public web, with addresses that everybody can reach."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from yarl import URL

from models.source_errors import SourceDown
from tests.fakes.internet import FakeInternet
from tests.trainer.sources.conftest import OpenAccess
from trainer.sources import web
from trainer.sources.web import NotPublic, is_public, open_web, require_public


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org",
        "https://example.org:8080",
        "https://user@example.org",
        "https://:pw@example.org",
        "https://127.0.0.1",
        "https://[::1]",
        "https://[::ffff:10.0.0.1]",
        "https://8.8.8.8",
        "https://127.1",
        "https://0177.0.0.1",
        "https://0x7f.0.0.1",
        "https://1.2.3.4.",
        "https://localhost",
        "https://intranet",
        "ftp://example.org",
        "/path",
        "",
        "https://-a.org",
        "https://a..org",
        "https://" + "a." * 130 + "org",
    ],
)
async def test_addresses_off_the_public_web_are_refused(net: FakeInternet, open_access: OpenAccess, url: str) -> None:
    with pytest.raises((NotPublic, ValueError)):
        require_public(URL(url))
    async with open_access() as access:
        with pytest.raises(SourceDown):
            await access.web.get(url, handle="wren")
    assert not net.asked


@pytest.mark.parametrize("url", ["https://example.org", "https://a.b-c.example.org:443/x", "https://bücher.example"])
def test_names_of_the_public_web_are_allowed(url: str) -> None:
    require_public(URL(url))


@pytest.mark.parametrize(
    "address",
    (
        "127.0.0.1 127.255.0.3 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 "
        "255.255.255.255 224.0.0.1 240.0.0.1 192.0.2.1 198.18.0.1 203.0.113.7 192.0.0.8 :: ::1 fe80::1 "
        "fe80::1%eth0 fc00::1 fd12::1 fec0::1 ff02::1 ff0e::1 2001:db8::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 "
        "::127.0.0.1 ::10.0.0.1 64:ff9b::127.0.0.1 64:ff9b::10.0.0.1 64:ff9b:1::1 2002:7f00:1:: 2002:a00:1:: "
        "2001:0:4136:e378:8000:63bf:80ff:fffe 100::1"
    ).split(),
)
def test_inner_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::"],
)
def test_outer_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("found", [["10.0.0.5"], ["::1"], ["8.8.8.8", "192.168.0.1"], ["::ffff:127.0.0.1"]])
async def test_a_name_that_leads_inside_is_not_connected_to(monkeypatch: pytest.MonkeyPatch, found: list[str]) -> None:
    def resolve(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        assert host == "rebind.example.org"
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in found
        ]

    monkeypatch.delenv(web.STAND_IN, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", lambda *_: pytest.fail("it connects"))
    async with open_web(check=lambda: None, notice=print) as opened:
        with pytest.raises(SourceDown, match=r"rebind\.example\.org is not on the public web"):
            await opened.get("https://rebind.example.org/", handle="wren")


async def test_a_name_that_does_not_exist_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.delenv(web.STAND_IN, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(web, "RETRY_DELAYS_S", (0.0,))
    async with open_web(check=lambda: None, notice=print) as opened:
        with pytest.raises(SourceDown, match="there is no server of that name"):
            await opened.get("https://nowhere.example.org/", handle="wren")


@pytest.mark.parametrize("address", ["8.8.8.8:443", "10.0.0.1:443"])
async def test_the_stand_in_has_to_be_on_loopback(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv(web.STAND_IN, address)
    with pytest.raises(ValueError, match="loopback"):
        async with open_web(check=lambda: None, notice=print):
            pass
