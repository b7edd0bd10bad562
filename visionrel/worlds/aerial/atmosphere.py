"""Light and weather: how time and weather change what a scene looks like."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from visionrel.worlds.aerial.ground import fill_ground
from visionrel.worlds.aerial.models import load_model
from visionrel.worlds.aerial.scene import AerialObject, AerialScene, Camera, rotate


# Share of the sun's light that reaches the ground by weather.
_SUN = {"clear weather": 1.0, "cloudy weather": 0.25, "fog": 0.1, "rain": 0.12, "snow": 0.2}
# Colour of the light by time, as factors on red, green and blue.
_TINT = {
    "daytime": (1.0, 1.0, 1.0),
    "dusk or dawn": (0.96, 0.77, 0.64),
    "night": (0.19, 0.21, 0.3),
}
_GREY = {"cloudy weather": 0.9, "fog": 0.94, "rain": 0.76, "snow": 0.97}
_TEXTURE_SIDE = 256
# Metres that the ground's texture spans before it repeats.
_TEXTURE_METRES = 24.0


@dataclass(frozen=True)
class Light:
    """Where light comes from.

    Attributes:
        sun: unit vector towards the sun, (3,).
        strength: share of direct light, 0 to 1.
        shadow: how much darker the ground is in shadow, 0 to 1.
    """

    sun: np.ndarray
    strength: float
    shadow: float

    @classmethod
    def of(cls, scene: AerialScene) -> Light:
        """Read the light off the conditions of a scene."""
        azimuth, elevation = scene.sun
        flat = math.cos(elevation)
        sun = np.array([flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation)])
        strength = _SUN[scene.conditions.weather]
        if scene.conditions.time == "night":
            strength = 0.1
        return cls(sun, strength, 0.52 * strength if strength > 0.2 else 0.0)

    @property
    def trees(self) -> float:
        """Brightness of leaves."""
        return 0.9 + 0.1 * self.strength

    def shade(self, colours: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """Light faces of colours (F, 3) with outward normals (F, 3)."""
        direct = np.maximum(normals @ self.sun, 0.0) / max(self.sun[2], 0.5)
        sky = 0.72 + 0.28 * normals[:, 2]
        tone = (1 - 0.5 * self.strength) * sky + 0.5 * self.strength * np.minimum(direct, 1.25)
        return np.clip(colours * tone[:, None], 0, 255)


def finish_picture(picture: Image.Image, scene: AerialScene, ground: np.ndarray) -> Image.Image:
    """Add texture, time of day, weather and the grain of the sensor.

    Args:
        picture: RGB, drawn in neutral light.
        scene: what it shows.
        ground: (H, W), True where bare ground shows.
    """
    rng = np.random.default_rng(scene.seed)
    side, conditions = picture.width, scene.conditions
    points = _ground_points(scene.camera, side)
    tint = np.array(_TINT[conditions.time], np.float32) * _GREY.get(conditions.weather, 1.0)
    pixels = np.asarray(picture) * (_texture(*points, ground)[..., None] * tint)
    if conditions.time == "night":
        pixels = _light_lamps(pixels, picture, scene)
    if conditions.weather == "fog":
        pixels = _add_fog(pixels, scene, points, rng)
    elif conditions.weather == "rain":
        pixels = _add_rain(pixels, conditions.time, rng)
    elif conditions.weather == "snow":
        pixels = _add_snow(pixels, conditions.time, rng)
    pixels += (5.0 if conditions.time == "night" else 2.5) * _grain(side, rng)
    return Image.fromarray(np.clip(pixels, 0, 255, out=pixels).astype(np.uint8))


def _ground_points(camera: Camera, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Point of the ground under every pixel: x (H, W) and y (H, 1), metres, float32."""
    steps = (np.arange(side) + 0.5) / side
    left = camera.ground(np.stack([np.zeros(side), steps], 1), 1)
    right = camera.ground(np.stack([np.ones(side), steps], 1), 1)
    # Every row of the picture is level, so x runs evenly from its left to its right end.
    x = left[:, :1] + (right - left)[:, :1] * steps
    return x.astype(np.float32), left[:, 1:].astype(np.float32)


def _grain(side: int, rng: np.random.Generator) -> np.ndarray:
    """Cut the grain of a picture, (side, side, 1) float32, out of a larger sheet."""
    sheet = _grain_sheet(side * 2)
    top, left = rng.integers(0, side, 2)
    return sheet[top : top + side, left : left + side, None]


@cache
def _grain_sheet(side: int) -> np.ndarray:
    return np.random.default_rng(11).standard_normal((side, side), np.float32)


@cache
def _tile() -> np.ndarray:
    """A texture that repeats without seams, (S, S) float32 around 1."""
    rng = np.random.default_rng(7)
    frequencies = np.fft.fftfreq(_TEXTURE_SIDE)
    radius = np.hypot(frequencies[:, None], frequencies[None, :])
    radius[0, 0] = 1.0
    noise = np.fft.fft2(rng.standard_normal((_TEXTURE_SIDE, _TEXTURE_SIDE)))
    rough = np.real(np.fft.ifft2(noise / radius**0.75))
    return (1 + 0.065 * rough / rough.std()).astype(np.float32)


def _texture(x: np.ndarray, y: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """Brightness of the ground's texture under every pixel, 1 where no ground shows."""
    columns, rows = (
        (part * (_TEXTURE_SIDE / _TEXTURE_METRES)).astype(np.int32) & (_TEXTURE_SIDE - 1)
        for part in (x, y)
    )
    return np.where(ground, _tile()[rows, columns], np.float32(1.0))


def _light_lamps(pixels: np.ndarray, day: Image.Image, scene: AerialScene) -> np.ndarray:
    """Let street lamps and headlights lighten what they reach, and show the lamps themselves."""
    side = pixels.shape[0]
    warm = _soft_light(_draw_pools, scene, side, side / 45)
    white = _soft_light(_draw_beams, scene, side, side / 130)
    reach = warm * np.array([0.8, 0.64, 0.4], np.float32)
    reach += white * np.array([0.72, 0.72, 0.62], np.float32)
    pixels = pixels + np.asarray(day, np.float32) * reach
    glow = Image.new("RGB", (side, side))
    _draw_bulbs(ImageDraw.Draw(glow), scene, side)
    haze = glow.reduce(2).filter(ImageFilter.BoxBlur(side / 320)).resize(glow.size)
    haze = haze.point([min(255, int(value * 1.6)) for value in range(256)] * 3)
    pixels += np.asarray(ImageChops.lighter(glow, haze))
    return pixels


def _soft_light(
    draw: Callable[[ImageDraw.ImageDraw, AerialScene, int], None],
    scene: AerialScene,
    side: int,
    blur: float,
) -> np.ndarray:
    """Draw light at half the size, blur it and return it as (side, side, 1) in [0, 1]."""
    half = Image.new("L", (side // 2, side // 2))
    draw(ImageDraw.Draw(half), scene, side // 2)
    half = half.filter(ImageFilter.GaussianBlur(blur / 2))
    full = half.resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(full, np.float32)[..., None] / 255


def _draw_pools(draw: ImageDraw.ImageDraw, scene: AerialScene, side: int) -> None:
    """Circles of light below street lamps, brighter in the middle."""
    angles = np.linspace(0, 2 * math.pi, 17)[:-1]
    ring = np.stack([np.cos(angles), np.sin(angles)], 1)
    for radius, fill in ((9.0, 90), (6.0, 150), (3.0, 200)):
        pools = [ring * radius + lamp for lamp in scene.lamps]
        fill_ground(draw, scene.camera, pools, [fill] * len(pools), side)


def _draw_beams(draw: ImageDraw.ImageDraw, scene: AerialScene, side: int) -> None:
    """Cones of light in front of moving vehicles."""
    moving = [item for item in scene.objects if item.moving]
    for reach, spread, fill in ((11.0, 2.6, 80), (7.0, 1.9, 150), (3.5, 1.2, 220)):
        cones = []
        for item in moving:
            front = load_model(item.name).bounds[1, 0] * item.size
            tip = front + reach
            cone = ((front, 0.4), (tip, spread), (tip, -spread), (front, -0.4))
            cones.append(_beside(item, cone, 0.0)[:, :2])
        fill_ground(draw, scene.camera, cones, [fill] * len(cones), side)


def _draw_bulbs(draw: ImageDraw.ImageDraw, scene: AerialScene, side: int) -> None:
    """Headlights and tail lights of moving vehicles."""
    for item in scene.objects:
        if not item.moving:
            continue
        (back, right, _), (front, left, _) = load_model(item.name).bounds * item.size
        flanks = (right * 0.7, left * 0.7) if left - right > 1.5 else (0.0, 0.0)
        places = [(x, y) for x in (front, back) for y in flanks]
        pixels, depths = scene.camera.project(_beside(item, places, 0.75), side)
        radii = np.maximum(0.8, 0.16 * scene.camera.focal * side / depths)
        colours = ((255, 248, 220), (220, 30, 20))
        for index, ((u, v), r) in enumerate(zip(pixels.tolist(), radii.tolist(), strict=True)):
            draw.ellipse((u - r, v - r, u + r, v + r), fill=colours[index // 2])


def _beside(item: AerialObject, places: Sequence[tuple[float, float]], height: float) -> np.ndarray:
    """Turn places (forward, left) of an object into points (N, 3) of the world."""
    points = np.full((len(places), 3), height)
    points[:, :2] = rotate(np.array(places), item.heading) + np.array([item.x, item.y])
    return points


def _add_fog(
    pixels: np.ndarray,
    scene: AerialScene,
    points: tuple[np.ndarray, np.ndarray],
    rng: np.random.Generator,
) -> np.ndarray:
    """Blend towards grey with distance and with drifting patches."""
    camera, side = scene.camera, pixels.shape[0]
    x, y = points
    away = y + camera.height / math.tan(camera.depression)
    distance = np.sqrt(x**2 + (away**2 + camera.height**2))
    # The middle of the picture keeps 0.3 to 0.5 of its contrast whatever the height.
    middle = camera.height / math.sin(camera.depression)
    density = rng.uniform(0.7, 1.2) / middle
    coarse = Image.fromarray(rng.uniform(0.75, 1.25, (5, 5)).astype(np.float32))
    drift = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))
    kept = np.exp(-density * distance * drift)[..., None].astype(np.float32)
    grey = {"daytime": 208, "dusk or dawn": 168, "night": 52}[scene.conditions.time]
    return pixels * kept + np.float32(grey) * (1 - kept) * np.array([0.98, 1.0, 1.02], np.float32)


def _add_rain(pixels: np.ndarray, time: str, rng: np.random.Generator) -> np.ndarray:
    """Streaks of rain, all aslant the same way, over a slightly grey picture."""
    side = pixels.shape[0]
    streaks = Image.new("L", (side, side))
    draw = ImageDraw.Draw(streaks)
    slant = rng.uniform(-0.35, 0.35)
    for x, y, length in rng.uniform((0, -0.05, 0.02), (1, 1, 0.06), (150, 3)) * side:
        draw.line((x, y, x + slant * length, y + length), fill=int(rng.integers(70, 150)))
    level = 0.35 if time == "night" else 1.0
    amount = np.asarray(streaks, np.float32)[..., None] / 255
    grey = np.float32(150 * level)
    hazy = pixels * 0.88 + grey * 0.12
    return hazy * (1 - amount * 0.55) + np.float32(225 * level) * amount * 0.55


def _add_snow(pixels: np.ndarray, time: str, rng: np.random.Generator) -> np.ndarray:
    """Flakes of several sizes over a slightly pale picture."""
    side = pixels.shape[0]
    flakes = Image.new("L", (side, side))
    draw = ImageDraw.Draw(flakes)
    for x, y, size in rng.uniform((0, 0, 0.0012), (1, 1, 0.0052), (230, 3)) * side:
        draw.ellipse((x - size, y - size, x + size, y + size), fill=int(rng.integers(130, 235)))
    level = 0.5 if time == "night" else 1.0
    amount = np.asarray(flakes, np.float32)[..., None] / 255
    hazy = pixels * 0.93 + np.float32(215 * level) * 0.07
    return hazy * (1 - amount) + np.float32(250 * level) * amount
