"""The stages, each a process of its own: `python -m trainer look RUN_DIR`, `collect`, `fit`; and `pretrain`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from trainer.run import Run, run_stage


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m trainer", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    stages = {"look": "who accounts are", "collect": "posts to a cleaned dataset", "fit": "a dataset to a model"}
    for name, about in stages.items():
        command = commands.add_parser(name, help=f"{about}; a child of the bot, talking JSON lines")
        command.add_argument("run_dir", type=Path)
    pretrain = commands.add_parser("pretrain", help="make the built-in base from openly licensed text")
    pretrain.add_argument("--corpus", type=Path, required=True, help="folder with the corpora that the config names")
    pretrain.add_argument("--work", type=Path, required=True, help="folder for tokens and checkpoints; resumes there")
    pretrain.add_argument("--config", type=Path, help="another config than trainer/pretrain/config.toml")
    arguments = parser.parse_args(argv)
    if arguments.command == "pretrain":
        return _pretrain(arguments)
    stage = {"look": _look, "collect": _collect, "fit": _fit}[arguments.command]
    return run_stage(arguments.command, arguments.run_dir, stage)


def _look(run: Run) -> None:
    from trainer.collect import look

    look(run)


def _collect(run: Run) -> None:
    from trainer.collect import collect

    collect(run)


def _fit(run: Run) -> None:
    from trainer.fit import fit  # imports torch: seconds, after the hello

    fit(run)


def _pretrain(arguments: argparse.Namespace) -> int:
    from trainer.pretrain.config import CONFIG, PretrainConfig
    from trainer.pretrain.run import pretrain

    arguments.work.mkdir(parents=True, exist_ok=True)
    with (arguments.work / "log.txt").open("a") as file:

        def log(line: str) -> None:
            for out in (file, sys.stdout):
                print(time.strftime("%Y-%m-%d %H:%M:%S"), line, file=out, flush=True)

        config = PretrainConfig.read(arguments.config or CONFIG)
        base = pretrain(config, arguments.corpus, arguments.work, log)
        log(f"finished: {base}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
