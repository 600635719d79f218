"""Tables as arrays: what is a number and what a category, and that a code means the same in every table."""

import numpy as np
import pandas as pd
import pytest

from vae_lightning.comparison.tables import code_tables
from vae_lightning.errors import DataError


def mixed(rows: int = 300) -> pd.DataFrame:
    draws = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "height": draws.normal(170, 10, rows),
            "city": draws.choice(["Oslo", "Rome", "Lima"], rows, p=[0.2, 0.7, 0.1]),
            "member": draws.random(rows) > 0.5,
            "born": pd.Timestamp("2000-01-01") + pd.to_timedelta(draws.integers(0, 9000, rows), "D"),
            "visits": draws.poisson(30, rows),
            "grade": draws.integers(1, 6, rows),
        }
    )


def test_texts_truth_values_and_few_whole_numbers_are_categories() -> None:
    (coded,) = code_tables({"real rows": mixed()})
    assert coded.kinds.numbers == ("height", "born", "visits")
    assert coded.kinds.categories == ("city", "member", "grade")
    assert coded.kinds.holes == (-1, -1, -1)
    assert coded.column("born").max() <= (np.datetime64("2000-01-01") - np.datetime64(0, "D")).astype(int) + 9000


def test_the_most_frequent_category_comes_first_and_codes_mean_the_same_in_all_tables() -> None:
    frame = mixed()
    other = frame.iloc[::-1].assign(city="Rome")[list(frame.columns[::-1])]
    real, again = code_tables({"real rows": frame, "others": other})
    assert (real.column("city")[frame["city"] == "Rome"] == 0).all()
    assert (again.column("city") == 0).all()
    np.testing.assert_array_equal(again.column("grade"), real.column("grade")[::-1])
    np.testing.assert_array_equal(again.column("height"), real.column("height")[::-1])


def test_an_empty_cell_is_a_category_of_its_own_and_no_number() -> None:
    frame = mixed()
    frame.loc[:9, ["height", "city"]] = None
    (coded,) = code_tables({"real rows": frame})
    assert np.isnan(coded.column("height")[:10]).all()
    hole = coded.kinds.holes[coded.kinds.categories.index("city")]
    np.testing.assert_array_equal(np.flatnonzero(coded.column("city") == hole), np.arange(10))


def test_truth_values_and_the_numbers_that_stand_for_them_are_the_same() -> None:
    """A CSV gives them back as 0 and 1, or as floats where a cell is empty."""
    frame = mixed()
    real, again = code_tables({"real rows": frame, "others": frame.astype({"member": float, "grade": float})})
    np.testing.assert_array_equal(real.codes, again.codes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.drop(columns="city"), "lack 'city'"),
        (lambda f: f.assign(more=1), "also have 'more'"),
        (lambda f: f.rename(columns={"city": "City"}), "Did you mean 'City'"),
        (
            lambda f: f.assign(height="tall"),
            "'height' holds numbers in the real rows, and in the others something else",
        ),
        (lambda f: f.assign(height=np.inf), "'height' of the others holds infinite"),
        (lambda f: f[:0], "hold no rows"),
        (lambda f: pd.concat([f, f["city"]], axis=1), "more than once: 'city'"),
    ],
)
def test_tables_that_cannot_be_compared_end_in_one_sentence(change: object, words: str) -> None:
    frame = mixed()
    with pytest.raises(DataError, match=words):
        code_tables({"real rows": frame, "others": change(frame)})  # type: ignore[operator]
