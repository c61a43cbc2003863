"""The pre-training run: reproducible from its config, resumable, logged line by line."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from models.engine.device import hardware_name
from models.records import DatasetRow
from models.text import DEFAULT_FORMAT
from trainer.dataset import Example, encode
from trainer.evaluate import bits_per_byte
from trainer.pretrain.config import PretrainConfig
from trainer.pretrain.corpus import documents, held_out, read_lines
from trainer.pretrain.export import BaseRecord, export, take_samples
from trainer.pretrain.network import Rows, new_model, optimizers
from trainer.pretrain.tokens import Mixer, Packed, load, pack, sample_texts, save, train_tokenizer
from trainer.step import Step

HELD_OUT_LINES = 200  # per corpus, at each evaluation
LOG_STEPS = 50


@dataclass(frozen=True, kw_only=True)
class Data:
    """Tokenizer, the parts of the mix as ids, and each corpus's held-out lines."""

    tokenizer: PreTrainedTokenizerFast
    parts: dict[str, Packed]
    held_out: dict[str, list[Example]]


def prepare(config: PretrainConfig, corpus_dir: Path, work: Path, log: Callable[[str], None]) -> Data:
    """Read and tokenize the corpora; what an earlier run left in `work` is taken as it is."""
    lines = {corpus.name: read_lines(corpus, corpus_dir) for corpus in config.corpus}
    folder, saved = work / "tokenizer", work / "parts"
    saved.mkdir(parents=True, exist_ok=True)
    texts: dict[str, list[str]] = {}

    def texts_of(name: str) -> list[str]:
        if name not in texts:
            part = next(p for p in config.part if p.name == name)
            texts[name] = list(documents(part, lines[part.corpus], rng=random.Random(f"{config.seed}/{name}")))
        return texts[name]

    if not folder.exists():
        rng, first = random.Random(config.seed), config.phase[0].name
        total = sum(part.shares[first] for part in config.part)
        sizes = {p.name: config.tokenizer["sample_bytes"] * p.shares[first] / total for p in config.part}
        sample = (
            t for name, size in sizes.items() for t in sample_texts(texts_of(name), size_bytes=int(size), rng=rng)
        )
        tokenizer = train_tokenizer(sample, vocab_size=config.tokenizer["vocab_size"])
        tokenizer.save_pretrained(folder.with_suffix(".part"))
        folder.with_suffix(".part").replace(folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    parts = {}
    for part in config.part:
        if (packed := load(saved, part.name)) is None:
            packed = pack(tokenizer, texts_of(part.name))
            save(saved, part.name, packed)
        texts.pop(part.name, None)
        parts[part.name] = packed
        log(f"{part.name}: {len(packed.starts) - 1:,} documents, {len(packed.ids):,} tokens")
    return Data(tokenizer=tokenizer, parts=parts, held_out=held_out_examples(lines, tokenizer))


def held_out_examples(lines: dict[str, list[str]], tokenizer: PreTrainedTokenizerFast) -> dict[str, list[Example]]:
    """HELD_OUT_LINES held-out lines of each corpus."""
    rows = {
        name: [DatasetRow(handle="", id="", text=text) for text in held_out(own, limit=HELD_OUT_LINES)]
        for name, own in lines.items()
    }
    return {name: encode(own, tokenizer, DEFAULT_FORMAT, max_tokens=250) for name, own in rows.items()}


def pretrain(config: PretrainConfig, corpus_dir: Path, work: Path, log: Callable[[str], None]) -> Path:
    """Train to the end, or on from the checkpoint in `work`; returns the folder of the finished base.

    The state at the end of each phase stays there too: with more tokens in a phase the run can go on from it.
    """
    return Pretraining(config, prepare(config, corpus_dir, work, log), work, log).run()


class Pretraining:
    """One run: its model, how far it is, and its checkpoints."""

    def __init__(self, config: PretrainConfig, data: Data, work: Path, log: Callable[[str], None]) -> None:
        self._config, self._data, self._work, self._log = config, data, work, log
        torch.manual_seed(config.seed)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = new_model(config.model, data.tokenizer).to(self._device)
        self._optimizers = optimizers(self._model, config.train)
        self._mixer = Mixer(data.parts, seed=config.seed)
        self._rows = Rows(data.tokenizer)
        self._take = Step(self._model, torch.bfloat16, compiled=config.train.compile)
        self._step, self._seconds = 0, 0.0
        self._load()

    def run(self) -> Path:
        """Every step that is left; then the base, written into the work folder."""
        config, settings = self._config, self._config.train
        parameters = sum(p.numel() for p in self._model.parameters())
        self._log(f"{parameters:,} parameters, {config.total_steps:,} steps of {settings.batch_tokens:,} tokens")
        ends = {last: phase.name for phase, last in config.ends()}
        started = saved_at = logged_at = time.monotonic()
        before, logged_step = self._seconds, self._step
        for batch in batches(config, self._mixer, first=self._step):
            loss = self._one(torch.from_numpy(batch).to(self._device))
            self._step += 1
            now = time.monotonic()
            self._seconds = before + now - started
            if self._step % LOG_STEPS == 0 or self._step in ends:
                rate = (self._step - logged_step) * settings.batch_tokens / (now - logged_at)
                factor = config.rate(self._step - 1)
                self._log(f"step {self._step} loss {loss:.4f} at {factor:.3f} {rate:,.0f} tok/s {self._seconds:,.0f} s")
                logged_at, logged_step = now, self._step
            if now - saved_at > settings.checkpoint_minutes * 60 or self._step in ends:
                figures = " ".join(f"{name} {value:.4f}" for name, value in self._evaluate().items())
                self._log(f"step {self._step} held-out bits per byte {figures}")
                self._save("state")
                if name := ends.get(self._step):
                    self._save(f"state-{name}")
                saved_at = logged_at = time.monotonic()
                logged_step = self._step
        return self._finish(parameters)

    def _one(self, batch: Tensor) -> float:
        """One step of the optimizers; the mean loss in nats per token."""
        phase, _ = self._config.at(self._step)
        settings = self._config.train
        total = torch.zeros((), device=self._device)
        for piece in batch.split(settings.micro_tokens // phase.row_tokens):
            loss = self._take.loss(self._rows.batch(piece)) / settings.batch_tokens
            loss.backward()
            total += loss.detach()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * self._config.rate(self._step)
            optimizer.step()
            optimizer.zero_grad()
        return total.item()

    def _evaluate(self) -> dict[str, float]:
        """Bits per byte of each corpus's held-out lines, each read on its own."""
        pad = self._data.tokenizer.pad_token_id
        return {
            name: bits_per_byte(self._take, own, pad_id=pad, device=self._device)
            for name, own in self._data.held_out.items()
        }

    def _finish(self, parameters: int) -> Path:
        data, config = self._data, self._config
        figures = self._evaluate()
        self._model.eval()
        record = BaseRecord(
            parameters=parameters,
            tokens=self._step * config.train.batch_tokens,
            steps=self._step,
            seconds=round(self._seconds),
            passes=self._mixer.passes(),
            documents={name: len(part.starts) - 1 for name, part in data.parts.items()},
            part_tokens={name: len(part.ids) for name, part in data.parts.items()},
            held_out_lines=HELD_OUT_LINES,
            held_out_bits_per_byte={name: round(value, 4) for name, value in figures.items()},
            samples=tuple(take_samples(self._model, data.tokenizer, config.card.samples)),
            hardware=hardware_name(),
            torch=str(torch.__version__),
            config=config,
        )
        return export(self._model, data.tokenizer, record, self._work / "base")

    def _save(self, name: str) -> None:
        part = self._work / f"{name}.part"
        state = {
            "model": self._model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "step": self._step,
            "seconds": self._seconds,
        }
        torch.save(state, part)
        part.replace(self._work / f"{name}.pt")

    def _load(self) -> None:
        """Go on from the checkpoint, if there is one."""
        file = self._work / "state.pt"
        if not file.exists():
            return
        state = torch.load(file, weights_only=True, map_location=self._device)
        self._model.load_state_dict(state["model"])
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self._step, self._seconds = state["step"], state["seconds"]
        self._log(f"resumed at step {self._step}")


def batches(config: PretrainConfig, mixer: Mixer, *, first: int) -> Iterator[np.ndarray]:
    """The batches (rows, row_tokens + 1) int64 from step `first` to the end, the same whatever `first` was."""
    number = step = 0
    for phase in config.phase:
        shares = {part.name: part.shares[phase.name] for part in config.part}
        size = config.train.batch_tokens
        stream = np.empty(0, np.uint16)
        for _ in range(config.steps(phase)):
            if len(stream) <= size:
                stream = np.concatenate([stream, mixer.block(shares, number)])
                number += 1
            if step >= first:
                index = np.arange(0, size, phase.row_tokens)[:, None] + np.arange(phase.row_tokens + 1)[None, :]
                yield stream[index].astype(np.int64)
            stream = stream[size:]
            step += 1
