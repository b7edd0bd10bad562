import pytest

from visionrel.demos.statements import find_statement, mark, summarize
from visionrel.worlds.scenes import HELD_OUT, Verdict


DIAGONAL = {"<R>": HELD_OUT["diagonal"]}


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("an owl above a cat", "owl above cat"),
        ("A photo of the OWL is over a cat, pink background", "owl above cat"),  # any wording
        ("an owl far to the left of a cat", "owl far left cat"),  # the longest words win
        ("a cat in front of a dog", "cat before dog"),  # not `in`
        ("a small owl upside down below a big cat", "owl below cat"),  # words of pose are no matter
        ("a panda <R> a car", "panda diagonal car"),  # the learned token
        ("a panda <R> a spoon", None),  # one noun only
        ("a cat above a dog and a hat", None),  # three nouns
        ("a cat above a cat", None),  # the judge cannot tell which is which
        ("a cat and a dog", None),  # no relation
        ("a category above a dog", None),  # no word of the world
        ("", None),
    ],
)
def test_what_a_prompt_states(prompt, found):
    statement = find_statement(prompt, DIAGONAL)
    assert (statement and str(statement)) == found


def test_a_token_without_a_known_relation_states_nothing():
    assert find_statement("a panda <R> a car") is None


def test_verdicts_in_words():
    right, wrong = Verdict(True, True, True), Verdict(True, True, False)
    unclear, lost = Verdict(True, True, False, cannot_tell=True), Verdict(True, False, False)
    marks = [mark(verdict)[0] for verdict in (right, wrong, unclear, lost)]
    assert marks == ["✓", "✗", "?", "✗"]
    assert "object not found" in mark(lost)
    statement = find_statement("an owl above a cat")
    assert "in **1 of 4** pictures" in summarize(statement, [right, wrong, unclear, lost])
    assert summarize(None, ()).startswith("Not judged")
