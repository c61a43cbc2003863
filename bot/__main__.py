"""`python -m bot run | console | demo | check`: the composition of the house."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from bot.config import Config, read_config
from bot.datadir import DataDir
from bot.logs import start_logging
from bot.service import open_service
from models.errors import DataDirInUse, SetupError, TokenMissing

# Of sysexits.h, so that a supervisor knows what to do.
EXIT_USAGE = 64  # the command line is wrong
EXIT_AGAIN = 75  # something that may be over next time: start again
EXIT_SETUP = 78  # the set-up has to be mended first

COMMANDS = {
    "run": "serve Discord; the token comes from DISCORD_TOKEN",
    "console": "the same commands without Discord",
    "demo": "train on the sample archive and print posts in that voice",
    "check": "say what is wrong with the set-up, and how to mend it",
}


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors have the exit code of wrong usage."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    parser = Parser(prog="mockingbird", description="A self-hosted Discord bot that imitates voices.")
    parser.add_argument("--config", type=Path, help="configuration file (default: config.toml here, if there is one)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, about in COMMANDS.items():
        commands.add_parser(name, help=about, description=about)
    arguments = parser.parse_args(argv)
    try:
        if arguments.command == "check":
            from rich.console import Console

            from bot.check import run_check

            return asyncio.run(run_check(arguments.config, Console(emoji=False)))
        return asyncio.run(_main(arguments.command, read_config(arguments.config)))
    except SetupError as exc:
        print(f"mockingbird: {exc}", file=sys.stderr)
        # An earlier one may be about to end; a restart that overtakes it is no fault of the set-up.
        return EXIT_AGAIN if isinstance(exc, DataDirInUse) else EXIT_SETUP
    except KeyboardInterrupt:
        return 130
    except Exception:
        logging.getLogger("bot").exception("the bot died")
        return EXIT_AGAIN


async def _main(command: str, config: Config) -> int:
    token = os.environ.pop("DISCORD_TOKEN", "").strip()
    if command != "run":
        return await _at_terminal(command, config)
    if not token:
        raise TokenMissing
    task = asyncio.create_task(_serve(config, token))
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        pass  # told to stop; what is unfinished goes on at the next start
    return 0


async def _serve(config: Config, token: str) -> None:
    from bot.discord_front.client import run_discord

    data = DataDir(config.data_dir)
    async with open_service(config, data, "run") as service:
        start_logging(data.path, config.bot.log_level, to_stderr=True)
        await run_discord(service, token)


async def _at_terminal(command: str, config: Config) -> int:
    from rich.console import Console

    data = DataDir(config.data_dir)
    async with open_service(config, data, command) as service:
        start_logging(data.path, config.bot.log_level, to_stderr=False)
        if command == "demo":
            from bot.demo import run_demo

            return await run_demo(service, Console(emoji=False), data.history_file)
        from bot.console import ConsoleFront

        await ConsoleFront(service, Console(emoji=False), data.history_file).run()
        return 0


if __name__ == "__main__":
    sys.exit(main())
