"""Each measure where its value is known in closed form."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from vae_lightning.comparison.privacy import Closeness, closeness, closest_distances, column_ranges
from vae_lightning.comparison.shapes import column_shapes, kolmogorov_smirnov
from vae_lightning.comparison.tables import Coded, code_tables
from vae_lightning.comparison.trends import choose_pairs, correlation, pair_trends
from vae_lightning.comparison.two_sample import two_sample_auroc
from vae_lightning.comparison.usefulness import name_measure, usefulness


def coded(*frames: pd.DataFrame) -> list[Coded]:
    return code_tables({f"table {i}": frame for i, frame in enumerate(frames)})


def normal(rows: int, seed: int = 0, columns: int = 2) -> pd.DataFrame:
    draws = np.random.default_rng(seed).normal(size=(rows, columns))
    return pd.DataFrame(draws, columns=list("abcdefgh"[:columns]))


# --- shapes


def test_the_shape_of_a_shifted_uniform_column() -> None:
    """F(x) and F(x − s) of the uniform distribution on [0, 1] differ by s at most."""
    grid = (np.arange(1000) + 0.5) / 1000
    real, other = coded(pd.DataFrame({"a": grid}), pd.DataFrame({"a": grid + 0.2502}))
    assert column_shapes(real, other) == {"a": pytest.approx(0.75, abs=0.0015)}


def test_the_shape_of_categories_one_of_which_is_unknown() -> None:
    real, other = coded(pd.DataFrame({"a": list("xxxy")}), pd.DataFrame({"a": list("xyzz")}))
    assert column_shapes(real, other) == {"a": pytest.approx(0.5)}


def test_the_distance_is_scipys() -> None:
    draws = np.random.default_rng(0)
    a, b = draws.poisson(3, 200).astype(float), draws.poisson(4, 300).astype(float)
    assert kolmogorov_smirnov(a, b) == pytest.approx(scipy.stats.ks_2samp(a, b).statistic, abs=1e-12)


@pytest.mark.parametrize("values", [[0.5, 1.5, 2.5, 3.5], list("xyxy")])
def test_the_share_of_empty_cells_is_part_of_a_shape(values: list[object]) -> None:
    """Left out, a maker that fills every hole would be perfect."""
    real, other = coded(pd.DataFrame({"a": [*values, *[None] * 4]}), pd.DataFrame({"a": values * 2}))
    assert column_shapes(real, other) == {"a": pytest.approx(0.5)}
    assert column_shapes(real, real) == {"a": 1.0}


# --- trends


def test_a_correlation_turned_around_is_as_unlike_as_can_be() -> None:
    frame = pd.DataFrame({"a": np.arange(50.5), "b": np.arange(50.5)})
    real, other = coded(frame, frame.assign(b=-frame["b"]))
    assert pair_trends(real, other, [("a", "b")]) == {("a", "b"): pytest.approx(0.0)}
    assert pair_trends(real, real, [("a", "b")]) == {("a", "b"): 1.0}


def test_categories_that_ceased_to_agree() -> None:
    """The joint shares ½, 0, 0, ½ against ¼ four times."""
    real, other = coded(
        pd.DataFrame({"a": list("xyxy"), "b": list("uvuv")}), pd.DataFrame({"a": list("xxyy"), "b": list("uvuv")})
    )
    assert pair_trends(real, other, [("a", "b")]) == {("a", "b"): pytest.approx(0.5)}


def test_numbers_beside_categories_are_cut_into_bins() -> None:
    numbers = np.linspace(0, 1, 101)
    side = np.where(numbers < 0.5, "low", "high")
    frame = pd.DataFrame({"a": numbers, "b": side})
    real, other = coded(frame, frame.assign(a=numbers[::-1]))
    assert pair_trends(real, other, [("a", "b")])["a", "b"] == pytest.approx(0.0, abs=0.02)
    real, other = coded(frame, frame.assign(a=numbers + 0.01))
    assert pair_trends(real, other, [("a", "b")])["a", "b"] > 0.85


def test_correlations_are_over_the_rows_that_have_both_cells() -> None:
    a, b = normal(40).to_numpy().T.copy()
    a[:5], b[5:9] = np.nan, np.nan
    assert correlation(a, b) == pytest.approx(np.corrcoef(a[9:], b[9:])[0, 1])
    assert correlation(1e200 * a, b + 1e9) == pytest.approx(correlation(a, b), abs=1e-6)


def test_a_column_that_is_lost_is_no_trend_and_no_excuse() -> None:
    """A correlation that does not exist in the real rows cannot be judged; one that was lost counts as 0."""
    frame = pd.DataFrame({"a": np.arange(50.5), "b": np.arange(50.5)})
    real, lost = coded(frame, frame.assign(b=1.5))
    assert pair_trends(real, lost, [("a", "b")]) == {("a", "b"): pytest.approx(0.5)}
    assert pair_trends(lost, lost, [("a", "b")]) == {}


def test_pairs_are_all_of_them_or_some_by_chance() -> None:
    (table,) = coded(normal(30, columns=8))
    everything = choose_pairs(table.kinds, 28, np.random.default_rng(0))
    assert len(set(everything)) == 28
    few = choose_pairs(table.kinds, 10, np.random.default_rng(0))
    assert len(set(few)) == 10
    assert set(few) < set(everything)
    assert few == choose_pairs(table.kinds, 10, np.random.default_rng(0))
    assert few != choose_pairs(table.kinds, 10, np.random.default_rng(1))


# --- two samples


def test_the_classifier_comes_close_to_the_best_one() -> None:
    """Of N(0, 1) and N(m, 1) the best AUROC is Φ(m / √2), and of the same distribution ½."""
    shifted = normal(2000, 1).assign(a=lambda f: f["a"] + 1.5)
    best = scipy.stats.norm.cdf(1.5 / math.sqrt(2))
    real, same, other = coded(normal(2000), normal(2000, 2), shifted)
    assert two_sample_auroc(real, other, 0) == pytest.approx(best, abs=0.03)
    assert two_sample_auroc(real, same, 0) == pytest.approx(0.5, abs=0.03)


def test_the_classifier_sees_categories_and_holes() -> None:
    """Half of the others look as real ones do, which makes 0.75 the best AUROC; 400 levels are there to confuse."""

    def draw(seed: int) -> pd.DataFrame:
        draws = np.random.default_rng(seed)
        levels = [f"level {i}" for i in range(400)]
        frame = pd.DataFrame({"a": draws.choice(levels, 2000), "b": draws.normal(size=2000)})
        return frame.assign(c=np.where(frame["b"] > 0, "up", "down"))

    real, other = coded(draw(0), draw(1).assign(c=draw(2)["c"]))
    assert two_sample_auroc(real, other, 0) == pytest.approx(0.75, abs=0.05)
    real, other = coded(draw(0), draw(1).assign(b=lambda f: f["b"].where(draw(2)["b"] > 0)))
    assert two_sample_auroc(real, other, 0) == pytest.approx(0.75, abs=0.05)
    few = real.take(np.arange(3))
    assert math.isnan(two_sample_auroc(few, other, 0))


# --- usefulness


def labelled(rows: int, seed: int) -> pd.DataFrame:
    frame = normal(rows, seed)
    yes = np.random.default_rng(seed).random(rows) < scipy.special.expit(3 * frame["a"])
    return frame.assign(size=2 * frame["a"], answer=np.where(yes, "yes", "no"))


def test_a_table_that_says_the_opposite_teaches_the_opposite() -> None:
    right, wrong = labelled(1000, 1), labelled(1000, 2)
    wrong["answer"] = np.where(wrong["answer"] == "yes", "no", "yes")
    real, right_table, wrong_table = coded(labelled(1000, 0), right, wrong)
    assert name_measure(real, "answer") == "AUROC"
    best = usefulness(right_table, real, "answer", 0)
    assert best > 0.85
    assert usefulness(wrong_table, real, "answer", 0) == pytest.approx(1 - best, abs=0.05)


def test_numbers_are_judged_by_the_share_of_variance_and_three_categories_by_hits() -> None:
    real, table = coded(labelled(500, 0), labelled(500, 1))
    assert name_measure(real, "size") == "R²"
    assert usefulness(table, real, "size", 0) > 0.9
    three = [
        frame.assign(size=pd.cut(frame["a"], [-9, -0.5, 0.5, 9], labels=["s", "m", "l"]).astype(object))
        for frame in (labelled(500, 0), labelled(500, 1))
    ]
    real, table = coded(*three)
    assert name_measure(real, "size") == "accuracy"
    assert usefulness(table, real, "size", 0) > 0.9


def test_rows_without_a_target_are_left_out_and_one_answer_teaches_nothing() -> None:
    holes = labelled(400, 1)
    holes.loc[::2, "answer"] = None
    real, table, one = coded(labelled(400, 0), holes, labelled(400, 2).assign(answer="yes"))
    assert usefulness(table, real, "answer", 0) > 0.8
    assert usefulness(one, real, "answer", 0) == 0.5
    assert math.isnan(usefulness(table, one, "answer", 0))
    assert math.isnan(usefulness(table.take(np.arange(0)), real, "answer", 0))


# --- privacy


def test_distances_are_means_over_columns_of_shares_of_the_range() -> None:
    train = pd.DataFrame({"a": [0.5, 10.5], "b": ["x", "y"], "c": [1.5, np.nan]})
    rows = pd.DataFrame({"a": [3.0, 99.5], "b": ["x", "y"], "c": [np.nan, np.nan]})
    reference, table = coded(train, rows)
    ranges = column_ranges(reference)
    np.testing.assert_allclose(ranges, [10.0, 0.0])
    # 0.25 + 0 + 1 beside the first and 0.75 + 1 + 0 beside the second; beyond the range a number is as far as can be.
    np.testing.assert_allclose(closest_distances(table, reference, ranges), [1.25 / 3, 1 / 3])


def test_copies_are_found_and_strangers_are_not() -> None:
    train, held_out, other = coded(normal(500, 0), normal(500, 1), normal(500, 2))
    assert closeness(train, train, held_out) == Closeness(1.0, 0.0)
    assert closeness(held_out, train, held_out).closer_to_training == 0.0
    found = closeness(other, train, held_out)
    assert found.closer_to_training == pytest.approx(0.5, abs=0.07)
    assert found.distance_ratio == pytest.approx(1.0, abs=0.15)


def test_ties_tell_nothing() -> None:
    """In a table of few categories every row is there already, in training and held-out rows alike."""
    (table,) = coded(pd.DataFrame({"a": list("xyxy"), "b": list("uuvv")}))
    assert closeness(table, table, table) == Closeness(0.5, 1.0)
