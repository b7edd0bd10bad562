"""How clips are drawn where nothing else is said: by commands, evaluation and demo alike."""

from dataclasses import dataclass, replace
from typing import Self


# The authors' settings are meant for CogVideoX, and so is their guidance.
_SMALL_BASE = {"num_inference_steps": 25, "guidance_scale": 3.0, "use_dynamic_cfg": False}
_PUBLISHED = {"num_inference_steps": 50, "guidance_scale": 6.0, "use_dynamic_cfg": True}
DRAWING_AT_LEAST = {"num_inference_steps": 1, "guidance_scale": 0}


@dataclass(kw_only=True)
class DrawingConfig:
    """How clips are drawn; what is not given depends on the base."""

    num_inference_steps: int | None = None
    """Denoising steps; 50 when not given, 25 for a base below 256 pixels."""
    guidance_scale: float | None = None
    """Strength of the prompt, 1 is off; 6 when not given, 3 for a base below 256 pixels."""
    use_dynamic_cfg: bool | None = None
    """Vary the strength of the prompt over the steps by Diffusers' formula, as the authors do; when
    not given, for a base of 256 pixels or more."""

    def settle(self, base_height: int) -> Self:
        """Fills what depends on the base.

        Args:
            base_height: Height in pixels of the clips that the base draws.
        """
        chosen = _SMALL_BASE if base_height < 256 else _PUBLISHED
        missing = {name: value for name, value in chosen.items() if getattr(self, name) is None}
        return replace(self, **missing)
