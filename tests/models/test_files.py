"""Files are there whole or not at all, and a manifest tells whether they are the ones that were saved."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from models.errors import BadModelFolder
from models.files import MANIFEST, RunFolder, read_json, read_manifest, seal, verify, write_atomically, write_json
from models.records import DatasetRow, Manifest, Post
from tests.models.made import made_manifest


class PowerCut(Exception):
    pass


def cut_power(*_: object) -> None:
    raise PowerCut


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "deep").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 100)
    (folder / "config.json").write_text("{}")
    (folder / "deep" / "notes.txt").write_text("grüße 🎉")
    return folder


# --- one file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("breaks", ["fsync", "write"])
def test_an_interrupted_write_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks: str
) -> None:
    path = tmp_path / "spec.json"
    write_atomically(path, b"old")
    if breaks == "fsync":
        monkeypatch.setattr(os, "fsync", cut_power)
        data: object = b"new"
    else:
        data = Breaking()
    with pytest.raises((PowerCut, TypeError)):
        write_atomically(path, data)  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"


class Breaking:
    """Data that can't be written."""


def test_an_interrupted_first_write_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", cut_power)
    with pytest.raises(PowerCut):
        write_atomically(tmp_path / "spec.json", b"new")
    assert not (tmp_path / "spec.json").exists()


def test_a_file_has_its_name_only_after_its_bytes_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "spec.json", []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (seen.append(path.exists()), fsync(fd)))
    write_atomically(path, b"new")
    assert seen == [False, True]  # the bytes, then the name
    assert os.listdir(tmp_path) == ["spec.json"]


def test_a_second_try_overwrites_what_the_first_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "spec.json"
    with monkeypatch.context() as patch, pytest.raises(PowerCut):
        patch.setattr(os, "fsync", cut_power)
        write_atomically(path, b"a longer first try")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert os.listdir(tmp_path) == ["spec.json"]


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", made_manifest())
    assert read_json(tmp_path / "m.json", Manifest) == made_manifest()
    assert "\n  " in (tmp_path / "m.json").read_text()


# --- run folder -------------------------------------------------------------------------------------------------------


def posts(count: int) -> Iterator[tuple[int, Post]]:
    for i in range(count):
        yield (
            i % 2,
            Post(
                id=str(i),
                text=f"post {i} – ünï\u2028cödé 鳥 👩‍👩‍👧\n&amp; https://t.co/{i}",
                created_at=datetime(2024, 1, 1, 0, i % 60, tzinfo=UTC) if i % 3 else None,
                is_retweet=i % 5 == 0,
                reply_to_id=str(i - 1) if i % 4 == 0 else None,
                links=(f"https://t.co/{i}",),
                lang="de" if i % 2 else None,
            ),
        )


def write_raw(folder: RunFolder, pairs: Iterable[tuple[int, Post]]) -> None:
    with folder.raw_writer() as write:
        for number, post in pairs:
            write(number, post)


def test_a_thousand_posts_are_read_as_they_were_written(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    write_raw(folder, posts(1000))
    assert list(folder.read_raw()) == list(posts(1000))
    assert os.listdir(tmp_path) == ["raw.jsonl.zst"]


def test_a_post_longer_than_the_read_buffer_is_read_whole(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    long = [(0, Post(id="1", text="鳥" * 200_000)), (0, Post(id="2", text="short"))]
    write_raw(folder, long)
    assert list(folder.read_raw()) == long


def test_a_source_that_breaks_off_leaves_no_raw_file(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)

    def broken() -> Iterator[tuple[int, Post]]:
        yield from posts(500)
        raise PowerCut

    with pytest.raises(PowerCut):
        write_raw(folder, broken())
    assert not folder.raw_file.exists()
    write_raw(folder, posts(3))
    assert len(list(folder.read_raw())) == 3


def test_a_dataset_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = [DatasetRow(id=str(i), handle="robin", text=f"a\u2028b\nc {i} 🎉", answers=None) for i in range(100)]
    folder = RunFolder(tmp_path)
    folder.write_dataset(iter(rows))
    assert folder.read_dataset() == rows


def test_a_stage_is_complete_once_its_last_file_is_there(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    write_raw(folder, posts(1))
    assert not folder.is_collected  # profiles are written after raw
    folder.profiles_file.write_text("[]")
    assert folder.is_collected
    folder.write_dataset(iter(()))
    assert not folder.is_cleaned
    folder.stats_file.write_text("{}")
    assert folder.is_cleaned
    folder.model.mkdir()
    (folder.model / "model.safetensors").write_bytes(b"x")
    assert not folder.is_fitted
    seal(folder.model, made_manifest())
    assert folder.is_fitted


# --- manifest ---------------------------------------------------------------------------------------------------------


def test_a_manifest_covers_every_other_file(model: Path) -> None:
    sealed = seal(model, made_manifest())
    others = {p.relative_to(model).as_posix() for p in model.rglob("*") if p.is_file()} - {MANIFEST}
    assert set(sealed.files) == others == {"model.safetensors", "config.json", "deep/notes.txt"}
    assert verify(model) == sealed == read_manifest(model)


def test_a_manifest_is_written_last(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda fd: (synced.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name), fsync(fd))
    )
    seal(model, made_manifest())
    assert set(synced[:3]) == {"model.safetensors", "config.json", "notes.txt"}
    assert synced[3:] == [f"{MANIFEST}.part", "model"]


def test_an_interrupted_seal_leaves_no_manifest(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", cut_power)
    with pytest.raises(PowerCut):
        seal(model, made_manifest())
    with pytest.raises(BadModelFolder):
        verify(model)


def test_a_folder_is_sealed_again_after_an_interrupted_manifest(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(PowerCut):
        patch.setattr(Path, "replace", cut_power)
        seal(model, made_manifest())
    seal(model, made_manifest())
    verify(model)


def test_every_single_changed_byte_is_found(model: Path) -> None:
    seal(model, made_manifest())
    for name in ("model.safetensors", "config.json", "deep/notes.txt"):
        path = model / name
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(BadModelFolder, match=f"{name} is not the file that was saved"):
            verify(model)
        path.write_bytes(data)
    verify(model)


def test_a_missing_file_is_found(model: Path) -> None:
    seal(model, made_manifest())
    (model / "deep" / "notes.txt").unlink()
    with pytest.raises(BadModelFolder, match=r"deep/notes\.txt is missing"):
        verify(model)


def test_a_folder_in_the_place_of_a_file_is_found(model: Path) -> None:
    seal(model, made_manifest())
    (model / "config.json").unlink()
    (model / "config.json").mkdir()
    with pytest.raises(BadModelFolder, match=r"config\.json is missing"):
        verify(model)


def test_a_folder_without_manifest_is_no_model(model: Path, tmp_path: Path) -> None:
    for folder in (model, tmp_path / "nowhere", model / "config.json"):
        with pytest.raises(BadModelFolder, match="manifest"):
            verify(folder)


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="half"),
        pytest.param(b"\xff\xfe", id="no UTF-8"),
        pytest.param(b"[]", id="a list"),
        pytest.param(msgspec.json.encode(made_manifest()).replace(b'"format":1', b'"format":2'), id="newer format"),
        pytest.param(
            msgspec.json.encode(made_manifest()).replace(b'"files":{}', b'"files":{},"x":1'), id="unknown field"
        ),
        pytest.param(msgspec.json.encode(made_manifest()).replace(b'"job_id":7', b'"job_id":"7"'), id="wrong type"),
    ],
)
def test_a_manifest_that_can_t_be_read_is_refused(model: Path, manifest: bytes) -> None:
    (model / MANIFEST).write_bytes(manifest)
    with pytest.raises(BadModelFolder, match="its manifest can't be read"):
        verify(model)


@pytest.mark.parametrize("trick", ["../secret.txt", "deep/../../secret.txt", "{absolute}", "link"])
def test_a_manifest_that_names_a_file_outside_is_refused(model: Path, tmp_path: Path, trick: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("hush")
    if trick == "link":
        (model / "link").symlink_to(secret)
    name = trick.format(absolute=secret)
    write_json(model / MANIFEST, made_manifest(files={name: "0" * 64}))
    with pytest.raises(BadModelFolder, match="names a file outside"):
        verify(model)


@pytest.mark.parametrize("name", ["", ".", "deep"])
def test_a_manifest_that_names_no_file_is_refused(model: Path, name: str) -> None:
    write_json(model / MANIFEST, made_manifest(files={name: "0" * 64}))
    with pytest.raises(BadModelFolder, match="is missing"):
        verify(model)


def test_a_manifest_with_an_impossible_name_is_refused(model: Path) -> None:
    write_json(model / MANIFEST, made_manifest(files={"a\x00b": "0" * 64}))
    with pytest.raises(BadModelFolder):
        verify(model)


def test_a_file_called_manifest_in_a_subfolder_is_covered(model: Path) -> None:
    (model / "deep" / MANIFEST).write_text("{}")
    assert f"deep/{MANIFEST}" in seal(model, made_manifest()).files
