"""Sources by their names, and what it costs to name them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from models.errors import Unreadable
from tests.conftest import ROOT
from tests.fakes import archives, mastodon_archive
from trainer.sources import open_source
from trainer.sources.base import Access
from trainer.sources.mastodon_archive import MastodonArchive
from trainer.sources.x_archive import XArchive


async def nowhere() -> Access:
    raise AssertionError("a source that reads files has asked for the web")


async def test_an_archive_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    ours = archives.archive_2022(tmp_path / "a.zip", [archives.tweet(1, "The moon is up.")])
    theirs = archives.write_zip(
        tmp_path / "b.zip", {"outbox.json": mastodon_archive.outbox(mastodon_archive.create(1, "<p>Hello.</p>"))}
    )
    assert isinstance(await open_source("archive", [ours], nowhere), XArchive)
    assert isinstance(await open_source("archive", [theirs], nowhere), MastodonArchive)


async def test_a_source_that_there_is_not_is_named() -> None:
    with pytest.raises(Unreadable, match="carrier_pigeon: there is no source of that name"):
        await open_source("carrier_pigeon", [], nowhere)


def test_reading_files_imports_nothing_that_talks_to_platforms() -> None:
    code = "import sys, trainer.collect; print(sorted({'aiohttp', 'tweepy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
