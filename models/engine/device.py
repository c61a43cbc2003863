"""Where tensors live and in what precision, for the engine and the trainer alike."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass

import torch

from models.errors import Unusable

_PROBE_SIZE = 768  # a square matrix product of this size takes milliseconds and is long enough to time


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A device and the precision to compute in there."""

    device: torch.device
    dtype: torch.dtype

    @property
    def precision(self) -> str:
        return "bf16" if self.dtype == torch.bfloat16 else "fp32"


def choose(device: str, precision: str, *, threads: int) -> Placement:
    """The placement for the settings; `auto` takes a GPU if there is one, and bf16 where it is the faster.

    Sets the number of threads of this process (0: one for each core that it may use). Unusable if a GPU is asked
    for and there is none.
    """
    torch.set_num_threads(threads or cpu_count())
    if device == "cuda" and not torch.cuda.is_available():
        raise Unusable('device = "cuda" is configured, but torch finds no GPU here. Set it to "auto" or "cpu".')
    chosen = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    if precision == "auto":
        dtype = torch.bfloat16 if _bf16_is_faster(chosen) else torch.float32
    else:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return Placement(device=chosen, dtype=dtype)


def _bf16_is_faster(device: torch.device) -> bool:
    """GPU: whether it has bf16. CPU: measured, because some emulate it at a crawl (a few milliseconds)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return _product_seconds(torch.bfloat16) < 0.75 * _product_seconds(torch.float32)


def _product_seconds(dtype: torch.dtype) -> float:
    matrix = torch.ones(_PROBE_SIZE, _PROBE_SIZE, dtype=dtype)
    torch.mm(matrix, matrix)
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        torch.mm(matrix, matrix)
        best = min(best, time.perf_counter() - started)
    return best


def cpu_count() -> int:
    """The cores that this process may use; where the system does not tell (macOS), those that there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def hardware_name() -> str:
    """What the model card calls this machine."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{cpu_count()} CPU cores ({platform.machine()})"
