"""ZIPs that are broken or hostile: each is refused in a sentence, or read; never a traceback, never more memory."""

from __future__ import annotations

import asyncio
import os
import tracemalloc
import zipfile
import zlib
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import Unreadable
from tests.fakes import archives
from tests.fakes.archives import grailbird_item, packed_blanks, raw_zip, script, tweet
from trainer.sources import members
from trainer.sources.members import chunks, zip_members
from trainer.sources.x_archive import XArchive

NAME = "data/tweets.js"
TEXT = script("tweets", [tweet(1, "a wren sings")]).encode()


def kinds(name: str) -> tuple[str, int] | None:
    return ("tweets", 0) if name.endswith("tweets.js") else None


def read(path: Path) -> list[bytes]:
    """All that is wanted of a ZIP."""
    with ExitStack() as stack:
        return [b"".join(chunks(member)) for member in zip_members(path, kinds, stack)]


def complaint(path: Path) -> str:
    with pytest.raises(Unreadable) as caught:
        read(path)
    return str(caught.value)


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def test_a_locked_zip_is_refused(tmp_path: Path) -> None:
    assert "password" in complaint(archives.lock(archives.archive_2022(tmp_path / "a.zip", [])))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 99])
def test_an_unusual_packing_is_refused(tmp_path: Path, method: int) -> None:
    assert "unusual way" in complaint(raw_zip(tmp_path / "a.zip", NAME, TEXT, size=len(TEXT), method=method))


def test_a_bomb_is_refused_from_its_directory(tmp_path: Path) -> None:
    assert "zip bomb" in complaint(archives.bomb(tmp_path / "a.zip", megabytes=60))
    packed = packed_blanks(3000)
    assert "zip bomb" in complaint(raw_zip(tmp_path / "b.zip", NAME, packed, size=3000 << 20))


def test_a_bomb_that_lies_about_its_size_is_not_unpacked(tmp_path: Path) -> None:
    path = raw_zip(tmp_path / "a.zip", NAME, packed_blanks(3000), size=1000)
    tracemalloc.start()
    try:
        assert "damaged" in complaint(path)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


def test_members_that_share_their_bytes_are_counted_together(tmp_path: Path) -> None:
    path = raw_zip(tmp_path / "a.zip", NAME, packed_blanks(45), size=45 << 20, times=60_000)
    assert "zip bomb" in complaint(path)


@pytest.mark.parametrize(
    ("size", "packed_size", "crc"),
    [(10, None, 0), (len(TEXT), None, 1), (len(TEXT), 20, 1), (5000, 9000, 0), (0, 1, 7)],
)
def test_a_directory_that_lies_is_damage_or_read_to_the_end_of_what_is_there(
    tmp_path: Path, size: int, packed_size: int | None, crc: int
) -> None:
    path = raw_zip(tmp_path / "a.zip", NAME, deflated(TEXT), size=size, packed_size=packed_size, crc=crc)
    assert "damaged" in complaint(path)
    larger = raw_zip(tmp_path / "b.zip", NAME, deflated(TEXT), size=size + len(TEXT), crc=zlib.crc32(TEXT))
    assert read(larger) == [TEXT]


def test_a_directory_larger_than_any_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = raw_zip(tmp_path / "a.zip", NAME, deflated(TEXT), size=len(TEXT), crc=zlib.crc32(TEXT), times=100)
    assert read(path) == [TEXT] * 100
    monkeypatch.setattr(members, "MAX_DIRECTORY_BYTES", 5000)
    assert "not a whole one" in complaint(path)


def test_more_files_than_16_bits_can_count_are_fine_and_too_many_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(66_000):
            archive.writestr(zipfile.ZipInfo(f"data/tweets_media/{number}.jpg"), b"")
        archive.writestr(NAME, TEXT)
    assert read(path) == [TEXT]
    monkeypatch.setattr(members, "MAX_MEMBERS", 66_000)
    assert "more than 66,000 files" in complaint(path)


def test_zip64_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive, archive.open(NAME, "w", force_zip64=True) as member:
        member.write(TEXT)
    assert read(tmp_path / "a.zip") == [TEXT]


def test_a_zip_behind_other_bytes_is_read(tmp_path: Path) -> None:
    path = archives.write_zip(tmp_path / "a.zip", {NAME: TEXT})
    path.write_bytes(b"#!/bin/sh\n" * 50 + path.read_bytes())
    assert read(path) == [TEXT]


def test_no_name_leads_anywhere_and_nothing_is_written(tmp_path: Path) -> None:
    names = ("../../tweets.js", "/etc/tweets.js", "C:\\tweets.js", "tweets.js\0.exe", "tweets.js/", "a" * 60_000)
    path = tmp_path / "in" / "a.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), TEXT if not name.endswith("/") else b"")
    before = sorted(tmp_path.rglob("*"))
    assert read(path) == [TEXT] * 4
    assert sorted(tmp_path.rglob("*")) == before


def test_what_a_stranger_called_a_member_is_cut_in_what_is_said(tmp_path: Path) -> None:
    path = archives.write_zip(tmp_path / "a.zip", {"x" * 60_000 + "/tweets.js": TEXT})
    with ExitStack() as stack:
        assert [len(member.name) < 200 for member in zip_members(path, kinds, stack)] == [True]


def test_a_cut_zip_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    whole = archives.archive_2019(tmp_path / "a.zip", [tweet(n, "a wren sings") for n in range(4)]).read_bytes()
    for length in range(len(whole)):
        (tmp_path / "a.zip").write_bytes(whole[:length])
        assert "not a whole one" in complaint(tmp_path / "a.zip")


@settings(max_examples=200, deadline=None)
@given(
    flips=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.tuples(st.integers(0, 1 << 20), st.integers(0, 60)),
    is_old=st.booleans(),
    is_whole=st.booleans(),
)
def test_whatever_happens_to_an_archive_it_is_read_or_unreadable(
    tmp_path_factory: pytest.TempPathFactory,
    flips: list[tuple[int, int]],
    cut: tuple[int, int],
    is_old: bool,
    is_whole: bool,
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.zip"
    if is_old:
        archives.archive_2012(
            path, {"2015_01": [grailbird_item(n, "a wren sings") for n in range(4)]}, scripts=is_whole
        )
    else:
        archives.archive_2019(path, [tweet(n, "a wren sings") for n in range(4)])
    data = bytearray(path.read_bytes())
    for at, value in flips:
        data[at % len(data)] = value
    at = cut[0] % len(data)
    del data[at : at + cut[1]]
    path.write_bytes(data)

    async def read_all() -> None:
        source = XArchive([path])
        async for _ in source.posts((await source.profile("wren")).handle):
            pass

    try:
        asyncio.run(read_all())
    except Unreadable as exc:
        assert "fuzzed.zip" in str(exc)


def test_nothing_stays_open(tmp_path: Path) -> None:
    good = archives.write_zip(tmp_path / "a.zip", {NAME: TEXT})
    (tmp_path / "b.zip").write_bytes(good.read_bytes()[:-30])
    before = os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd") else []
    read(good)
    complaint(tmp_path / "b.zip")
    assert (os.listdir("/proc/self/fd") if before else []) == before
