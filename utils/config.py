"""A script's settings: one frozen dataclass, which is also its command line."""

import contextlib
import dataclasses
import io
import itertools
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import tyro

from utils.errors import UserError
from utils.files import write_json
from utils.quiet import quiet_libraries

ConfigT = TypeVar("ConfigT")


def run_script(
    main: Callable[[ConfigT], Any], config_class: type[ConfigT], description: str | None = None
) -> None:
    """Parse the command line into `config_class` and call `main`; a `UserError` is one line, exit status 2.

    Flags are spelled with underscores as the fields are; hyphens are accepted too. The rank that
    ``python -m torch.distributed.launch`` adds as ``--local-rank=N`` is dropped: LOCAL_RANK says the same.
    Ctrl-C exits with status 130, SIGTERM with 143: half-written files are removed (at SIGTERM only in a run
    of one process). Where the reader of the output leaves (`| head`), the script ends in silence.

    A class may name flags that once took no value in `BARE_FLAGS`, with the value that one alone stands for.
    """
    arguments = [a for a in sys.argv[1:] if not a.replace("_", "-").startswith("--local-rank=")]
    for flag, value in getattr(config_class, "BARE_FLAGS", {}).items():
        arguments = _with_value(arguments, flag, value)
    quiet_libraries()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal's encoding may lack a sentence's letters
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            _refuse_dashed_names(arguments)
            with _ended_by_sigterm():
                main(tyro.cli(config_class, args=arguments, description=description, use_underscores=True))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # see "Note on SIGPIPE" in the documentation of Python's module signal
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """While this context is open, SIGTERM raises SystemExit, so that files are cleaned up, and ends workers.

    Nothing is changed where the signal is taken care of already, outside the main thread, and in a process of
    a distributed run: it may hang in a call that waits for another process, where no handler of Python runs.
    """
    alone = os.environ.get("WORLD_SIZE", "1") == "1"
    main_thread = threading.current_thread() is threading.main_thread()
    if not (alone and main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL):
        yield
        return

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would end the cleaning up
        for worker in multiprocessing.active_children():  # else a pool is waited for until its work is done
            worker.terminate()
        raise SystemExit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _refuse_dashed_names(arguments: list[str]) -> None:
    """Refuse the name of a file that would be taken for a flag.

    Raises:
        UserError: says how to write it.
    """
    for argument in arguments:
        if argument.startswith("-") and os.access(argument, os.F_OK):
            raise UserError(f"the name {argument} would be taken for a flag; write ./{argument}")


def _with_value(arguments: list[str], flag: str, value: str) -> list[str]:
    """The arguments with `value` after a `flag` that stands alone."""
    result: list[str] = []
    for argument, following in itertools.zip_longest(arguments, arguments[1:], fillvalue="--"):
        alone = argument.replace("-", "_") == flag.replace("-", "_") and following.startswith("--")
        result += [argument, value] if alone else [argument]
    return result


def check_minimum(config: Any, minimum: float, *names: str) -> None:
    """Refuse settings below `minimum`, and a seed, where there is one, that no generator takes.

    Raises:
        UserError: names the flag.
    """
    for name in names:
        if not getattr(config, name) >= minimum:
            raise UserError(f"--{name} {getattr(config, name)} must be at least {minimum}")
    seed = getattr(config, "seed", 0)
    if not 0 <= seed < 2**63:
        raise UserError(f"--seed {seed} must be at least 0 and below 2^63; give 0, for example")


def settings_as_json(config: Any) -> dict[str, Any]:
    """A dataclass of settings as JSON can hold it: paths become strings, tuples lists."""
    return json.loads(json.dumps(dataclasses.asdict(config), default=str))


def as_flags(config: Any, **changes: Any) -> list[str]:
    """The command line that gives these settings, with some of them changed."""
    flags: list[str] = []
    for field in dataclasses.fields(config):
        value = changes.get(field.name, getattr(config, field.name))
        if isinstance(value, bool):
            flags.append(f"--{field.name}" if value else f"--no_{field.name}")
        elif isinstance(value, tuple):
            flags += [f"--{field.name}", *map(str, value)] if value else []
        elif value is not None or field.default is not None:
            flags += [f"--{field.name}", str(value)]
    return flags


def save_config(config: Any, path: str | Path) -> None:
    """Write the resolved settings of a run as JSON beside its output."""
    write_json(path, settings_as_json(config))
