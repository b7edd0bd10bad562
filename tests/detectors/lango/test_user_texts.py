"""Whoever reads of LANGO on the command line reads that it is a reconstruction."""

import importlib
import pkgutil
from collections.abc import Iterator

import pytest

from visionrel.cli.commands import Command, Group
from visionrel.cli.tree import TREE
from visionrel.weights import recipes


def summaries(tree, path="visionrel") -> Iterator[tuple[str, str]]:
    for name, node in tree.items():
        assert isinstance(node, Command | Group)
        yield f"{path} {name}", node.summary
        if isinstance(node, Group):
            yield from summaries(node.members(), f"{path} {name}")


def recipe_texts() -> Iterator[tuple[str, str]]:
    for module in pkgutil.iter_modules(recipes.__path__):
        found = importlib.import_module(f"{recipes.__name__}.{module.name}")
        if summary := getattr(found, "SUMMARY", ""):
            yield module.name, f"{found.__doc__} {summary}"


TEXTS = [pair for pair in (*summaries(TREE), *recipe_texts()) if "LANGO" in pair[1]]


@pytest.mark.parametrize(("name", "text"), TEXTS)
def test_it_says_that_it_is_reconstructed(name, text):
    assert "reconstructed from" in text


def test_the_texts_are_found():
    assert {"visionrel evaluate aerial", "aerial", "text_banks"} <= {name for name, _ in TEXTS}
