"""Ctrl-C ends a script in one line. Scripts import this first: importing what they need takes seconds."""

import sys
from types import TracebackType

_usual_hook = sys.excepthook


def _say_interrupted(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        _usual_hook(kind, error, traceback)


sys.excepthook = _say_interrupted
