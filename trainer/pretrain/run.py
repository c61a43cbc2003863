"""The pre-training run: reproducible from its config, resumable, logged line by line."""

from __future__ import annotations

import math
import random
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from models.engine.device import hardware_name
from trainer.pretrain.corpus import Corpus, Document, documents, read_lines
from trainer.pretrain.export import BaseRecord, export
from trainer.pretrain.tokens import pack, sample_texts, save_array, train_tokenizer

CONFIG = Path(__file__).with_name("config.toml")
HELD_OUT_ROWS = 96  # per corpus, at each evaluation


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The [train] table of the config; see there for units."""

    tokens: int
    rows: int
    row_tokens: int
    matrix_learning_rate: float
    learning_rate: float
    weight_decay: float
    warmup_steps: int
    decay_fraction: float
    checkpoint_minutes: float
    compile: bool

    @property
    def steps(self) -> int:
        return self.tokens // (self.rows * self.row_tokens)

    def rate(self, step: int) -> float:
        """Factor on the learning rates: warm-up, stable, linear decay to zero (WSD)."""
        decay_steps = max(1, int(self.steps * self.decay_fraction))
        return min(1.0, (step + 1) / self.warmup_steps, max(0.0, (self.steps - step) / decay_steps))


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """The whole config file."""

    seed: int
    tokenizer: dict[str, int]
    model: dict[str, int]
    train: TrainSettings
    corpora: tuple[Corpus, ...]

    @classmethod
    def read(cls, path: Path) -> PretrainConfig:
        table = tomllib.loads(path.read_text())
        corpora = [
            Corpus(**{**entry, "dialogue_lines": tuple(tuple(r) for r in entry.get("dialogue_lines", ()))})
            for entry in table["corpus"]
        ]
        return cls(
            seed=table["seed"],
            tokenizer=table["tokenizer"],
            model=table["model"],
            train=TrainSettings(**table["train"]),
            corpora=tuple(corpora),
        )


@dataclass(frozen=True, kw_only=True)
class Data:
    """Tokenizer, training stream and, per corpus, the held-out stream with its size in bytes."""

    tokenizer: PreTrainedTokenizerFast
    train: np.ndarray
    held_out: dict[str, np.ndarray]


def prepare(config: PretrainConfig, corpus_dir: Path, work: Path) -> Data:
    """Read and tokenize the corpora, or take what an earlier run left in `work`."""
    train_file, tokenizer_dir = work / "train.npy", work / "tokenizer"
    held_files = {c.name: work / f"held-out-{c.name}.npy" for c in config.corpora}
    if not train_file.exists():
        rng = random.Random(config.seed)
        train: list[Document] = []
        held: dict[str, list[str]] = {}
        for corpus in config.corpora:
            lines = read_lines(corpus, corpus_dir)
            train.extend(documents(corpus, lines, held_out=False, rng=rng))
            held[corpus.name] = [d.text for d in documents(corpus, lines, held_out=True, rng=rng)]
        rng.shuffle(train)
        tokenizer = train_tokenizer(
            sample_texts(train, size_bytes=config.tokenizer["sample_bytes"], rng=rng),
            vocab_size=config.tokenizer["vocab_size"],
        )
        tokenizer.save_pretrained(tokenizer_dir)
        for name, texts in held.items():
            save_array(held_files[name], pack(tokenizer, texts))
        save_array(train_file, pack(tokenizer, (d.text for d in train)))  # last: its presence means complete
    return Data(
        tokenizer=PreTrainedTokenizerFast.from_pretrained(tokenizer_dir),
        train=np.load(train_file, mmap_mode="r"),
        held_out={name: np.load(path) for name, path in held_files.items()},
    )


def pretrain(config: PretrainConfig, corpus_dir: Path, work: Path, log: Callable[[str], None]) -> Path:
    """Train to the end, or on from the checkpoint in `work`; returns the folder of the finished base."""
    work.mkdir(parents=True, exist_ok=True)
    data = prepare(config, corpus_dir, work)
    settings = config.train
    log(f"{len(data.train):,} tokens in the mix, {settings.steps} steps of {settings.rows * settings.row_tokens}")
    torch.manual_seed(config.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = _new_model(config, data.tokenizer).to(device)
    optimizers = _optimizers(model, settings)
    state_file = work / "state.pt"
    step, seconds = 0, 0.0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True, map_location=device)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        step, seconds = state["step"], state["seconds"]
        log(f"resumed at step {step}")

    def save() -> None:
        part = state_file.with_suffix(".part")
        states = [o.state_dict() for o in optimizers]
        torch.save({"model": model.state_dict(), "optimizers": states, "step": step, "seconds": seconds}, part)
        part.replace(state_file)

    loss_fn = torch.compile(_loss) if settings.compile else _loss
    started, saved_at, logged_at, logged_step = time.monotonic() - seconds, time.monotonic(), time.monotonic(), step
    while step < settings.steps:
        batch = _batch(data.train, settings, step, config.seed).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            loss = loss_fn(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * settings.rate(step)
            optimizer.step()
            optimizer.zero_grad()
        step += 1
        now = time.monotonic()
        seconds = now - started
        if step % 20 == 0 or step == settings.steps:
            rate = (step - logged_step) * batch.numel() / (now - logged_at)
            factor = settings.rate(step - 1)
            log(f"step {step} loss {loss.item():.4f} rate {factor:.3f} {rate:,.0f} tok/s {seconds:,.0f} s")
            logged_at, logged_step = now, step
        if now - saved_at > settings.checkpoint_minutes * 60 or step == settings.steps:
            figures = held_out_bits_per_byte(model, data, settings.row_tokens)
            log(f"step {step} held-out bits per byte " + " ".join(f"{k} {v:.3f}" for k, v in figures.items()))
            save()
            saved_at = logged_at = time.monotonic()
    record = BaseRecord(
        parameters=sum(p.numel() for p in model.parameters()),
        tokens=step * settings.rows * settings.row_tokens,
        steps=step,
        seconds=round(seconds),
        held_out_bits_per_byte={
            name: round(value, 4) for name, value in held_out_bits_per_byte(model, data, settings.row_tokens).items()
        },
        hardware=hardware_name(),
        torch=str(torch.__version__),
        corpora=config.corpora,
    )
    return export(model, data.tokenizer, record, work / "base")


def held_out_bits_per_byte(model: LlamaForCausalLM, data: Data, row_tokens: int) -> dict[str, float]:
    """Bits per byte of each corpus's held-out stream (at most HELD_OUT_ROWS rows of it)."""
    device = next(model.parameters()).device
    model.eval()
    figures = {}
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
        for name, stream in data.held_out.items():
            rows = min(HELD_OUT_ROWS, (len(stream) - 1) // row_tokens)
            if rows == 0:
                continue
            kept = stream[: rows * row_tokens + 1].astype(np.int64)
            starts = np.arange(rows)[:, None] * row_tokens
            batch = torch.from_numpy(kept[starts + np.arange(row_tokens + 1)[None, :]]).to(device)
            nats = sum(_loss(model, part).item() * (part.numel() - len(part)) for part in batch.split(32))
            size = len(data.tokenizer.decode(kept[1:].tolist(), skip_special_tokens=True).encode())
            figures[name] = nats / math.log(2) / size
    model.train()
    return figures


def _loss(model: LlamaForCausalLM, batch: Tensor) -> Tensor:
    """Mean cross-entropy in nats per token: batch (B, T + 1) int64."""
    logits = model(input_ids=batch[:, :-1], use_cache=False).logits  # (B, T, V)
    return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten())


def _batch(stream: np.ndarray, settings: TrainSettings, step: int, seed: int) -> Tensor:
    """The rows of one step, (rows, row_tokens + 1) int64: a fixed shuffle of the stream's rows for each pass."""
    per_pass = (len(stream) - 1) // settings.row_tokens
    first = step * settings.rows
    order = np.random.default_rng([seed, first // per_pass]).permutation(per_pass)
    picked = order[(first + np.arange(settings.rows)) % per_pass]
    index = picked[:, None] * settings.row_tokens + np.arange(settings.row_tokens + 1)[None, :]
    return torch.from_numpy(stream[index].astype(np.int64))


def _new_model(config: PretrainConfig, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            **config.model,
            vocab_size=len(tokenizer),
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def _optimizers(model: LlamaForCausalLM, settings: TrainSettings) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for embeddings and norms; `peak_lr` holds the rate before the schedule."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n and "lm_head" not in n]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    muon = torch.optim.Muon(
        matrices,
        lr=settings.matrix_learning_rate,
        weight_decay=settings.weight_decay,
        adjust_lr_fn="match_rms_adamw",
    )
    adamw = torch.optim.AdamW(others, lr=settings.learning_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    for optimizer in (muon, adamw):
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return [muon, adamw]
