"""`visionrel demo`: the one guarded door to Gradio."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.util import find_spec

from visionrel.cli.commands import Command, Result
from visionrel.errors import VisionrelError
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
    base: str | None = None
    """Base model of every tab: an embedded name, a folder or a Hub id; each method's own if not
    given."""


def run_demo(settings: DemoSettings) -> Result:
    """Serves the app until it is interrupted.

    Raises:
        VisionrelError: If Gradio is not installed.
    """
    if find_spec("gradio") is None:
        raise VisionrelError("The demo needs Gradio: pip install 'visionrel[demos]'")
    demos = importlib.import_module("visionrel.demos")
    bases = {method.name: settings.base for method in methods()} if settings.base else None
    demos.launch(host=settings.host, port=settings.port, share=settings.share, bases=bases)
    return Result("The demo has ended.")


DEMO = Command("Try the methods in a browser.", lambda: DemoSettings, run_demo)
