"""What every tab shares: one job per device, a stop switch, errors that the page shows."""

import html
from collections.abc import Iterator
from contextlib import contextmanager

from visionrel.demos.door import gr
from visionrel.errors import VisionrelError


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
