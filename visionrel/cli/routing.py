"""From the words of a command line to the command they mean, and the listings on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from visionrel.cli.commands import Command, Group
from visionrel.errors import InputError


HELP_FLAGS = ("-h", "--help")
Tree = Mapping[str, Command | Group]


def find_command(tree: Tree, words: Sequence[str]) -> tuple[str, Command | str, list[str]]:
    """Walks down the tree.

    Args:
        tree: Commands and groups by name.
        words: The command line without the program's name.

    Returns:
        The full name (`visionrel train reversion`), the command (or the listing to print if help
        was asked for a group) and the words that are left.

    Raises:
        InputError: If a word names no command, or the line ends at a group.
    """
    name, summary, rest = "visionrel", "", list(words)
    while True:
        word = rest.pop(0) if rest else None
        if word in HELP_FLAGS:
            return name, list_commands(name, summary, tree), rest
        if word is None or word not in tree:
            raise InputError(_explain(name, word, tree))
        name, node = f"{name} {word}", tree[word]
        if isinstance(node, Command):
            return name, node, rest
        summary, tree = node.summary, node.members()


def list_commands(name: str, summary: str, tree: Tree) -> str:
    """Lists the commands below a group."""
    width = max(map(len, tree), default=0)
    lines = [f"usage: {name} COMMAND ...", ""]
    lines += [summary, ""] if summary else []
    lines += [f"  {word:<{width}}  {node.summary}" for word, node in tree.items()]
    return "\n".join([*lines, "", f"Flags of a command: {name} COMMAND --help"])


def _explain(name: str, word: str | None, tree: Tree) -> str:
    known = f"`{name}` takes one of: {', '.join(tree)}."
    if word is None:
        return f"{known} See `{name} --help`."
    nearest = get_close_matches(word, tree, n=1)
    hint = f"Did you mean `{name} {nearest[0]}`?" if nearest else f"See `{name} --help`."
    return f"Unknown command {word!r}; {known} {hint}"
