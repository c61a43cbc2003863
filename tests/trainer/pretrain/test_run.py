"""A whole pre-training run on small corpora: what it leaves behind, and that it can stop at any step."""

from __future__ import annotations

import hashlib
import json
import lzma
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from models.files import read_json
from tests.conftest import made_up_posts
from trainer.__main__ import main
from trainer.evaluate import bits_per_byte
from trainer.pretrain import tokens
from trainer.pretrain.config import PretrainConfig
from trainer.pretrain.corpus import is_held_out, read_lines
from trainer.pretrain.export import BaseRecord
from trainer.pretrain.run import batches, held_out_examples, pretrain
from trainer.pretrain.tokens import Mixer, Packed
from trainer.step import Step

STABLE, DECAY = 10, 6  # steps
CORPORA = {"talk": "CDLA-Sharing 1.0", "novels": "public domain"}  # and their licences
SETTINGS: dict[str, Any] = {
    "seed": 1,
    "tokenizer": {"vocab_size": 400, "sample_bytes": 40_000},
    "model": {
        "model_type": "llama",
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
        "tie_word_embeddings": True,
    },
    "train": {
        "batch_tokens": 512,
        "micro_tokens": 256,
        "matrix_learning_rate": 1e-2,
        "embedding_learning_rate": 2e-2,
        "norm_learning_rate": 6e-3,
        "weight_decay": 0.02,
        "warmup_steps": 3,
        "checkpoint_minutes": 60,
        "compile": False,
    },
    "phase": [
        {"name": "stable", "tokens": 512 * STABLE, "row_tokens": 32, "first_rate": 1.0, "last_rate": 1.0},
        {"name": "decay", "tokens": 512 * DECAY, "row_tokens": 64, "first_rate": 1.0, "last_rate": 0.0},
    ],
    "part": [
        {"name": "irc", "corpus": "talk", "lines": [0, 1500], "dialogue": True, "is_raw": True}
        | {"shares": {"stable": 1, "decay": 3}},
        {"name": "sentences", "corpus": "talk", "lines": [1500, 3000], "shares": {"stable": 1, "decay": 1}},
        {"name": "novels", "corpus": "novels", "shares": {"stable": 2, "decay": 1}},
    ],
    "card": {
        "languages": ["en"],
        "known_faults": ["It knows of kettles only.", "It sings."],
        "samples": {"seed": 1, "temperature": 0.8, "top_p": 0.95, "max_tokens": 12}
        | {"unprompted": 2, "beginnings": ["the kettle"], "remarks": ["is the tram late?"]},
    },
}


class Killed(Exception):
    """Raised out of the log, where a run is stopped."""


@dataclass
class Log:
    """Takes what a run says; ends it at the first line that begins with `stop_at`."""

    stop_at: str = "nothing that a run says"
    lines: list[str] = field(default_factory=list)

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        if line.startswith(self.stop_at):
            raise Killed

    def evaluated(self) -> dict[int, dict[str, float]]:
        """The held-out bits per byte of each corpus, by step."""
        found = (re.match(r"step (\d+) held-out bits per byte (.*)", line) for line in self.lines)
        return {
            int(m[1]): {name: float(value) for name, value in re.findall(r"(\w+) ([\d.]+)", m[2])} for m in found if m
        }


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Blocks of a few steps; one thread, for such small matrices are no work for two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "BLOCK_TOKENS", 2000)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def corpus_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for number, name in enumerate(CORPORA):
        texts = [f"{post['text']} {post['id']}" for post in made_up_posts(6000)[3000 * number :][:3000]]
        (folder / f"{name}.txt.xz").write_bytes(lzma.compress("\n".join(texts).encode()))
    return folder


@pytest.fixture(scope="module")
def config(corpus_dir: Path) -> PretrainConfig:
    def described(name: str, licence: str) -> dict[str, str]:
        digest = hashlib.sha256((corpus_dir / f"{name}.txt.xz").read_bytes()).hexdigest()
        return {"name": name, "file": f"{name}.txt.xz", "sha256": digest, "licence": licence, "what": f"made-up {name}"}

    return msgspec.convert({**SETTINGS, "corpus": [described(*item) for item in CORPORA.items()]}, PretrainConfig)


@dataclass(frozen=True)
class Finished:
    work: Path
    base: Path
    log: Log


@pytest.fixture(scope="module")
def whole(config: PretrainConfig, corpus_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run from beginning to end."""
    work, log = tmp_path_factory.mktemp("whole"), Log()
    return Finished(work, pretrain(config, corpus_dir, work, log), log)


Start = Callable[[Path, Log], Path]


@pytest.fixture
def careful(config: PretrainConfig, corpus_dir: Path) -> Start:
    """Starts a run that makes a checkpoint at each step."""
    train = msgspec.structs.replace(config.train, checkpoint_minutes=0.0)
    each_step = msgspec.structs.replace(config, train=train)
    return lambda work, log: pretrain(each_step, corpus_dir, work, log)


def weights(work: Path) -> dict[str, torch.Tensor]:
    return torch.load(work / "state.pt", weights_only=True)["model"]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_that_is_stopped_and_started_again_ends_with_the_same_weights(
    careful: Start, whole: Finished, tmp_path: Path
) -> None:
    begins = 0
    for stop in (1, 4, STABLE, STABLE + 1, STABLE + 4, STABLE + DECAY):  # as that step is done but not yet saved
        log = Log(stop_at=f"step {stop} held-out")
        with pytest.raises(Killed):
            careful(tmp_path, log)
        assert [line for line in log.lines if line.startswith("resumed")] == (
            [f"resumed at step {begins}"] if begins else []
        )
        assert list(log.evaluated()) == list(range(begins + 1, stop + 1))
        begins = stop - 1
    base = careful(tmp_path, Log())
    assert same(weights(tmp_path), weights(whole.work))
    assert same(load_file(base / "model.safetensors"), load_file(whole.base / "model.safetensors"))


def test_held_out_bits_per_byte_fall(careful: Start, tmp_path: Path) -> None:
    log = Log()
    base = careful(tmp_path, log)
    figures = log.evaluated()
    assert list(figures) == list(range(1, STABLE + DECAY + 1))
    for name in CORPORA:
        assert figures[STABLE][name] < 0.8 * figures[1][name]
        assert figures[STABLE + DECAY][name] < 0.95 * figures[STABLE][name]
    assert read_json(base / "pretrain.json", BaseRecord).held_out_bits_per_byte == figures[STABLE + DECAY]


def test_a_finished_run_that_is_started_again_only_writes_the_base(
    config: PretrainConfig, corpus_dir: Path, whole: Finished, tmp_path: Path
) -> None:
    work, log = tmp_path / "work", Log()
    shutil.copytree(whole.work, work, ignore=shutil.ignore_patterns("base"))
    base = pretrain(config, corpus_dir, work, log)
    assert not log.evaluated()
    records = [read_json(each / "pretrain.json", BaseRecord) for each in (base, whole.base)]
    assert records[0] == records[1]  # samples too
    assert same(load_file(base / "model.safetensors"), load_file(whole.base / "model.safetensors"))


def test_a_run_goes_on_from_the_end_of_a_phase_that_was_made_longer(
    config: PretrainConfig, corpus_dir: Path, whole: Finished, tmp_path: Path
) -> None:
    stable, decay = config.phase
    longer = msgspec.structs.replace(config, phase=(msgspec.structs.replace(stable, tokens=512 * (STABLE + 3)), decay))
    for name in ("anew", "on"):
        shutil.copytree(whole.work, tmp_path / name, ignore=shutil.ignore_patterns("base", "state.pt"))
    shutil.copy(whole.work / "state-stable.pt", tmp_path / "on" / "state.pt")
    log = Log()
    pretrain(longer, corpus_dir, tmp_path / "anew", Log())
    pretrain(longer, corpus_dir, tmp_path / "on", log)
    assert f"resumed at step {STABLE}" in log.lines
    assert same(weights(tmp_path / "anew"), weights(tmp_path / "on"))
    assert not same(weights(tmp_path / "on"), weights(whole.work))


def test_each_phase_ends_at_the_rate_of_its_last_step(config: PretrainConfig, whole: Finished) -> None:
    for name, step in (("state-stable.pt", STABLE - 1), ("state-decay.pt", STABLE + DECAY - 1)):
        state = torch.load(whole.work / name, weights_only=True)
        assert state["step"] == step + 1
        rates = [group["lr"] for optimizer in state["optimizers"] for group in optimizer["param_groups"]]
        train = config.train
        peaks = (train.matrix_learning_rate, train.embedding_learning_rate, train.norm_learning_rate)
        assert rates == pytest.approx([peak * config.rate(step) for peak in peaks])


def as_toml(value: Any) -> str:
    """A value as TOML has it, tables inline."""
    match value:
        case dict():
            return "{" + ", ".join(f"{key} = {as_toml(own)}" for key, own in value.items() if own is not None) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(as_toml, value)) + "]"
    return json.dumps(value)


def test_the_command_makes_the_base_that_another_config_describes(
    config: PretrainConfig, corpus_dir: Path, whole: Finished, tmp_path: Path
) -> None:
    path, work = tmp_path / "config.toml", tmp_path / "work"
    path.write_text("".join(f"{name} = {as_toml(own)}\n" for name, own in msgspec.to_builtins(config).items()))
    assert PretrainConfig.read(path) == config
    shutil.copytree(whole.work, work, ignore=shutil.ignore_patterns("base"))  # finished: it has only to be written
    assert main(["pretrain", "--corpus", str(corpus_dir), "--work", str(work), "--config", str(path)]) == 0
    assert same(load_file(work / "base" / "model.safetensors"), load_file(whole.base / "model.safetensors"))
    assert (work / "log.txt").read_text().endswith(f"finished: {work / 'base'}\n")


def test_the_base_is_the_trained_weights_in_bf16(whole: Finished) -> None:
    saved, trained = load_file(whole.base / "model.safetensors"), weights(whole.work)
    assert saved.keys() == trained.keys() - {"lm_head.weight"}  # tied
    for name, tensor in saved.items():
        assert tensor.dtype == torch.bfloat16
        assert torch.equal(tensor, trained[name].to(torch.bfloat16)), name


def test_transformers_loads_the_base_and_it_speaks(whole: Finished) -> None:
    model = AutoModelForCausalLM.from_pretrained(whole.base)
    tokenizer = AutoTokenizer.from_pretrained(whole.base)
    assert (model.config.model_type, model.dtype) == ("llama", torch.bfloat16)
    assert model.config._attn_implementation == "sdpa"
    assert "documents" not in (whole.base / "config.json").read_text()  # nobody else knows that attention
    text = "the kettle sang, 鳥 too \N{DOVE OF PEACE}"
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert len(tokenizer) == model.config.vocab_size == 400
    prompt = torch.tensor([[tokenizer.bos_token_id, *tokenizer("the kettle").input_ids]])
    said = model.generate(prompt, max_new_tokens=8, do_sample=False)
    assert tokenizer.decode(said[0][1:]).startswith("the kettle")


def test_the_base_reads_held_out_lines_as_its_record_says(
    config: PretrainConfig, corpus_dir: Path, whole: Finished
) -> None:
    record = read_json(whole.base / "pretrain.json", BaseRecord)
    assert record.held_out_bits_per_byte == whole.log.evaluated()[STABLE + DECAY]
    model = AutoModelForCausalLM.from_pretrained(whole.base, dtype=torch.float32)
    lines = {corpus.name: read_lines(corpus, corpus_dir) for corpus in config.corpus}
    held = held_out_examples(lines, AutoTokenizer.from_pretrained(whole.base))
    assert held.keys() == record.held_out_bits_per_byte.keys() == CORPORA.keys()
    for name, own in held.items():
        assert len(own) == sum(map(is_held_out, lines[name])) > 0
        read = bits_per_byte(Step(model, torch.float32), own, pad_id=1, device=torch.device("cpu"))
        assert read == pytest.approx(record.held_out_bits_per_byte[name], rel=0.01)


def test_the_record_says_what_was_done(config: PretrainConfig, corpus_dir: Path, whole: Finished) -> None:
    record = read_json(whole.base / "pretrain.json", BaseRecord)
    assert (record.steps, record.tokens) == (STABLE + DECAY, 512 * (STABLE + DECAY))
    assert record.parameters == AutoModelForCausalLM.from_pretrained(whole.base).num_parameters()
    assert record.config == config
    assert (
        record.passes.keys() == record.documents.keys() == record.part_tokens.keys() == {"irc", "sentences", "novels"}
    )
    novels = read_lines(config.corpus[1], corpus_dir)
    assert record.documents["novels"] == sum(not is_held_out(line) for line in novels)


def test_the_card_names_each_corpus_with_its_licence_and_sha_256(config: PretrainConfig, whole: Finished) -> None:
    rows = (whole.base / "README.md").read_text().splitlines()
    for corpus in config.corpus:
        cells = ("", corpus.name, corpus.what, corpus.licence, f"`{corpus.sha256}`", "")
        assert " | ".join(cells).strip() in rows


def test_the_card_tells_parts_figures_samples_and_faults(config: PretrainConfig, whole: Finished) -> None:
    card = (whole.base / "README.md").read_text()
    record = read_json(whole.base / "pretrain.json", BaseRecord)
    for part, shares in {"irc": "25.0% | 60.0%", "sentences": "25.0% | 20.0%", "novels": "50.0% | 20.0%"}.items():
        amounts = f"{record.documents[part]:,} | {record.part_tokens[part]:,}"
        assert f"| {part} | {amounts} | {shares} | {record.passes[part]:.2f} times |" in card
    assert " | ".join(f"{value:.3f}" for value in record.held_out_bits_per_byte.values()) in card
    assert [(sample.prompt, sample.answers) for sample in record.samples] == [
        ("", ""),
        ("", ""),
        ("the kettle", ""),
        ("", "is the tram late?"),
    ]
    samples = card.partition("## Samples")[2].partition("## Known faults")[0].splitlines()
    samples = [line for line in samples if line.startswith("- ")]
    assert len(samples) == 4
    assert samples[2].startswith("- **the kettle**")
    assert samples[3].startswith("- `> is the tram late?` ")
    assert all(f"- {fault}" in card.splitlines() for fault in config.card.known_faults)
    assert f"{record.parameters:,} parameters" in card


def test_no_placeholder_is_left_in_the_card(whole: Finished) -> None:
    front, body = (whole.base / "README.md").read_text().removeprefix("---\n").split("\n---\n", 1)
    assert "language: [en]" in front.splitlines()
    assert not set("{}") & set(front + body.partition("## Samples")[0])


def test_no_run_begins_with_a_corpus_that_was_changed(config: PretrainConfig, corpus_dir: Path, tmp_path: Path) -> None:
    changed = tmp_path / "corpus"
    shutil.copytree(corpus_dir, changed)
    (changed / "novels.txt.xz").write_bytes(lzma.compress(b"the kettle slept"))
    with pytest.raises(ValueError, match="SHA-256"):
        pretrain(config, changed, tmp_path / "work", Log())
    assert not (tmp_path / "work").exists()


def mixer() -> Mixer:
    """Three parts of random documents."""
    rng = np.random.default_rng(1)
    parts = {}
    for name in ("irc", "sentences", "novels"):
        starts = np.cumsum([0, *rng.integers(5, 40, size=60)])
        ids = rng.integers(2, 400, size=starts[-1]).astype(np.uint16)
        ids[starts[:-1]] = 0
        parts[name] = Packed(ids, starts)
    return Mixer(parts, seed=1)


@pytest.mark.parametrize("first", [1, 7, STABLE - 1, STABLE, STABLE + 2, STABLE + DECAY])
def test_batches_from_a_step_on_are_those_of_the_whole_run(first: int, config: PretrainConfig) -> None:
    every = list(batches(config, mixer(), first=0))
    assert len(every) == config.total_steps
    tail = list(batches(config, mixer(), first=first))
    assert len(tail) == config.total_steps - first
    for one, other in zip(tail, every[first:], strict=True):
        assert np.array_equal(one, other)


def test_a_phases_batches_are_one_stream_in_rows_of_its_length(config: PretrainConfig) -> None:
    every = list(batches(config, mixer(), first=0))
    for own, tokens_a_row in ((every[:STABLE], 32), (every[STABLE:], 64)):
        assert {batch.shape for batch in own} == {(512 // tokens_a_row, tokens_a_row + 1)}
        rows = np.concatenate(own)
        assert (rows[:-1, -1] == rows[1:, 0]).all()  # a row's last label is the next row's first id


def test_each_phase_has_its_own_shares(config: PretrainConfig) -> None:
    parts = {  # of one id each, so that they can be told apart
        name: Packed(np.tile(np.array([0, id_], np.uint16), 50), np.arange(0, 101, 2))
        for name, id_ in (("irc", 2), ("sentences", 3), ("novels", 4))
    }
    every = list(batches(config, Mixer(parts, seed=1), first=0))
    for own, shares in ((every[:STABLE], (1, 1, 2)), (every[STABLE:], (3, 1, 1))):
        ids = np.concatenate([batch[:, :-1].ravel() for batch in own])
        found = [(ids == id_).sum() / (ids > 0).sum() for id_ in (2, 3, 4)]
        assert found == pytest.approx([share / sum(shares) for share in shares], abs=0.05)
