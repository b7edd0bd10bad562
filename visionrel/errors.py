"""Errors meant for the person at the keyboard; the command line prints them and exits with 2."""

from collections.abc import Sequence


class VisionrelError(Exception):
    """A failure that the user can mend; its text says how."""


class InputError(VisionrelError, ValueError):
    """Bad input: names what was got, what is allowed and the next step, all problems at once.

    Args:
        problems: One problem, or every problem found, each a full sentence.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        if len(self.problems) == 1:
            text = self.problems[0]
        else:
            found = "\n".join(f"  - {problem}" for problem in self.problems)
            text = f"{len(self.problems)} problems found:\n{found}"
        super().__init__(text)
