"""The work behind the detection tab; MMDetection is imported when the first picture comes."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from visionrel.artifacts import save_json
from visionrel.data import open_picture
from visionrel.demos.jobs import shown_errors
from visionrel.demos.uploads import MAX_SIDE, read_size
from visionrel.errors import InputError
from visionrel.weights_manifest import load_manifest
from visionrel.worlds.aerial import Conditions, draw_aerial, sample_aerial


if TYPE_CHECKING:
    from visionrel.detectors.inference import Detections, Detector


SHIPPED = {
    "aerial-base": "Faster R-CNN",
    "aerial-lango": "LANGO (reconstructed from its abstract)",
    "aerial-batchformer": "BatchFormer",
}
_CONDITIONS = {
    "by day": Conditions(),
    "at night": Conditions(time="night"),
    "in fog": Conditions(weather="fog"),
    "straight down": Conditions(view="straight down"),
    "in snow, from the side": Conditions(weather="snow", view="from the side"),
}
EXAMPLES = list(_CONDITIONS)
# Of a configuration: the one that the weights name.
AS_TOLD = ""
_FOLDER = "visionrel-demo-"


@dataclass
class Visit:
    """What one browser session owns; the app deletes its files some time after it ends."""

    folder: TemporaryDirectory | None = None

    def close(self) -> None:
        """Deletes the files."""
        if self.folder:
            self.folder.cleanup()


class Desk:
    """The detectors, each opened once, when it is needed first.

    Args:
        weights: A checkpoint or safetensors to offer besides the shipped detectors, if any.
    """

    def __init__(self, weights: str | None = None) -> None:
        known = load_manifest()
        self.detectors = {name: label for name, label in SHIPPED.items() if name in known}
        self.own = weights
        if weights:
            self.detectors[weights] = Path(weights).stem
        self._open: dict[tuple[str, str], Detector] = {}

    @cached_property
    def missing(self) -> str:
        """What has to be installed before this tab can work; empty if nothing."""
        if not find_spec("mmdet"):
            return "This tab needs MMDetection: `pip install '.[detection]'`"
        if not self.detectors:
            return "No detector is shipped with this version; train one and use `visionrel detect`."
        return ""

    def detect(
        self,
        visit: Visit,
        picture: str | None,
        names: Sequence[str],
        config: str,
        threshold: float,
        tile: int,
    ) -> tuple[Visit, list[tuple[str, str]], str, str]:
        """Draws what each detector finds; `config` is that of the weights given at the start."""
        with shown_errors():
            image = _open(picture)
            if not names:
                raise InputError("Choose at least one detector.")
            folder = TemporaryDirectory(prefix=_FOLDER)
            shown, found, seconds = [], {}, {}
            for number, name in enumerate(names):
                detector = self._find(name, config if name == self.own else AS_TOLD)
                start = time.perf_counter()
                found[name] = detector.detect(image, threshold=threshold, tile=tile or None)
                seconds[name] = time.perf_counter() - start
                path = Path(folder.name) / f"{number}.png"
                found[name].draw(image).save(path)
                label = f"{self.detectors[name]}: {len(found[name])} boxes"
                shown.append((str(path), f"{label}, {1000 * seconds[name]:.0f} ms"))
            boxes = Path(folder.name) / "detections.json"
            save_json(
                boxes,
                {
                    name: {"annotations": each.to_coco(1), "categories": each.to_categories()}
                    for name, each in found.items()
                },
            )
        visit.close()
        return Visit(folder), shown, self._count(found), str(boxes)

    def _find(self, name: str, config: str) -> Detector:
        from visionrel.detectors.inference import Detector

        if (name, config) not in self._open:
            self._open[name, config] = Detector(config or None, name)
        return self._open[name, config]

    def _count(self, found: Mapping[str, Detections]) -> str:
        """A table of boxes by class and detector."""
        counts = {name: each.count() for name, each in found.items()}
        # Detectors may know different classes; those of the first come first.
        known = dict.fromkeys(label for each in found.values() for label in each.classes)
        classes = [label for label in known if any(label in each for each in counts.values())]
        if not classes:
            return "Nothing found; try a smaller score."
        lines = [["class", *(self.detectors[name] for name in counts)], ["---"] * (len(counts) + 1)]
        lines += [
            [label, *(str(each.get(label, 0)) for each in counts.values())] for label in classes
        ]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def shipped_names() -> list[str]:
    """Names of the shipped configurations; only looked up, for to import them is to wait."""
    package = find_spec("visionrel.detectors")
    (folder,) = package.submodule_search_locations if package else ("",)
    return sorted(path.stem for path in Path(folder, "configs").glob("[!_]*/*.py"))


def draw_example(name: str) -> Image.Image:
    """A new picture of the aerial world under the chosen conditions."""
    rng = np.random.default_rng(secrets.randbelow(2**31))
    return draw_aerial(sample_aerial(rng, _CONDITIONS[name]))[0]


def _open(picture: str | None) -> Image.Image:
    if not picture:
        raise InputError("There is no picture; upload one or take an example.")
    width, height = read_size(Path(picture))
    if max(width, height) > MAX_SIDE:
        raise InputError(
            f"The picture measures {width} x {height} pixels; at most {MAX_SIDE} a side are "
            "allowed: cut it, or use `visionrel detect --tiles`."
        )
    try:
        return open_picture(Path(picture))
    except ValueError as error:
        raise InputError(str(error)) from error
