"""Every command that the docs show is a command that exists, with flags that exist."""

import re
import shlex
from pathlib import Path

import pytest

from visionrel.cli.parsing import parse
from visionrel.cli.routing import find_command
from visionrel.cli.tree import TREE
from visionrel.registry import methods


ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def read_commands() -> list[tuple[str, str]]:
    """Page and command of each indented line that starts with `visionrel`."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        found += [
            (page.name, line) for line in re.findall(r"^ {4}(visionrel .*)$", text, re.MULTILINE)
        ]
    return found


@pytest.mark.parametrize(("page", "line"), read_commands())
def test_commands_in_the_docs_parse(page, line):
    words = shlex.split(line, comments=True)[1:]
    parse(*find_command(TREE, words))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    # Written by `make results`, not by hand.
    made = {"docs/results.md", "results.md", "docs/figures/quickstart.png"}
    assert not [link for link in targets if link not in made and not (page.parent / link).exists()]


def test_every_method_is_in_the_readme_and_has_a_page():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for method in methods():
        assert f"| `{method.name}` |" in text
        assert (ROOT / "docs" / f"{method.name}.md").is_file()
