"""``metrics.csv``: one row for each epoch, on disk as soon as it is known."""

import csv
import io
import os
from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from vae_lightning.files import write_whole


class EpochCSVLogger(Logger):
    """Writes every metric of an epoch into that epoch's row, at once; ``step`` counts the steps taken so far.

    A metric that comes without its epoch, as from a monitor of rates or devices, waits for the next one that has it.
    Lightning's own CSVLogger spreads an epoch over several rows, keeps up to a hundred steps in memory, and deletes
    the file when a run is resumed.

    Args:
        save_dir: folder of ``metrics.csv``.
    """

    def __init__(self, save_dir: str | Path) -> None:
        super().__init__()
        self._path = Path(save_dir) / "metrics.csv"
        self._rows: dict[int, dict[str, Any]] = {}
        self._waiting: dict[str, float] = {}
        self._names: list[str] = []
        self._last_row = 0
        if self._path.exists():
            with self._path.open(newline="", encoding="utf-8", errors="replace") as file:
                # A kill can cut the last row short; its epoch is repeated anyway.
                self._rows = {int(row["epoch"]): row for row in _whole_rows(file)}

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self._path.parent)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Hyper-parameters are in the run's configuration; there is nothing to add."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if "epoch" not in metrics:
            self._waiting.update(metrics)
            return
        epoch = int(metrics["epoch"])
        row = self._rows.get(epoch, {})
        # Lightning counts steps from 0.
        row.update({**self._waiting, **metrics, "epoch": epoch, "step": None if step is None else step + 1})
        self._waiting.clear()
        last = next(reversed(self._rows), epoch - 1)
        is_next = epoch == last + 1
        # A resumed run repeats the epoch it was killed in; whatever lay beyond it never happened.
        while self._rows and next(reversed(self._rows)) >= epoch:
            self._rows.popitem()
        self._rows[epoch] = row
        if epoch in (last, last + 1) and row.keys() <= set(self._names):
            self._rewrite_last(row, keep=is_next)
        else:
            self._rewrite()

    def _rewrite_last(self, row: dict[str, Any], keep: bool) -> None:
        with self._path.open("r+", newline="", encoding="utf-8") as file:
            file.seek(0 if keep else self._last_row, os.SEEK_END if keep else os.SEEK_SET)
            self._last_row = file.tell()
            file.truncate()
            csv.DictWriter(file, self._names).writerow(row)

    def _rewrite(self) -> None:
        measured = sorted({name for row in self._rows.values() for name in row} - {"epoch", "step"})
        self._names = ["epoch", "step", *measured]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._names)
        writer.writeheader()
        *earlier, last = self._rows.values()
        writer.writerows(earlier)
        self._last_row = len(text.getvalue().encode())
        writer.writerow(last)
        write_whole(self._path, text.getvalue().encode())


def _whole_rows(file: Iterable[str]) -> Iterator[dict[str, str]]:
    """Rows of as many cells as there are names, in the order of their epochs."""
    last = -1
    try:
        for row in csv.DictReader(file):
            epoch = row.get("epoch") or ""
            if None in row or None in row.values() or not (epoch.isdecimal() and len(epoch) < 10):
                continue
            if int(epoch) > last:
                last = int(epoch)
                yield row
    except csv.Error:  # what comes behind it cannot be told apart
        return
