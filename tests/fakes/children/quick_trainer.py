"""A trainer whose `look` and `collect` are the real ones and whose `fit` learns nothing, at once. ORDERS STAGE RUN_DIR.

Orders, for each STAGE: `STAGE-waits`, `STAGE-fails` (why, for the person who asked), `STAGE-breaks` (a bug's words),
`STAGE-dies`; and `fit-says`, a sample on the way.
"""

import os
import sys
import time
from pathlib import Path

import msgspec

from models.card import render_card
from models.errors import UserError
from models.files import seal, write_json
from tests.fakes.children.orders import POLL_S, Orders
from tests.models.made import made_manifest
from trainer.run import Run, run_stage

STEPS = 20


def fit(run: Run, orders: Orders) -> None:
    """Leave a model folder as the real stage does, with weights that nobody reads."""
    if run.folder.is_fitted:
        return
    spec, stats = run.folder.read_spec(), run.folder.read_stats()
    posts = len(run.folder.read_dataset())
    run.progress("load", 0)
    run.progress("train", 0, STEPS, eta_s=60.0, loss=4.5, bits_per_byte=2.5)
    if (said := orders.take("fit-says")) is not None:
        run.sample(STEPS // 2, said)
    obey(run, orders, "fit")
    run.progress("train", STEPS, STEPS, eta_s=0.0, loss=4.0, bits_per_byte=1.75)
    run.progress("save", 0)
    run.folder.model.mkdir(parents=True, exist_ok=True)
    (run.folder.model / "model.safetensors").write_bytes(b"weights")
    made = made_manifest()
    manifest = msgspec.structs.replace(
        made,
        job_id=spec.job_id,
        model=spec.model,
        base=spec.training.base,
        accounts=stats.accounts,
        lineage=run.folder.read_lineage(),
        training=msgspec.structs.replace(spec.training, learning_rate=0.001),  # the real stage settles "auto"
        metrics=msgspec.structs.replace(made.metrics, posts=posts - posts // 20, held_out_posts=posts // 20),
    )
    write_json(run.folder.model / "metrics.json", manifest.metrics)
    (run.folder.model / "README.md").write_text(render_card(manifest))
    seal(run.folder.model, manifest)
    run.progress("save", 1, 1)


def obey(run: Run, orders: Orders, stage: str) -> None:
    """Carry out what was ordered for the stage; CancelRequested if it is stopped meanwhile."""
    while orders.stands(f"{stage}-waits"):
        run.check()
        time.sleep(POLL_S)
    if (why := orders.take(f"{stage}-fails")) is not None:
        raise UserError(why)
    if (why := orders.take(f"{stage}-breaks")) is not None:
        raise RuntimeError(why)
    if orders.take(f"{stage}-dies") is not None:
        os._exit(9)


def main() -> int:
    orders, stage, path = Orders(Path(sys.argv[1])), sys.argv[2], Path(sys.argv[3])

    def run(run: Run) -> None:
        if stage == "fit":
            fit(run, orders)
        else:
            obey(run, orders, stage)
            from trainer import collect  # half a second, only where it is needed

            {"collect": collect.collect, "look": collect.look}[stage](run)

    orders.note_environment(stage)
    return run_stage(stage, path, run)


if __name__ == "__main__":
    sys.exit(main())
