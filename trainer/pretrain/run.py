"""The pre-training run: reproducible from its config, resumable, logged line by line."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
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

    The state at the end of each phase stays there too: with more tokens in an earlier phase the run goes on from it.
    """
    data = prepare(config, corpus_dir, work, log)
    settings = config.train
    torch.manual_seed(config.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = new_model(config.model, data.tokenizer).to(device)
    optims = optimizers(model, settings)
    state_file = work / "state.pt"
    step, seconds = 0, 0.0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True, map_location=device)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optims, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        step, seconds = state["step"], state["seconds"]
        log(f"resumed at step {step}")

    def save_state(path: Path) -> None:
        part = path.with_suffix(".part")
        states = [o.state_dict() for o in optims]
        torch.save({"model": model.state_dict(), "optimizers": states, "step": step, "seconds": seconds}, part)
        part.replace(path)

    parameters = sum(p.numel() for p in model.parameters())
    log(f"{parameters:,} parameters, {config.total_steps:,} steps of {settings.batch_tokens:,} tokens")
    mixer = Mixer(data.parts, seed=config.seed)
    take = Step(model, torch.bfloat16, compiled=settings.compile)
    stream = Rows(data.tokenizer)
    started, saved_at, logged_at, logged_step = time.monotonic() - seconds, time.monotonic(), time.monotonic(), step
    for batch in batches(config, mixer, first=step):
        phase, _ = config.at(step)
        pieces = torch.from_numpy(batch).to(device).split(settings.micro_tokens // phase.row_tokens)
        loss = torch.zeros((), device=device)
        for piece in pieces:
            nats = take.loss(stream.batch(piece)) / settings.batch_tokens
            nats.backward()
            loss += nats.detach()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optims:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * config.rate(step)
            optimizer.step()
            optimizer.zero_grad()
        step += 1
        now = time.monotonic()
        seconds = now - started
        is_end = step in _phase_ends(config)
        if step % LOG_STEPS == 0 or is_end:
            rate = (step - logged_step) * settings.batch_tokens / (now - logged_at)
            log(f"step {step} loss {loss.item():.4f} at {config.rate(step - 1):.3f} {rate:,.0f} tok/s {seconds:,.0f} s")
            logged_at, logged_step = now, step
        if now - saved_at > settings.checkpoint_minutes * 60 or is_end:
            figures = held_out_bits_per_byte(take, data, device)
            log(f"step {step} held-out bits per byte " + " ".join(f"{k} {v:.4f}" for k, v in figures.items()))
            save_state(state_file)
            if is_end:
                save_state(work / f"state-{phase.name}.pt")
            saved_at = logged_at = time.monotonic()
            logged_step = step
    figures = held_out_bits_per_byte(take, data, device)
    model.eval()
    record = BaseRecord(
        parameters=parameters,
        tokens=step * settings.batch_tokens,
        steps=step,
        seconds=round(seconds),
        passes=mixer.passes(),
        documents={name: len(part.starts) - 1 for name, part in data.parts.items()},
        part_tokens={name: len(part.ids) for name, part in data.parts.items()},
        held_out_lines=HELD_OUT_LINES,
        held_out_bits_per_byte={name: round(value, 4) for name, value in figures.items()},
        samples=tuple(take_samples(model, data.tokenizer, config.card.samples)),
        hardware=hardware_name(),
        torch=str(torch.__version__),
        config=config,
    )
    return export(model, data.tokenizer, record, work / "base")


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


def held_out_bits_per_byte(take: Step, data: Data, device: torch.device) -> dict[str, float]:
    """Bits per byte of each corpus's held-out lines, each read on its own."""
    pad = data.tokenizer.pad_token_id
    return {name: bits_per_byte(take, own, pad_id=pad, device=device) for name, own in data.held_out.items()}


def _phase_ends(config: PretrainConfig) -> set[int]:
    sizes = [config.steps(phase) for phase in config.phase]
    return {sum(sizes[: i + 1]) for i in range(len(sizes))}
