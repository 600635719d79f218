"""Jobs of a sweep that train in one process as one program, each as if it were alone there."""

import logging
import random
import threading
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from hydra.core.hydra_config import HydraConfig

from vae_lightning.errors import InterruptedRun
from vae_lightning.training.stack import Stack
from vae_lightning.training.stacked import COMPANY
from vae_lightning.training.work import Work

LOGGERS = ("vae_lightning", "lightning.pytorch", "lightning.fabric", "torch")
"""Those whose levels and handlers a run changes."""

FEW = 4
"""A stack of which only a fourth of the places is taken is slower than its members one by one."""


class Team:
    """Runs jobs side by side in threads that take turns: one works while all others wait.

    A job runs until it hands in steps to be taken (see :mod:`~vae_lightning.training.stacked`) or ends; once every
    job has done so the steps are taken for all of them together. What ends makes room for the next.

    Args:
        size: jobs at once.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._stacks: dict[str, Stack] = {}

    def run(self, jobs: Sequence[Callable[[], Any]]) -> list[Any]:
        """Run all jobs; what each of them returned.

        Raises:
            BaseException: what one of the jobs raised, once the others have come to an end: those that have handed in
                steps are interrupted, and none is begun.
        """
        few = self.size // FEW
        members = [_Member(job, self.size, lambda: sum(not one.ended for one in members) > few) for job in jobs]
        waiting, active = deque(members), list[_Member]()
        torch.set_flush_denormal(True)  # of this thread: a run sets it for its own
        try:
            while waiting or active:
                while waiting and len(active) < self.size:
                    active.append(waiting.popleft())
                for member in active:
                    if member.work is None or not member.work.left:
                        member.work = None
                        member.resume()
                        if member.error is not None:
                            raise member.error
                active = [member for member in active if not member.ended]
                self._take_steps(active, len(waiting))
        except BaseException:
            for member in members:
                member.interrupt()
            raise
        return [member.returned for member in members]

    def _take_steps(self, active: Sequence["_Member"], num_waiting: int) -> None:
        works: dict[str, list[Work]] = {}
        for member in active:
            if member.work is not None:
                works.setdefault(member.work.kind, []).append(member.work)
        for kind, alike in works.items():
            stack = self._stacks.get(kind)
            if stack is None or stack.size < len(alike):
                stack = self._stacks[kind] = Stack(alike[0], len(alike))
            ahead = sum(work.ahead for work in alike)
            stack.take(alike, ahead + num_waiting * ahead // len(alike))


class _Member:
    """A job in a thread of its own, which runs only while :meth:`resume` waits for it."""

    def __init__(self, job: Callable[[], Any], size: int, is_stack_worth_it: Callable[[], bool]) -> None:
        self._job = job
        self.size = size
        self._is_stack_worth_it = is_stack_worth_it
        self._thread: threading.Thread | None = None
        self._may_run, self._has_paused = threading.Semaphore(0), threading.Semaphore(0)
        self._is_interrupted = False
        self._process: _ProcessState | None = None
        self.work: Work | None = None
        self.ended = False
        self.returned: Any = None
        self.error: BaseException | None = None

    def resume(self) -> None:
        """Let the job run until it hands in steps or ends."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="job", daemon=True)
            self._thread.start()
        ours = _ProcessState()
        if self._process is not None:
            self._process.restore()
        self._may_run.release()
        self._has_paused.acquire()
        self._process = _ProcessState()
        ours.restore()

    def interrupt(self) -> None:
        """End the job where it stands: it can be gone on with from its last checkpoint."""
        if self._thread is not None and not self.ended:
            self._is_interrupted = True
            self.resume()

    def _run(self) -> None:
        self._may_run.acquire()
        COMPANY.set(self)
        try:
            self.returned = self._job()
        except BaseException as error:
            self.error = error
        self.work, self.ended = None, True
        self._has_paused.release()

    @property
    def is_there(self) -> bool:
        """Whether enough jobs are left for a stack."""
        return self._is_stack_worth_it()

    def take(self, work: Work) -> None:
        """Hand steps in, and let the others work until all of them are taken."""
        self.work = work
        self._has_paused.release()
        self._may_run.acquire()
        if self._is_interrupted:
            raise InterruptedRun("Interrupted.")


class _ProcessState:
    """What belongs to the process, and what a run sets as if the process were its own."""

    def __init__(self) -> None:
        self._random, self._numpy, self._torch = random.getstate(), np.random.get_state(), torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
        self._threads, self._precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
        self._hydra = HydraConfig.instance().cfg
        self._loggers = [_logger_state(logging.getLogger(name)) for name in ("", *LOGGERS)]
        self._filters, self._hook = warnings.filters, threading.excepthook

    def restore(self) -> None:
        """Let it be as it was."""
        random.setstate(self._random)
        np.random.set_state(self._numpy)
        torch.set_rng_state(self._torch)
        if self._cuda is not None:
            torch.cuda.set_rng_state_all(self._cuda)
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        torch.set_float32_matmul_precision(self._precision)
        HydraConfig.instance().cfg = self._hydra
        for name, state in zip(("", *LOGGERS), self._loggers, strict=True):
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate, logger.disabled = list(state[0]), *state[1:3]
            logger.setLevel(state[3])
        warnings.filters, threading.excepthook = self._filters, self._hook
        warnings._filters_mutated()  # type: ignore[attr-defined]  # or what was ignored so far stays so


def _logger_state(logger: logging.Logger) -> tuple[list[logging.Handler], bool, bool, int]:
    return list(logger.handlers), logger.propagate, logger.disabled, logger.level
