"""A time limit for code that is not ours.

A signal would interrupt only the main thread, and only between two bytecodes: one long call into C would hold us.
So whatever calls the user's code runs in a thread, and we stop *waiting* for it when the time is up, wherever the code
is. (One thread per measurement, not per call.) A thread that computes is then told to stop by an exception raised
inside it, which ends any loop written in Python. One that sleeps is not (an exception that nobody takes in holds every
other thread up where a debugger or a coverage tool traces them): it stops at its next call, and as a daemon it cannot
keep the interpreter alive.
"""

import ctypes
import threading
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import numpy as np
import torch

SLICE = 0.25  # seconds
ASLEEP = 0.02  # the share of a processor below which a thread waits rather than works


class OutOfTimeError(Exception):
    """The code did not answer in time."""


class Stopped(BaseException):
    """Raised inside a worker whose answer nobody waits for; no Exception, so that user code rarely catches it."""


_ABANDONED: "WeakSet[threading.Thread]" = WeakSet()


def stop_if_abandoned() -> None:
    """Called before each of a user's calls.

    Raises:
        Stopped: In a worker whose answer nobody waits for.
    """
    if threading.current_thread() in _ABANDONED:
        raise Stopped


def run_within(job: Callable[[], Any], seconds: float) -> Any:
    """The value of `job()`, which runs in a thread of its own.

    >>> run_within(lambda: 1 + 1, seconds=1.0)
    2

    Raises:
        OutOfTimeError: After `seconds` without an answer.
        BaseException: Whatever `job` raises.
    """
    outcome: list[tuple[bool, Any]] = []
    thread = threading.Thread(target=_work, args=(job, outcome), daemon=True)
    thread.start()
    # In slices. Where the thread computes, it is charged for the processor time that it gets: a busy or suspended
    # machine must not make a quick function look slow. Where it only sleeps, for the time that passes.
    waited, worked, asleep = 0.0, _processor_time(thread), False
    while waited < seconds:
        length = min(SLICE, max(seconds - waited, 0.001))
        thread.join(length)
        if outcome:
            fine, answer = outcome[0]
            if fine:
                return answer
            raise answer
        before, worked = worked, _processor_time(thread)
        asleep = worked - before <= ASLEEP * length
        waited += length if asleep else worked - before
    _ABANDONED.add(thread)
    if thread.ident is not None and not asleep:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Stopped))
    raise OutOfTimeError(f"no answer within {seconds:.1f} seconds")


def _processor_time(thread: threading.Thread) -> float:
    """Seconds of processor time that the thread has used; always 0 where the system does not tell."""
    if thread.ident is None or not thread.is_alive() or not hasattr(time, "pthread_getcpuclockid"):
        return 0.0
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


def _work(job: Callable[[], Any], outcome: list[tuple[bool, Any]]) -> None:
    # numpy's error state and torch's gradient mode belong to a thread: a black box must not inherit the caller's.
    try:
        with np.errstate(all="ignore"), torch.enable_grad():
            try:
                outcome.append((True, job()))
            except BaseException as error:
                outcome.append((False, error))
    except Stopped:
        return
