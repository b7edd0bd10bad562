"""Recipe of `aerial-base`, `aerial-lango` and `aerial-batchformer`: small detectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


SUMMARY = (
    "Train small detectors on the aerial world: plain, with LANGO (reconstructed from its "
    "abstract), with BatchFormer."
)


@dataclass(kw_only=True)
class BuildConfig:
    """Train in 2000 steps of 4 pictures, about a quarter of an hour of one core each."""

    variants: tuple[str, ...] = ("base", "lango", "batchformer")
    """Which detectors."""
    data_root: Path = Path("outputs/aerial")
    """Pictures of `visionrel data render aerial`; drawn if the folder is missing."""
    iterations: int | None = None
    """Length of each training; the configuration's when not given."""
    seed: int = 0
    """Decides initial weights, order of pictures and augmentation."""
    output_dir: Path = Path("outputs/evaluate-aerial")
    """Working folder, shared with `visionrel evaluate aerial`: a second run goes on there."""


def build(config: BuildConfig) -> dict[str, Any]:
    """Train what is missing; returns each detector's file and its scores."""
    from visionrel.detectors.checkpoints import FILE, export_checkpoint
    from visionrel.detectors.comparison import SPLITS, choose_variants
    from visionrel.detectors.evaluation import evaluate_detector
    from visionrel.detectors.evidence import prepare_data
    from visionrel.detectors.training import LATEST, prepare_run, train_detector

    prepare_data(config.data_root)
    found = {}
    for name, variant in choose_variants(config.variants).items():
        run = prepare_run(variant.config, (), config.data_root, config.iterations)
        folder = config.output_dir / "runs" / f"{name}-seed{config.seed}"
        done = train_detector(run, folder, seed=config.seed, resume=LATEST, validate=False)
        file = config.output_dir / "weights" / f"aerial-{name}" / FILE
        file.unlink(missing_ok=True)
        export_checkpoint(done.checkpoint, file, half=True)
        scores = evaluate_detector(variant.config, file, config.data_root, SPLITS)["splits"]
        found[f"aerial-{name}"] = {
            "file": str(file),
            "scores": {f"AP {split}": round(value["AP"], 3) for split, value in scores.items()},
        }
    return found
