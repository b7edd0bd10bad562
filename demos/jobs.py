"""What every tab shares: one job per device, a stop switch, errors that the page shows."""

import html
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import fmean

from visionrel.demos.door import gr
from visionrel.errors import VisionrelError
from visionrel.training import StopTraining


# Passed to each event that computes: all of them together run one at a time.
ONE_AT_A_TIME = {"concurrency_limit": 1, "concurrency_id": "device"}


@contextmanager
def shown_errors() -> Iterator[None]:
    """Shows the library's own message on the page."""
    try:
        yield
    except VisionrelError as error:
        # The page renders HTML: `<R>` would vanish and a file name could do worse.
        text = html.escape(str(error), quote=False).replace("\n", "<br>")
        raise gr.Error(text, duration=None, print_exception=False) from error


class StopSwitch:
    """Ends the running job on behalf of the browser session that started it."""

    def __init__(self) -> None:
        self._owner: str | None = None
        self.pressed = False

    @contextmanager
    def held_by(self, session: str | None) -> Iterator[None]:
        """Arms the switch for one job of a session."""
        self.pressed = False
        self._owner = session
        try:
            yield
        finally:
            self._owner = None

    def press(self, session: str | None) -> bool:
        """Asks the job to end; answers whether the session has one running."""
        running = session is not None and session == self._owner
        self.pressed = self.pressed or running
        return running


class Watch:
    """Shows each training step, and stops at the first one after the switch was pressed."""

    def __init__(self, total: int, progress: gr.Progress, switch: StopSwitch) -> None:
        self.total = total
        self.progress = progress
        self.switch = switch
        self.step = 0
        self.recent: deque[float] = deque(maxlen=20)

    def __call__(self, step: int, metrics: dict[str, float]) -> None:
        """Takes note of a step."""
        self.step = step
        self.recent.append(metrics["loss"])
        self.progress((step, self.total), desc=f"loss {fmean(self.recent):.3f}")
        if self.switch.pressed:
            raise StopTraining

    @property
    def text(self) -> str:
        """What happened, as a sentence."""
        loss = f"loss {fmean(self.recent):.3f}"
        if self.step < self.total:
            return f"Stopped after step {self.step} of {self.total}, {loss}."
        return f"{self.total} steps, {loss}."
