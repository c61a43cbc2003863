"""A manifest and its parts, made up, for the tests of what is written to disk."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from models.records import Counts, Manifest, Metrics, TrainingSettings


def made_counts(handle: str = "robin", name: str = "Robin", **changes: Any) -> Counts:
    numbers = {"downloaded": 1000, "retweets": 200, "short": 50, "kept": 750, "characters": 60_000}
    return Counts(handle=handle, name=name, **{**numbers, **changes})


def made_manifest(**changes: object) -> Manifest:
    manifest = Manifest(
        job_id=7,
        model="robin",
        base="builtin",
        method="full",
        text_format="quoted-1",
        created_at=datetime(2024, 5, 6, 7, 8, tzinfo=UTC),
        accounts=(made_counts(),),
        training=TrainingSettings(learning_rate=0.001),
        metrics=Metrics(
            posts=712,
            held_out_posts=38,
            tokens=17_000,
            bits_per_byte_before=2.5,
            bits_per_byte_after=1.75,
            loss_curve=((10, 4.5), (20, 4.0)),
            held_out_curve=((0, 2.5), (20, 1.75)),
            best_step=20,
            steps=28,
            seconds=61.5,
            tokens_per_s=1105.0,
            peak_memory_mb=1234,
            hardware="2 CPU cores (x86_64)",
            precision="fp32",
            libraries={"torch": "2.13.0", "transformers": "5.23.0"},
        ),
    )
    return msgspec.structs.replace(manifest, **changes)
