"""Items come in order, errors come through, and stopping early leaves no thread."""

import threading
from collections.abc import Iterator

import pytest

from utils.background import run_ahead


def test_the_items_come_in_order() -> None:
    assert list(run_ahead(range(100), ahead=3)) == list(range(100))
    assert list(run_ahead([])) == []


def test_it_works_ahead_but_not_further() -> None:
    made: list[int] = []
    taken = threading.Event()

    def items() -> Iterator[int]:
        for i in range(10):
            made.append(i)
            if i == 3:
                taken.set()
            yield i

    ahead = run_ahead(items(), ahead=2)
    assert next(ahead) == 0
    assert taken.wait(10)
    assert max(made) <= 4
    assert list(ahead) == list(range(1, 10))


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    ahead = run_ahead(items())
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="broken"):
        next(ahead)


def test_stopping_early_ends_the_thread() -> None:
    before = threading.active_count()
    ahead = run_ahead(range(1000), ahead=1)
    assert next(ahead) == 0
    ahead.close()
    assert threading.active_count() == before
