"""The fit stage: `dataset.jsonl` to a finished `model/`. It gets no secret, and can be killed at any time."""

from __future__ import annotations

from models.engine.device import choose
from models.engine.loading import base_location, load_tokenizer
from models.text import DEFAULT_FORMAT
from trainer.dataset import balance, encode, split
from trainer.package import measure, package
from trainer.run import Run
from trainer.tune import Tuner


def fit(run: Run) -> None:
    """Complete the stage. Unusable if the base can't be loaded; whatever else is raised is a bug or the machine."""
    if run.folder.is_fitted:
        return
    spec, stats = run.folder.read_spec(), run.folder.read_stats()
    settings = spec.training
    run.progress("load", 0)
    placement = choose(settings.device, settings.precision, threads=settings.threads)
    location = base_location(settings.base)
    tokenizer = load_tokenizer(location)
    tuner = Tuner(run, settings, location=location, tokenizer=tokenizer, style=DEFAULT_FORMAT, placement=placement)
    rows, held_rows = split(run.folder.read_dataset(), fraction=settings.held_out_fraction, seed=settings.seed)
    limit = settings.max_post_tokens
    examples = encode(balance(rows), tokenizer, DEFAULT_FORMAT, max_tokens=limit)
    held_out = encode(held_rows, tokenizer, DEFAULT_FORMAT, max_tokens=limit)
    tuned = tuner.tune(examples, held_out)
    run.progress("save", 0)
    metrics = measure(
        tuned,
        placement,
        posts=len(rows),
        held_out_posts=len(held_rows),
        tokens=sum(example.label_tokens for example in examples),
    )
    package(run.folder, spec, stats, tuned, metrics, tokenizer, DEFAULT_FORMAT)
    run.progress("save", 1, 1)
