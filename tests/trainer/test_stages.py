"""`python -m trainer collect` and `fit` as the real child processes that they are."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.files import RunFolder, read_json, verify, write_json
from models.messages import Cancelled, Done, Failed, Hello, Message, Notice, Progress, Sample, decode
from models.records import AccountSource, RunSpec, TrainingSettings
from tests.conftest import ROOT, made_up_posts
from trainer.tune import TuneState


@pytest.fixture
def run(tiny_base: Path, tmp_path: Path) -> RunFolder:
    """A run folder with 120 posts of @robin to learn from."""
    folder = RunFolder(tmp_path / "run")
    folder.inputs.mkdir(parents=True)
    lines = (json.dumps(post) + "\n" for post in made_up_posts(120))
    (folder.inputs / "robin.jsonl").write_text("".join(lines))
    settings = TrainingSettings(
        base=str(tiny_base), epochs=2, batch_tokens=256, max_post_tokens=64, threads=1, precision="fp32"
    )
    account = AccountSource(source="table", handle="robin", inputs=("robin.jsonl",))
    write_json(folder.spec_file, RunSpec(job_id=7, model="robin", accounts=(account,), training=settings))
    return folder


@contextmanager
def child(stage: str, run: RunFolder) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "trainer", stage, str(run.path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                pipe.close()


def messages(process: subprocess.Popen[bytes]) -> Iterator[Message]:
    assert process.stdout
    for line in process.stdout:
        yield decode(line)


def say_all(stage: str, run: RunFolder) -> list[Message]:
    """Everything that a stage says from its start to its end."""
    with child(stage, run) as process:
        return list(messages(process))


def test_posts_become_a_model_whose_manifest_names_every_file(run: RunFolder) -> None:
    collected = say_all("collect", run)
    assert isinstance(collected[0], Hello)
    assert isinstance(collected[-1], Done)
    assert any(isinstance(m, Notice) and "little text" in m.text for m in collected)
    fitted = say_all("fit", run)
    assert [type(m) for m in fitted].count(Done) == 1
    assert isinstance(fitted[-1], Done)
    assert [m.phase for m in fitted if isinstance(m, Progress)][-1] == "save"
    assert any(isinstance(m, Progress) and m.loss and m.bits_per_byte and m.eta_s is not None for m in fitted)
    assert any(isinstance(m, Sample) for m in fitted)
    manifest = verify(run.model)
    assert manifest.handles == ("robin",)
    assert manifest.job_id == 7
    assert {"README.md", "metrics.json", "model.safetensors", "tokenizer.json", "training.png"} <= set(manifest.files)
    assert manifest.metrics.bits_per_byte_after < manifest.metrics.bits_per_byte_before


def test_a_complete_stage_is_never_done_again(run: RunFolder) -> None:
    say_all("collect", run)
    before = run.raw_file.stat().st_mtime_ns
    (run.inputs / "robin.jsonl").unlink()  # pulling again would fail
    assert isinstance(say_all("collect", run)[-1], Done)
    assert run.raw_file.stat().st_mtime_ns == before


def test_posts_once_collected_are_not_collected_again_after_a_crash_in_cleaning(run: RunFolder) -> None:
    say_all("collect", run)
    run.stats_file.unlink()
    (run.inputs / "robin.jsonl").unlink()
    assert isinstance(say_all("collect", run)[-1], Done)
    assert run.read_stats().accounts[0].kept == 120


def test_too_few_posts_are_refused_with_what_to_do(run: RunFolder) -> None:
    (run.inputs / "robin.jsonl").write_text(json.dumps(made_up_posts(1)[0]) + "\n")
    last = say_all("collect", run)[-1]
    assert isinstance(last, Failed)
    assert last.kind == "TooFewPosts"
    assert last.is_user_error
    assert "6,000" in last.text


def test_a_term_signal_cancels_at_the_next_step_and_the_next_trainer_goes_on_from_it(run: RunFolder) -> None:
    say_all("collect", run)
    with child("fit", run) as process:
        for message in messages(process):
            if isinstance(message, Progress) and message.phase == "train":
                break
        process.send_signal(signal.SIGTERM)
        assert isinstance(list(messages(process))[-1], Cancelled)
        assert process.wait(10) == 0
    assert not run.is_fitted
    (checkpoint,) = run.checkpoints.glob("step-*")
    step = read_json(checkpoint / "state.json", TuneState).step
    assert checkpoint.name == f"step-{step}" and step >= message.done > 0
    with child("fit", run) as process:
        notice = next(message for message in messages(process) if isinstance(message, Notice))
    assert notice.text == f"going on from step {step}"


def test_a_killed_fit_goes_on_from_its_checkpoint(run: RunFolder) -> None:
    say_all("collect", run)
    with child("fit", run) as process:
        for message in messages(process):
            if isinstance(message, Sample):  # said after the first checkpoint
                break
        process.kill()
    fitted = say_all("fit", run)
    assert any(isinstance(m, Notice) and "going on from step" in m.text for m in fitted)
    assert isinstance(fitted[-1], Done)


def test_a_stage_ends_when_its_parent_is_gone(run: RunFolder) -> None:
    say_all("collect", run)
    with child("fit", run) as process:
        assert process.stdin
        next(messages(process))
        process.stdin.close()
        started = time.monotonic()
        assert process.wait(10) == 3
        assert time.monotonic() - started < 5


def test_a_full_disk_is_said_in_words_that_help(run: RunFolder) -> None:
    say_all("collect", run)
    run.stats_file.unlink()
    run.dataset_file.unlink()
    run.dataset_file.with_name("dataset.jsonl.part").symlink_to("/dev/full")
    last = say_all("collect", run)[-1]
    assert isinstance(last, Failed)
    assert last.kind == "DiskFull"
    assert last.is_user_error


def test_the_sample_archive_has_the_counts_that_its_card_shows(run: RunFolder) -> None:
    (run.inputs / "nell.zip").write_bytes((ROOT / "samples" / "nightbus_nell.zip").read_bytes())
    spec = run.read_spec()
    account = AccountSource(source="archive", inputs=("nell.zip",))
    write_json(run.spec_file, RunSpec(job_id=1, model="", accounts=(account,), training=spec.training))
    assert isinstance(say_all("collect", run)[-1], Done)
    (counts,) = run.read_stats().accounts
    assert (counts.handle, counts.name) == ("nightbus_nell", "Nell 🚌🌙")
    assert (counts.downloaded, counts.retweets, counts.kept + counts.short) == (960, 48, 912)
    rows = run.read_dataset()
    assert max(len(row.text) for row in rows) > 400  # notes came in full
    assert sum(row.answers is not None for row in rows) > 50  # threads know what they go on from
    assert not any("t.co" in row.text or "&amp;" in row.text for row in rows)
