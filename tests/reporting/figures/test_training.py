"""The curves of training are those of metrics.csv."""

import numpy as np

from tests.conftest import Run
from tests.reporting.conftest import words
from vae_lightning.reporting.figures.subject import Subject
from vae_lightning.reporting.figures.training import draw_terms


def test_curves_are_those_of_metrics_csv(table: Subject, gaussian_run: Run) -> None:
    figure, metrics = draw_terms(table.history), gaussian_run.metrics
    best = metrics["val/nelbo"].idxmin()
    for axes, term in zip(figure.axes, ("nelbo", "reconstruction", "kl"), strict=True):
        *curves, mark = axes.lines
        for line, stage in zip(curves, ("train", "val"), strict=True):
            np.testing.assert_allclose(line.get_xydata(), metrics.assign(n=metrics.epoch + 1)[["n", f"{stage}/{term}"]])
        assert set(mark.get_xdata()) == {best + 1}
    assert f"epoch {best + 1}: {metrics['val/nelbo'][best]:.3f}" in words(figure)


def test_a_first_epoch_far_above_does_not_flatten_the_rest(table: Subject) -> None:
    history = {name: values.copy() for name, values in table.history.items()}
    history["val/nelbo"][0] = 1e6
    axes = draw_terms(history).axes[0]
    assert axes.get_ylim()[1] < 1e3


def test_one_epoch_is_a_dot_and_missing_values_are_left_out(table: Subject) -> None:
    history = {name: values[:1] for name, values in table.history.items()}
    assert draw_terms(history).axes[0].lines[0].get_marker() == "o"
    history = {**table.history, "train/kl": np.full_like(table.history["train/kl"], np.nan)}
    assert np.isfinite(draw_terms(history).axes[2].get_ylim()).all()


def test_where_the_start_is_best_no_epoch_is_marked(table: Subject) -> None:
    figure = draw_terms(table.history, start_is_best=True)
    assert "No epoch has a lower validation NELBO than the start, whose weights are kept." in words(figure)
    assert [len(axes.lines) for axes in figure.axes] == [2, 2, 2]
