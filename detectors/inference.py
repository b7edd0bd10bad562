"""Detection in pictures of any size, whole or in overlapping tiles."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.apis import inference_detector
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from visionrel.data.aerial import TileDetections, make_tiles, merge_tiles
from visionrel.detectors.checkpoints import Weights, load_weights, put_weights
from visionrel.detectors.configuration import find_dataset, load_config, shipped_configs
from visionrel.devices import choose_device
from visionrel.errors import InputError, VisionrelError


Color = tuple[int, int, int]


@dataclass(frozen=True)
class Detections:
    """What was found in one picture, strongest first.

    Attributes:
        boxes: (N, 4) left, top, right, bottom in pixels.
        scores: (N,) in [0, 1].
        labels: (N,) integers, places in `classes`.
        classes: Class names.
        palette: A colour per class.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    palette: tuple[Color, ...]

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, threshold: float) -> "Detections":
        """Those with at least this score."""
        kept = self.scores >= threshold
        parts = self.boxes[kept], self.scores[kept], self.labels[kept]
        return Detections(*parts, self.classes, self.palette)

    def count(self) -> dict[str, int]:
        """Number of boxes by class; classes that were not found are left out."""
        numbers = np.bincount(self.labels.astype(int), minlength=len(self.classes))
        return {name: int(n) for name, n in zip(self.classes, numbers, strict=True) if n}

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        """Results as COCO has them; category ids are labels + 1, as in the converted data sets."""
        return [
            {
                "image_id": image_id,
                "category_id": int(label) + 1,
                "bbox": [round(float(v), 2) for v in (x0, y0, x1 - x0, y1 - y0)],
                "score": round(float(score), 4),
            }
            for (x0, y0, x1, y1), score, label in zip(
                self.boxes, self.scores, self.labels, strict=True
            )
        ]

    def to_categories(self) -> list[dict[str, Any]]:
        """Names of the category ids in `to_coco`, as COCO has them."""
        return [{"id": i, "name": name} for i, name in enumerate(self.classes, 1)]

    def to_supervision(self) -> Any:
        """A `supervision.Detections`, with names in `data["class_name"]`.

        Raises:
            VisionrelError: If that package is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise VisionrelError("This needs supervision: pip install supervision") from error
        names = np.array([self.classes[label] for label in self.labels], dtype=object)
        return supervision.Detections(
            xyxy=self.boxes.astype(np.float32),
            confidence=self.scores.astype(np.float32),
            class_id=self.labels.astype(int),
            data={"class_name": names},
        )

    def draw(self, picture: Image.Image) -> Image.Image:
        """A copy of the picture with boxes and class names, the strongest on top."""
        drawn = picture.convert("RGB").copy()
        pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(11)
        width = max(1, round(max(picture.size) / 500))
        for index in reversed(range(len(self))):
            box, label = self.boxes[index].tolist(), int(self.labels[index])
            color = self.palette[label]
            pen.rectangle(box, outline=color, width=width)
            text = f"{self.classes[label]} {self.scores[index]:.2f}"
            wide = pen.textlength(text, font)
            place = (max(min(box[0], drawn.width - wide), 0), max(box[1] - 12, 0))
            pen.rectangle(pen.textbbox(place, text, font), fill=color)
            pen.text(place, text, "black", font)
        return drawn


class Detector:
    """A detector with its weights, ready for pictures.

    Args:
        config: A configuration file or the name of a shipped one; None takes the name that the
            weights tell.
        weights: safetensors, a checkpoint of MMEngine, or the name of a shipped detector.
        device: Where it runs; CUDA if there is one when not given.

    Raises:
        InputError: If configuration and weights do not fit; class names are compared. Or if the
            device cannot be used.
    """

    def __init__(
        self, config: str | Path | None, weights: str | Path, device: str | None = None
    ) -> None:
        place = choose_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        found = load_weights(weights)
        self.config = load_config(config or _told_config(found, weights))
        self.classes, self.palette = class_names(self.config)
        self.model = build_model(self.config)
        put_weights(self.model, found, self.classes, weights)
        self.model.to(place).eval()

    def detect(
        self,
        picture: Image.Image,
        *,
        threshold: float = 0.3,
        tile: int | None = None,
        overlap: float = 0.2,
    ) -> Detections:
        """Finds objects.

        Args:
            picture: Of any size and mode.
            threshold: Smallest score, in [0, 1].
            tile: Side of overlapping tiles in pixels, each looked at on its own; None looks at the
                whole picture, scaled as the configuration says.
            overlap: Share of a tile that the next one sees too, in [0, 1).

        Raises:
            InputError: If a number is out of range.
        """
        check_numbers(threshold, tile, overlap)
        picture = picture.convert("RGB")
        width, height = picture.size
        side = tile or max(width, height)
        stride = max(1, round(side * (1 - overlap)))
        found = list(self._look(picture, make_tiles(width, height, side, stride)))
        boxes, scores, labels = (
            merge_tiles(found, picture.size)
            if tile
            else (found[0].boxes, found[0].scores, found[0].labels)
        )
        whole = Detections(boxes, scores, labels, self.classes, self.palette)
        return whole.above(threshold)

    def _look(
        self, picture: Image.Image, tiles: Sequence[tuple[int, int, int, int]]
    ) -> Iterator[TileDetections]:
        for left, top, width, height in tiles:
            part = picture.crop((left, top, left + width, top + height))
            # MMDetection reads pictures with OpenCV: blue, green, red.
            pixels = np.ascontiguousarray(np.asarray(part)[:, :, ::-1])
            with DefaultScope.overwrite_default_scope("mmdet"):
                sample = inference_detector(self.model, pixels)
            found = sample.pred_instances.cpu().numpy()
            yield TileDetections(
                (left, top, width, height), found.bboxes, found.scores, found.labels
            )


def _told_config(weights: Weights, source: str | Path) -> Path:
    """The shipped configuration that weights name; any other file would be run on their word."""
    if weights.config in shipped_configs():
        return shipped_configs()[weights.config]
    told = (
        f"tells the configuration {weights.config!r}, which is not among those shipped"
        if weights.config
        else "does not tell its configuration"
    )
    raise InputError(
        f"{source} {told}; give the file with `config`. Training leaves one in its work folder."
    )


def build_model(config: Config) -> nn.Module:
    """Builds the detector of a configuration, without weights.

    Raises:
        InputError: If the configuration has a setting that its classes refuse.
    """
    # Weights come from a file; nothing is to be downloaded.
    settings = config.model.copy()
    settings["backbone"] = {**settings["backbone"], "init_cfg": None}
    try:
        with DefaultScope.overwrite_default_scope("mmdet"):
            model = MODELS.build(settings)
    except (TypeError, KeyError) as error:
        raise InputError(f"{config.filename} does not build: {error}") from error
    model.cfg = config
    return model


def class_names(config: Config) -> tuple[tuple[str, ...], tuple[Color, ...]]:
    """Class names and colours of the data set that a configuration is made for."""
    dataset = config.test_dataloader.dataset
    info = {**find_dataset(dataset.type).METAINFO, **dataset.get("metainfo", {})}
    classes = tuple(info["classes"])
    return classes, tuple(info.get("palette") or [(255, 200, 0)] * len(classes))


def check_numbers(threshold: float, tile: int | None, overlap: float) -> None:
    """Checks what a person may choose.

    Raises:
        InputError: With every number that is out of range.
    """
    problems = []
    if not 0 <= threshold <= 1:
        problems.append(f"`threshold` must lie in [0, 1], got {threshold}.")
    if tile is not None and tile < 32:
        problems.append(f"`tiles` must be at least 32 pixels, got {tile}.")
    if not 0 <= overlap < 1:
        problems.append(f"`overlap` must lie in [0, 1), got {overlap}.")
    if problems:
        raise InputError(problems)
