"""The collect stage as far as it is the same for all sources: whose posts are whose, and how much is too much."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import pytest

from models.errors import Unreadable
from models.files import RunFolder, write_json
from models.messages import Progress
from models.records import AccountSource, RunSpec, TrainingSettings
from tests.conftest import made_up_posts
from tests.fakes.internet import FakeInternet
from tests.fakes.x_api import FakeX
from tests.trainer.test_run import Heard
from trainer import collect as module
from trainer.collect import collect
from trainer.run import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run folder with two files of @robin that overlap, and one of @wren."""
    folder = RunFolder(tmp_path / "run")
    folder.inputs.mkdir(parents=True)
    robin = made_up_posts(160)
    files = {"a.jsonl": robin[:120], "b.jsonl": robin[40:], "c.jsonl": made_up_posts(120, "wren")}
    for name, posts in files.items():
        (folder.inputs / name).write_text("".join(json.dumps(post) + "\n" for post in posts))
    accounts = tuple(AccountSource(source="table", inputs=(name,), ground="public_domain") for name in files)
    write_json(folder.spec_file, RunSpec(job_id=1, model="", accounts=accounts, training=TrainingSettings()))
    return Run(folder, Heard(), threading.Event())  # type: ignore[arg-type]


def test_files_of_one_account_are_one_account_and_each_post_counts_once(run: Run) -> None:
    collect(run)
    counts = run.folder.read_stats().accounts
    assert [(c.handle, c.source, c.downloaded) for c in counts] == [("robin", "table", 160), ("wren", "table", 120)]
    assert len({post.id for number, post in run.folder.read_raw() if number == 0}) == 160


def test_more_text_than_a_person_writes_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CHARACTERS", 5_000)
    with pytest.raises(Unreadable, match=r"posts of @robin: there are more than 5,000 characters"):
        collect(run)
    assert not run.folder.is_collected


def test_each_stage_s_file_is_in_the_lineage_with_what_made_it(run: Run) -> None:
    collect(run)
    lineage = run.folder.read_lineage()
    assert [(made.stage, made.name) for made in lineage] == [("collect", "raw.jsonl.zst"), ("clean", "dataset.jsonl")]
    assert all(made.sha256 and made.size and made.code["cleaning"] for made in lineage)


async def test_how_far_a_pull_is_is_told_by_what_the_platform_counts(
    net: FakeInternet, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = FakeX(token="not-a-real-one")
    x.install(net)
    monkeypatch.setenv("X_BEARER_TOKEN", x.token)
    x.add_user("nasa", posts=[post["text"] for post in made_up_posts(160)])
    accounts = (AccountSource(source="x_api", handle="nasa", ground="public_figure"),)
    write_json(run.folder.spec_file, RunSpec(job_id=1, model="", accounts=accounts, training=TrainingSettings()))
    monkeypatch.setattr("trainer.run.PROGRESS_EVERY_S", 0.0)
    await asyncio.to_thread(collect, run)
    heard = run._channel.messages  # type: ignore[attr-defined]
    pulled = [(m.done, m.total) for m in heard if isinstance(m, Progress) and m.phase == "collect"]
    assert (1, 160) in pulled and pulled[-1] == (160, 160)
