"""`visionrel demo`: the one guarded door to Gradio."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.util import find_spec

from visionrel.cli.commands import Command, Result
from visionrel.errors import InputError, VisionrelError
from visionrel.registry import methods


@dataclass(kw_only=True)
class DemoSettings:
    """Where the app listens."""

    host: str = "127.0.0.1"
    """Address to listen on; the default is reachable from this machine only."""
    port: int = 7860
    """Port to listen on."""
    share: bool = False
    """Ask Gradio for a public link."""
    base: tuple[str, ...] = ()
    """Base models as METHOD=BASE, a BASE being an embedded name, a folder or a Hub id; a method's
    own if not given. For the METHOD detection, a checkpoint or safetensors to offer as well."""


def run_demo(settings: DemoSettings) -> Result:
    """Serves the app until it is interrupted.

    Raises:
        InputError: If `base` names no method.
        VisionrelError: If Gradio is not installed.
    """
    if find_spec("gradio") is None:
        raise VisionrelError("The demo needs Gradio: pip install '.[demos]'")
    demos = importlib.import_module("visionrel.demos")
    bases = _parse_bases(settings.base)
    demos.launch(host=settings.host, port=settings.port, share=settings.share, bases=bases)
    return Result("The demo has ended.")


def _parse_bases(words: tuple[str, ...]) -> dict[str, str]:
    # Detectors are MMDetection's and no method of the registry.
    known = [*(method.name for method in methods()), "detection"]
    bases = dict(word.partition("=")[::2] for word in words)
    if wrong := [word for word in words if not ("=" in word and word.partition("=")[0] in known)]:
        raise InputError(
            f"`base` takes METHOD=BASE with a METHOD of {', '.join(known)}; got {', '.join(wrong)}."
        )
    return bases


DEMO = Command("Try the methods in a browser.", lambda: DemoSettings, run_demo)
