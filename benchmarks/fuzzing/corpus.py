"""Valid inputs of every kind, small, for fuzzing to start from: archives, exports and tables of every producer."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tests.fakes import archives, mastodon_archive, tables

Packing = Literal["none", "zip", "tar.gz"]

TEXTS = (
    "I sing at dawn &amp; the others listen to me #choir https://t.co/abc",
    "@jay Louder today, or write to wren@example.org or (415) 555-2671",
    "春はあけぼの、やうやう白くなりゆく山ぎは",
    "RT @jay: Of others",
    "It’s the same old song 👩‍👩‍👧 again, and the “quiet” one too…",
    "Le chant du matin est plus beau que celui du soir",
)


@dataclass(frozen=True, kw_only=True)
class FuzzedFile:
    """A file of a job: its content, or the members that are packed into it."""

    name: str
    packing: Packing = "none"
    members: tuple[tuple[str, bytes], ...]  # of no packing: one, whatever its name

    def packed(self) -> bytes:
        """The file's bytes. Names are written as they are: twice, absolute, upwards …"""
        if self.packing == "none":
            return self.members[0][1]
        out = io.BytesIO()
        if self.packing == "zip":
            with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                for name, data in self.members:
                    info = zipfile.ZipInfo("x")
                    info.filename = name  # ZipInfo itself cuts a name at NUL
                    archive.writestr(info, data, zipfile.ZIP_DEFLATED)
            return out.getvalue()
        with tarfile.open(fileobj=out, mode="w") as archive_tar:
            for name, data in self.members:
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive_tar.addfile(entry, io.BytesIO(data))
        return gzip.compress(out.getvalue(), 1, mtime=0)


@dataclass(frozen=True, kw_only=True)
class FuzzedJob:
    """What a job would be given: a source, the handle that is asked for, and files (none for the web's sources)."""

    source: str
    handle: str | None
    files: tuple[FuzzedFile, ...] = ()


def file_jobs() -> list[FuzzedJob]:
    """One job for each kind and layout of files."""
    return [*_x_archives(), *_mastodon_exports(), *_tables()]


def _x_archives() -> Iterable[FuzzedJob]:
    tweets = [archives.tweet(number, text) for number, text in enumerate(TEXTS)]
    tweets[0]["entities"] = {"urls": [{"url": "https://t.co/abc", "expanded_url": "https://example.org"}]}
    tweets[1] |= {"in_reply_to_status_id_str": "1000", "in_reply_to_screen_name": "jay"}
    tweets[4]["full_text"] = "It’s a long story that goes on… https://t.co/zzz"
    notes = [archives.note(4, "It’s a long story that goes on & on " * 12, links=["https://t.co/zzz"])]
    months = {"2015_01": [archives.grailbird_item(n, text) for n, text in enumerate(TEXTS)]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "archive.zip"
        for made in (
            archives.archive_2018(path, tweets),
            archives.archive_2019(path, tweets),
            archives.archive_2022(path, tweets, notes),
            archives.archive_2022(path, tweets, notes, top="twitter-2022/"),
            archives.archive_2012(path, months),
            archives.archive_2012(path, months, scripts=False),
        ):
            yield FuzzedJob(source="archive", handle="wren", files=(_unpacked(made),))
    loose = {
        "tweets.js": archives.script("tweets", [{"tweet": t} for t in tweets]),
        "note-tweet.js": archives.script("note_tweet", notes),
        "account.js": archives.account("wren", "Jenny Wren"),
    }
    yield FuzzedJob(source="archive", handle=None, files=_plain(loose))
    yield FuzzedJob(source="archive", handle="wren", files=_plain({"2015_01.js": archives.month("2015_01", tweets)}))
    table = archives.tweets_csv(months["2015_01"])
    yield FuzzedJob(source="archive", handle="wren", files=_plain({"tweets.csv": table}))
    yield FuzzedJob(source="archive", handle="wren", files=_plain({"posts.js": json.dumps(tweets)}))


def _mastodon_exports() -> Iterable[FuzzedJob]:
    reply = mastodon_archive.create(
        7,
        '<p><span class="h-card"><a href="https://a.test/@jay" class="u-url mention">@<span>jay</span></a></span> '
        "Louder &amp; louder today</p>",
        inReplyTo="https://a.test/users/jay/statuses/1",
        tag=[{"type": "Mention", "href": "https://a.test/users/jay", "name": "@jay@a.test"}],
    )
    own = [mastodon_archive.create(n, f"<p>{text}<br>and on</p>") for n, text in enumerate(TEXTS)]
    own[2]["object"]["inReplyTo"] = f"{mastodon_archive.ACTOR_ID}/statuses/1"
    outbox = mastodon_archive.outbox(*own, reply, mastodon_archive.announce(8, "https://a.test/users/jay/statuses/2"))
    members = (
        ("actor.json", json.dumps(mastodon_archive.actor()).encode()),
        ("outbox.json", outbox.encode()),
        ("media_attachments/1.png", b"\x89PNG"),
    )
    names: Mapping[Packing, str] = {"zip": "archive.zip", "tar.gz": "archive.tar.gz"}
    for packing, name in names.items():
        for handle in (None, "robin@toots.test"):
            files = (FuzzedFile(name=name, packing=packing, members=members),)
            yield FuzzedJob(source="archive", handle=handle, files=files)
    bare = tuple(FuzzedFile(name=name, members=((name, data),)) for name, data in members[:2])
    yield FuzzedJob(source="archive", handle=None, files=bare)
    yield FuzzedJob(source="archive", handle=None, files=bare[1:])


def _tables() -> Iterable[FuzzedJob]:
    for producer in tables.PRODUCERS:
        made = producer()
        job = FuzzedJob(
            source="table", handle="wren", files=(FuzzedFile(name=made.name, members=((made.name, made.content),)),)
        )
        yield job
        if made.names_author and made.name.endswith(".csv"):
            yield replace(job, handle=None)
    rows = [{"id": str(n + 1), "text": text, "author": "wren"} for n, text in enumerate(TEXTS)]
    for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp932"):
        shown = [row for row in rows if encoding != "cp932" or row["text"].isascii() or "春" in row["text"]]
        content = tables.delimited(shown, ("id", "text", "author"), encoding=encoding)
        yield FuzzedJob(
            source="table", handle="wren", files=(FuzzedFile(name="posts.csv", members=(("posts.csv", content),)),)
        )
    latin = tables.delimited([rows[5], rows[0]], ("id", "text", "author"), delimiter="\t", encoding="cp1252")
    for name, content in {
        "posts.tsv": latin,
        "posts.txt": "\n".join(TEXTS).encode(),
        "posts.json": json.dumps(rows, indent=2).encode(),
        "post.json": "\n".join(json.dumps(row, indent=1) for row in rows).encode(),
        "sep.csv": b"sep=;\r\ntext;id\r\nI sing at dawn;1\r\nand at noon too;2\r\n",
    }.items():
        yield FuzzedJob(source="table", handle="wren", files=(FuzzedFile(name=name, members=((name, content),)),))


def _unpacked(path: Path) -> FuzzedFile:
    with zipfile.ZipFile(path) as archive:
        members = tuple((name, archive.read(name)) for name in archive.namelist())
    return FuzzedFile(name=path.name, packing="zip", members=members)


def _plain(contents: Mapping[str, str]) -> tuple[FuzzedFile, ...]:
    return tuple(FuzzedFile(name=name, members=((name, text.encode()),)) for name, text in contents.items())
