import pytest

from visionrel.errors import InputError
from visionrel.evaluation import Variant, choose, not_run


KNOWN = {"ours": Variant("Ours"), "base": Variant("the base", None), "old": Variant("old")}


def test_none_given_means_all_and_each_counts_once():
    assert choose((), KNOWN, "variants") == list(KNOWN)
    assert choose(("old", "ours", "old"), KNOWN, "variants") == ["old", "ours"]
    with pytest.raises(InputError, match="`variants` has no 'new'; choose among ours, base, old"):
        choose(("new",), KNOWN, "variants")


def test_what_was_left_out_is_named():
    assert list(not_run({"ours": KNOWN["ours"]}, KNOWN)) == [
        "Variants that this report leaves out: the base, old."
    ]
    assert list(not_run(KNOWN, KNOWN)) == []
