"""What is asked of every fuzzed input: a right result, or one line that says why not; in time, nothing left behind.

Ten thousand inputs of each kind, elsewhere than on each push: ``FUZZ=10000 FUZZ_SEED=7 pytest -m long tests/fuzz -rP``,
which prints how many of them came to what.
"""

import faulthandler
import os
import resource
import shutil
import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from vae_lightning.errors import UserError

Case = TypeVar("Case")
SECONDS, WAITING = 10.0, 60.0
MOST_MEMORY = 2**30
"""Bytes that no input of a few kilobytes may cost."""
SEED = int(os.environ.get("FUZZ_SEED", "0"))
"""The same on each push, so that a push fails by its own doing; FUZZ_SEED=5 looks elsewhere."""


class HangError(BaseException):
    """An input has taken longer than any may; no ``except Exception`` stops it."""


def budgets(short: int, share: int = 1) -> list[Any]:
    """How many inputs: ``short`` on each push; where ``-m long`` asks for it as many as FUZZ says, by default 1000.

    ``share`` is how many times as long as others an input of this kind takes: so many times fewer are drawn at length.
    """
    at_length = max(short, int(os.environ.get("FUZZ", "1000")) // share)
    return [short, pytest.param(at_length, marks=pytest.mark.long, id="at length")]


def fuzz(kind: str, cases: st.SearchStrategy[Case], check: Callable[[Case], str], examples: int) -> None:
    """Draw ``examples`` cases and hold each against ``check``, which returns what came of it, in a word.

    Raises:
        AssertionError: with the smallest case that fails.
    """
    came_of_it: Counter[str] = Counter()
    faulthandler.enable()

    # What is drawn stays in no folder: the seed is enough to draw it again.
    @settings(
        max_examples=examples,
        deadline=None,  # hypothesis looks at the clock only once a case is over
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @seed(SEED)
    @given(cases)
    def trial(case: Case) -> None:
        came_of_it[check(case)] += 1

    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        trial()
    finally:
        seconds = time.process_time() - began
        done = sum(came_of_it.values())
        words = ", ".join(f"{number} {word}" for word, number in came_of_it.most_common())
        print(f"{kind}: {done} inputs, seed {SEED}, {done / seconds:.0f} a second of one core: {words}.")
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < MOST_MEMORY, f"{kind}: an input took {grown:,} bytes"


@contextmanager
def in_time() -> Iterator[None]:
    """HangError where what is inside works or waits for too long; a process that cannot be told so is ended."""

    def stop(number: int, _: Any) -> None:
        raise HangError(f"worked for {SECONDS:g} s" if number == signal.SIGPROF else f"not done after {WAITING:g} s")

    before = {number: signal.signal(number, stop) for number in (signal.SIGPROF, signal.SIGALRM)}
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of this process: others may keep the machine busy
    signal.setitimer(signal.ITIMER_REAL, WAITING)
    faulthandler.dump_traceback_later(2 * WAITING, exit=True)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def empty_folder(parent: Path) -> Iterator[Path]:
    """A folder for one input, gone afterwards; nothing else may appear beside it."""
    folder = parent / "case"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
    assert not list(parent.iterdir()), f"written outside: {list(parent.iterdir())}"


def attempt(work: Callable[[], Case]) -> Case | UserError:
    """What ``work`` returns, or the mistake that it tells; anything else that it raises is a traceback to a user."""
    with in_time(), warnings.catch_warnings():
        warnings.simplefilter("error")  # more lines than one on a user's screen
        try:
            return work()
        except UserError as error:
            assert_one_line(str(error))
            return error


def assert_one_line(message: str) -> None:
    """A message is one line that a terminal can show."""
    assert message.strip(), "nothing is said"
    assert "Traceback" not in message
    assert len(message.splitlines()) == 1, f"several lines: {message!r}"


def files_in(folder: Path) -> set[str]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
