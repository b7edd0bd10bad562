"""Trains a detector with MMEngine's `Runner`, after everything checkable was checked."""

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdet.datasets import CocoDataset, CocoPanopticDataset, LVISV05Dataset
from mmengine.config import Config
from mmengine.dist import barrier
from mmengine.runner import Runner

from visionrel.data.aerial import AXES, check_labels
from visionrel.detectors.checkpoints import check_resumable, load_checkpoint
from visionrel.detectors.configuration import find_dataset, load_config, set_iterations
from visionrel.detectors.hooks import (
    FiniteLossHook,
    RandomStreamsHook,
    SafeCheckpointHook,
    StopHook,
)
from visionrel.detectors.lango import LangoCheckHook
from visionrel.detectors.processes import prepare_processes
from visionrel.errors import InputError
from visionrel.training.stopping import catch_signals


logger = logging.getLogger(__name__)
LATEST = "latest"
# Theirs is another json.
_NOT_PLAIN_COCO = (LVISV05Dataset, CocoPanopticDataset)


@dataclass(frozen=True)
class Trained:
    """What a training run left.

    Attributes:
        work_dir: Its folder.
        checkpoint: The last checkpoint.
        iterations: Steps of the whole run.
        seconds: Duration of this call.
        metrics: Scores of the last validation.
    """

    work_dir: Path
    checkpoint: Path
    iterations: int
    seconds: float
    metrics: Mapping[str, float]


def train_detector(
    config: Config,
    work_dir: Path,
    *,
    seed: int = 0,
    resume: str | None = None,
    validate: bool = True,
    check: bool = True,
) -> Trained:
    """Trains.

    Args:
        config: From `load_config`; it is changed.
        work_dir: Folder for checkpoints and logs.
        seed: Decides initial weights, order of pictures and augmentation.
        resume: "latest" goes on from the last checkpoint in `work_dir`, if there is one; a path
            from that checkpoint.
        validate: Whether to validate on the way.
        check: Whether to open every picture and label first.

    Raises:
        InputError: With everything wrong in labels, settings or the checkpoint.
        Interrupted: After SIGINT or SIGTERM.
    """
    if check:
        check_data(config)
    config.work_dir = str(work_dir)
    config.randomness = {**(config.get("randomness") or {}), "seed": seed}
    prepare_processes(config)
    # MMEngine gives a name's visualizer, and the folder it writes to, to all runs of a process.
    config.visualizer.name = f"visualizer-{time.time_ns()}"
    if not validate:
        config.val_cfg = config.val_dataloader = config.val_evaluator = None
    _set_resume(config, work_dir, resume)
    start = time.monotonic()
    runner, stop = _build(config), StopHook()
    runner.register_hook(stop)
    _guard(runner)
    with catch_signals(stop.note):
        runner.train()
    # The first process writes the checkpoint that all of them name.
    barrier()
    return Trained(
        work_dir=work_dir,
        checkpoint=latest_checkpoint(work_dir),
        iterations=runner.iter,
        seconds=time.monotonic() - start,
        metrics=_scores(runner),
    )


def _guard(runner: Runner) -> None:
    """Gives a configuration of one's own the hooks that the shipped ones have.

    Without LANGO in the model or the data, its check finds nothing to compare.
    """
    for kind in (RandomStreamsHook, FiniteLossHook, SafeCheckpointHook, LangoCheckHook):
        if not any(isinstance(hook, kind) for hook in runner.hooks):
            runner.register_hook(kind())


def check_data(config: Config) -> None:
    """Sends the doctor of labels through training and validation set, if their labels are COCO's.

    Raises:
        InputError: With every problem of both.
    """
    problems: dict[str, None] = {}
    for loader in (config.train_dataloader, config.get("val_dataloader")):
        for labels, images, classes, step in _label_sets((loader or {}).get("dataset")):
            conditions = Path(step["ann_file"]) if step else None
            axes = step.get("axes") or AXES
            try:
                report = check_labels(labels, images, classes, conditions, axes, part=True)
            except InputError as error:
                problems |= dict.fromkeys(f"{labels}: {text}" for text in error.problems)
                continue
            for text in report.warnings:
                logger.warning("%s: %s", labels, text)
    if problems:
        *others, last = problems
        raise InputError([*others, f"{last} (--no-check_labels trains without these checks.)"])


def _label_sets(
    dataset: Any,
) -> Iterator[tuple[Path, Path, tuple[str, ...] | None, Mapping[str, Any]]]:
    """Labels, pictures, class names and the step that reads conditions, of each COCO set."""
    if not isinstance(dataset, Mapping):
        return
    inner = dataset.get("datasets") or [dataset.get("dataset")]
    for part in inner:
        yield from _label_sets(part)
    if "ann_file" not in dataset:
        return
    root = Path(dataset.get("data_root") or "")
    kind = find_dataset(dataset["type"])
    if not issubclass(kind, CocoDataset) or issubclass(kind, _NOT_PLAIN_COCO):
        logger.warning(
            "labels of %s are not checked: %s", kind.__name__, root / dataset["ann_file"]
        )
        return
    named = (dataset.get("metainfo") or {}).get("classes") or kind.METAINFO.get("classes")
    steps = dataset.get("pipeline", ())
    side = [step for step in steps if step["type"] == "LoadSceneCondition"]
    images = root / dataset.get("data_prefix", {}).get("img", "")
    yield root / dataset["ann_file"], images, named, side[0] if side else {}


def _set_resume(config: Config, work_dir: Path, resume: str | None) -> None:
    if resume is None:
        if latest_checkpoint(work_dir):
            raise InputError(
                f"{work_dir} holds checkpoints of an earlier run; go on with --resume {LATEST}, or "
                "take another --work_dir."
            )
        return
    config.resume = True
    config.load_from = str(latest_checkpoint(work_dir) or "") if resume == LATEST else resume
    if config.load_from:
        check_resumable(config.load_from)
        load_checkpoint(config.load_from)
    else:
        config.resume, config.load_from = False, None


def latest_checkpoint(work_dir: Path) -> Path | None:
    """The newest complete checkpoint of a run; None where there is none.

    MMEngine names it in `last_checkpoint` once it is written. A process that is killed just then
    leaves that file empty; the newest checkpoint is complete in that case.
    """
    pointer = Path(work_dir) / "last_checkpoint"
    if not pointer.is_file():
        return None
    if name := Path(pointer.read_text(encoding="utf-8").strip()).name:
        return Path(work_dir) / name
    numbered = {path.stem.rpartition("_")[2]: path for path in Path(work_dir).glob("*.pth")}
    steps = [step for step in numbered if step.isdigit()]
    return numbered[max(steps, key=int)] if steps else None


def _build(config: Config) -> Runner:
    """Builds the runner and its parts; a wrong setting is told with the class that refuses it."""
    try:
        runner = Runner.from_cfg(config)
        # Otherwise built by `train`, where a mistake would look like a bug.
        runner._train_loop = runner.build_train_loop(config.train_cfg)
        return runner
    except InputError:
        raise
    except (TypeError, KeyError, ValueError, AssertionError, FileNotFoundError) as error:
        raise InputError(
            f"{config.filename} does not build: {type(error).__name__}: {str(error).strip()} "
            "Correct that setting in the configuration or with --cfg_options."
        ) from error


def _scores(runner: Runner) -> dict[str, float]:
    scalars = runner.message_hub.log_scalars
    return {
        name.removeprefix("val/"): float(buffer.current())
        for name, buffer in scalars.items()
        if name.startswith("val/") and "time" not in name
    }


def prepare_run(
    name: str | Path,
    options: tuple[str, ...] = (),
    data_root: Path | None = None,
    iterations: int | None = None,
) -> Config:
    """Reads a configuration and sets the length of the run."""
    config = load_config(name, options, data_root)
    if iterations is not None:
        set_iterations(config, iterations)
    return config
