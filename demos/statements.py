"""What a prompt states in the words of the scenes world, and how the judge's answer is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from visionrel.worlds.scenes import OBJECTS, RELATIONS, Relation


if TYPE_CHECKING:
    from visionrel.worlds.scenes import Verdict


SPOKEN: dict[str, Relation] = {
    words: relation for relation in RELATIONS.values() for words in relation.words
}


@dataclass(frozen=True)
class Statement:
    """`subject` stands in `relation` to `object`."""

    subject: str
    object: str
    relation: Relation

    def __str__(self) -> str:
        return f"{self.subject} {self.relation.name.replace('_', ' ')} {self.object}"


def find_statement(prompt: str, learned: Mapping[str, Relation] | None = None) -> Statement | None:
    """Finds two different nouns of the world with a known relation between them.

    Args:
        prompt: The prompt, with its relation tokens in place.
        learned: The relations of learned tokens.

    Returns:
        The statement, or None if the prompt makes none that the judge can check.

    Example:
        >>> str(find_statement("an owl far to the left of a cat, pink background"))
        'owl far left cat'
    """
    text = prompt.lower()
    nouns = [*re.finditer(rf"\b({'|'.join(OBJECTS)})\b", text)]
    if len(nouns) != 2 or nouns[0][0] == nouns[1][0]:
        return None
    between = text[nouns[0].end() : nouns[1].start()]
    known = {**SPOKEN, **{token.lower(): relation for token, relation in (learned or {}).items()}}
    # The longest: `in front of` holds `in` as well.
    for words in sorted(known, key=len, reverse=True):
        if re.search(rf"(?<!\w){re.escape(words)}(?!\w)", between):
            return Statement(nouns[0][0], nouns[1][0], known[words])
    return None


def mark(verdict: Verdict) -> str:
    """A verdict as a sign and words, for a picture's caption."""
    if verdict.cannot_tell:
        return f"? {verdict.text}"
    return f"{'✓' if verdict.relation_holds else '✗'} {verdict.text}"


def summarize(statement: Statement | None, verdicts: Sequence[Verdict]) -> str:
    """The verdicts in one line of Markdown."""
    if statement is None:
        return (
            "Not judged: the judge reads prompts with two nouns of its world and a relation that "
            "it knows between them."
        )
    right = sum(verdict.relation_holds and not verdict.cannot_tell for verdict in verdicts)
    return f"Judge: **{statement}** holds in **{right} of {len(verdicts)}** pictures."
