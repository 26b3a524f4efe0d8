"""An iterator that runs ahead in a thread of its own."""

import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
DONE = object()


def run_ahead(items: Iterable[T], ahead: int = 8) -> Iterator[T]:
    """Yield the items while a thread computes the next ones, up to so many ahead.

    What `items` raises is raised here, after the items before it. Stopping early ends the thread with the
    item that it is at.
    """
    ready: queue.Queue[Any] = queue.Queue(maxsize=ahead)
    stopped = threading.Event()

    def put(value: Any) -> bool:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(value, timeout=0.1)
                return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
            put((DONE, None))
        except BaseException as error:
            put((DONE, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is DONE:
                return
            yield item
    finally:
        stopped.set()
        thread.join()
