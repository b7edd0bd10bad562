"""What the evidence compares: one detector, with BatchFormer, with LANGO, and its controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from visionrel.errors import InputError


HELD_OUT = ("test-night", "test-fog", "test-steep")
SPLITS = ("val", *HELD_OUT)
_RUN = "r18_fpn_1xb4-2k_aerial"


@dataclass(frozen=True)
class Variant:
    """One configuration of the comparison.

    Attributes:
        label: Name in tables and plots.
        config: Name of a shipped configuration.
    """

    label: str
    config: str


BASE, LANGO, BATCHFORMER = "base", "lango", "batchformer"
RANDOM, SHUFFLED, NO_TEXT = "random_bank", "shuffled_bank", "no_text"
VARIANTS = {
    BASE: Variant("Faster R-CNN", f"faster-rcnn_{_RUN}"),
    LANGO: Variant("LANGO", f"lango-faster-rcnn_{_RUN}"),
    BATCHFORMER: Variant("BatchFormer V1 on regions", f"bf-faster-rcnn_{_RUN}"),
    RANDOM: Variant("LANGO, random bank", f"lango-random-bank_faster-rcnn_{_RUN}"),
    SHUFFLED: Variant("LANGO, shuffled bank", f"lango-shuffled-bank_faster-rcnn_{_RUN}"),
    NO_TEXT: Variant("LANGO, scenes untold", f"lango-no-text_faster-rcnn_{_RUN}"),
    "reasoner": Variant("reasoner alone", f"vsr-faster-rcnn_{_RUN}"),
    "relation": Variant("relation loss alone", f"relation-faster-rcnn_{_RUN}"),
    "relation_shuffled": Variant(
        "relation loss with a shuffled bank", f"relation-shuffled-bank_faster-rcnn_{_RUN}"
    ),
    "both": Variant("BatchFormer V1 on regions and LANGO", f"bf-lango-faster-rcnn_{_RUN}"),
}
"""All of them; the first three are shipped."""


def choose_variants(names: Sequence[str]) -> dict[str, Variant]:
    """The variants of these names, in the order of `VARIANTS`; all of them for none.

    Raises:
        InputError: If a name is unknown.
    """
    if unknown := [name for name in names if name not in VARIANTS]:
        raise InputError(
            f"`variants` has no {', '.join(map(repr, unknown))}; choose among "
            f"{', '.join(VARIANTS)}."
        )
    return {name: VARIANTS[name] for name in VARIANTS if name in names or not names}
