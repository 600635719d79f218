"""Reads the history of a training run from whatever it was kept in: a CSV, a pasted log, numbers."""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.errors import DataError

# No digit or space belongs to two repetitions: a thousand of them would be tried in a million ways.
NUMBER = r"[-+]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|nan|inf(?:inity)?)"
_NAMED = re.compile(
    rf"(?<![\w/.])((?:(?:val|valid|validation|train|training|test)[ -])?[A-Za-z_][\w/.]*)"
    rf"\s*[:=]\s*({NUMBER})(?![\w:/])",
    re.IGNORECASE,
)
_PAIR = re.compile(rf"(?<![\d.])({NUMBER})\s*/\s*({NUMBER})", re.IGNORECASE)
_EPOCH = re.compile(r"\bepoch\s*(?:[:=]\s*)?\[?(\d+)", re.IGNORECASE)
_COUNTERS = re.compile(
    r"^(epoch|step|global_step|batch|iteration|lr|learning_rate|v_num|time|.*_?ms|.*/step|accuracy.*)$"
)


@dataclass(frozen=True)
class Curves:
    """One value per epoch and curve.

    Args:
        train: The training loss.
        validation: The validation loss; empty if there is none.
        kl: The KL; empty if it was not logged.
        names: Where they were read from.
        assumed: What was taken for granted about a curve's sign, if anything.
    """

    train: Array
    validation: Array
    kl: Array
    names: tuple[str, ...]
    assumed: str = ""

    @property
    def main(self) -> Array:
        """The curve that is judged: training, or validation where there is no other."""
        return self.train if self.train.size else self.validation


def read_curves(history: "str | PathLike[str] | Mapping[str, Sequence[float]] | Sequence[Any] | Array") -> Curves:
    """Curves from a file, a text, a mapping of names to values, or numbers (one column: training; two: validation too).

    Raises:
        DataError: No loss can be found in it.
    """
    if isinstance(history, Mapping):
        return _from_table({str(name): np.asarray(values, dtype=np.float64) for name, values in history.items()})
    if isinstance(history, str | PathLike):
        return _from_text(_text_of(history))
    if hasattr(history, "to_dict") and hasattr(history, "columns"):
        return _from_table({str(name): np.asarray(history[name], dtype=np.float64) for name in history.columns})
    try:
        values = np.asarray(history, dtype=np.float64)
    except (TypeError, ValueError):
        raise _unreadable(type(history).__name__) from None
    if values.ndim == 1 and values.size:
        return Curves(values, np.array([]), np.array([]), ("train",))
    if values.ndim == 2 and values.shape[1] == 2 and len(values):
        return Curves(values[:, 0], values[:, 1], np.array([]), ("train", "validation"))
    raise _unreadable(f"an array of shape {values.shape}")


def _unreadable(got: str) -> DataError:
    return DataError(
        "The 'history' parameter of examine_history must be a CSV of epochs, a pasted log with 'loss: number', pairs "
        f"'train / validation', or numbers. Got {got} instead."
    )


def _text_of(history: "str | PathLike[str]") -> str:
    if isinstance(history, str) and ("\n" in history or len(history) > 400):
        return history
    path = Path(history)
    try:
        if path.is_file():
            return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        pass
    if not isinstance(history, str) or re.fullmatch(r"[^\s:=]+\.(csv|txt|log|tsv)", history):
        raise DataError(
            f"The 'history' parameter of examine_history must be a file that exists. Got {history} instead."
        )
    return history


def _from_text(text: str) -> Curves:
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)  # colours of a terminal
    text = text.replace("\u2212", "-").replace("\u2013", "-").replace("\u00d7", "x")
    table = _csv_table(text)
    if table:
        return _from_table(table)
    table = _log_table(text)
    if any(_role(name) for name in table):
        return _from_table(table)
    pairs = [(float(one), float(other)) for one, other in _PAIR.findall(text)]
    if len(pairs) >= 2:
        values = np.array(pairs)
        return Curves(values[:, 0], values[:, 1], np.array([]), ("train", "validation"))
    numbers = re.findall(rf"(?<![\w.]){NUMBER}(?![\w.])", text, re.IGNORECASE)
    if len(numbers) >= 3 and not re.search(r"[A-Za-z]{4,}", text):
        return Curves(np.array([float(one) for one in numbers]), np.array([]), np.array([]), ("train",))
    raise _unreadable(f"text that begins {text[:60]!r}")


def _csv_table(text: str) -> dict[str, Array]:
    """Columns of a CSV with a header; rows of the same epoch are averaged, as loggers write several.

    A row whose epoch is no number is an epoch of its own, after the one before it.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    single = all(_number(line.strip()) is not None for line in lines[1:])  # one column needs no delimiter
    if len(lines) < 2 or not (single or any(mark in lines[0] for mark in ",;\t")):
        return {}
    mark = max(",;\t", key=lines[0].count)
    try:
        rows = list(csv.reader(io.StringIO("\n".join(lines)), delimiter=mark))
    except csv.Error:  # a cell of more than a hundred thousand characters
        return {}
    header = [name.strip() for name in rows[0]]
    if not any(_role(name) for name in header) or len(header) < 1:
        return {}
    columns: dict[str, dict[tuple[float, int], list[float]]] = {name: {} for name in header}
    epoch_column = next((index for index, name in enumerate(header) if name.lower() == "epoch"), None)
    epoch = (-math.inf, 0)
    for number, row in enumerate(rows[1:], start=1):
        told = _number(row[epoch_column]) if epoch_column is not None and epoch_column < len(row) else None
        epoch = (epoch[0], number) if told is None or not math.isfinite(told) else (told // 1, 0)
        for name, cell in zip(header, row, strict=False):
            value = _number(cell)
            if value is not None:
                columns[name].setdefault(epoch, []).append(value)
    return {
        name: np.array([float(np.mean(values[epoch])) for epoch in sorted(values)])
        for name, values in columns.items()
        if values and not _COUNTERS.match(name.lower())
    }


def _number(cell: str) -> float | None:
    try:
        return float(cell.replace("\u2212", "-"))
    except ValueError:
        return None


def _log_table(text: str) -> dict[str, Array]:
    """Values named in a pasted log. Of several lines of one epoch (a progress bar's) the last one counts."""
    epochs: list[dict[str, float]] = []
    current: str | None = None
    for line in re.split(r"[\r\n]+", text):
        mark = _EPOCH.search(line)
        if mark and (current is None or mark.group(1) != current or not epochs):
            current = mark.group(1)
            epochs.append({})
        named = {
            name.replace(" ", "_"): float(value)
            for name, value in _NAMED.findall(line)
            if not _COUNTERS.match(name.lower())
        }
        if not named:
            continue
        if current is None:
            epochs.append(named)
        else:
            epochs[-1].update(named)
    names = dict.fromkeys(name for epoch in epochs for name in epoch)
    return {name: np.array([epoch[name] for epoch in epochs if name in epoch]) for name in names}


def _role(name: str) -> str:
    """``train``, ``validation``, ``kl`` or nothing."""
    words = name.lower().replace("-", "_")
    # A weight, a schedule or a validation copy of the KL is not the KL.
    if re.search(r"(^|[_/ .])(kl|kld|kl_loss|kl_divergence|kullback\w*)($|[_/ .])", words):
        return "" if re.search(r"weight|beta|coef|anneal|per_dim|max|min", words) else "kl"
    if not re.search(r"loss|nelbo|elbo|objective|nll", words) or re.search(r"recon|mse|bce|best|weight", words):
        return ""
    validation = re.search(r"(^|[_/ .])(val|valid|validation|test|eval)", words) is not None
    return "validation" if validation else "train"


def _from_table(table: Mapping[str, Array]) -> Curves:
    chosen: dict[str, str] = {}
    for name in sorted(table, key=lambda one: (not one.lower().endswith("_epoch"), "val" in one.lower(), len(one))):
        role = _role(name)
        if role and role not in chosen and np.asarray(table[name]).size:
            chosen[role] = name
    if "train" not in chosen and "validation" not in chosen:
        raise _unreadable(f"the columns {', '.join(map(repr, list(table)[:8])) or 'none'}")
    empty = np.array([])
    curves = {role: np.asarray(table[name], dtype=np.float64) for role, name in chosen.items()}
    bounds = [role for role, name in chosen.items() if re.search(r"(?<!n)elbo", name.lower())]
    bounds = [role for role in bounds if not re.search("neg|loss", chosen[role].lower())]
    assumed = ""
    if bounds:
        # What is called ELBO is either maximised or, as minus the ELBO, minimised: its direction tells.
        rises = _rises(curves[bounds[0]])
        words = "rises: taken for the ELBO itself" if rises else "falls: taken for minus the ELBO"
        assumed = f"{chosen[bounds[0]]} {words}"
        curves.update({role: -curves[role] for role in bounds if rises})
    train, validation, kl = (curves.get(role, empty) for role in ("train", "validation", "kl"))
    return Curves(train, validation, kl, tuple(chosen.values()), assumed)


def _rises(values: Array) -> bool:
    """Whether a curve rises on the whole; one that does not move rises if it is below zero, as ELBOs mostly are."""
    finite = values[np.isfinite(values)]
    third = max(1, finite.size // 3)
    change = float(np.median(finite[-third:]) - np.median(finite[:third])) if finite.size else 0.0
    return change > 0 or (change == 0 and bool(finite.size) and float(finite[0]) < 0)


def first_bad(values: Array) -> int | None:
    """The index of the first value that is not finite."""
    return next((index for index, value in enumerate(values) if not math.isfinite(value)), None)
