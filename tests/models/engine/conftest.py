"""Tiny bases of both families that are sure of what they say, so that argmax has no close calls."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from models.engine.device import Placement
from tests.fakes.tiny_base import write_tiny_base

FAMILIES = ("llama", "gpt2")


@pytest.fixture(scope="session")
def cpu() -> Placement:
    torch.set_num_threads(1)
    return Placement(device=torch.device("cpu"), dtype=torch.float32)


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random weights are all but zero when fresh, and greedy text then repeats one token: these are made larger."""
    folders = {}
    for family in FAMILIES:
        folder = write_tiny_base(tmp_path_factory.mktemp("bases") / family, family=family)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        with torch.no_grad():
            for weights in model.parameters():
                if weights.dim() > 1:
                    weights.mul_(12)
        model.save_pretrained(folder)
        folders[family] = folder
    return folders
