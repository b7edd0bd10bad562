from visionrel.errors import InputError, VisionrelError


def test_one_problem_is_its_own_text():
    assert str(InputError("It broke.")) == "It broke."


def test_several_problems_are_listed_at_once():
    error = InputError(["First.", "Second."])
    assert str(error) == "2 problems found:\n  - First.\n  - Second."
    assert error.problems == ["First.", "Second."]
    assert isinstance(error, ValueError) and isinstance(error, VisionrelError)
