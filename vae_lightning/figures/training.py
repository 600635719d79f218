"""How training went: the loss and its two terms, epoch by epoch."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vae_lightning.figures.base import BLUE, DARK, ORANGE, Kind, Subject, add_row, new_figure, ticks

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
        10, 3.3, f"Validation NELBO is best in epoch {epoch}: {value:.3f} nats per row. Does it still fall, or rise again?"
    )
    for axes, (term, name) in zip(add_row(figure, 3, 0.55, 0.7), TERMS.items(), strict=True):
        _panel(axes, history, term, best)
        axes.set_title(name, fontsize=9)
    figure.axes[0].set_ylabel("nats per row, data units", fontsize=9)
    figure.axes[0].legend(fontsize=8, frameon=False)
    return figure


def _panel(axes: "Axes", history: Mapping[str, np.ndarray], term: str, best: int) -> None:
    epochs = history["epoch"] + 1
    curves = {"train": (BLUE, "training"), "val": (ORANGE, "validation")}
    for stage, (color, label) in curves.items():
        # One epoch alone makes no line.
        marker = "o" if len(epochs) == 1 else ""
        axes.plot(epochs, history[f"{stage}/{term}"], color=color, label=label, linewidth=1.5, marker=marker)
    axes.axvline(epochs[best], color=DARK, linewidth=0.8, linestyle=":", label="best epoch: its weights are kept")
    values = np.concatenate([history[f"{stage}/{term}"] for stage in curves])
    values = values[np.isfinite(values)]
    if len(values):
        low, high = float(values.min()), float(np.quantile(values, WORST))
        margin = 0.06 * (high - low) or 0.5
        axes.set_ylim(low - margin, high + margin)
        axes.set_yticks(ticks(low, high, 4))
    axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    axes.set_xlabel("epoch", fontsize=9)
    axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[attr-defined]


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
