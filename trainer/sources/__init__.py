"""Where posts come from: one class a source, behind the protocol of `base.py`; the table here names them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from models.errors import Unreadable
from trainer.sources.base import Source
from trainer.sources.jsonl import Jsonl
from trainer.sources.x_archive import XArchive

SOURCES: dict[str, Callable[[Sequence[Path]], Source]] = {"x_archive": XArchive, "jsonl": Jsonl}


def open_source(name: str, inputs: Sequence[Path]) -> Source:
    """The source of that name over the input files; Unreadable if this version has no such source."""
    try:
        factory = SOURCES[name]
    except KeyError as exc:
        raise Unreadable(name, f"there is no source of that name. There are: {', '.join(sorted(SOURCES))}.") from exc
    return factory(inputs)
