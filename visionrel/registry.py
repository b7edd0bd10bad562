"""The one list of methods: the command line, the demo and the tests read it."""

import importlib
import re
from dataclasses import dataclass
from difflib import get_close_matches
from types import ModuleType

from visionrel.errors import InputError


@dataclass(frozen=True)
class Method:
    """A published method.

    Attributes:
        name: What the user types, lower case.
        summary: One sentence for `--help`.
        package: Dotted name of the package holding the modules `config`, `trainer`, `pipeline`,
            `generate` and `evaluate`.
    """

    name: str
    summary: str
    package: str

    def module(self, name: str) -> ModuleType:
        """Imports one of the method's modules; nothing of the method is imported before."""
        return importlib.import_module(f"{self.package}.{name}")


_methods: dict[str, Method] = {}


def register_method(name: str, summary: str, package: str) -> Method:
    """Adds a method; called once per method in `visionrel.pipelines`.

    Raises:
        ValueError: If the name is not a lower-case word or is taken by another package.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*", name):
        raise ValueError(f"`name` must be one lower-case word, got {name!r}.")
    method = Method(name, summary, package)
    if _methods.setdefault(name, method) != method:
        raise ValueError(f"Method {name!r} is already registered by {_methods[name].package}.")
    return method


def methods() -> tuple[Method, ...]:
    """All registered methods, in the order of their registration."""
    importlib.import_module("visionrel.pipelines")
    return tuple(_methods.values())


def get_method(name: str) -> Method:
    """Finds a method by name.

    Raises:
        InputError: If there is none; the text lists the known ones and the nearest.
    """
    known = {method.name: method for method in methods()}
    if name in known:
        return known[name]
    nearest = get_close_matches(name, known, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise InputError(f"Unknown method {name!r}; known methods: {', '.join(known)}.{hint}")
