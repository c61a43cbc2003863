"""Where posts come from: one class a source, behind the protocol of `base.py`; the table here names them all."""

from __future__ import annotations

from collections.abc import Callable

from models.errors import Unreadable
from trainer.sources.base import Access, Source
from trainer.sources.bluesky import Bluesky
from trainer.sources.mastodon import Mastodon
from trainer.sources.mastodon_archive import MastodonArchive, is_export
from trainer.sources.table import Table
from trainer.sources.x_api import XApi
from trainer.sources.x_archive import XArchive


def _archive(access: Access) -> Source:
    """An archive of either platform: what is in it tells."""
    return MastodonArchive(access.inputs) if is_export(access.inputs) else XArchive(access.inputs)


SOURCES: dict[str, Callable[[Access], Source]] = {
    "archive": _archive,
    "bluesky": Bluesky,
    "mastodon": Mastodon,
    "table": lambda access: Table(access.inputs),
    "x_api": XApi,
}


def open_source(name: str, access: Access) -> Source:
    """The source of that name; Unreadable if this version has no such source."""
    try:
        factory = SOURCES[name]
    except KeyError as exc:
        raise Unreadable(name, f"there is no source of that name. There are: {', '.join(sorted(SOURCES))}.") from exc
    return factory(access)
