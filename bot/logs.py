"""Where the log goes: a rotating file in the data directory, and for `run` stderr too. Never a secret or a message."""

from __future__ import annotations

import logging
import logging.handlers
from pathlib import Path

MAX_BYTES, BACKUPS = 5_000_000, 3
_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def start_logging(data_dir: Path, level: str, *, to_stderr: bool) -> None:
    """Log from here on. discord.py and aiohttp log warnings only: at DEBUG they would log tokens and content."""
    handlers: list[logging.Handler] = [
        logging.handlers.RotatingFileHandler(
            data_dir / "mockingbird.log", maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8"
        )
    ]
    if to_stderr:
        handlers.append(logging.StreamHandler())
    logging.basicConfig(level=logging.WARNING, format=_FORMAT, handlers=handlers, force=True)
    for package in ("bot", "models"):
        logging.getLogger(package).setLevel(level)
