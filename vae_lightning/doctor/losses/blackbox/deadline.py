"""A time limit for code that is not ours.

A signal would interrupt only the main thread, and only between two bytecodes: one long call into C would hold us.
So whatever calls the user's code runs in a worker thread, and we stop *waiting* for it when the time is up, wherever
the code is. (One hand-over per measurement, not per call: a hand-over between threads costs up to a millisecond.)
A worker that computes is then told to stop by an exception raised inside it, which ends any loop written in Python.
One that sleeps is not (an exception that nobody takes in holds every other thread up where a debugger or a coverage
tool traces them): it stops at its next call, and its daemon thread cannot keep the interpreter alive.
"""

import ctypes
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
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


class Worker:
    """A thread that runs one call at a time, each against a deadline.

    >>> Worker().run(lambda: 1 + 1, seconds=1.0)
    2
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self._answers: SimpleQueue[tuple[bool, Any]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._asleep = False

    def run(self, job: Callable[[], Any], seconds: float) -> Any:
        """The value of `job()`.

        Raises:
            OutOfTimeError: After `seconds` without an answer. The worker has been abandoned and a later `run`
                starts another.
            BaseException: Whatever `job` raises.
        """
        if self._thread is None:
            self._start()
        self._jobs.put(job)
        try:
            fine, answer = self._wait(seconds)
        except Empty:
            self._abandon()
            raise OutOfTimeError(f"no answer within {seconds:.1f} seconds") from None
        if fine:
            return answer
        raise answer

    def _wait(self, seconds: float) -> tuple[bool, Any]:
        # In slices. Where the worker computes, it is charged for the processor time that it gets: a busy or suspended
        # machine must not make a quick function look slow. Where it only sleeps, for the time that passes.
        waited, worked = 0.0, self._processor_time()
        while True:
            length = min(SLICE, max(seconds - waited, 0.001))
            try:
                return self._answers.get(timeout=length)
            except Empty:
                before, worked = worked, self._processor_time()
                self._asleep = worked - before <= ASLEEP * length
                waited += length if self._asleep else worked - before
                if waited >= seconds:
                    raise

    def _processor_time(self) -> float:
        """Seconds of processor time that the worker has used; always 0 where the system does not tell."""
        thread = self._thread
        if (
            thread is None
            or thread.ident is None
            or not thread.is_alive()
            or not hasattr(time, "pthread_getcpuclockid")
        ):
            return 0.0
        return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))

    def close(self) -> None:
        """Let the thread end."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread = None

    def _start(self) -> None:
        self._jobs, self._answers = SimpleQueue(), SimpleQueue()
        self._thread = threading.Thread(target=_serve, args=(self._jobs, self._answers), daemon=True)
        self._thread.start()

    def _abandon(self) -> None:
        thread, self._thread = self._thread, None
        self._jobs.put(None)
        if thread is not None:
            _ABANDONED.add(thread)
        if thread is not None and thread.ident is not None and not self._asleep:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Stopped))


def _serve(jobs: SimpleQueue[Callable[[], Any] | None], answers: SimpleQueue[tuple[bool, Any]]) -> None:
    # numpy's error state and torch's gradient mode belong to a thread: a black box must not inherit the caller's.
    try:
        with np.errstate(all="ignore"), torch.enable_grad():
            while (job := jobs.get()) is not None:
                try:
                    answers.put((True, job()))
                except Stopped:
                    raise
                except BaseException as error:
                    answers.put((False, error))
    except Stopped:
        return
