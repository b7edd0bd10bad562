"""`--config FILE`: a YAML or JSON file is read as flags that stand before the other words.

Turning the file into flags, rather than into values, gives its entries the very parsing, checks and
messages of the command line, and lets a flag that comes later win.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from visionrel.errors import InputError


FLAG = "--config"
# Words that YAML 1.1 reads as truth values.
_TRUTH = {True: ("yes", "on", "true"), False: ("no", "off", "false")}


def flag_types(settings: type) -> dict[str, Any]:
    """Types of all flags of a dataclass by field name; nested dataclasses are laid flat."""
    hints = typing.get_type_hints(settings)
    found: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        kind = hints[field.name]
        if dataclasses.is_dataclass(kind):
            found |= flag_types(kind)
        else:
            found[field.name] = kind
    return found


def expand_config(words: Sequence[str], settings: type) -> list[str]:
    """Puts the entries of every `--config FILE` in front of the other words, as flags.

    Raises:
        InputError: If a file is unreadable or holds keys that are no flag; all are listed at once.
    """
    files, rest = _take_files(words)
    flags: list[str] = []
    for file in files:
        flags += entries_to_flags(_read(file), settings, file)
    return [*flags, *rest]


def entries_to_flags(entries: Mapping[str, Any], settings: type, source: Path | str) -> list[str]:
    """Spells a mapping of flag names to values as words of a command line.

    Args:
        entries: Names with `_` or `-`, and plain values or lists.
        settings: The dataclass whose fields are the flags.
        source: Named in messages.

    Raises:
        InputError: With every unknown key and every value that no flag can hold.
    """
    kinds = flag_types(settings)
    flags: list[str] = []
    problems: list[str] = []
    for key, value in entries.items():
        name = str(key).replace("-", "_")
        if name not in kinds:
            problems.append(_unknown(source, str(key), kinds))
        elif isinstance(value, Mapping):
            problems.append(f"{source}: `{key}` must be a plain value or a list, got a mapping.")
        elif value is None and type(None) not in typing.get_args(kinds[name]):
            problems.append(f"{source}: `{key}` is empty; give a value or leave the line out.")
        else:
            flags += _flag(name, value, kinds[name])
    if problems:
        raise InputError(problems)
    return flags


def _take_files(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    files, rest = [], []
    left: Iterator[str] = iter(words)
    for word in left:
        if word == FLAG:
            file = next(left, None)
            if file is None:
                raise InputError(f"`{FLAG}` needs the path of a YAML or JSON file.")
            files.append(Path(file))
        elif word.startswith(f"{FLAG}="):
            files.append(Path(word.removeprefix(f"{FLAG}=")))
        else:
            rest.append(word)
    return files, rest


def _read(file: Path) -> Mapping[str, Any]:
    import yaml

    try:
        entries = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"`{FLAG}` cannot read {file}: {error}.") from error
    except yaml.YAMLError as error:
        raise InputError(f"{file} is not valid YAML: {error}.") from error
    if entries is None:
        return {}
    if not isinstance(entries, Mapping):
        raise InputError(f"{file} must map flag names to values, got a {type(entries).__name__}.")
    return entries


def _unknown(source: Path | str, key: str, kinds: Mapping[str, Any]) -> str:
    nearest = get_close_matches(key.replace("-", "_"), kinds, n=1)
    hint = f"did you mean `{nearest[0]}`?" if nearest else f"known keys: {', '.join(kinds)}."
    return f"{source}: unknown key `{key}`; {hint}"


def _flag(name: str, value: Any, kind: Any) -> list[str]:
    """Spells one entry as words of a command line."""
    if isinstance(value, bool) and kind is bool:
        return [f"--{name}" if value else f"--no-{name}"]
    if isinstance(value, list | tuple):
        return [f"--{name}", *map(str, value)]
    if value is None:
        return [f"--{name}", "None"]
    if isinstance(value, bool):
        # Of `mixed_precision: no`, YAML makes a truth value.
        words = [word for word in _words(kind) if word in _TRUTH[value]]
        value = words[0] if len(words) == 1 else value
    if isinstance(value, str) and _is_collection(kind):
        return [f"--{name}", value]
    return [f"--{name}={value}"]


def _words(kind: Any) -> list[Any]:
    """All words of a Literal, also where it is optional."""
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return [
        word
        for option in options
        if typing.get_origin(option) is typing.Literal
        for word in typing.get_args(option)
    ]


def _is_collection(kind: Any) -> bool:
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return any(typing.get_origin(option) in (list, tuple, set) for option in options)
