"""What an aerial scene is: a camera above flat ground, things on it, and the conditions."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from visionrel.data.aerial.conditions import AXES
from visionrel.data.aerial.names import VISDRONE


CLASSES = VISDRONE
"""VisDrone's ten names in VisDrone's order."""

FREQUENCIES: dict[str, float] = {
    "car": 0.42,
    "pedestrian": 0.23,
    "motor": 0.10,
    "van": 0.08,
    "people": 0.05,
    "truck": 0.045,
    "bicycle": 0.035,
    "bus": 0.02,
    "tricycle": 0.012,
    "awning-tricycle": 0.008,
}
"""How often a class is drawn, after VisDrone's long tail. Riders come on top as `people`."""

GROUPS: dict[str, tuple[str, ...]] = {
    "frequent": ("car", "pedestrian", "motor", "people"),
    "common": ("van", "truck", "bicycle"),
    "rare": ("bus", "tricycle", "awning-tricycle"),
}
"""Classes by their share of the boxes: above 7 %, 3 to 7 %, and below 3 %."""

Colour = tuple[int, int, int]
Time = Literal["daytime", "dusk or dawn", "night"]
Weather = Literal["clear weather", "cloudy weather", "fog", "rain", "snow"]
View = Literal["straight down", "at an oblique angle", "from the side"]
Altitude = Literal["low altitude", "medium altitude", "high altitude"]


@dataclass(frozen=True)
class Conditions:
    """Under what a picture was taken, in the phrases of `visionrel.data.aerial.AXES`."""

    time: Time = "daytime"
    weather: Weather = "clear weather"
    view: View = "at an oblique angle"
    altitude: Altitude = "medium altitude"

    def __post_init__(self) -> None:
        for axis, phrase in self.phrases().items():
            if phrase not in AXES[axis]:
                raise ValueError(
                    f"`{axis}` must be one of: {', '.join(AXES[axis])}; got {phrase!r}."
                )

    def phrases(self) -> dict[str, str]:
        """Return axis -> phrase."""
        return asdict(self)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks at the origin of the ground from `height` metres.

    The ground is the plane z = 0 in metres, x to the right of the picture, y away from the viewer.

    Attributes:
        height: metres above the ground.
        depression: angle of the line of sight below the horizon, radians; pi/2 is straight down.
    """

    height: float
    depression: float

    # Focal length in picture sides: a field of view of 46 degrees.
    focal = 0.5 / math.tan(math.radians(23))

    def project(self, points: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Map points (..., 3) to pixels (..., 2) of a square picture and depths (...) in metres."""
        sin, cos = math.sin(self.depression), math.cos(self.depression)
        # Relative to the camera, which stands back from the origin so that it looks at it.
        y = points[..., 1] + self.height * cos / sin
        z = points[..., 2] - self.height
        depth = y * cos - z * sin
        scale = self.focal * side / np.maximum(depth, 0.1)
        pixels = np.empty((*depth.shape, 2))
        pixels[..., 0] = side / 2 + points[..., 0] * scale
        pixels[..., 1] = side / 2 - (y * sin + z * cos) * scale
        return pixels, depth

    def ground(self, pixels: np.ndarray, side: int) -> np.ndarray:
        """Map pixels (..., 2) to the points (..., 2) of the ground that they show."""
        sin, cos = math.sin(self.depression), math.cos(self.depression)
        u = (pixels[..., 0] / side - 0.5) / self.focal
        v = (pixels[..., 1] / side - 0.5) / self.focal
        distance = self.height / (sin + v * cos)
        return np.stack(
            [u * distance, distance * (cos - v * sin) - self.height * cos / sin],
            -1,
        )

    def ground_point(self, u: float, v: float) -> tuple[float, float]:
        """Map one place of the picture, in picture sides, to the ground that it shows."""
        sin, cos = math.sin(self.depression), math.cos(self.depression)
        u, v = (u - 0.5) / self.focal, (v - 0.5) / self.focal
        distance = self.height / (sin + v * cos)
        return u * distance, distance * (cos - v * sin) - self.height * cos / sin

    def glance(self, x: float, y: float) -> tuple[float, float, float]:
        """Return where a point of the ground shows, in picture sides, and how long a metre is."""
        sin, cos = math.sin(self.depression), math.cos(self.depression)
        away = y + self.height * cos / sin
        scale = self.focal / max(away * cos + self.height * sin, 0.1)
        return 0.5 + x * scale, 0.5 - (away * sin - self.height * cos) * scale, scale


@dataclass(frozen=True)
class AerialObject:
    """A vehicle or a person.

    Attributes:
        name: one of `CLASSES`.
        x, y: centre of its footprint, metres.
        heading: direction it faces, radians counter-clockwise from x.
        paint: main colour.
        second: colour of load, awning or trousers.
        base: height of its lowest point; riders sit above the ground.
        size: factor on the model's size.
        moving: has its lamps on at night.
        labelled: False in a crowd, whose place becomes an ignore region.
    """

    name: str
    x: float
    y: float
    heading: float
    paint: Colour
    second: Colour
    base: float = 0.0
    size: float = 1.0
    moving: bool = False
    labelled: bool = True


@dataclass(frozen=True)
class Patch:
    """A flat polygon on the ground, (N, 2) metres, drawn in the order of the scene."""

    corners: np.ndarray
    colour: Colour
    kind: Literal["land", "road", "paint", "water"] = "land"


@dataclass(frozen=True)
class Building:
    """A block with a flat or a ridged roof; `length` along `heading`, sizes in metres."""

    x: float
    y: float
    heading: float
    length: float
    width: float
    height: float
    wall: Colour
    roof: Colour
    ridged: bool


@dataclass(frozen=True)
class Tree:
    """A round crown of `radius` metres whose middle is `height` metres above the ground."""

    x: float
    y: float
    radius: float
    height: float
    leaf: Colour


@dataclass(frozen=True)
class AerialScene:
    """One view; equal scenes give equal pictures.

    Attributes:
        conditions: time, weather, view and altitude.
        camera: where the picture is taken from.
        base: colour of the ground where no patch lies.
        patches, buildings, trees, objects: what is there.
        lamps: street lamps, (x, y) in metres.
        sun: azimuth the light comes from and elevation, radians.
        seed: decides grain, raindrops and snowflakes.
    """

    conditions: Conditions
    camera: Camera
    base: Colour
    patches: tuple[Patch, ...]
    buildings: tuple[Building, ...]
    trees: tuple[Tree, ...]
    objects: tuple[AerialObject, ...]
    lamps: tuple[tuple[float, float], ...]
    sun: tuple[float, float]
    seed: int


def rotate(points: np.ndarray, angle: float) -> np.ndarray:
    """Turn points (..., 2) counter-clockwise by `angle` radians."""
    cos, sin = math.cos(angle), math.sin(angle)
    return points @ np.array([[cos, sin], [-sin, cos]])


def turn_point(x: float, y: float, angle: float) -> tuple[float, float]:
    """Turn one point counter-clockwise by `angle` radians."""
    cos, sin = math.cos(angle), math.sin(angle)
    return x * cos - y * sin, x * sin + y * cos


def rectangle(x0: float, x1: float, y0: float, y1: float) -> np.ndarray:
    """Return the four corners (4, 2) of an upright rectangle, counter-clockwise."""
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
