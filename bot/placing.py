"""Files into their places: what a job is given into its run folder, and the finished model out of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from bot.config import Config
from bot.plans import Plan, PlannedAccount
from models.files import RunFolder, read_raw, sync_folder, write_json
from models.records import RunSpec

Held = tuple[Path, int]  # a raw file, and the number of an account in it


def place_inputs(folder: RunFolder, job_id: int, plan: Plan, config: Config, held: Mapping[int, Held]) -> None:
    """Make the run folder of a planned training: its inputs, posts that are held already among them, and its spec."""
    shutil.rmtree(folder.path, ignore_errors=True)  # of a number that a crash gave back
    folder.inputs.mkdir(parents=True)
    accounts = []
    for number, account in enumerate(plan.accounts):
        place = folder.inputs / str(number)
        place.mkdir()
        names = []
        for path in account.files:
            target = place / path.name
            while target.exists():  # two parts of an archive may have one name
                target = target.with_name(f"_{target.name}")
            take(path, target)
            names.append(f"{number}/{target.name}")
        earlier = _keep_held(place, *held[number]) if number in held else None
        accounts.append(msgspec.structs.replace(account.record, inputs=tuple(names), held=earlier))
    spec = RunSpec(
        job_id=job_id,
        model=plan.name or "",
        accounts=tuple(accounts),
        training=config.training,
        sources=config.sources,
    )
    write_json(folder.spec_file, spec)


def held_of(accounts: Sequence[PlannedAccount], runs: Sequence[Path]) -> dict[int, Held]:
    """Where the posts of the accounts that are to be fetched are held already, by the account's number.

    `runs` are the folders of finished jobs, newest first.
    """
    held: dict[int, Held] = {}
    for number, account in enumerate(accounts):
        for folder in map(RunFolder, runs if account.is_fetched else []):
            try:
                index = folder.index_of(account.source, account.handle or "") if folder.is_collected else None
            except (OSError, msgspec.MsgspecError):  # forgotten just now, or damaged
                continue
            if index is not None:
                held[number] = (folder.raw_file, index)
                break
    return held


def _keep_held(place: Path, raw_file: Path, number: int) -> str:
    """Leave the account's held posts as a raw file in that folder; nobody else's, who may be forgotten meanwhile."""
    folder = RunFolder(place)
    with folder.raw_writer() as write:
        for other, post in read_raw(raw_file):
            if other == number:
                write(0, post)
    return f"{place.name}/{folder.raw_file.name}"


def take(source: Path, target: Path) -> None:
    """Have the file in another place too: a hard link where that can be, for archives are large; else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def rename_into_place(source: Path, target: Path) -> None:
    """Move a finished model's folder, durably."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        shutil.rmtree(target)  # it has no valid manifest of this job: what an interrupted copy left
    source.rename(target)
    sync_folder(target.parent)
