"""Where posts come from: one class a source, behind the protocol of `base.py`; named all in one place, here.

What talks to platforms is imported only when it is needed: with its libraries that takes a quarter of a second.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import Unreadable
from trainer.sources.mastodon_archive import MastodonArchive, is_export
from trainer.sources.table import Table
from trainer.sources.x_archive import XArchive

if TYPE_CHECKING:
    from trainer.sources.base import Access, Source


async def open_source(name: str, inputs: Sequence[Path], reach: Callable[[], Awaitable[Access]]) -> Source:
    """The source of that name: over the input files, or with the access to platforms that `reach` gives.

    Unreadable if this version has no such source.
    """
    match name:
        case "archive":  # of either platform: what is in it tells
            return MastodonArchive(inputs) if is_export(inputs) else XArchive(inputs)
        case "table":
            return Table(inputs)
        case "bluesky":
            from trainer.sources.bluesky import Bluesky

            return Bluesky(await reach())
        case "mastodon":
            from trainer.sources.mastodon import Mastodon

            return Mastodon(await reach())
        case "x_api":
            from trainer.sources.x_api import XApi

            return XApi(await reach())
    raise Unreadable(name, "there is no source of that name.")
