"""How the stand-in for Discord's methods are bound to paths."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.fakes.discord_payloads import Upload


@dataclass
class Call:
    method: str
    query: Any
    body: Any
    files: list[Upload]


ROUTES: list[tuple[re.Pattern[str], Callable[..., Any]]] = []


def route(methods: str, path: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Bind a method to a path; {id} and {token} and groups become its arguments."""

    def register(handler: Callable[..., Any]) -> Callable[..., Any]:
        pattern = path.replace("{id}", r"(\d+)").replace("{token}", r"([^/]+)")
        ROUTES.append((re.compile(f"(?:{methods}) {pattern}"), handler))
        return handler

    return register
