"""How training went: the loss and its two terms, epoch by epoch."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vae_lightning.files import read_rows
from vae_lightning.reporting.figures.plot import Plot
from vae_lightning.reporting.figures.style import BLUE, DARK, ORANGE, WIDTH, add_legend, create_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TERMS = {"nelbo": "NELBO = reconstruction + KL", "reconstruction": "reconstruction", "kl": "KL"}
WORST, MOST_EPOCHS = 0.97, 1e9
"""Share of the epochs that the axis must hold, as the first may be far above all others; no run has more epochs."""


def read_history(path: Path) -> dict[str, np.ndarray]:
    """The columns of ``metrics.csv``; values that are missing are NaN. Empty where there is no such file."""
    if not path.is_file():
        return {}
    rows = read_rows(path)
    names = rows[0].keys() if rows else ()
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}


def has_terms(history: Mapping[str, np.ndarray]) -> bool:
    """Whether there is a curve to draw."""
    needed = {f"{stage}/{term}" for stage in ("train", "val") for term in TERMS} | {"epoch"}
    if not needed <= history.keys() or not (np.abs(history["epoch"]) < MOST_EPOCHS).all():
        return False
    return bool(np.isfinite(history["val/nelbo"]).any())


def draw_terms(history: Mapping[str, np.ndarray], start_is_best: bool = False) -> "Figure":
    """Three panels: the loss and what it is made of, of a history that :func:`has_terms`.

    Args:
        history: every epoch's terms by name.
        start_is_best: whether no epoch was better than the weights before the first step, which are kept then.
    """
    best = int(np.nanargmin(history["val/nelbo"]))
    epoch, value = int(history["epoch"][best]) + 1, history["val/nelbo"][best]
    title = f"Validation NELBO is best in epoch {epoch}: {value:.3f} nats per row. Does it still fall, or rise again?"
    if start_is_best:
        title = "No epoch has a lower validation NELBO than the start, whose weights are kept."
    figure = create_figure(WIDTH, 3.2, title)
    panels = figure.subplots(1, len(TERMS))
    for axes, (term, name) in zip(panels, TERMS.items(), strict=True):
        _draw_term(axes, history, term)
        if not start_is_best:
            axes.axvline(epoch, color=DARK, linewidth=1, linestyle=":", label="the best epoch, whose weights are kept")
        axes.set(title=name, xlabel="epoch")
    panels[0].set_ylabel("nats per row")
    add_legend(figure, panels[0])
    return figure


def _draw_term(axes: "Axes", history: Mapping[str, np.ndarray], term: str) -> None:
    epochs = history["epoch"] + 1
    curves = {"training": (history[f"train/{term}"], BLUE), "validation": (history[f"val/{term}"], ORANGE)}
    for name, (values, color) in curves.items():
        # One epoch alone makes no line.
        axes.plot(epochs, values, color=color, label=name, marker="o" if len(epochs) == 1 else "")
    values = np.concatenate([values for values, _ in curves.values()])
    values = values[np.isfinite(values)]
    if len(values):
        low, high = float(values.min()), float(np.quantile(values, WORST))
        margin = 0.06 * (high - low) or 0.5
        axes.set_ylim(low - margin, high + margin)
    axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    axes.locator_params(axis="x", nbins=4, integer=True)
    axes.locator_params(axis="y", nbins=4)
    axes.grid()


PLOTS = (
    Plot(
        "terms",
        "training",
        "How training went",
        "The loss and the two terms it is the sum of, at weight 1 whatever training minimised. Validation that still "
        "falls at the end asks for more epochs; validation that rises while training falls is over-fitting, and the "
        "weights of the best epoch (dotted) are the ones kept. A KL that stays at 0 is posterior collapse.",
        lambda subject: draw_terms(subject.history, subject.start_is_best),
        lambda subject: has_terms(subject.history),
    ),
)
