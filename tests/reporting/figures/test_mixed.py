"""Figures of columns of several kinds, and of holes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle, StepPatch

from tests.conftest import Run
from tests.reporting.conftest import words
from vae_lightning.reporting.figures import tables
from vae_lightning.reporting.figures.association import compute_associations
from vae_lightning.reporting.figures.gallery import PLOTS, draw_figures
from vae_lightning.reporting.figures.subject import Subject


def panel(figure, title: str):
    (axes,) = [axes for axes in figure.axes if axes.get_title() == title]
    return axes


def test_every_figure_of_a_mixed_table_is_drawn(mixed: Subject, mixed_run: Run, caplog) -> None:
    """The figure of marginals ended at the first text: "could not convert string to float"."""
    drawn = {plot.name for plot, _ in draw_figures(mixed)}
    assert drawn == {plot.name for plot in PLOTS if plot.suits(mixed)} >= {"marginals", "correlations", "worst_columns"}
    assert "could not be drawn" not in caplog.text + (mixed_run.run_dir / "train.log").read_text()


def test_empty_cells_are_no_values(mixed: Subject) -> None:
    """What stood behind the mask was drawn as if it had been measured."""
    assert mixed.batch.mask is not None
    np.testing.assert_array_equal(np.isnan(mixed.rows), ~mixed.batch.mask.numpy())
    assert np.isnan(mixed.rows[:, :2]).any(axis=0).all()
    assert not np.isnan(mixed.samples).any()
    filled = next(p for p in panel(tables.draw_marginals(mixed), "height").patches if isinstance(p, StepPatch))
    heights, edges = filled.get_data().values, filled.get_data().edges
    assert (heights * np.diff(edges)).sum() == pytest.approx(1)
    assert edges[0] > 100


def test_texts_are_bars_by_level_the_most_frequent_on_top(mixed: Subject) -> None:
    figure = tables.draw_marginals(mixed)
    axes = panel(figure, "city")
    real, drawn = (pd.Series(rows[:, 1]).dropna().value_counts(normalize=True) for rows in (mixed.rows, mixed.samples))
    levels = mixed.columns[1].levels
    assert levels is not None
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert sorted(names) == ["Lima", "Oslo", "Rome"]
    bars = [patch.get_width() for patch in axes.patches if isinstance(patch, Rectangle)]
    codes = [levels.index(name) for name in names]
    np.testing.assert_allclose(bars, [*(real.get(code, 0) for code in codes), *(drawn.get(code, 0) for code in codes)])
    assert bars[:3] == sorted(bars[:3], reverse=True)
    many = panel(figure, "shop")
    assert len(many.get_yticklabels()) == tables.MAX_LEVELS
    assert "others" in many.get_yticklabels()[-1].get_text()
    shares = [patch.get_width() for patch in many.patches]
    assert sum(shares[:12]) == pytest.approx(1)
    assert sum(shares[12:]) == pytest.approx(1)


def test_dates_and_truth_values_are_written_as_such(mixed: Subject) -> None:
    figure = tables.draw_marginals(mixed)
    figure.canvas.draw()
    dates = panel(figure, "since (week)")
    labels = [label.get_text() for label in dates.get_xticklabels()] + [dates.xaxis.get_offset_text().get_text()]
    assert any("2020" in label or "2021" in label or "-" in label for label in labels)
    truths = panel(figure, "member")
    assert [label.get_text() for label in truths.get_xticklabels()] == ["False", "True"]


def test_pairs_of_any_kinds_have_their_association(mixed: Subject) -> None:
    figure = tables.draw_correlations(mixed)
    real, drawn = (np.asarray(axes.images[0].get_array()) for axes in figure.axes[:2])
    assert mixed.is_category.tolist() == [False, True, True, False, True, False, True]
    np.testing.assert_allclose(real, compute_associations(mixed.rows, mixed.is_category))
    np.testing.assert_allclose(drawn, compute_associations(mixed.samples, mixed.is_category))
    assert real[0, 1] > 0.8  # the city decides on the height
    assert "association" in words(figure)


def test_nats_of_a_column_are_of_its_observed_cells(mixed: Subject) -> None:
    """An independent column was charged for cells that nobody had seen."""
    assert mixed.batch.mask is not None
    spoilt = replace(mixed, batch=mixed.batch._replace(x=mixed.batch.x.where(mixed.batch.mask, mixed.batch.x + 1)))
    for one, other in zip(mixed.column_nats, spoilt.column_nats, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)
