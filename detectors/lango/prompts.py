"""The words behind a text bank: conditions, classes and the sentences they are put into."""

from collections.abc import Mapping
from types import MappingProxyType

from visionrel.data.aerial.names import CLASS_SETS


SCENE_TEMPLATES = (
    "an aerial photo taken {}",
    "a drone image captured {}",
    "a picture from the air, {}",
)
CLASS_TEMPLATES = (
    "an aerial photo of a {}.",
    "a drone photo of a {}.",
    "a photo of a {} seen from above.",
    "a photo of a small {}.",
)

CONDITION_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "daytime": "in the daytime",
        "dusk or dawn": "at dusk or dawn",
        "night": "at night",
        "clear weather": "in clear weather",
        "cloudy weather": "in cloudy weather",
        "fog": "in fog",
        "rain": "in rain",
        "snow": "in snow",
        "straight down": "looking straight down",
        "at an oblique angle": "at an oblique angle",
        "from the side": "from the side",
        "low altitude": "from a low altitude",
        "medium altitude": "from a medium altitude",
        "high altitude": "from a high altitude",
    }
)
"""Condition -> words that end a scene template; a condition that is absent stands for itself."""

# Labels that mean little to a text encoder, or the same as another label, are spelt out.
_SPELLINGS = {
    "people": "person who is sitting or riding",
    "awning-tricycle": "tricycle with an awning",
    "motor": "motorcycle",
    "ground-track-field": "running track",
    "small-vehicle": "small vehicle such as a car",
    "large-vehicle": "large vehicle such as a truck",
    "soccer-ball-field": "soccer field",
}


def _spell(label: str) -> str:
    return _SPELLINGS.get(label, label.replace("-", " "))


CLASS_WORDS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {name: {label: _spell(label) for label in labels} for name, labels in CLASS_SETS.items()}
)
"""Shipped bank -> class name, in the order of the data set's `metainfo`, -> its words."""


def scene_sentences(condition: str) -> list[str]:
    """The sentences of one condition.

    Example:
        >>> scene_sentences("night")[0]
        'an aerial photo taken at night'
    """
    words = CONDITION_WORDS.get(condition, condition)
    return [template.format(words) for template in SCENE_TEMPLATES]


def class_sentences(words: str) -> list[str]:
    """The sentences of one class.

    Example:
        >>> class_sentences("motorcycle")[1]
        'a drone photo of a motorcycle.'
    """
    return [template.format(words) for template in CLASS_TEMPLATES]
