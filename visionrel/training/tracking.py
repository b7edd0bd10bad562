"""What a run reports while it goes: a line of JSON per step, TensorBoard, and a progress bar."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from tqdm import tqdm

from visionrel.artifacts import atomic_write


class Tracker:
    """Writes metrics of the main process; other processes get a silent one.

    Args:
        folder: Output folder; None writes nothing.
        start: Steps already done; later lines of an interrupted run are dropped.
        total: Steps of the whole run.
        tensorboard: Whether to write TensorBoard events too.
    """

    def __init__(self, folder: Path | None, start: int, total: int, tensorboard: bool) -> None:
        self._log = self._board = None
        if folder is not None:
            path = metrics_path(folder)
            _keep_lines(path, start)
            self._log = path.open("a", encoding="utf-8")
            if tensorboard:
                from torch.utils.tensorboard import SummaryWriter

                self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)
        silent = {"disable": True} if folder is None else {}  # else TQDM_DISABLE decides
        self._bar = tqdm(
            total=total,
            initial=start,
            file=sys.stderr,
            desc="training",
            unit="step",
            mininterval=0.1 if sys.stderr.isatty() else 10,
            **silent,
        )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Reports one optimizer step."""
        self._bar.update(step - self._bar.n)
        if "loss" in metrics:
            self._bar.set_postfix(loss=f"{metrics['loss']:.4g}", refresh=False)
        if self._log:
            self._log.write(json.dumps({"step": step, **metrics}) + "\n")
            self._log.flush()
        if self._board:
            for name, value in metrics.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Ends the bar and flushes the files."""
        self._bar.close()
        if self._log:
            self._log.close()
        if self._board:
            self._board.close()


def metrics_path(folder: Path) -> Path:
    """The file with one JSON object per optimizer step."""
    return folder / "metrics.jsonl"


def _keep_lines(path: Path, last_step: int) -> None:
    """Drops lines after `last_step`, and a line that a killed run left unfinished."""
    kept = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            try:
                if json.loads(line)["step"] <= last_step and line.endswith("\n"):
                    kept.append(line)
            except (ValueError, KeyError):
                break
    with atomic_write(path) as temporary:
        temporary.write_text("".join(kept), encoding="utf-8")
