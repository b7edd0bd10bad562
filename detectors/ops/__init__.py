"""MMDetection without a compiler: a stand-in for mmcv's compiled module `mmcv._ext`.

A plain `pip install onedl-mmcv` brings no compiled ops, and `mmcv.ops` cannot be imported without
them. The stand-in gives what GFL, RetinaNet, FCOS, Faster and Cascade R-CNN and the DETR family
call, on PyTorch and torchvision, on the CPU and on CUDA. Any other op says its name when it is
called. A compiled `mmcv._ext` is used if there is one.
"""

import importlib
import sys
import warnings
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import FunctionType, ModuleType
from typing import Any

from visionrel.detectors.ops import boxes, deformable, focal, roi_align
from visionrel.errors import VisionrelError


NAME = "mmcv._ext"
COMPILE = (
    "MMCV_WITH_OPS=1 pip install --no-build-isolation --no-cache-dir --force-reinstall --no-deps "
    "onedl-mmcv"
)
_PLACEHOLDER = "requires mmcv to be compiled"


class _StandIn(ModuleType):
    """The module; mmcv asserts on import that every op exists, so every name does."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*args: object, **kwargs: object) -> None:
            raise VisionrelError(
                f"The op `{name}` of mmcv needs a compiled mmcv; without one visionrel provides "
                f"{', '.join(sorted(OPS))}. Build it (minutes, needs a C++ compiler): {COMPILE}; "
                "or use a model that does not call this op."
            )

        missing.__name__ = missing.__qualname__ = name
        return missing


OPS: dict[str, Callable[..., Any]] = {
    "nms": boxes.nms,
    "softnms": boxes.softnms,
    "roi_align_forward": roi_align.roi_align_forward,
    "roi_align_backward": roi_align.roi_align_backward,
    "ms_deform_attn_forward": deformable.ms_deform_attn_forward,
    "ms_deform_attn_backward": deformable.ms_deform_attn_backward,
    "sigmoid_focal_loss_forward": focal.sigmoid_focal_loss_forward,
    "sigmoid_focal_loss_backward": focal.sigmoid_focal_loss_backward,
    # MMEngine prints both when a run starts.
    "get_compiler_version": lambda: "none",
    "get_compiling_cuda_version": lambda: "none",
}


def register_stand_in() -> bool:
    """Registers the stand-in unless a compiled `mmcv._ext` can be imported.

    Modules of MMDetection that were imported before and hold placeholders for ops get the real
    ones, so it does not matter who imported what first.

    Returns:
        Whether the stand-in is in use.
    """
    if not isinstance(sys.modules.get(NAME), _StandIn):
        if _compiled_imports():
            return False
        stand_in = _StandIn(NAME, __doc__)
        stand_in.__spec__ = ModuleSpec(NAME, loader=None)
        vars(stand_in).update(OPS)
        sys.modules[NAME] = sys.modules["mmcv"]._ext = stand_in
    _replace_placeholders()
    return True


def _compiled_imports() -> bool:
    try:
        importlib.import_module(NAME)
    except ModuleNotFoundError:
        return False
    except (ImportError, OSError) as error:
        # Typically pip's cache handed out an mmcv that was compiled for another torch.
        warnings.warn(
            f"The compiled ops of mmcv do not load ({error}); slower ones stand in. "
            f"To compile them for this torch: {COMPILE}",
            stacklevel=2,
        )
        return False
    return True


def _replace_placeholders() -> None:
    """Puts mmcv's ops where MMDetection, imported too early, wrote functions that only raise."""
    found = [
        (module, name)
        for path, module in list(sys.modules.items())
        if path.startswith("mmdet.")
        for name, value in list(vars(module).items())
        if _is_placeholder(value)
    ]
    if not found:
        return
    ops = importlib.import_module("mmcv.ops")
    for module, name in found:
        if hasattr(ops, name):
            setattr(module, name, getattr(ops, name))


def _is_placeholder(value: object) -> bool:
    function = value.__init__ if isinstance(value, type) else value
    return isinstance(function, FunctionType) and any(
        isinstance(constant, str) and _PLACEHOLDER in constant
        for constant in function.__code__.co_consts
    )
