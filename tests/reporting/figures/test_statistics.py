"""The numbers that figures are drawn from, against other programs'."""

import numpy as np
import pytest
import scipy.stats
from sklearn.decomposition import PCA

from vae_lightning.reporting.figures.statistics import (
    choose_bins,
    compute_density,
    compute_distances,
    compute_ellipse,
    compute_principal_axes,
    space_evenly,
)


@pytest.mark.parametrize("size", [1, 3, 999, 1000, 54321])
def test_rows_are_chosen_evenly_and_once(size: int) -> None:
    chosen = space_evenly(size, 1000)
    assert len(chosen) == len(set(chosen)) == min(size, 1000)
    assert chosen[0] == 0
    assert chosen[-1] == size - 1


def test_distances_are_kolmogorovs() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 3)), rng.normal(0.5, 2, size=(150, 3))
    expected = [scipy.stats.ks_2samp(x[:, i], y[:, i]).statistic for i in range(3)]
    np.testing.assert_allclose(compute_distances(x, y, np.zeros(3, dtype=bool)), expected)


def test_distances_of_categories_are_total_variations_and_holes_are_left_out() -> None:
    x = np.array([[0, 1.0], [0, 2.0], [1, np.nan], [np.nan, np.nan]])
    y = np.array([[0, 1.0], [2, 2.0], [2, 1.0], [2, 2.0]])
    np.testing.assert_allclose(compute_distances(x, y, np.array([True, False])), [0.75, 0.0])
    assert compute_distances(np.full((2, 1), np.nan), np.ones((2, 1)), np.array([False])) == [0.0]


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
    np.testing.assert_allclose(choose_bins(np.array(real, float), np.array(drawn, float)), edges)


def test_an_outlier_does_not_press_the_others_into_one_bin() -> None:
    values = np.append(np.random.default_rng(0).normal(size=2000), 1e9)
    edges = choose_bins(values, values[:-1])
    assert edges[-1] < 10
    assert (compute_density(values, edges) * np.diff(edges)).sum() == pytest.approx(1)


def test_principal_components_are_scikit_learns() -> None:
    codes = np.random.default_rng(0).normal(size=(200, 5)) @ np.random.default_rng(1).normal(size=(5, 5)) + 3
    plane, shares = compute_principal_axes(codes)
    pca = PCA(2).fit(codes)
    np.testing.assert_allclose(shares, pca.explained_variance_ratio_, rtol=1e-6)
    np.testing.assert_allclose(np.abs(plane), np.abs(pca.components_), atol=1e-6)


def test_an_ellipse_holds_its_share_and_has_the_shape_of_its_points() -> None:
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    points = np.random.default_rng(0).normal(size=(20_000, 2)) * [3.0, 1.0] @ turn.T + [5.0, -2.0]
    centre, diameters, angle = compute_ellipse(points, 1 - np.exp(-0.5))  # within one standard deviation
    np.testing.assert_allclose(centre, [5, -2], atol=0.1)
    np.testing.assert_allclose(diameters, [2, 6], rtol=0.03)
    assert angle % 180 == pytest.approx(np.degrees(np.arctan2(0.8, -0.6)) % 180, abs=1)
    axes = np.stack([[np.cos(a), np.sin(a)] for a in np.radians([angle, angle + 90])])
    inside = np.square((points - centre) @ axes.T / (diameters / 2)).sum(1) <= 1
    assert inside.mean() == pytest.approx(1 - np.exp(-0.5), abs=1e-3)
