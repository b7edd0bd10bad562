import re
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from visionrel.cli.commands import Group
from visionrel.cli.routing import Tree
from visionrel.cli.tree import TREE


HEAVY = {"torch", "diffusers", "transformers", "accelerate", "scipy", "matplotlib", "gradio"}
# Prints what a help text imported, so that one slow import anywhere is found by name.
PROBE = "import sys; from visionrel.cli.main import main; main(sys.argv[1:]); print(*sys.modules)"


def walk(tree: Tree, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every group and command, as the words that name it."""
    for name, node in tree.items():
        yield (*path, name)
        if isinstance(node, Group):
            yield from walk(node.members(), (*path, name))


COMMANDS = [(), *walk(TREE)]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_shows_its_help(run, words):
    for flag in ("--help", "-h"):
        code, out, err = run(*words, flag)
        assert (code, err) == (0, "")
        assert out.startswith(f"usage: {' '.join(('visionrel', *words))}")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_flag_is_explained(run, words):
    """Help comes from the string below a field: a sentence before the default."""
    entries: list[str] = []
    for line in run(*words, "--help")[1].splitlines():
        text = line.strip("│ ")
        if re.match("--[a-z]", text):
            entries.append(text)
        elif entries:
            entries[-1] += f" {text}"
    unexplained = [text for text in entries if not re.search(r"\.\s+\((default|required)", text)]
    assert not unexplained


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_imports_no_heavy_library(words):
    found = subprocess.run(
        [sys.executable, "-c", PROBE, *words, "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not HEAVY & set(found.stdout.splitlines()[-1].split())


def test_help_takes_less_than_a_second():
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "visionrel.cli.main", "train", "reversion", "--help"],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1.0
