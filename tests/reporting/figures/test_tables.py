"""Tables: real rows beside drawn ones, and what the code says of each column."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from matplotlib.patches import Rectangle, StepPatch
from tests.figures.conftest import words

from vae_lightning.reporting.figures import tables
from vae_lightning.reporting.figures.base import Subject


def test_histograms_share_bins_and_integrate_to_one(table: Subject) -> None:
    figure = tables.marginals(table)
    drawn = table.model.sample(len(table.u), seed=0).to_numpy()
    order = np.argsort(-tables.distances(table.rows, drawn), kind="stable")
    assert len(figure.axes) == 4
    for axes, index in zip(figure.axes, order, strict=True):
        filled, outline = (patch for patch in axes.patches if isinstance(patch, StepPatch))
        np.testing.assert_array_equal(filled.get_data().edges, outline.get_data().edges)
        edges = outline.get_data().edges
        for patch, values in ((filled, table.rows), (outline, drawn)):
            heights = patch.get_data().values
            assert (heights * np.diff(edges)).sum() == pytest.approx(1)
            inner = (values[:, index] >= edges[1]) & (values[:, index] < edges[-2])
            assert (heights * np.diff(edges))[1:-1].sum() == pytest.approx(inner.mean())


def test_drawn_values_are_draws_and_not_means(table: Subject) -> None:
    means = table.model.sample(len(table.u), seed=0, mean=True).to_numpy()
    assert (table.drawn.var(0) > means.var(0)).all()


def test_distances_are_kolmogorovs() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 3)), rng.normal(0.5, 2, size=(150, 3))
    expected = [scipy.stats.ks_2samp(x[:, i], y[:, i]).statistic for i in range(3)]
    np.testing.assert_allclose(tables.distances(x, y), expected)


@pytest.mark.parametrize(
    ("real", "drawn", "edges"),
    [
        ([1, 2, 2, 4], [1, 3, 4, 5], [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]),
        ([3, 3, 3], [3, 3, 3], [2.5, 3.5]),
        ([0.25, 0.25], [0.25, 0.25], [-0.25, 0.75]),
    ],
    ids=["whole numbers", "one whole number", "one value"],
)
def test_whole_numbers_have_a_bin_each(real: list[float], drawn: list[float], edges: list[float]) -> None:
    np.testing.assert_allclose(tables.edges_of(np.array(real, float), np.array(drawn, float)), edges)


def test_an_outlier_does_not_press_the_others_into_one_bin() -> None:
    values = np.append(np.random.default_rng(0).normal(size=2000), 1e9)
    edges = tables.edges_of(values, values[:-1])
    assert edges[-1] < 10
    assert (tables.heights(values, edges) * np.diff(edges)).sum() == pytest.approx(1)


def test_binary_columns_are_dots_at_their_shares_of_ones(bits: Subject) -> None:
    (axes,) = tables.marginals(bits).axes
    dots = next(line for line in axes.lines if line.get_marker() == "o")
    drawn = bits.model.sample(len(bits.u), seed=0).to_numpy(dtype=float)
    np.testing.assert_allclose(dots.get_xydata(), np.column_stack([bits.rows.mean(0), drawn.mean(0)]))


def test_matrices_are_the_correlations(table: Subject) -> None:
    figure = tables.correlations(table)
    real, drawn, difference = (np.asarray(axes.images[0].get_array()) for axes in figure.axes[:3])
    np.testing.assert_allclose(real, pd.DataFrame(table.rows).corr().to_numpy())
    np.testing.assert_allclose(drawn, table.model.sample(len(table.u), seed=0).corr().to_numpy())
    np.testing.assert_allclose(difference, drawn - real)
    assert f"its largest is {np.abs(drawn - real).max():.2f}" in words(figure)


def test_a_column_of_one_value_has_no_correlation(table: Subject) -> None:
    rows = table.rows.copy()
    rows[:, 1] = 7
    subject = replace(table)
    subject.__dict__["rows"] = rows
    real = np.asarray(tables.correlations(subject).axes[0].images[0].get_array())
    assert np.isnan(real[1]).all()
    assert np.isfinite(np.delete(np.delete(real, 1, 0), 1, 1)).all()


def test_bars_are_nats_gained_over_an_independent_column(table: Subject) -> None:
    nats = tables.column_nats(table)
    by_column = table.model.score_by_column(table.rows, num_samples=512).filter(like="nats_").mean().to_numpy()
    np.testing.assert_allclose(nats.given_code, by_column, atol=0.05)
    scale = np.exp(table.model.preprocess.log_slopes().numpy())
    moments = zip(
        table.training.double().mean(0).numpy(), table.training.double().std(0, correction=0).numpy(), strict=True
    )
    u = table.u.double().numpy()
    alone = [-scipy.stats.norm(m, s).logpdf(u[:, i]).mean() - np.log(scale[i]) for i, (m, s) in enumerate(moments)]
    np.testing.assert_allclose(nats.alone, alone, atol=1e-3)
    bars = [p for p in tables.worst_columns(table).axes[0].patches if isinstance(p, Rectangle)]
    np.testing.assert_allclose([bar.get_width() for bar in bars], np.sort(nats.alone - nats.given_code), atol=1e-9)


def test_what_does_not_fit_is_left_out_and_said(bits: Subject) -> None:
    figure = tables.worst_columns(bits)
    assert "12 worst of 16 columns" in words(figure)
    assert len(figure.axes[0].patches) == 12
    assert len(tables.matrix_columns(1000)) == tables.MAX_MATRIX


def test_figures_leave_the_streams_of_numbers_alone(table: Subject) -> None:
    before = torch.get_rng_state()
    subject = replace(table)
    for draw in (tables.marginals, tables.correlations, tables.worst_columns):
        draw(subject)
    assert torch.equal(torch.get_rng_state(), before)
