"""The generation methods, one registration line each."""

from visionrel.registry import register_method


register_method(
    "reversion",
    "Learn a relation as one token from a handful of pictures (arXiv 2303.13495).",
    "visionrel.pipelines.reversion",
)
register_method(
    "videorepa",
    "Tune a video model so that its tokens relate as a video encoder's do (arXiv 2505.23656).",
    "visionrel.pipelines.videorepa",
)
