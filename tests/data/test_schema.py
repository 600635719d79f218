"""What each column is taken for."""

from typing import Any

import numpy as np
import pytest

from vae_lightning.data.choices import Choice, by_column, describe_choices
from vae_lightning.data.columns import Column
from vae_lightning.data.dataset import Dataset, Rows
from vae_lightning.data.schema import find_decimals, infer_choices
from vae_lightning.data.split import split_rows
from vae_lightning.errors import ConfigError

ROWS = 4000


def choose(values: Any, column: Column | None = None, **asked: str) -> Choice:
    """The choice for a column of these values alone."""
    column = column or Column("c", "float64")
    parts = split_rows(Rows(np.asarray(values, dtype=np.float64)[:, None]), 0.1, 0.1, 0)
    return infer_choices(Dataset("some", (column,), *parts), asked)[0]


@pytest.fixture
def draws() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_normal_column_is_gaussian_as_it_is(draws: np.random.Generator) -> None:
    choice = choose(draws.normal(5, 2, ROWS))
    assert (choice.family["name"], choice.scaling["name"]) == ("gaussian", "standardize")
    assert choice.decimals is None


def test_a_skewed_column_is_mapped_to_normal_scores(draws: np.random.Generator) -> None:
    choice = choose(draws.lognormal(0, 1.5, ROWS))
    assert (choice.family["name"], choice.scaling["name"]) == ("gaussian", "gaussianize")


def test_few_values_are_categories_by_their_places(draws: np.random.Generator) -> None:
    choice = choose(draws.choice([0.0, 0.2, 0.4, 7.0], ROWS))
    assert choice.family == {"name": "categorical", "levels": 4}
    assert choice.scaling["known"] == [[0.0, 0.2, 0.4, 7.0]]
    assert choice.decimals == 1


@pytest.mark.parametrize(("values", "family"), [([0, 1], "bernoulli"), ([1, 2], "categorical")])
def test_two_values(draws: np.random.Generator, values: list[int], family: str) -> None:
    assert choose(draws.choice(values, ROWS)).family["name"] == family


@pytest.mark.parametrize(
    ("rates", "family"), [(40.0 + 0 * np.arange(300), "poisson"), (None, "negative_binomial")], ids=str
)
def test_counts_of_few_rows_are_those_of_their_kind(draws: np.random.Generator, rates: Any, family: str) -> None:
    """With 300 rows the frequencies of 40 numbers say less than a family of one or two parameters."""
    rates = draws.gamma(1.0, 40.0, 300) if rates is None else rates
    assert choose(draws.poisson(rates)).family["name"] == family


def test_a_value_that_many_rows_share_has_a_probability(draws: np.random.Generator) -> None:
    values = np.where(draws.random(ROWS) < 0.6, 0.0, draws.exponential(3.0, ROWS))
    choice = choose(values)
    assert choice.family["name"] == "hurdle"
    assert choice.scaling["shared"] == [0.0]


def test_texts_are_categories_and_dates_real(draws: np.random.Generator) -> None:
    texts = choose(draws.integers(0, 3, ROWS), Column("c", "object", ("a", "b", "c")))
    assert texts.family == {"name": "categorical", "levels": 3}
    dates = choose(draws.integers(18_000, 18_900, ROWS), Column("c", "datetime64[D]"))
    assert (dates.kind, dates.family["name"]) == ("dates", "gaussian")


def test_holes_do_not_count(draws: np.random.Generator) -> None:
    values = draws.normal(size=ROWS)
    values[draws.random(ROWS) < 0.5] = np.nan
    assert choose(values).family["name"] == "gaussian"


def test_one_may_choose_by_name_or_pattern(draws: np.random.Generator) -> None:
    values = draws.integers(0, 6, ROWS)
    assert choose(values, Column("visits_a", "int64"), **{"visits_*": "poisson"}).family == {"name": "poisson"}
    assert choose(values, Column("a", "int64"), a="gaussian").scaling == {"name": "standardize"}
    assert choose(values, Column("a", "int64"), a="categorical").family == {"name": "categorical", "levels": 6}


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"nowhere": "gaussian"}, "likelihood.columns: there is no column 'nowhere' in some"),
        ({"c": "poisson"}, "poisson takes whole numbers from 0 on, and the column 'c' holds values from -3"),
    ],
)
def test_what_cannot_be_is_told(asked: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        choose(np.tile([-3.0, 1.5, 2.5, 7.0], 100), **asked)


def test_texts_are_no_numbers() -> None:
    with pytest.raises(ConfigError, match=r"holds 3 texts, which gaussian cannot take.*likelihood\.columns={c: categ"):
        choose(np.tile([0.0, 1.0, 2.0], 100), Column("c", "object", ("a", "b", "c")), c="gaussian")


@pytest.mark.parametrize(
    ("place_of", "family"), [(np.arange(9), "ordinal"), (np.array([4, 0, 7, 2, 8, 5, 1, 6, 3]), "categorical")], ids=str
)
def test_numbers_that_come_again_are_in_order_if_other_columns_follow_it(
    draws: np.random.Generator, place_of: np.ndarray, family: str
) -> None:
    """Ages are levels in an order, numbers of regions are names: so says what else the rows hold, not the column."""
    codes = draws.integers(0, 9, ROWS)
    x = np.stack([codes, 0.5 * place_of[codes] + draws.normal(size=ROWS)], 1).astype(float)
    columns = (Column("a", "int64"), Column("b", "float64"))
    choices = infer_choices(Dataset("some", columns, *split_rows(Rows(x), 0.1, 0.1, 0)), {})
    assert choices[0].family["name"] == family


def test_numbers_that_only_test_rows_hold_leave_nothing_to_put_in_order(draws: np.random.Generator) -> None:
    """A column that is the same in all other rows, or in all that are looked at, ended in numpy's error."""
    x = np.stack([np.zeros(ROWS), draws.normal(size=ROWS)], 1)
    train, valid, test = split_rows(Rows(x), 0.1, 0.1, 0)
    test.x[:6, 0] = np.arange(6)
    columns = (Column("a", "int64"), Column("b", "float64"))
    choices = infer_choices(Dataset("some", columns, train, valid, test), {})
    assert choices[0].family == {"name": "ordinal", "levels": [6]}


def test_columns_are_measured_alike_together_and_alone(draws: np.random.Generator) -> None:
    """Neighbours that share a family but neither values nor number of rows do not change a choice or its figures."""
    x = np.stack(
        [
            draws.integers(0, 9, ROWS) / 10,
            draws.integers(0, 40, ROWS),
            draws.poisson(draws.gamma(2.0, 30.0, ROWS)),
            draws.lognormal(size=ROWS),
            draws.normal(size=ROWS).round(1),
            np.where(draws.random(ROWS) < 0.9, np.nan, draws.exponential(size=ROWS)),
            np.where(draws.random(ROWS) < 0.5, 2.5, draws.normal(size=ROWS)),
        ],
        1,
    )
    columns = tuple(Column(f"c{index}", "float64") for index in range(x.shape[1]))
    parts = split_rows(Rows(x), 0.1, 0.1, 0)
    together = infer_choices(Dataset("some", columns, *parts), {})
    for index, choice in enumerate(together):
        alone = infer_choices(
            Dataset("some", columns[index : index + 1], *(Rows(part.x[:, [index]]) for part in parts)), {}
        )
        assert (choice.why, choice.scaling) == (alone[0].why, alone[0].scaling)


def test_columns_of_one_kind_share_a_block(draws: np.random.Generator) -> None:
    x = np.stack([draws.integers(0, 3, ROWS), draws.normal(size=ROWS), draws.integers(5, 8, ROWS)], 1).astype(float)
    columns = (Column("a", "object", ("x", "y", "z")), Column("b", "float64"), Column("c", "int64"))
    choices = infer_choices(Dataset("some", columns, *split_rows(Rows(x), 0.1, 0.1, 0)), {})
    assert by_column(choices, "family") == {
        "name": "by_column",
        "blocks": [
            {"name": "categorical", "levels": 3, "columns": [0, 2]},
            {"name": "gaussian", "columns": [1]},
        ],
    }
    assert by_column(choices, "scaling")["blocks"] == [
        {"name": "none", "columns": [0]},
        {"name": "standardize", "columns": [1]},
        {"name": "places", "known": [[5.0, 6.0, 7.0]], "columns": [2]},
    ]
    lines = describe_choices(choices).splitlines()
    assert len(lines) == 3
    assert lines[0].split() == ["a", "texts", "categorical", "3", "levels"]


def test_a_table_of_one_family_has_no_blocks(draws: np.random.Generator) -> None:
    choices = infer_choices(
        Dataset("some", (Column("a", "float64"),) * 2, *split_rows(Rows(draws.normal(size=(ROWS, 2))), 0.1, 0.1, 0)), {}
    )
    assert by_column(choices, "family") == {"name": "gaussian"}


@pytest.mark.parametrize(
    ("values", "decimals"), [([1.0, 1e9], 0), ([0.1, 0.25], 2), ([1 / 3], None), ([1e-7], None), ([123456.7], 1)]
)
def test_decimals_are_those_of_the_file(values: list[float], decimals: int | None) -> None:
    assert find_decimals(np.array(values)) == decimals
