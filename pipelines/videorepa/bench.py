"""VideoREPA's rows of `visionrel bench`: its loss beside two forms that build all pairs at once.

A last row draws one clip. Time of the loss is for forward and backward. Memory is the most that
live tensors hold above the inputs at any moment of it, gradient included: every storage that an
operation returns is counted until it is freed. Scratch memory inside single operations is not seen,
in ours or in the others.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from visionrel.data.video_files import read_pixels
from visionrel.evaluation.timing import Timing, time_in_turns
from visionrel.losses import token_relation_distillation_loss
from visionrel.pipelines.videorepa.config import GenerateConfig
from visionrel.pipelines.videorepa.generate import generate


MARGIN = 0.1
# Frames and positions of VideoMAEv2-B's tokens for 49 x 480 x 720, and of the student's own grid.
PUBLISHED, NATIVE, WIDTH = (24, 150), (12, 30 * 45), 768
TARGET = "1.5x, memory / 10"
AIM = "3x, memory / 20"
PROMPT = "a ball drops and bounces"
Loss = Callable[[Tensor, Tensor], Tensor]


def dense_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """The plain form: two matrices of all pairs of a clip."""
    return _hinge(*(_gram(F.normalize(side.flatten(1, 2), dim=-1)) for side in (student, teacher)))


def frames_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """The authors' order: each frame times a copy of all tokens, made for every frame."""
    return _hinge(*(_gram_by_frames(F.normalize(side, dim=-1)) for side in (student, teacher)))


def measure_peak(call: Callable[[], object]) -> int:
    """Most bytes that tensors made during a call hold at one time."""
    with _LiveTensors() as live:
        call()
    return live.peak


def bench_loss(
    repeats: int,
    batch: int,
    other: Loss | None,
    grid: tuple[int, int] = PUBLISHED,
    width: int = WIDTH,
) -> Timing:
    """Forward and backward of our loss, in turns with another form of it."""
    student, teacher = torch.randn(2, batch, *grid, width)
    ours = partial(_run, partial(token_relation_distillation_loss, margin=MARGIN), student, teacher)
    peak = measure_peak(ours)
    name = f"token relation distillation, {batch} x {grid[0]} x {grid[1]} x {width}"
    note = f"ours peaks at {peak / 2**20:.1f} MiB"
    if other is None:
        return Timing(name, time_in_turns({"ours": ours}, repeats)["ours"], None, "–", note)
    theirs = partial(_run, other, student, teacher)
    difference = abs(ours() - theirs())
    other_peak = measure_peak(theirs)
    seconds = time_in_turns({"ours": ours, "theirs": theirs}, repeats)
    note += (
        f", the {other.__name__.removesuffix('_loss')} form at {other_peak / 2**20:.1f} MiB "
        f"({other_peak / peak:.1f}x); values differ by {difference:.1e}"
    )
    return Timing(name, seconds["ours"], seconds["theirs"], TARGET, note, AIM)


def bench_generate(repeats: int, base: str = GenerateConfig.base) -> Timing:
    """Draws one clip as `visionrel generate videorepa` does: loading, drawing, writing."""
    with tempfile.TemporaryDirectory(prefix="visionrel-bench-") as folder:
        config = GenerateConfig(prompts=(PROMPT,), base=base, output_dir=Path(folder), seed=0)
        seconds = time_in_turns({"ours": lambda: generate(config)}, repeats, warm_up=0)["ours"]
        frames, *size, _ = read_pixels(next(Path(folder).glob("*.mp4")))[0].shape
    note = f"{frames} frames of {size[0]} x {size[1]}, base {base}"
    return Timing("visionrel generate videorepa", seconds, None, "30 s", note)


ROWS: Mapping[str, Callable[[int], Timing]] = {
    **{
        f"trd-{other.__name__.removesuffix('_loss')}-{batch}": partial(
            bench_loss, batch=batch, other=other
        )
        for other in (dense_loss, frames_loss)
        for batch in (1, 4)
    },
    "trd-native": partial(bench_loss, batch=1, other=None, grid=NATIVE),
    "motion-generate": bench_generate,
}


def _run(loss: Loss, student: Tensor, teacher: Tensor) -> float:
    """Forward and backward; the gradient is dropped."""
    leaf = student.detach().requires_grad_()
    value = loss(leaf, teacher)
    value.backward()
    return float(value.detach())


def _gram(units: Tensor) -> Tensor:
    return units @ units.mT


def _gram_by_frames(units: Tensor) -> Tensor:
    batch, frames, positions, width = units.shape
    everything = units.flatten(1, 2)[:, None].expand(-1, frames, -1, -1)
    copies = everything.reshape(batch * frames, frames * positions, width)
    return torch.bmm(units.reshape(batch * frames, positions, width), copies.mT)


def _hinge(student: Tensor, teacher: Tensor) -> Tensor:
    return F.relu((student - teacher).abs() - MARGIN).mean()


class _LiveTensors(TorchDispatchMode):
    """Adds up the storages that operations return and that are still alive."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._given: set[int] = set()
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs one operation and counts what lives after it."""
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if _is_tensor(t)}
        self._given |= given - self._alive.keys()
        found = func(*args, **(kwargs or {}))
        self._alive = {k: v for k, v in self._alive.items() if not v[0].expired()}
        for tensor in filter(_is_tensor, tree_leaves(found)):
            storage = tensor.untyped_storage()
            if storage._cdata not in self._given:
                self._alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))
        return found


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)
