"""Checkpoints written by a thread, from a snapshot, while training goes on."""

import copy
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.utils._pytree import tree_leaves

from vae_lightning.training.checkpoints import AtomicCheckpointIO

EVERY_SECONDS = 1.0
"""A kill costs what was trained in this time, or an epoch, whichever is longer."""


class BackgroundCheckpointIO(AtomicCheckpointIO):
    """Writes each file whole, as the class above, but later: at most once in ``every_seconds``, and in a thread.

    A newer checkpoint takes the place of one that still waits for its turn. Whoever asks for a file to be read or
    removed, and whoever ends training, waits until everything is written. No more than one snapshot is taken while
    another one is being written, so that memory is bounded.

    Args:
        keepers: whose files these are.
        every_seconds: from one round of writing to the next.

    Raises:
        OSError: when a file could not be written, by the next call from the thread that trains.
    """

    def __init__(self, keepers: Sequence[ModelCheckpoint] = (), every_seconds: float = EVERY_SECONDS) -> None:
        super().__init__(keepers)
        self.every_seconds = every_seconds
        self._turn = threading.Condition()
        self._waiting: dict[Path, dict[str, Any]] = {}
        self._snapshot: dict[str, Any] | None = None
        self._is_writing = self._is_wanted_now = False
        self._began = -float("inf")
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        target = Path(path)
        with self._turn:
            self._turn.wait_for(lambda: not self._is_writing)
            self._tell_error()
            if self._snapshot is None or self.moment_of(self._snapshot) != self.moment_of(checkpoint):
                self._snapshot = _snapshot(checkpoint)
            self._waiting.pop(target, None)  # to the end: what was saved last is written last
            self._waiting[target] = self._snapshot
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="checkpoints", daemon=True)
                self._thread.start()
            self._turn.notify_all()

    def load_checkpoint(self, path: str | Path, *args: Any, **options: Any) -> Any:
        self.flush()
        return super().load_checkpoint(path, *args, **options)

    def remove_checkpoint(self, path: str | Path) -> None:
        with self._turn:
            self._turn.wait_for(lambda: not self._is_writing)
            self._waiting.pop(Path(path), None)
            super().remove_checkpoint(path)

    def teardown(self) -> None:
        self.flush()
        super().teardown()

    def flush(self) -> None:
        """Wait until every file is written.

        Raises:
            OSError: when one could not be.
        """
        with self._turn:
            self._is_wanted_now = True
            self._turn.notify_all()
            self._turn.wait_for(lambda: not self._waiting and not self._is_writing)
            self._is_wanted_now = False
            self._tell_error()

    def _tell_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _work(self) -> None:
        while True:
            with self._turn:
                self._turn.wait_for(lambda: bool(self._waiting))
                self._turn.wait_for(lambda: self._is_wanted_now, self._began + self.every_seconds - time.monotonic())
                files, self._waiting, self._snapshot = self._waiting, {}, None
                self._is_writing, self._began = True, time.monotonic()
            try:
                for path, checkpoint in files.items():
                    super().save_checkpoint(checkpoint, path)
            except BaseException as error:  # told by the thread that trains
                self._error = error
            finally:
                files = {}
                with self._turn:
                    self._is_writing = False
                    self._turn.notify_all()


def _snapshot(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """A deep copy: of small tensors, how Python copies them takes many times as long as copying their numbers."""
    copies: dict[int, Any] = {id(one): one.detach().clone() for one in tree_leaves(checkpoint) if type(one) is Tensor}
    return copy.deepcopy(checkpoint, copies)
