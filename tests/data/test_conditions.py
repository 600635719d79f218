"""Condition columns as numbers that encoder and decoder are told, and draws of what the training rows had."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vae_lightning.data.columns import Column
from vae_lightning.data.conditions import MOST_CATEGORIES, MOST_COMBINATIONS, Conditions
from vae_lightning.data.dataset import Dataset, Rows
from vae_lightning.data.preprocess.none import Identity
from vae_lightning.data.scaled import scale_rows
from vae_lightning.errors import DataError

CITY = Column("city", "object", ("Oslo", "Paris", "Rome"))
BATCH, DOSE = Column("batch", "int64"), Column("dose", "float64")


def dataset(values: np.ndarray, columns: tuple[Column, ...], places: tuple[int, ...] | None = None) -> Dataset:
    rows = Rows(np.zeros((len(values), 2)), condition=values)
    modelled = (Column("x", "float64"), Column("y", "float64"))
    at = tuple(range(2, 2 + len(columns))) if places is None else places
    return Dataset("rows", modelled, rows, rows, rows, condition_columns=columns, condition_places=at)


def conditions(values: np.ndarray, *columns: Column, places: tuple[int, ...] | None = None) -> Conditions:
    found = Conditions.of(dataset(values, columns, places))
    assert found is not None
    return found


def table(num_rows: int = 400) -> np.ndarray:
    """City (Paris in no row), batch 1, 2 or 5, which depends on it, and a dose."""
    draws = np.random.default_rng(0)
    city = draws.choice([0.0, 2.0], num_rows, p=[0.7, 0.3])
    batch = np.where(city == 0, draws.choice([1.0, 2.0], num_rows), 5.0)
    return np.stack([city, batch, draws.normal(20_000, 3, num_rows)], 1)


def test_a_category_has_a_number_of_its_own_and_a_number_is_in_standard_deviations() -> None:
    values = table()
    found = conditions(values, CITY, BATCH, DOSE)
    told = found(torch.from_numpy(values)).double().numpy()
    assert found.size == 3 + 3 + 1
    expected = np.stack([*(values[:, 0] == k for k in (0, 2)), *(values[:, 1] == k for k in (1, 2, 5))], 1)
    np.testing.assert_allclose(told[:, [0, 2, 3, 4, 5]], expected - expected.mean(0), atol=1e-6)
    np.testing.assert_allclose(told[:, 6], (values[:, 2] - values[:, 2].mean()) / values[:, 2].std(), atol=1e-5)


def test_a_category_that_no_training_row_has_says_nothing_of_its_column() -> None:
    found = conditions(table(), CITY, BATCH, DOSE)
    told = found(torch.tensor([[1.0, 5.0, 20_000.0]]))[0]
    assert (told[:3] == 0).all()
    assert (told[3:6] != 0).all()
    assert found.unseen() == {"city": "'Paris'"}
    assert not found.is_seen(0, 1.0)
    assert found.list_known(0, seen=True) == "'Oslo', 'Rome'"


@pytest.mark.parametrize(
    ("column", "values", "categories"),
    [
        (Column("ward", "bool"), [0, 1] * 50, 2),
        (BATCH, [1, 2, 7, 9] * 25, 4),
        (BATCH, list(range(100)), None),  # as many values as rows
        (BATCH, list(range(50)) * 10, None),  # many values
        (DOSE, [0.5, 1.5] * 50, None),  # fractions
        (Column("day", "datetime64[D]"), [1, 2] * 50, None),
    ],
)
def test_few_whole_numbers_are_categories(column: Column, values: list[float], categories: int | None) -> None:
    found = conditions(np.array(values, dtype=float)[:, None], column)
    assert found.size == (categories or 1)
    assert (found.known[0] is None) == (categories is None)


def test_conditions_are_drawn_as_the_training_rows_have_them_jointly() -> None:
    values = table(4000)[:, :2]
    drawn = conditions(values, CITY, BATCH).draw(20_000, {}).numpy()
    for combination in np.unique(values, axis=0):
        share = [(part == combination).all(1).mean() for part in (values, drawn)]
        assert share[1] == pytest.approx(share[0], abs=0.015)
    assert set(map(tuple, drawn)) == set(map(tuple, values)), "no combination that no row has"


def test_what_is_fixed_stays_and_the_others_follow_the_rows_that_share_it() -> None:
    values = table()
    found = conditions(values, CITY, BATCH, DOSE)
    rome = found.draw(500, {0: 2.0}).numpy()
    assert (rome[:, 0] == 2).all()
    assert (rome[:, 1] == 5).all()
    # A dose that no row has: the other columns as in rows that share the category.
    both = found.draw(500, {0: 2.0, 2: 1.25}).numpy()
    assert (both == [2.0, 5.0, 1.25]).all()
    # A combination that no row has is the user's to ask for.
    assert (found.draw(5, {0: 2.0, 1: 1.0})[:, :2].numpy() == [2.0, 1.0]).all()
    assert found.commonest({0: 2.0})[0, :2].tolist() == [2.0, 5.0]


def test_the_table_of_combinations_is_bounded() -> None:
    values = np.random.default_rng(0).normal(size=(3 * MOST_COMBINATIONS, 1))
    found = conditions(values, DOSE)
    assert found.combinations.shape == (MOST_COMBINATIONS, 1)
    drawn = found.draw(20_000, {}).numpy()
    assert set(drawn[:, 0]) <= set(values[:, 0])
    assert drawn.std() == pytest.approx(values.std(), rel=0.05)


def test_plain_values_and_a_state_dict_make_them_again_in_any_precision() -> None:
    values = table()
    found = conditions(values, CITY, BATCH, DOSE, places=(0, 2, 4)).half()
    assert found.combinations.dtype == torch.float64, "statistics keep their digits"
    plain = found.as_plain()
    again = Conditions(**{**plain, "columns": [Column(*column) for column in plain["columns"]]})
    again.load_state_dict(found.state_dict())
    given = torch.from_numpy(values)
    assert torch.equal(found(given), again(given))
    with pytest.raises(ValueError, match="combinations"):
        Conditions([DOSE], [None], [0], MOST_COMBINATIONS + 1)
    for exposure in (1, -1, "dose"):
        with pytest.raises(ValueError, match="one of the columns of numbers"):
            Conditions([DOSE], [None], [0], 1, exposure)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one of the columns of numbers"):
        Conditions([BATCH], [[1.0, 2.0]], [0], 1, 0)


def test_a_row_is_taken_apart_and_put_together_where_its_columns_stand() -> None:
    data = dataset(table(), (CITY, BATCH, DOSE), places=(0, 2, 3))
    found = Conditions.of(data)
    assert found is not None
    whole = data.as_given("train")
    x, values = found.split(torch.from_numpy(whole))
    np.testing.assert_array_equal(values.numpy(), data.train.condition)
    np.testing.assert_array_equal(x.numpy(), data.train.x)
    np.testing.assert_array_equal(found.join(x.numpy(), values.numpy()), whole)
    assert [one.name for one in found.join_columns(data.columns)] == ["city", "x", "batch", "dose", "y"]


def test_empty_cells_and_unknown_values_are_told_with_the_known_ones() -> None:
    found = conditions(table(), CITY, BATCH, DOSE)
    for row, words in (
        ([0.0, np.nan, 1.0], "1 of 2 values of the rows are missing in 'batch', the first in line 1"),
        ([0.0, 3.0, 1.0], r"'batch' must hold one of 1, 2, 5: 1 of 2 values .* the first 3 in line 1"),
    ):
        with pytest.raises(DataError, match=words):
            found.check(np.array([[0.0, 1.0, 1.0], row]), lambda row: f"line {row}")


def test_other_rows_are_read_by_the_levels_of_the_training_rows() -> None:
    found = conditions(table()[:, :1], CITY)
    other = dataset(np.array([[0.0], [1.0]]), (Column("city", "object", ("Paris", "Rome")),))
    rows = scale_rows(other, Identity(2), conditions=found)["test"]
    told = next(iter(rows.batches())).condition
    assert told is not None
    assert torch.equal(told, found(torch.tensor([[1.0], [2.0]])))
    unknown = dataset(np.array([[0.0]]), (Column("city", "object", ("Bergen",)),))
    with pytest.raises(DataError, match=r"'city' must hold one of 'Oslo', 'Paris', 'Rome'. Got 'Bergen' instead"):
        scale_rows(unknown, Identity(2), conditions=found)


def exposed(values: np.ndarray, name: str, *columns: Column) -> Conditions:
    found = Conditions.of(replace(dataset(values, columns), exposure=name))
    assert found is not None
    return found


def test_an_exposure_is_told_last_as_its_logarithm_over_that_of_its_mean() -> None:
    values = table()[:, [0, 1, 1]]  # few whole numbers, which would be categories of a condition
    found = exposed(values, "time", CITY, Column("time", "int64"), BATCH)
    told = found(torch.from_numpy(values)).double().numpy()
    assert found.size == 3 + 3 + 1
    np.testing.assert_allclose(told[:, -1], np.log(values[:, 1] / values[:, 1].mean()), atol=1e-6)
    np.testing.assert_allclose(told[:, :-1], conditions(values[:, [0, 2]], CITY, BATCH)(values_of(values[:, [0, 2]])))
    assert found.exposure_name == "time"
    assert found.commonest({})[0, 1] == pytest.approx(values[:, 1].mean())
    assert found.commonest({1: 3.0})[0, 1] == 3.0
    plain = found.as_plain()
    again = Conditions(**{**plain, "columns": [Column(*column) for column in plain["columns"]]})
    again.load_state_dict(found.state_dict())
    assert torch.equal(found(torch.from_numpy(values)), again(torch.from_numpy(values)))


def values_of(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (0.0, r"'time' must hold numbers above 0, as it is the exposure: 1 of 2 values .* the first 0 in line 1"),
        (-3.0, r"'time' must hold numbers above 0, as it is the exposure: 1 of 2 values .* the first -3 in line 1"),
        (np.nan, r"missing in 'time', the first in line 1\. It is the exposure, which every row must have"),
    ],
)
def test_exposures_that_are_none_are_told(wrong: float, words: str) -> None:
    found = exposed(np.abs(table()[:, 1:2]), "time", Column("time", "float64"))
    with pytest.raises(DataError, match=words):
        found.check(np.array([[1.0], [wrong]]), lambda row: f"line {row}")


def test_too_many_texts_are_refused() -> None:
    levels = tuple(map(str, range(MOST_CATEGORIES + 1)))
    with pytest.raises(DataError, match="257 different texts, more than 256"):
        conditions(np.zeros((9, 1)), Column("id", "object", levels))


def test_another_table_may_have_its_conditions_in_another_order() -> None:
    """They were taken by their places: two columns of numbers changed parts without a word."""
    values = np.random.default_rng(0).normal(size=(50, 2)) * [1, 3] + [5, -100]
    weight = Column("weight", "float64")
    found = conditions(values, DOSE, weight)
    one, other = (
        scale_rows(dataset(told, columns), Identity(2), conditions=found)["test"].rows.condition
        for told, columns in ((values, (DOSE, weight)), (values[:, ::-1].copy(), (weight, DOSE)))
    )
    assert torch.equal(one, other)
