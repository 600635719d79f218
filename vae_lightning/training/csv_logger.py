"""``metrics.csv``: one row for each epoch, on disk as soon as it is known."""

import csv
import os
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only


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
            with self._path.open(newline="", encoding="utf-8") as file:
                # A kill can cut the last row short; its epoch is repeated anyway.
                rows = [row for row in csv.DictReader(file) if None not in row.values() and row["epoch"].isdigit()]
            self._rows = {int(row["epoch"]): row for row in rows}

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
        # A resumed run repeats the epoch it was killed in; whatever lay beyond it never happened.
        is_next = not self._rows or epoch == max(self._rows) + 1
        is_same = bool(self._rows) and epoch == max(self._rows)
        self._rows = {e: r for e, r in self._rows.items() if e < epoch} | {epoch: row}
        if (is_next or is_same) and row.keys() <= set(self._names):
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
        partial = self._path.with_name(".metrics.csv.partial")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._names)
            writer.writeheader()
            for row in self._rows.values():
                self._last_row = file.tell()
                writer.writerow(row)
        os.replace(partial, self._path)
