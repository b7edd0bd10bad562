"""The one door to Gradio: apps write `from visionrel.demos.door import gr`."""

from visionrel.errors import VisionrelError


try:
    import gradio as gr
except ImportError as error:
    raise VisionrelError("The demo needs Gradio 6: pip install '.[demos]'") from error

__all__ = ["gr"]
