"""Ctrl-C and SIGTERM end a run after the step in progress, with a checkpoint."""

import signal
import sys
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While this context is open, the first signal is only noted; Ctrl-C again ends at once.

    Attributes:
        received: number of the signal, 0 for none.
    """

    def __init__(self) -> None:
        self.received = 0
        self._old: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interrupts":
        self._old = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.received:
            print("\nsaving a checkpoint after this step; Ctrl-C again to end at once", file=sys.stderr)
        self.received = number

    def stop(self) -> None:
        """End the program as the signal asks: with status 130 after Ctrl-C, 143 after SIGTERM."""
        if self.received == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt
