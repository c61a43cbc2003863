"""Fine-tuning: a base and batches of posts to the weights with the best held-out bits per byte."""

from __future__ import annotations

import math
import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import msgspec
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from models.engine.device import Placement
from models.engine.generation import Generation
from models.engine.loading import load_weights
from models.engine.voices import Voice
from models.errors import Unusable
from models.files import read_json, write_json
from models.messages import Generate
from models.records import Method, TrainingSettings
from models.text import TextFormat
from trainer.dataset import Example, collate, plan_epoch, row_width
from trainer.evaluate import bits_per_byte
from trainer.run import CancelRequested, Run
from trainer.step import Batch, Step

SMALL_PARAMETERS = 30_000_000  # up to here full fine-tuning is as cheap as LoRA and learns more (docs/log.md)
WARMUP_FRACTION = 0.05  # of all planned steps
FINAL_RATE = 0.1  # of the peak learning rate, at the last planned step
MAX_GRAD_NORM = 1.0
SAMPLE_TOKENS = 60
STATE = "state.json"


class TuneState(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run is: written with every checkpoint, last."""

    step: int = 0
    seconds: float = 0.0
    tokens: int = 0
    best_step: int = 0
    bits_per_byte: tuple[tuple[int, float], ...] = ()  # (step, held-out)
    losses: tuple[tuple[int, float], ...] = ()  # (step, mean training loss since the last evaluation)
    stale: int = 0  # evaluations since the best one
    pending: tuple[float, ...] = ()  # training losses of the steps since the last evaluation

    @property
    def best(self) -> float:
        return min(value for _, value in self.bits_per_byte)


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The fine-tuned model, at its best step, and how it got there."""

    model: torch.nn.Module
    method: Method
    state: TuneState
    settings: TrainingSettings  # with every "auto" resolved


class Tuner:
    """One fine-tuning. A killed and resumed run takes the same steps as an uninterrupted one."""

    def __init__(
        self,
        run: Run,
        settings: TrainingSettings,
        *,
        location: str,
        tokenizer: PreTrainedTokenizerBase,
        style: TextFormat,
        placement: Placement,
    ) -> None:
        self._run, self._tokenizer, self._style, self._placement = run, tokenizer, style, placement
        set_seed(settings.seed)
        self._accelerator = Accelerator(cpu=placement.device.type == "cpu", mixed_precision="no")  # Step sees to it
        base = load_weights(location, placement, dtype=torch.float32)
        self._method, self._settings = resolve(settings, base)
        model = base if self._method == "full" else _with_lora(base, self._settings.lora_rank, placement.dtype)
        optimizer = torch.optim.AdamW(
            [p for p in model.parameters() if p.requires_grad],
            lr=float(self._settings.learning_rate),
            betas=(0.9, 0.99),
            weight_decay=0.01,
            fused=True,
        )
        self._take = Step(base, placement.dtype)
        self._model, self._optimizer = self._accelerator.prepare(model, optimizer)
        self._folder = run.folder.checkpoints

    def tune(self, training: Sequence[Example], held_out: Sequence[Example]) -> Tuned:
        """Train until the plan is done or the held-out bits per byte have turned, then go back to the best step."""
        settings = self._settings
        width = row_width(training, shared=self._take.shares_rows)
        height = max(1, settings.batch_tokens // width)
        epochs = []
        for epoch in range(settings.epochs):
            rng = random.Random(f"{settings.seed}/{epoch}")
            rows = plan_epoch(training, width=width, shared=self._take.shares_rows, rng=rng)
            epochs.append([rows[start : start + height] for start in range(0, len(rows), height)])
        batches = [batch for epoch in epochs for batch in epoch]
        eval_steps = _evaluation_steps([len(epoch) for epoch in epochs], settings.evaluations_per_epoch)
        sizes = [sum(training[i].label_tokens for row in batch for i in row) for batch in batches]
        state = self._resume()
        started, started_tokens = time.monotonic() - state.seconds, state.tokens
        began = time.monotonic()
        if not state.bits_per_byte:
            self._run.progress("evaluate", 0)
            state = self._evaluated(state, held_out, [])
        losses = [torch.tensor(loss, device=self._placement.device) for loss in state.pending]
        loss_now: float | None = None
        self._model.train()
        while state.step < len(batches) and state.stale < settings.patience:
            chosen = [[training[i] for i in row] for row in batches[state.step]]
            batch = collate(chosen, width=width, height=height, pad_id=self._tokenizer.pad_token_id)
            loss = self._step(batch, sizes[state.step], state.step / len(batches))
            losses.append(loss)
            tokens = state.tokens + sizes[state.step]
            state = msgspec.structs.replace(
                state, step=state.step + 1, tokens=tokens, seconds=time.monotonic() - started
            )
            if state.step % 8 == 0:
                loss_now = torch.stack(losses[-32:]).mean().item()
            rate = (tokens - started_tokens) / max(1e-6, time.monotonic() - began)
            if state.step in eval_steps:
                state = self._evaluated(state, held_out, losses)
                losses = []
                self._save(msgspec.structs.replace(state, seconds=time.monotonic() - started))
                self._run.sample(state.step, self.sample(state.step))
                self._model.train()
            try:
                self._run.progress(
                    "train",
                    state.step,
                    len(batches),
                    eta_s=sum(sizes[state.step :]) / rate,
                    loss=loss_now,
                    bits_per_byte=state.bits_per_byte[-1][1],
                    tokens_per_s=rate,
                )
            except CancelRequested:  # perhaps only a restart of the bot: the next trainer goes on from this very step
                if not self._checkpoint(state.step).exists():
                    pending = tuple(loss.item() for loss in losses)
                    self._save(msgspec.structs.replace(state, pending=pending))
                raise
        self._load_best(state)
        return Tuned(
            model=self._accelerator.unwrap_model(self._model),
            method=self._method,
            state=state,
            settings=settings,
        )

    def sample(self, seed: int) -> str:
        """A post in the voice as it is now; an empty string if nothing came out whole."""
        self._model.eval()
        model = self._accelerator.unwrap_model(self._model)

        def forward(ids: Tensor, cache: object) -> Tensor:
            with torch.inference_mode(), self._autocast():
                return model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]

        voice = Voice(
            forward=forward,
            tokenizer=self._tokenizer,
            text_format=self._style,
            context_tokens=getattr(model.config, "max_position_embeddings", 1024),
            size_bytes=0,
        )
        request = Generate(id=0, model=None, max_tokens=SAMPLE_TOKENS, seed=seed)
        generation = Generation(request, voice, self._placement.device)
        while not (answer := generation.result()):
            generation.step()
        return answer.texts[0] if answer.texts else ""

    def _autocast(self) -> torch.autocast:
        is_bf16 = self._placement.dtype == torch.bfloat16
        return torch.autocast(self._placement.device.type, torch.bfloat16, enabled=is_bf16)

    def _step(self, batch: Batch, label_tokens: int, position: float) -> Tensor:
        for group in self._optimizer.param_groups:
            group["lr"] = float(self._settings.learning_rate) * rate_at(position)
        loss = self._take.loss(batch.to(self._placement.device)) / label_tokens
        self._accelerator.backward(loss)
        self._accelerator.clip_grad_norm_(self._model.parameters(), MAX_GRAD_NORM)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return loss.detach()

    def _evaluated(self, state: TuneState, held_out: Sequence[Example], losses: list[Tensor]) -> TuneState:
        """The state with one more evaluation; keeps the weights if they are the best so far."""
        self._model.eval()
        pad_id = self._tokenizer.pad_token_id
        value = bits_per_byte(self._take, held_out, pad_id=pad_id, device=self._placement.device)
        mean_loss = torch.stack(losses).mean().item() if losses else None
        if not math.isfinite(value) or (mean_loss is not None and not math.isfinite(mean_loss)):
            raise Unusable(
                f"The training diverged (its loss is no number any more, step {state.step}). The operator can lower "
                f"[training] learning_rate, now {self._settings.learning_rate}."
            )
        is_best = not state.bits_per_byte or value < state.best
        if is_best:
            self._folder.mkdir(parents=True, exist_ok=True)
            part = self._folder / "best.part"
            save_file(self._weights(), part)
            part.replace(self._best_file(state.step))
        return msgspec.structs.replace(
            state,
            bits_per_byte=(*state.bits_per_byte, (state.step, value)),
            losses=(*state.losses, (state.step, mean_loss)) if mean_loss is not None else state.losses,
            best_step=state.step if is_best else state.best_step,
            stale=0 if is_best else state.stale + 1,
            pending=(),
        )

    # --- checkpoints: best-<step>.safetensors and step-<step>/, whose state.json is written last ----------------------

    def _weights(self) -> dict[str, Tensor]:
        model = self._accelerator.unwrap_model(self._model)
        state = _peft().get_peft_model_state_dict(model) if self._method == "lora" else model.state_dict()
        tied = set(getattr(model, "_tied_weights_keys", None) or ())
        return {name: tensor.contiguous() for name, tensor in state.items() if name not in tied}

    def _best_file(self, step: int) -> Path:
        return self._folder / f"best-{step}.safetensors"

    def _checkpoint(self, step: int) -> Path:
        return self._folder / f"step-{step}"

    def _save(self, state: TuneState) -> None:
        part = self._folder / "step.part"
        shutil.rmtree(part, ignore_errors=True)
        self._accelerator.save_state(str(part))
        write_json(part / STATE, state)
        part.replace(self._checkpoint(state.step))
        kept = (self._checkpoint(state.step), self._best_file(state.best_step))
        for path in self._folder.iterdir():
            if path not in kept:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _resume(self) -> TuneState:
        saved = sorted(self._folder.glob(f"step-*/{STATE}"), key=lambda p: int(p.parent.name.removeprefix("step-")))
        if not saved:
            return TuneState()
        self._accelerator.load_state(str(saved[-1].parent))
        state = read_json(saved[-1], TuneState)
        self._run.notice(f"going on from step {state.step}")
        return state

    def _load_best(self, state: TuneState) -> None:
        weights = load_file(self._best_file(state.best_step))
        model = self._accelerator.unwrap_model(self._model)
        if self._method == "lora":
            _peft().set_peft_model_state_dict(model, weights)
        else:
            model.load_state_dict(weights, strict=False)  # tied weights are saved once
        self._model.eval()


def resolve(settings: TrainingSettings, base: PreTrainedModel) -> tuple[Method, TrainingSettings]:
    """Method and settings with every "auto" replaced by what suits the size of the base (docs/log.md)."""
    is_small = sum(p.numel() for p in base.parameters()) <= SMALL_PARAMETERS
    method: Method = settings.method if settings.method != "auto" else ("full" if is_small else "lora")
    rate = settings.learning_rate
    if rate == "auto":
        rate = {("full", True): 1.5e-3, ("full", False): 1e-4, ("lora", True): 4e-3, ("lora", False): 5e-4}[
            method, is_small
        ]
    longest = getattr(base.config, "max_position_embeddings", settings.max_post_tokens)
    limited = min(settings.max_post_tokens, longest - 2)
    return method, msgspec.structs.replace(settings, method=method, learning_rate=rate, max_post_tokens=limited)


def rate_at(position: float) -> float:
    """Factor on the learning rate at a position in [0, 1]: linear warm-up, then cosine to FINAL_RATE."""
    warm = min(1.0, position / WARMUP_FRACTION + 0.02)
    return warm * (FINAL_RATE + (1 - FINAL_RATE) * (1 + math.cos(math.pi * position)) / 2)


def _evaluation_steps(epoch_steps: list[int], per_epoch: int) -> set[int]:
    steps, first = set(), 0
    for length in epoch_steps:
        steps |= {first + round(length * (i + 1) / per_epoch) for i in range(per_epoch)}
        first += length
    return steps


def _peft() -> ModuleType:
    """PEFT, whose import takes 1.5 s: only a training with LoRA is worth that."""
    import peft

    return peft


def _with_lora(base: PreTrainedModel, rank: int, dtype: torch.dtype) -> torch.nn.Module:
    """The base with an adapter to train; what stays as it is takes no more memory than computing with it needs."""
    model = _peft().get_peft_model(
        base,
        _peft().LoraConfig(
            r=rank,
            lora_alpha=2 * rank,
            target_modules="all-linear",
            fan_in_fan_out=any(isinstance(module, Conv1D) for module in base.modules()),  # GPT-2 keeps them transposed
            task_type="CAUSAL_LM",
        ),
    )
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)
    return model
