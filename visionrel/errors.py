"""Errors meant for the person at the keyboard; the command line prints them."""

from collections.abc import Sequence


class VisionrelError(Exception):
    """A failure that the user can mend; its text says how.

    Attributes:
        exit_code: What the process exits with: 2 for a mistake in the input.
    """

    exit_code = 2


class MachineError(VisionrelError):
    """Memory, disk or numbers gave out; the input was right."""

    exit_code = 1


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
