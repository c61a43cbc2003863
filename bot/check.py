"""`python -m bot check`: what is wrong with a set-up, and how to mend it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.markup import escape

from bot.config import Config, read_config
from bot.datadir import DataDir
from bot.discord_front.api import api_base
from bot.engine import Engine
from bot.jobs import MODEL_ROOM_MB
from models.errors import ConfigError, DataDirInUse, SetupError, UserError
from models.messages import Completed, Generate
from models.records import X_TOKEN


async def run_check(config_path: Path | None, console: Console) -> int:
    """Print a line for each thing that has to be right; returns 1 if something has to be mended, else 0."""
    failed = 0
    try:
        config = read_config(config_path)
        console.print("[green]ok[/]    config", highlight=False)
    except ConfigError as exc:
        console.print(f"[red]wrong[/] config: {escape(str(exc))}", highlight=False, soft_wrap=True)
        return 1
    async for name, problem, note in _checks(config):
        mark, text = ("[red]wrong[/]", problem) if problem else ("[green]ok[/]   ", note)
        console.print(f"{mark} {name}: {escape(text or '')}", highlight=False, soft_wrap=True)
        failed += problem is not None
    console.print("\nEverything is ready." if not failed else f"\n{failed} thing(s) to mend.")
    return 1 if failed else 0


async def _checks(config: Config) -> AsyncIterator[tuple[str, str | None, str | None]]:
    """(what, what is wrong with it and how to mend it or None, what was found)."""
    yield ("python", None, sys.version.split()[0])
    data = DataDir(config.data_dir)
    problem = None
    try:
        data.open("check")
    except DataDirInUse as exc:
        yield ("data directory", None, f"{data.path}, in use by {exc.holder}")
    except SetupError as exc:
        problem = str(exc)
        yield ("data directory", problem, None)
    else:
        yield ("data directory", None, str(data.path))
        data.close()
    if problem is None:
        needed = config.bot.min_free_disk_mb + MODEL_ROOM_MB
        room = f"{data.free_mb:,} MB free, {needed:,} MB needed for a training"
        yield ("disk", None if data.free_mb >= needed else f"{room}. Make room.", room)
    yield ("discord", *await _token())
    yield ("x api", *_x_api(config))
    async for line in _engine(config):
        yield line


def _x_api(config: Config) -> tuple[str | None, str | None]:
    has_token = bool(os.environ.get(X_TOKEN, "").strip())
    if config.x_api.accept_terms and not has_token:
        return f"[x_api] accept_terms is set, but {X_TOKEN} is not. Set it, or accept_terms = false.", None
    if not config.x_api.accept_terms:
        return None, "off" + (f" ({X_TOKEN} is set, [x_api] accept_terms is not)" if has_token else "")
    return None, "on; the token was not tried, because X takes money for that"


async def _token() -> tuple[str | None, str | None]:
    token = os.environ.get("DISCORD_TOKEN", "").strip()
    if not token:
        return (
            "DISCORD_TOKEN is not set. Without it only the console works. README.md, “Set-up on Discord”, says how "
            "to get one; then: export DISCORD_TOKEN=…",
            None,
        )
    try:
        url = f"{api_base()}/users/@me"
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as session:
            async with session.get(url, headers={"Authorization": f"Bot {token}"}) as response:
                if response.status == 401:
                    return "Discord refuses the token. Reset it (your application > Bot > Reset Token).", None
                response.raise_for_status()
                return None, f"the token is that of {(await response.json())['username']}"
    except SetupError as exc:
        return str(exc), None
    except (aiohttp.ClientError, TimeoutError) as exc:
        return f"Discord can't be reached ({type(exc).__name__}). Is this machine online?", None


async def _engine(config: Config) -> AsyncIterator[tuple[str, str | None, str | None]]:
    """Start the real engine and let it write a few tokens."""
    engine = Engine(config.training.base, config.engine, grace_s=config.bot.stop_grace_s)
    task = asyncio.create_task(engine.run())
    try:
        ready = await engine.wait_ready()
        yield ("base", None, f"{ready.base}, {ready.parameters / 1e6:.1f}M parameters, loaded in {ready.seconds:.1f} s")
        yield ("device", None, f"{ready.device}, {ready.precision}")
        request = Generate(id=0, model=None, prompt="Hello", max_tokens=32, seed=1)
        async with aclosing(engine.generate(request)) as messages:
            async for message in messages:
                if isinstance(message, Completed):
                    yield ("engine", None, f"{message.tokens} tokens in {message.seconds:.1f} s")
    except UserError as exc:
        yield ("engine", str(exc), None)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
