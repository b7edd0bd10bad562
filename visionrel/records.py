"""Every picture and clip explains itself: its recipe lies beside it and inside a PNG."""

import json
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, PngImagePlugin

from visionrel.artifacts import atomic_write, load_json, save_json
from visionrel.errors import InputError


if TYPE_CHECKING:
    import numpy as np

PNG_KEY = "visionrel"
_VERSIONED = ("visionrel", "torch", "diffusers", "transformers", "peft", "numpy", "pillow")
_SLUG_LENGTH = 48
_CLIPS = (".mp4", ".gif")
# Small clips are shown in their preview as large as this, or nearly.
_PREVIEW_HEIGHT = 192
# Windows refuses these as file names, with any extension.
_DEVICE_NAMES = {"con", "prn", "aux", "nul"} | {
    f"{d}{n}" for d in ("com", "lpt") for n in range(10)
}


def installed_versions() -> dict[str, str]:
    """Versions of the packages that decide what a picture or a clip looks like."""
    found = {}
    for name in _VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Record:
    """How a picture or a clip was made; enough to make it again.

    Attributes:
        command: Words after `visionrel`, such as `generate reversion`.
        config: Every setting of the command, as JSON values.
        prompt: The prompt as the user wrote it.
        seed: Seed of this one picture or clip.
        base: Name of the base model and its `revision` or `sha256`.
        adapter: sha256 of each learned file, by its name.
        versions: Package versions.
        created: UTC time in ISO form.
        threads: Of PyTorch on the processor, where sums depend on how they are split; None in
            records of earlier versions.
    """

    command: str
    config: Mapping[str, Any]
    prompt: str
    seed: int
    base: Mapping[str, str | None]
    adapter: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=installed_versions)
    created: str = field(default_factory=_now)
    threads: int | None = field(default_factory=_threads)

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values; paths become strings."""
        return json.loads(json.dumps(asdict(self), default=os.fspath))


def slugify(text: str) -> str:
    """Turns any text into a short file name that is safe on every system; never empty.

    >>> slugify("Cat <R> ../stone, in the Désert!")
    'cat-r-stone-in-the-desert'
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain)[:_SLUG_LENGTH].strip("-")
    return f"picture-{slug}".rstrip("-") if slug in _DEVICE_NAMES or not slug else slug


def save_picture(image: Image.Image, folder: Path, index: int, record: Record) -> Path:
    """Saves `<index>_<slug>_seed<seed>.png` with its record inside and beside it.

    A name that is taken gets a counter: nothing is overwritten.

    Returns:
        The path of the PNG; the record has the same name and ends in `.json`.
    """
    text = PngImagePlugin.PngInfo()
    text.add_itxt(PNG_KEY, json.dumps(record.to_json(), ensure_ascii=False))
    with _file(folder, index, record, ".png") as path, atomic_write(path) as temporary:
        image.save(temporary, format="png", pnginfo=text)
    return path


def save_clip(clip: "np.ndarray", folder: Path, index: int, record: Record, fps: float) -> Path:
    """Saves `<index>_<slug>_seed<seed>.mp4`, a GIF to look at and the record beside it.

    A name that is taken gets a counter: nothing is overwritten.

    Args:
        clip: uint8 of shape (frames, height, width, 3).
        folder: Made if it is missing.
        index: First part of the name.
        record: How the clip was made.
        fps: Frames per second.

    Returns:
        The path of the MP4; GIF and record have the same name.
    """
    from visionrel.data.video_files import write_gif, write_mp4

    with _file(folder, index, record, ".mp4") as path:
        write_mp4(path, clip, fps)
        write_gif(path.with_suffix(".gif"), clip, fps, max(1, _PREVIEW_HEIGHT // clip.shape[1]))
    return path


@contextmanager
def _file(folder: Path, index: int, record: Record, suffix: str) -> Iterator[Path]:
    """Gives a free name to write to and puts the record beside it; a failure leaves nothing."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = _claim(folder, f"{index:04d}_{slugify(record.prompt)}_seed{record.seed}", suffix)
    try:
        yield path
        save_json(path.with_suffix(".json"), record.to_json())
    except BaseException:
        path.unlink(missing_ok=True)
        path.with_suffix(".gif").unlink(missing_ok=True)
        raise


def _claim(folder: Path, stem: str, suffix: str) -> Path:
    """Creates the first free name, so that two processes never take the same one."""
    tries = 0
    while True:
        path = folder / (f"{stem}_{tries}{suffix}" if tries else f"{stem}{suffix}")
        tries += 1
        if path.with_suffix(".json").exists():
            continue
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            continue
        return path


def read_record(path: Path) -> Record:
    """Reads the record of a picture or clip from the PNG itself or from the JSON beside it.

    Raises:
        InputError: If the file carries no record.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".json":
        content = load_json(path)
    elif suffix in _CLIPS:
        content = _read_beside(path, "no clip holds one inside")
    else:
        content = _read_png_text(path)
    try:
        return Record(**{"threads": None, **content})
    except TypeError as error:
        raise InputError(f"{path} holds no visionrel record ({error}).") from error


def _read_png_text(path: Path) -> Any:
    try:
        with Image.open(path) as image:
            image.load()
            text = getattr(image, "text", {}).get(PNG_KEY)
        found = None if text is None else json.loads(text)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as a picture with a record: {error}.") from error
    if found is None:
        return _read_beside(path, "it was not made here, or a tool removed its metadata")
    return found


def _read_beside(path: Path, why: str) -> Any:
    beside = path.with_suffix(".json")
    if beside.is_file():
        return load_json(beside)
    raise InputError(
        f"{path} holds no visionrel record: {why}. Give the .json that lay beside it "
        f"({beside.name})."
    )
