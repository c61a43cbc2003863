"""The finished run folder's `model/`: weights, tokenizer, card, picture, metrics, and the manifest last."""

from __future__ import annotations

import resource
import shutil
from datetime import UTC, datetime
from importlib.metadata import version

import torch
from transformers import PreTrainedTokenizerBase

from models.card import PICTURE, render_card
from models.engine.device import Placement, hardware_name
from models.files import RunFolder, seal, write_atomically, write_json
from models.records import Manifest, Metrics, RunSpec, Stats
from models.text import TextFormat
from trainer.picture import draw_training
from trainer.tune import Tuned

LIBRARIES = ("torch", "transformers", "accelerate", "peft")


def measure(tuned: Tuned, placement: Placement, *, posts: int, held_out_posts: int, tokens: int) -> Metrics:
    """What the card and the manifest say of the fine-tuning."""
    state = tuned.state
    return Metrics(
        posts=posts,
        held_out_posts=held_out_posts,
        tokens=tokens,
        bits_per_byte_before=state.bits_per_byte[0][1],
        bits_per_byte_after=state.best,
        loss_curve=state.losses,
        held_out_curve=state.bits_per_byte,
        best_step=state.best_step,
        steps=state.step,
        seconds=round(state.seconds, 1),
        tokens_per_s=round(state.tokens / max(state.seconds, 1e-6), 1),
        peak_memory_mb=_peak_memory_mb(),
        hardware=hardware_name(),
        precision=placement.precision,
        libraries={name: version(name) for name in LIBRARIES},
    )


def package(
    folder: RunFolder,
    spec: RunSpec,
    stats: Stats,
    tuned: Tuned,
    metrics: Metrics,
    tokenizer: PreTrainedTokenizerBase,
    style: TextFormat,
) -> Manifest:
    """Write `model/` whole: its manifest is written last, and without one the folder does not count."""
    shutil.rmtree(folder.model, ignore_errors=True)
    folder.model.mkdir(parents=True)
    if tuned.method == "full":
        tuned.model.to(torch.bfloat16).save_pretrained(folder.model)
        tokenizer.save_pretrained(folder.model)
    else:
        for config in tuned.model.peft_config.values():
            config.base_model_name_or_path = spec.training.base  # a path of this machine would mean nothing elsewhere
        tuned.model.save_pretrained(folder.model)
    write_json(folder.model / "metrics.json", metrics)
    manifest = Manifest(
        job_id=spec.job_id,
        model=spec.model,
        base=spec.training.base,
        method=tuned.method,
        text_format=style.name,
        created_at=datetime.now(UTC),
        accounts=stats.accounts,
        training=tuned.settings,
        metrics=metrics,
        lineage=folder.read_lineage(),
    )
    picture = draw_training(
        metrics,
        " & ".join(account.name for account in stats.accounts),
        fallback=" & ".join(f"@{account.handle}" for account in stats.accounts),
    )
    write_atomically(folder.model / PICTURE, picture)
    write_atomically(folder.model / "README.md", render_card(manifest).encode())
    return seal(folder.model, manifest)


def _peak_memory_mb() -> int:
    """The most that the GPU held, or where there is none this process (ru_maxrss is in KiB on Linux)."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() >> 20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
