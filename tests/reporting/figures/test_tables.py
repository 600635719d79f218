"""Tables: real rows beside drawn ones, and what the code says of each column."""

import itertools
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from matplotlib.patches import Rectangle, StepPatch

from tests.reporting.conftest import words
from vae_lightning.reporting.figures import tables
from vae_lightning.reporting.figures.statistics import compute_distances
from vae_lightning.reporting.figures.style import BLUE, ORANGE
from vae_lightning.reporting.figures.subject import DRAWS, ColumnNats, Subject


def test_histograms_share_bins_and_integrate_to_one(table: Subject) -> None:
    figure = tables.draw_marginals(table)
    drawn = table.model.sample(table.num_rows, seed=0).to_numpy()
    order = np.argsort(-compute_distances(table.rows, drawn, table.is_category), kind="stable")
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
    np.testing.assert_array_equal(table.samples, table.model.sample(table.num_rows, seed=0).to_numpy())
    drawn, means = (table.model.sample(4000, seed=0, mean=mean).to_numpy() for mean in (False, True))
    assert (drawn.var(0) > 1.02 * means.var(0)).all()


def test_binary_columns_are_dots_at_their_shares_of_ones(bits: Subject) -> None:
    (axes,) = tables.draw_marginals(bits).axes
    dots = next(line for line in axes.lines if line.get_marker() == "o")
    drawn = bits.model.sample(bits.num_rows, seed=0).to_numpy(dtype=float)
    np.testing.assert_allclose(dots.get_xydata(), np.column_stack([bits.rows.mean(0), drawn.mean(0)]))


def test_matrices_are_the_correlations(table: Subject) -> None:
    figure = tables.draw_correlations(table)
    real, drawn, difference = (np.asarray(axes.images[0].get_array()) for axes in figure.axes[:3])
    np.testing.assert_allclose(real, pd.DataFrame(table.rows).corr().to_numpy())
    np.testing.assert_allclose(drawn, table.model.sample(table.num_rows, seed=0).corr().to_numpy())
    np.testing.assert_allclose(difference, drawn - real)
    assert f"its largest is {np.abs(drawn - real).max():.2f}" in words(figure)


def test_a_column_of_one_value_has_no_correlation(table: Subject) -> None:
    rows = table.rows.copy()
    rows[:, 1] = 7
    subject = replace(table)
    subject.__dict__["rows"] = rows
    real = np.asarray(tables.draw_correlations(subject).axes[0].images[0].get_array())
    assert np.isnan(real[1]).all()
    assert np.isfinite(np.delete(np.delete(real, 1, 0), 1, 1)).all()


@pytest.mark.parametrize(("columns", "across", "down"), [(12, 12, 12), (24, 12, 24), (30, 15, 30), (60, 20, 30)])
def test_many_columns_have_names_that_do_not_touch(columns: int, across: int, down: int) -> None:
    """From 13 columns on the axes had no names."""
    draws = np.random.default_rng(0)
    rows, samples = draws.normal(size=(2, 50, columns))
    names = [f"column{i}" for i in range(columns)]
    subject: Any = SimpleNamespace(rows=rows, samples=samples, names=names, is_category=np.zeros(columns, dtype=bool))
    figure = tables.draw_correlations(subject)
    figure.canvas.draw()
    axes = figure.axes[0]
    for labels, named in ((axes.get_xticklabels(), across), (axes.get_yticklabels(), down)):
        assert len([label for label in labels if label.get_text()]) == named
        boxes = [label.get_window_extent() for label in labels]
        assert not any(a.overlaps(b) for a, b in itertools.pairwise(boxes))


def test_bars_are_nats_gained_over_an_independent_column(table: Subject) -> None:
    nats = table.column_nats
    by_column = table.model.score_by_column(table.rows, num_samples=512).filter(like="nats_").mean().to_numpy()
    vae = table.model.vae
    with torch.no_grad():
        means = vae(table.batch, vae.noise(512, table.num_rows)).log_px.double().mean(1).numpy()
    # The figure's are means over eight draws of z.
    assert (np.abs(nats.given_code - by_column) < 5 * means.std(0) / np.sqrt(DRAWS)).all()
    assert (means.std(0) < 0.1).all()
    scale = np.exp(table.model.scaling.mean_log_slopes().numpy())
    training = table.training.x.double()
    moments = zip(training.mean(0).numpy(), training.std(0, correction=0).numpy(), strict=True)
    u = table.batch.x.double().numpy()
    alone = [-scipy.stats.norm(m, s).logpdf(u[:, i]).mean() - np.log(scale[i]) for i, (m, s) in enumerate(moments)]
    np.testing.assert_allclose(nats.alone, alone, atol=1e-3)
    figure = tables.draw_worst_columns(table)
    bars = [p for p in figure.axes[0].patches if isinstance(p, Rectangle)]
    gain = nats.alone - nats.given_code
    np.testing.assert_allclose([bar.get_width() for bar in bars], np.sort(gain), atol=1e-9)
    worst = gain.argmin()
    (numbers,) = figure.axes[0].child_axes
    told = f"{gain[worst]:+.3f}   (NLL {nats.given_code[worst]:.2f}, alone {nats.alone[worst]:.2f})"
    assert numbers.get_yticklabels()[0].get_text() == told
    assert figure.axes[0].get_yticklabels()[0].get_text() == table.names[worst]


def test_bars_below_zero_are_orange_and_whole(table: Subject) -> None:
    from matplotlib.colors import to_hex

    subject = replace(table)
    subject.__dict__["column_nats"] = ColumnNats(np.array([5.0, 1.0, 1.0, 1.0]), np.array([2.0, 1.5, 3.0, 1.2]))
    axes = tables.draw_worst_columns(subject).axes[0]
    assert [to_hex(bar.get_facecolor()).upper() for bar in axes.patches] == [ORANGE, BLUE, BLUE, BLUE]
    assert axes.get_xlim()[0] < -3
    assert axes.get_xlim()[1] > 2


def test_what_does_not_fit_is_left_out_and_said(bits: Subject) -> None:
    figure = tables.draw_worst_columns(bits)
    assert "12 worst of 16 columns" in words(figure)
    assert len(figure.axes[0].patches) == 12


def test_more_columns_than_a_matrix_holds_are_chosen_evenly(bits: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_MATRIX", 4)
    figure = tables.draw_correlations(bits)
    real = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_allclose(real, pd.DataFrame(bits.rows[:, [0, 5, 10, 15]]).corr().to_numpy())
    assert "(4 of 16 columns)" in words(figure)


def test_figures_leave_the_streams_of_numbers_alone(table: Subject) -> None:
    before = torch.get_rng_state()
    subject = replace(table)
    for draw in (tables.draw_marginals, tables.draw_correlations, tables.draw_worst_columns):
        draw(subject)
    assert torch.equal(torch.get_rng_state(), before)
