"""`detect`, `train detector` and `evaluate detector`: MMDetection's work from this command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visionrel.cli.commands import Command, Result
from visionrel.errors import InputError


@dataclass(kw_only=True)
class DetectSettings:
    """What to look at, and with which detector."""

    images: tuple[Path, ...]
    """Pictures."""
    weights: str = "aerial-base"
    """A shipped detector's name, a safetensors file, or a checkpoint of a training run."""
    config: str | None = None
    """Configuration file or name of a shipped one; what the weights tell when not given."""
    tiles: int | None = None
    """Side of overlapping tiles in pixels, for pictures much larger than those learned from."""
    overlap: float = 0.2
    """Share of a tile that the next one sees too."""
    threshold: float = 0.3
    """Smallest score of a box, from 0 to 1."""
    output_dir: Path = Path("outputs/detect")
    """Folder for the pictures with boxes and the COCO json. Nothing in it is overwritten."""
    device: str | None = None
    """Where to run, such as cpu or cuda:1; a GPU if there is one when not given."""


@dataclass(kw_only=True)
class TrainDetectorSettings:
    """What to train on which data."""

    config: str
    """Configuration file, or name of a shipped one."""
    work_dir: Path | None = None
    """Folder for checkpoints and logs; outputs/CONFIG when not given."""
    data_root: Path | None = None
    """Folder of the data, in place of the configuration's `data_root`."""
    cfg_options: tuple[str, ...] = ()
    """Settings as KEY=VALUE, such as train_dataloader.batch_size=4."""
    iterations: int | None = None
    """Length of the run; the schedule is scaled. For configurations that count iterations."""
    seed: int = 0
    """Decides initial weights, order of pictures and augmentation."""
    resume: str | None = None
    """A checkpoint to go on from, or latest."""
    check_labels: bool = True
    """Opens every picture and label before training."""


@dataclass(kw_only=True)
class EvaluateDetectorSettings:
    """Which detector to measure on which splits."""

    config: str
    """Configuration file, or name of a shipped one."""
    weights: str
    """A shipped detector's name, a safetensors file, or a checkpoint of a training run."""
    data_root: Path | None = None
    """Folder with SPLIT.json, and SPLIT/ or the configuration's own folder of pictures; the
    configuration's when not given."""
    splits: tuple[str, ...] = ("val", "test-night", "test-fog", "test-steep")
    """Splits to measure on."""
    max_detections: int = 100
    """Boxes per picture that count; VisDrone's benchmark counts 500."""
    output_file: Path | None = None
    """Where to write the scores as JSON as well."""


@dataclass(kw_only=True)
class EvaluateAerialSettings:
    """Which detectors to train and compare; what is finished is not done again."""

    variants: tuple[str, ...] = ()
    """Detectors to compare, such as base lango batchformer; all of them for none."""
    seeds: int = 3
    """Trainings per detector."""
    data_root: Path = Path("outputs/aerial")
    """Pictures of `visionrel data render aerial`; drawn if the folder is missing."""
    iterations: int | None = None
    """Length of each training; the configuration's when not given."""
    train: bool = True
    """False reports what is measured already."""
    output_dir: Path = Path("outputs/evaluate-aerial")
    """Folder for trainings, measurements and the report."""
    docs_dir: Path | None = None
    """Folder whose results.md gets the report."""


def detect(settings: DetectSettings) -> Result:
    """Draws boxes, and writes all of them as one COCO json."""
    from visionrel.detectors.command import detect_pictures

    found = detect_pictures(settings)
    lines = [f"{item['drawn']}: {item['text']}" for item in found["pictures"]]
    return Result("\n".join([*lines, found["results"]]), found)


def train_detector(settings: TrainDetectorSettings) -> Result:
    """Trains, after a look at every label."""
    from visionrel.detectors.training import prepare_run, train_detector

    config = prepare_run(
        settings.config, settings.cfg_options, settings.data_root, settings.iterations
    )
    work_dir = settings.work_dir or Path("outputs") / Path(settings.config).stem
    done = train_detector(
        config,
        work_dir,
        seed=settings.seed,
        resume=settings.resume,
        check=settings.check_labels,
    )
    text = f"{done.checkpoint}: {done.iterations} steps in {done.seconds:.1f} s"
    data = {
        "work_dir": str(done.work_dir),
        "checkpoint": str(done.checkpoint),
        "steps": done.iterations,
        "seconds": done.seconds,
        "metrics": dict(done.metrics),
    }
    return Result(text, data)


def evaluate_detector(settings: EvaluateDetectorSettings) -> Result:
    """Measures average precision by condition, size and frequency, and speed."""
    from visionrel.artifacts import save_json
    from visionrel.detectors.evaluation import evaluate_detector
    from visionrel.worlds.aerial import GROUPS

    if settings.output_file is not None and settings.output_file.exists():
        raise InputError(f"`output_file` {settings.output_file} exists; choose another.")
    if settings.max_detections < 1:
        raise InputError(f"`max_detections` must be at least 1, got {settings.max_detections}.")
    found = evaluate_detector(
        settings.config,
        settings.weights,
        settings.data_root,
        settings.splits,
        GROUPS,
        settings.max_detections,
    )
    if settings.output_file is not None:
        save_json(settings.output_file, found)
    lines = [_describe(name, scores) for name, scores in found["splits"].items()]
    lines.append(f"{found['parameters']} parameters, {found['milliseconds']:.1f} ms per picture")
    return Result("\n".join(lines), found)


def evaluate_aerial(settings: EvaluateAerialSettings) -> Result:
    """Trains what is missing, measures and reports."""
    from visionrel.detectors.evidence import evaluate

    report = evaluate(settings)
    return Result(report.to_markdown(str(settings.output_dir)), report.to_dict())


def _describe(split: str, scores: dict[str, Any]) -> str:
    parts = {name: scores[name] for name in ("AP", "AP50", "AP75")}
    parts |= {f"AP {name}": value for name, value in scores["by_size"].items()}
    parts |= {f"AP {name}": value for name, value in scores["by_group"].items()}
    text = ", ".join(
        f"{name} {'-' if value is None else f'{value:.3f}'}" for name, value in parts.items()
    )
    return f"{split}: {text}"


DETECT = Command(
    "Find objects in aerial pictures, whole or in tiles.",
    lambda: DetectSettings,
    detect,
    words_first=True,
)
TRAIN_DETECTOR = Command(
    "Train a detector from an MMDetection configuration.",
    lambda: TrainDetectorSettings,
    train_detector,
    words_first=True,
)
EVALUATE_DETECTOR = Command(
    "Measure a detector by conditions, sizes and frequency of classes.",
    lambda: EvaluateDetectorSettings,
    evaluate_detector,
    words_first=True,
)
EVALUATE_AERIAL = Command(
    "Train and compare detectors with BatchFormer, LANGO (reconstructed from its abstract) and "
    "controls in the aerial world.",
    lambda: EvaluateAerialSettings,
    evaluate_aerial,
)
