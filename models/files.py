"""Folders on disk: a job's run folder, and a model version's folder whose manifest is written last."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec
import zstandard

from models.errors import BadModelFolder
from models.records import DatasetRow, Manifest, Post, Profile, RunSpec, StageFile, Stats

MANIFEST = "manifest.json"

T = TypeVar("T")


def write_atomically(path: Path, data: bytes) -> None:
    """Write the file so that it is there whole or not at all, even after a power cut."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the folder's entries (a rename in it, say) durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, record: object) -> None:
    """Write a record as indented JSON, atomically."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")


def read_json(path: Path, kind: type[T]) -> T:
    """The record in a JSON file; msgspec.MsgspecError if it is not of that kind, OSError if it can't be read."""
    return msgspec.json.decode(path.read_bytes(), type=kind)


class RunFolder:
    """`runs/<job>/`: each stage reads files and leaves files, and a complete stage is never done again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.inputs = path / "inputs"
        self.spec_file = path / "spec.json"
        self.pages = path / "pages"  # what was fetched, as it came, by number of the account
        self.raw_file = path / "raw.jsonl.zst"
        self.profiles_file = path / "profiles.json"  # one entry an account of the spec; written after raw
        self.dataset_file = path / "dataset.jsonl"
        self.stats_file = path / "stats.json"  # written after the dataset: its presence means cleaned
        self.lineage_file = path / "lineage.json"
        self.checkpoints = path / "checkpoints"
        self.model = path / "model"

    def read_spec(self) -> RunSpec:
        return read_json(self.spec_file, RunSpec)

    def read_stats(self) -> Stats:
        return read_json(self.stats_file, Stats)

    def index_of(self, source: str, handle: str) -> int | None:
        """The number of an account in the raw file; None if it was not collected from there."""
        profiles = read_json(self.profiles_file, tuple[Profile, ...])
        names = [(profile.source, profile.handle.lower()) for profile in profiles]
        return names.index((source, handle.lower())) if (source, handle.lower()) in names else None

    @property
    def is_collected(self) -> bool:
        """Whether the posts are here as collected; they are never pulled again then."""
        return self.raw_file.exists() and self.profiles_file.exists()

    @property
    def is_cleaned(self) -> bool:
        return self.stats_file.exists()

    @property
    def is_fitted(self) -> bool:
        return (self.model / MANIFEST).exists()

    @contextmanager
    def raw_writer(self) -> Iterator[Callable[[int, Post], None]]:
        """Takes (account number, post) pairs, to compressed JSON lines that are there whole or not at all."""
        part = self.raw_file.with_name(self.raw_file.name + ".part")
        encoder = msgspec.json.Encoder()
        with part.open("wb") as file, zstandard.ZstdCompressor(level=6).stream_writer(file, closefd=False) as writer:

            def write(number: int, post: Post) -> None:
                writer.write(encoder.encode((number, post)) + b"\n")

            yield write
        _sync_and_rename(part, self.raw_file)

    def read_raw(self) -> Iterator[tuple[int, Post]]:
        """The (account number, post) pairs as collected."""
        return read_raw(self.raw_file)

    def write_dataset(self, rows: Iterator[DatasetRow]) -> None:
        part = self.dataset_file.with_name(self.dataset_file.name + ".part")
        with part.open("wb") as file:
            for row in rows:
                file.write(msgspec.json.encode(row) + b"\n")
        _sync_and_rename(part, self.dataset_file)

    def read_dataset(self) -> list[DatasetRow]:
        decoder = msgspec.json.Decoder(DatasetRow)
        with self.dataset_file.open("rb") as file:
            return [decoder.decode(line) for line in file]

    def add_lineage(self, stage: str, file: Path, code: dict[str, str]) -> None:
        """Note which file a stage has left, and the versions of what made it."""
        made = StageFile(
            stage=stage,
            name=file.name,
            sha256=sha256_of(file),
            size=file.stat().st_size,
            made_at=datetime.now(UTC),
            code=code,
        )
        write_json(self.lineage_file, [*(m for m in self.read_lineage() if m.name != file.name), made])

    def read_lineage(self) -> tuple[StageFile, ...]:
        return read_json(self.lineage_file, tuple[StageFile, ...]) if self.lineage_file.exists() else ()

    def forget_bulk(self) -> None:
        """Drop what a finished job needs no more: its uploads, the pages that its posts came on, its checkpoints."""
        for folder in (self.inputs, self.pages, self.checkpoints):
            shutil.rmtree(folder, ignore_errors=True)

    def forget_posts(self) -> None:
        """Drop the posts, collected and cleaned; what they were counts on."""
        for file in (self.raw_file, self.dataset_file):
            file.unlink(missing_ok=True)


def read_raw(path: Path) -> Iterator[tuple[int, Post]]:
    """The (account number, post) pairs of a raw file."""
    decoder = msgspec.json.Decoder(tuple[int, Post])
    with zstandard.open(path, "rb") as file:
        for line in _lines(file):
            yield decoder.decode(line)


def _lines(file: object) -> Iterator[bytes]:
    """Lines of a zstandard reader, which has no readline of its own."""
    rest = b""
    while chunk := file.read(1 << 16):  # type: ignore[attr-defined]
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    if rest:
        yield rest


def _sync_and_rename(part: Path, path: Path) -> None:
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """Hash every file of a model folder into the manifest and write it, last; returns it as written."""
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / MANIFEST and p.suffix != ".part"):
        files[path.relative_to(folder).as_posix()] = sha256_of(path)
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sealed = msgspec.structs.replace(manifest, files=files)
    write_json(folder / MANIFEST, sealed)
    return sealed


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a model folder; BadModelFolder if there is none, or not one of this version."""
    try:
        return read_json(folder / MANIFEST, Manifest)
    except FileNotFoundError as exc:
        raise BadModelFolder(folder, "no manifest: this is not a finished model") from exc
    except (msgspec.MsgspecError, OSError, UnicodeDecodeError) as exc:
        raise BadModelFolder(folder, f"its manifest can't be read: {exc}") from exc


def verify(folder: Path) -> Manifest:
    """The manifest, after comparing every file with it; BadModelFolder names the first that differs."""
    manifest = read_manifest(folder)
    for name, digest in manifest.files.items():
        path = folder / name
        if "\0" in name or not path.resolve().is_relative_to(folder.resolve()):
            raise BadModelFolder(folder, f"its manifest names a file outside: {name}")
        if not path.is_file():
            raise BadModelFolder(folder, f"{name} is missing")
        if sha256_of(path) != digest:
            raise BadModelFolder(folder, f"{name} is not the file that was saved (SHA-256 differs)")
    return manifest


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
