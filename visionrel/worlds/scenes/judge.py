"""Reads scenes back from pictures and says whether a stated relation holds.

The judge is trained on rendered scenes of its own (never on a generator's training data or output)
and answers "cannot tell" where a picture is ambiguous; that counts against the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from visionrel.errors import InputError
from visionrel.worlds.scenes.depth import read_depths
from visionrel.worlds.scenes.fitting import FOUND, fit_objects
from visionrel.worlds.scenes.reader import STRIDE, SceneReader, split_pose
from visionrel.worlds.scenes.relations import HELD_OUT, RELATIONS, Relation
from visionrel.worlds.scenes.rendering import PICTURE_SIDE
from visionrel.worlds.scenes.scene import OBJECTS, TINTS, SceneObject


DOUBTFUL = 0.06
"""Least confidence of an object that is there if drawing it explains the picture."""

MOST_DOUBTFUL = 3

AMBIGUOUS = 0.5
"""A second object of a named class with this confidence leaves open which one is meant."""

FRONT_MARGIN = 0.2
"""Least difference of two depths to say which object covers the other."""


@dataclass(frozen=True)
class Verdict:
    """What the judge says of one picture and one statement `subject RELATION object`."""

    subject_found: bool
    object_found: bool
    relation_holds: bool
    cannot_tell: bool = False

    @property
    def entities_found(self) -> bool:
        """Both named objects are in the picture."""
        return self.subject_found and self.object_found

    @property
    def text(self) -> str:
        """The verdict in words."""
        if not self.entities_found:
            missing = [
                name
                for name, found in (("subject", self.subject_found), ("object", self.object_found))
                if not found
            ]
            return f"{' and '.join(missing)} not found"
        if self.cannot_tell:
            return "cannot tell"
        return "relation holds" if self.relation_holds else "relation does not hold"


class Judge:
    """Reads pictures with a `SceneReader`; `Judge.load()` opens the shipped one."""

    def __init__(self, reader: SceneReader) -> None:
        self.reader = reader.eval().requires_grad_(False)

    @staticmethod
    @cache
    def load() -> Judge:
        """Open the shipped judge; its hash is verified."""
        from visionrel.artifacts import load_tensors
        from visionrel.weights_manifest import embedded_folder

        reader = SceneReader()
        tensors, _ = load_tensors(embedded_folder("scenes-judge") / "model.safetensors")
        reader.load_state_dict({name: value.float() for name, value in tensors.items()})
        return Judge(reader)

    @torch.no_grad()
    def read(
        self, images: Sequence[Image.Image] | np.ndarray, batch_size: int = 64
    ) -> list[list[SceneObject]]:
        """List the objects of each picture, most confident first.

        Args:
            images: PIL pictures of any size, or uint8 `(N, 64, 64, 3)`.
            batch_size: pictures read at once.
        """
        images = images_to_array(images)
        scenes: list[list[SceneObject]] = []
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            heat, pose = self.reader(_to_tensor(batch))
            found = _decode(heat.sigmoid(), pose)
            scenes += [_sharpen(image, items) for image, items in zip(batch, found, strict=True)]
        return scenes

    def verdicts(
        self,
        images: Sequence[Image.Image] | np.ndarray,
        subjects: Sequence[str],
        objects: Sequence[str],
        relation: Relation | str,
    ) -> list[Verdict]:
        """Judge one statement for each picture; `relation` is a relation or the name of one."""
        relation = find_relation(relation)
        return [
            judge_objects(read, subject, object, relation)
            for read, subject, object in zip(self.read(images), subjects, objects, strict=True)
        ]

    def verdict(
        self, image: Image.Image, subject: str, object: str, relation: Relation | str
    ) -> Verdict:
        """Judge one picture."""
        return self.verdicts([image], [subject], [object], relation)[0]


def find_relation(relation: Relation | str) -> Relation:
    """Return a relation of the world by name."""
    if isinstance(relation, Relation):
        return relation
    known = RELATIONS | HELD_OUT
    if relation not in known:
        raise InputError(f"`relation` is {relation!r}; known relations: {', '.join(known)}")
    return known[relation]


def judge_objects(
    read: Sequence[SceneObject], subject: str, object: str, relation: Relation
) -> Verdict:
    """Judge a statement about objects that were read from a picture."""
    found = [
        sorted((o for o in read if o.name == name), key=lambda o: -o.confidence)
        for name in (subject, object)
    ]
    if not all(found):
        return Verdict(bool(found[0]), bool(found[1]), False)
    first, second = found[0][0], found[1][0]
    doubled = any(len(each) > 1 and each[1].confidence >= AMBIGUOUS for each in found)
    flat = relation.front is not None and abs(first.depth - second.depth) < FRONT_MARGIN
    if doubled or flat or subject == object:
        return Verdict(True, True, False, cannot_tell=True)
    return Verdict(True, True, relation.holds(first, second))


def images_to_array(images: Sequence[Image.Image] | np.ndarray) -> np.ndarray:
    """Stack pictures of any size to uint8 `(N, 64, 64, 3)`."""
    size = (PICTURE_SIDE, PICTURE_SIDE)
    if not isinstance(images, np.ndarray):
        resized = [image.convert("RGB").resize(size, Image.Resampling.BOX) for image in images]
        images = np.stack([np.asarray(image) for image in resized])
    if images.dtype != np.uint8 or images.shape[1:] != (*size, 3):
        raise InputError(
            f"`images` has type {images.dtype} and shape {images.shape}; "
            f"allowed is uint8 (N, {PICTURE_SIDE}, {PICTURE_SIDE}, 3) or a list of PIL pictures"
        )
    return images


def _to_tensor(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def _decode(heat: Tensor, pose: Tensor) -> list[list[SceneObject]]:
    """Turn heat `(N, classes, h, w)` and poses into objects: the peaks above `DOUBTFUL`."""
    peaks = (heat == nn.functional.max_pool2d(heat, 3, 1, 1)) & (heat >= DOUBTFUL)
    scenes: list[list[SceneObject]] = [[] for _ in heat]
    for index, label, row, column in peaks.nonzero().tolist():
        values = split_pose(pose[index, label, :, row, column], 0)
        confidence = heat[index, label, row, column].item()
        scenes[index].append(_object(label, row, column, values, confidence))
    return [sorted(scene, key=lambda item: -item.confidence) for scene in scenes]


def _sharpen(image: np.ndarray, items: list[SceneObject]) -> list[SceneObject]:
    """Let the drawing decide places and poses, what is doubtful, then depths."""
    found = [item for item in items if item.confidence >= FOUND]
    names = {item.name for item in found}
    doubtful = [item for item in items[len(found) :] if item.name not in names]
    return read_depths(image, fit_objects(image, [*found, *doubtful[:MOST_DOUBTFUL]]))


def _object(
    label: int, row: int, column: int, values: dict[str, Tensor], confidence: float
) -> SceneObject:
    cells = PICTURE_SIDE // STRIDE
    tint = int(values["tint"].argmax())
    cosine, sine = values["rotation"]
    return SceneObject(
        name=OBJECTS[label],
        x=(column + 0.5 + values["offset"][0].item()) / cells,
        y=(row + 0.5 + values["offset"][1].item()) / cells,
        size=float(values["size"].exp()),
        rotation=float(torch.atan2(sine, cosine).rad2deg()),
        flip=bool(values["flip"] > 0),
        tint=None if tint == 0 else list(TINTS)[tint - 1],
        depth=0.5,
        confidence=confidence,
    )
