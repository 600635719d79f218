"""How training went: the loss and its two terms, epoch by epoch."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vae_lightning.reporting.figures.base import (
    BLUE,
    DARK,
    ORANGE,
    Kind,
    Subject,
    Ticks,
    add_row,
    dress,
    headed,
    key,
    new_figure,
    ticks,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TERMS = {"nelbo": "NELBO = reconstruction + KL", "reconstruction": "reconstruction", "kl": "KL"}
WORST = 0.97
"""Share of the epochs that the axis must hold: the first ones may be far above all others."""


def read_history(path: Path) -> dict[str, np.ndarray]:
    """The columns of ``metrics.csv``; values that are missing are NaN. Empty where there is no such file."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = rows[0].keys() if rows else ()
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}


def has_terms(history: Mapping[str, np.ndarray]) -> bool:
    """Whether there is a curve to draw."""
    needed = {f"{stage}/{term}" for stage in ("train", "val") for term in TERMS} | {"epoch"}
    return needed <= history.keys() and bool(np.isfinite(history["val/nelbo"]).any())


def terms(subject: Subject) -> "Figure":
    """Three panels: the loss and what it is made of."""
    history = subject.history
    best = int(np.nanargmin(history["val/nelbo"]))
    epoch, value = int(history["epoch"][best]) + 1, history["val/nelbo"][best]
    figure = new_figure(
        10,
        3.4,
        f"Validation NELBO is best in epoch {epoch}: {value:.3f} nats per row. Does it still fall, or rise again?",
    )
    for axes, (term, name) in zip(add_row(figure, 3, 0.55, 0.85), TERMS.items(), strict=True):
        _panel(axes, history, term, best)
        headed(axes, name)
    key(
        figure,
        0.8,
        0.36,
        {"training": BLUE, "validation": ORANGE, "dotted: the best epoch, whose weights are kept": DARK},
    )
    return figure


def _panel(axes: "Axes", history: Mapping[str, np.ndarray], term: str, best: int) -> None:
    epochs = history["epoch"] + 1
    curves = {"train": BLUE, "val": ORANGE}
    for stage, color in curves.items():
        # One epoch alone makes no line.
        axes.plot(
            epochs, history[f"{stage}/{term}"], color=color, linewidth=1.5, marker="o" if len(epochs) == 1 else ""
        )
    values = np.concatenate([history[f"{stage}/{term}"] for stage in curves])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(np.quantile(values, WORST))) if len(values) else (0.0, 1.0)
    margin = 0.06 * (high - low) or 0.5
    axes.set(xlim=(epochs[0] - 0.5, epochs[-1] + 0.5), ylim=(low - margin, high + margin))
    axes.vlines(epochs[best], low - margin, high + margin, color=DARK, linewidth=1, linestyle=":")
    whole = np.unique(ticks(epochs[0], epochs[-1], 4).round())
    dress(
        axes, Ticks(whole, label="epoch"), Ticks(ticks(low, high, 4), label="nats per row" if term == "nelbo" else "")
    )


KINDS = (
    Kind(
        "terms",
        "training",
        "How training went",
        "The loss and the two terms it is the sum of, at weight 1 whatever training minimised. Validation that still "
        "falls at the end asks for more epochs; validation that rises while training falls is over-fitting, and the "
        "weights of the best epoch (dotted) are the ones kept. A KL that stays at 0 is posterior collapse.",
        terms,
        lambda subject: has_terms(subject.history),
    ),
)
