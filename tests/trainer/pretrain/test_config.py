"""The pre-training config: the committed one holds together, and the schedule is what it says."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from trainer.pretrain.config import CONFIG, Phase, PretrainConfig


@pytest.fixture
def committed() -> PretrainConfig:
    return PretrainConfig.read(CONFIG)


@pytest.fixture
def scheduled(committed: PretrainConfig) -> PretrainConfig:
    """Four steps of warm-up, ten steps at the full rate (warm-up included), five down to a fifth of it."""
    return msgspec.structs.replace(
        committed,
        train=msgspec.structs.replace(committed.train, batch_tokens=100, warmup_steps=4),
        phase=(
            Phase(name="stable", tokens=1000, row_tokens=10, first_rate=1.0, last_rate=1.0),
            Phase(name="decay", tokens=550, row_tokens=20, first_rate=1.0, last_rate=0.2),
        ),
    )


def test_the_rate_warms_up_stays_and_comes_down_to_the_last_rate(scheduled: PretrainConfig) -> None:
    rates = [scheduled.rate(step) for step in range(scheduled.total_steps + 1)]
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[4:11] == [1.0] * 7
    assert rates[10:] == pytest.approx([1.0, 0.84, 0.68, 0.52, 0.36, 0.2])


def test_a_phase_has_as_many_steps_as_whole_batches(scheduled: PretrainConfig) -> None:
    assert [scheduled.steps(phase) for phase in scheduled.phase] == [10, 5]
    assert scheduled.total_steps == 15


def test_each_step_is_in_its_phase_and_past_the_end_is_the_last_phases_end(scheduled: PretrainConfig) -> None:
    stable, decay = scheduled.phase
    assert [scheduled.at(step) for step in (0, 9, 10, 14)] == [(stable, 0), (stable, 9), (decay, 0), (decay, 4)]
    assert scheduled.at(15) == scheduled.at(1000) == (decay, 5)


@pytest.mark.parametrize(
    "table", ["", "[train]\n", "[[phase]]\n", "[[corpus]]\n", "[[part]]\n", "[card]\n", "[card.samples]\n"]
)
def test_an_unknown_key_is_refused(table: str, tmp_path: Path) -> None:
    text = CONFIG.read_text()
    assert table in text
    path = tmp_path / "config.toml"
    path.write_text(text.replace(table, f"{table}surprise = 1\n", 1))
    with pytest.raises(msgspec.ValidationError, match="surprise"):
        PretrainConfig.read(path)


def test_every_part_names_a_corpus_and_has_a_share_of_each_phase(committed: PretrainConfig) -> None:
    corpora, phases = {c.name for c in committed.corpus}, {p.name for p in committed.phase}
    for part in committed.part:
        assert part.corpus in corpora, part.name
        assert part.shares.keys() == phases, part.name
        assert min(part.shares.values()) >= 0, part.name
    for phase in phases:
        assert sum(part.shares[phase] for part in committed.part) > 0


def test_names_are_used_once_and_every_corpus_is_used(committed: PretrainConfig) -> None:
    for named in (committed.corpus, committed.part, committed.phase):
        names = [each.name for each in named]
        assert len(set(names)) == len(names)
    assert {part.corpus for part in committed.part} == {c.name for c in committed.corpus}


def test_the_parts_of_a_corpus_do_not_overlap(committed: PretrainConfig) -> None:
    for corpus in committed.corpus:
        parts = [part for part in committed.part if part.corpus == corpus.name]
        if len(parts) == 1:
            continue
        ranges = sorted(part.lines for part in parts if part.lines)
        assert len(ranges) == len(parts), corpus.name  # a part of all lines is alone
        assert all(0 <= start < stop for start, stop in ranges), corpus.name
        assert all(one[1] <= other[0] for one, other in pairwise(ranges)), corpus.name


def test_every_corpus_is_known_by_its_sha_256_and_its_licence(committed: PretrainConfig) -> None:
    for corpus in committed.corpus:
        assert re.fullmatch("[0-9a-f]{64}", corpus.sha256), corpus.name
        assert corpus.licence and corpus.what, corpus.name


def test_rows_fill_batches_and_fit_the_models_context(committed: PretrainConfig) -> None:
    train = committed.train
    assert train.batch_tokens % train.micro_tokens == 0
    for phase in committed.phase:
        assert train.micro_tokens % phase.row_tokens == 0, phase.name
        assert phase.row_tokens <= committed.model["max_position_embeddings"], phase.name
        assert committed.steps(phase) > 0, phase.name
