"""`doctor`: what is installed, where models run, and what is missing."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from visionrel.cli.commands import Command, Result
from visionrel.errors import VisionrelError


REQUIRED = (
    *("visionrel", "torch", "torchvision", "diffusers", "transformers", "peft", "accelerate"),
    *("huggingface-hub", "safetensors", "numpy", "scipy", "pillow", "matplotlib", "tyro"),
    *("tensorboard", "tqdm", "pyyaml", "av", "pymunk", "rich"),
)
EXTRAS = {
    "gpu": ("xformers",),
    "demos": ("gradio",),
    "detection": ("onedl-mmengine", "onedl-mmcv", "onedl-mmdetection"),
}


@dataclass(kw_only=True)
class DoctorSettings:
    """The doctor has no settings of its own."""


def run_doctor(settings: DoctorSettings) -> Result:
    """Looks at packages, devices, embedded models and disk."""
    versions = {name: _version(name) for name in REQUIRED}
    extras = {extra: {name: _version(name) for name in names} for extra, names in EXTRAS.items()}
    missing = [f"{name}: pip install {name}" for name, found in versions.items() if not found]
    device = _describe_device() if versions["torch"] else {}
    weights = _check_weights() if not missing else {}
    if not missing and not weights:
        missing.append("embedded models: install visionrel again")
    missing += [problem for problems in weights.values() for problem in problems]
    data = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": versions,
        "extras": extras,
        "device": device,
        "weights": {name: not problems for name, problems in weights.items()},
        "disk_free_gb": round(shutil.disk_usage(Path.cwd()).free / 1e9, 1),
        "missing": missing,
    }
    return Result(_format(data), data, ok=not missing)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _describe_device() -> dict[str, Any]:
    import torch

    from visionrel.attention import resolve_attention
    from visionrel.devices import fast_precision

    name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu" and torch.backends.mps.is_available():
        name = "mps"
    return {
        "name": name,
        "model": torch.cuda.get_device_name() if name == "cuda" else platform.processor() or "",
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "attention": resolve_attention("auto", name),
        "fast mixed_precision": fast_precision(),
    }


def _check_weights() -> dict[str, list[str]]:
    from visionrel.weights_manifest import find_damage, load_manifest

    try:
        return {name: find_damage(entry) for name, entry in load_manifest().items()}
    except VisionrelError as error:
        return {"manifest": [str(error)]}


def _format(data: dict[str, Any]) -> str:
    lines = [f"python {data['python']} on {data['system']}"]
    lines += [f"{name} {found or 'MISSING'}" for name, found in data["packages"].items()]
    for extra, found in data["extras"].items():
        have = all(found.values())
        text = ", ".join(f"{name} {number}" for name, number in found.items() if number)
        remedy = "" if have else f"not installed; pip install '.[{extra}]'"
        lines.append(f"extra {extra}: {text if have else remedy}")
    lines += [f"device {key}: {value}" for key, value in data["device"].items() if value != ""]
    for name, whole in data["weights"].items():
        lines.append(f"weights {name}: {'whole' if whole else 'DAMAGED'}")
    lines.append(f"free disk: {data['disk_free_gb']} GB")
    lines += [f"missing: {text}" for text in data["missing"]] or ["nothing is missing"]
    return "\n".join(lines)


DOCTOR = Command(
    "Show versions, devices, the attention backend and what is missing.",
    lambda: DoctorSettings,
    run_doctor,
)
