"""Exemplar pictures of one relation: a folder of images and a `text.json` of captions.

`text.json` maps each picture's file name to its caption templates; every `{}` in a template
receives the relation token::

    {"0.jpg": ["cat {} stone", "a white cat {} a grey stone"], "1.png": ["dog {} box"]}
"""

import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from visionrel.errors import InputError


logger = logging.getLogger(__name__)

CAPTIONS_NAME = "text.json"
EXTENSIONS = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
_UNREAD = (".avif", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jxl", ".svg", ".tga")
SLOT = "{}"
MOST_PIXELS = 2**30
"""Of a picture file: 32,768 on a side, 3 GB as RGB."""
# Pillow turns these into RGB by clipping values above 255, that is, into white.
_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_DEVICE_NAME = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?$", re.IGNORECASE)

CaptionCheck = Callable[[str], str | None]


@dataclass(frozen=True)
class Exemplar:
    """One picture and what is said of it.

    Attributes:
        path: The picture file, known to be readable.
        templates: Captions with at least one `{}`.
    """

    path: Path
    templates: tuple[str, ...]

    def captions(self, relation_token: str) -> tuple[str, ...]:
        """The templates with every `{}` replaced by the relation token."""
        return tuple(fill_template(template, relation_token) for template in self.templates)


def fill_template(template: str, relation_token: str) -> str:
    """Puts the relation token into every `{}`; other braces stay.

    Example:
        >>> fill_template("cat {} stone", "<R>")
        'cat <R> stone'
    """
    return template.replace(SLOT, relation_token)


def read_exemplars(folder: str | Path, check_caption: CaptionCheck | None = None) -> list[Exemplar]:
    """Reads and checks a folder of exemplars, sorted by file name.

    Several `{}` in one template are allowed: each is the same relation token.

    Args:
        folder: Holds pictures (jpg, jpeg, png, ppm, bmp, tif, tiff, webp in any case) and
            `text.json`. Other files and subfolders are left alone; pictures in other formats
            are warned of.
        check_caption: Answers what is wrong with a template or None, for checks that need a
            tokenizer (a relation token cut off at the end of a long caption).

    Raises:
        InputError: With every problem of every file, each with its remedy.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"`{folder}` is not a folder; give one that holds pictures and {CAPTIONS_NAME}."
        )
    problems: list[str] = []
    files = sorted(
        path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")
    )
    pictures = [path for path in files if path.suffix.lower() in EXTENSIONS]
    others = [path.name for path in files if path not in pictures]
    if not pictures:
        problems.append(
            f"{folder} holds no picture; put at least one of {', '.join(EXTENSIONS)} there."
        )
    names = [path.name for path in pictures]
    captions = _read_captions(folder / CAPTIONS_NAME, names, others, problems)
    exemplars = []
    for path in pictures:
        problems.extend(_picture_problems(path))
        templates = captions.get(path.name)
        if templates is None:
            continue
        for template in templates:
            problem = check_caption(template) if check_caption else None
            if problem:
                problems.append(f"{path.name}: {problem}")
        exemplars.append(Exemplar(path, templates))
    if problems:
        raise InputError(problems)
    if unread := [name for name in others if name.lower().endswith(_UNREAD)]:
        logger.warning(
            "Not read: %s; save them as one of %s.", ", ".join(unread), ", ".join(EXTENSIONS)
        )
    return exemplars


@contextmanager
def large_pictures() -> Iterator[None]:
    """Lets Pillow open files of up to `MOST_PIXELS`; its own limit is meant for uploads."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, MOST_PIXELS // 2
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def open_picture(path: Path) -> Image.Image:
    """Opens a picture as RGB, on white where it is transparent, upright if its camera said so.

    Raises:
        ValueError: If it cannot be read whole; the text says why.
    """
    if path.stat().st_size == 0:
        raise ValueError("the file is empty (0 bytes); replace or remove it.")
    try:
        with large_pictures(), Image.open(path) as image:
            image.load()
            mode, upright = image.mode, ImageOps.exif_transpose(image)
            picture = upright if mode in _DEEP_MODES else _on_white(upright)
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"the picture has more than {MOST_PIXELS} pixels; cut it into parts first."
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            f"the picture cannot be read ({error}); save it anew as PNG or JPEG."
        ) from error
    if mode in _DEEP_MODES:
        raise ValueError(
            f"the picture has mode {mode}, more than 8 bits a channel; convert it to 8-bit RGB."
        )
    return picture


def is_transparent(path: Path) -> bool:
    """Whether something shows through a readable picture anywhere."""
    with large_pictures(), Image.open(path) as image:
        if not image.has_transparency_data:
            return False
        return image.convert("RGBA").getchannel("A").getextrema()[0] < 255


def _on_white(image: Image.Image) -> Image.Image:
    """RGB of any 8-bit mode; what a file holds under full transparency is often garbage."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image.convert("RGBA"))
    return white.convert("RGB")


def load_pixels(path: Path, size: int, center_crop: bool = False) -> Tensor:
    """Loads a picture for training.

    Never flipped: a mirror image can show another relation.

    Args:
        path: The picture file.
        size: Height and width to resize to, bicubic.
        center_crop: Cut the central square first; without it a long picture is squashed.

    Returns:
        Float32 in [-1, 1], shape (3, size, size).
    """
    picture = open_picture(path)
    if center_crop:
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
    picture = picture.resize((size, size), resample=Image.Resampling.BICUBIC)
    # height, width, channels -> channels, height, width
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    return pixels.to(torch.float32) / 127.5 - 1


@dataclass(frozen=True)
class ExemplarItem:
    """One draw of training data.

    Attributes:
        picture: Index into the exemplars.
        caption: A caption with the relation token in place.
        positives: Distinct words from the pool, joined by spaces.
    """

    picture: int
    caption: str
    positives: str


class ExemplarDataset:
    """Exemplars repeated, each time with a random caption and random positive words.

    Args:
        exemplars: From :func:`read_exemplars`.
        relation_token: Replaces `{}` in the captions.
        pool: Words to draw positives from.
        num_positives: Words per item.
        repeats: Length in multiples of the number of exemplars.
    """

    def __init__(
        self,
        exemplars: Sequence[Exemplar],
        relation_token: str,
        pool: Sequence[str] = (),
        num_positives: int = 0,
        repeats: int = 100,
    ) -> None:
        if not 0 <= num_positives <= len(pool):
            raise InputError(
                f"`num_positives` must lie in [0, {len(pool)}], the number of basis words, got "
                f"{num_positives}; lower it."
            )
        self.exemplars = tuple(exemplars)
        self.captions = [exemplar.captions(relation_token) for exemplar in self.exemplars]
        self.pool = list(pool)
        self.num_positives = num_positives
        self.repeats = repeats

    def __len__(self) -> int:
        return len(self.exemplars) * self.repeats

    def draw(self, index: int, random: Random) -> ExemplarItem:
        """Draws item `index`: first its caption, then its positives."""
        picture = index % len(self.exemplars)
        caption = random.choice(self.captions[picture])
        positives = " ".join(random.sample(self.pool, self.num_positives))
        return ExemplarItem(picture, caption, positives)


def _read_captions(
    path: Path, pictures: Sequence[str], others: Sequence[str], problems: list[str]
) -> dict[str, tuple[str, ...]]:
    """Reads the caption file; what is wrong goes to `problems`, what is right is returned."""
    try:
        pairs = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_Pairs)
    except FileNotFoundError:
        problems.append(
            f"{path} is missing; write it as "
            '{"picture.png": ["cat {} stone", ...], ...} with one entry per picture.'
        )
        return {}
    except (ValueError, OSError, RecursionError) as error:
        problems.append(f"{path} is not readable JSON ({error}); mend it with a JSON editor.")
        return {}
    if not isinstance(pairs, _Pairs):
        problems.append(f"{path} must hold an object from picture names to lists of captions.")
        return {}
    captions: dict[str, tuple[str, ...]] = {}
    for name, templates in pairs:
        found = list(_entry_problems(name, templates, name in captions, pictures, others))
        problems.extend(f"{path.name}: {problem}" for problem in found)
        captions[name] = () if found else tuple(templates)
    for name in pictures:
        if name not in captions:
            problems.append(
                f"{name} has no entry in {path.name}; add at least one caption such as "
                '"cat {} stone", or remove the picture.'
            )
    return {name: templates for name, templates in captions.items() if templates}


class _Pairs(list):
    """A JSON object as its pairs, so that a name written twice is noticed."""


def _entry_problems(
    name: str,
    templates: object,
    repeated: bool,
    pictures: Sequence[str],
    others: Sequence[str],
) -> Iterator[str]:
    if repeated:
        yield f"`{name}` stands there twice; join the two lists."
    if not _is_plain_name(name):
        yield (
            f"`{name}` is not a plain file name; use names without folders, drives or device "
            "names, of pictures in the same folder."
        )
    elif name in others:
        yield f"`{name}` is no picture that is read; save it as one of {', '.join(EXTENSIONS)}."
    elif name not in pictures:
        nearest = get_close_matches(name, pictures, n=1)
        hint = (
            f"did you mean `{nearest[0]}`?" if nearest else "add the picture or remove the entry."
        )
        yield f"`{name}` names no picture in the folder; {hint}"
    if not (isinstance(templates, list) and templates) or isinstance(templates, _Pairs):
        yield f"`{name}` must have a non-empty list of captions, got {_shown(templates)}."
        return
    for template in templates:
        if not isinstance(template, str) or SLOT not in template:
            yield (
                f"`{name}` has the caption {_shown(template)} without {SLOT}; write {SLOT} where "
                'the relation belongs, as in "cat {} stone".'
            )


def _shown(value: object) -> str:
    value = dict(value) if isinstance(value, _Pairs) else value
    return json.dumps(value, ensure_ascii=False)[:80]


def _is_plain_name(name: str) -> bool:
    separators = {"/", "\\", ":", "\0", os.sep}
    return (
        name not in ("", ".", "..")
        and not separators & set(name)
        and not _DEVICE_NAME.fullmatch(name)
    )


def _picture_problems(path: Path) -> Iterator[str]:
    if not _is_plain_name(path.name):
        yield f"{path.name} is a device name on some systems; rename the picture."
    try:
        open_picture(path)
    except (ValueError, OSError, RecursionError) as error:
        yield f"{path.name}: {error}"
