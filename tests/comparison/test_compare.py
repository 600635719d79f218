"""Everything at once: the order of tables that is known, bounded cost, and what is said of it."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from tests.comparison.test_tables import mixed
from vae_lightning.comparison.compare import INDEPENDENT, SECOND, SYNTHETIC, compare, shuffle_columns, with_controls
from vae_lightning.errors import ConfigError, DataError
from vae_lightning.files import to_json


def related(rows: int, seed: int) -> pd.DataFrame:
    """Numbers, texts, truth values, dates and holes that have to do with one another."""
    draws = np.random.default_rng(seed)
    size = draws.normal(size=rows)
    frame = pd.DataFrame(
        {
            "size": size,
            "weight": size + 0.5 * draws.normal(size=rows),
            "visits": draws.poisson(np.exp(3 + 0.5 * size)),
            "born": pd.Timestamp("2000-01-01") + pd.to_timedelta(np.rint(1000 * size), "D"),
            "city": np.where(size + draws.normal(size=rows) > 0, "Oslo", "Rome").astype(object),
            "member": size + 0.3 * draws.normal(size=rows) > 0,
        }
    )
    frame.loc[draws.random(rows) < 0.1, ["weight"]] = np.nan
    frame.loc[draws.random(rows) < 0.1, ["city"]] = None
    return frame


def test_a_second_real_sample_is_better_than_independent_columns_in_all_but_shape() -> None:
    train = related(1200, 1)
    found = compare(related(600, 0), with_controls(related(600, 3), related(600, 2), train), train)
    made, second, shuffled = (found.tables[name] for name in (SYNTHETIC, SECOND, INDEPENDENT))
    for table in (made, second):
        assert table.trend_error < 0.05 < 0.1 < shuffled.trend_error
        assert table.two_sample == pytest.approx(0.5, abs=0.06)
        assert table.usefulness > 0.9
        assert table.privacy.closer_to_training == pytest.approx(0.5, abs=0.07)
    assert shuffled.two_sample > 0.8
    assert shuffled.usefulness < 0.7
    assert max(table.shape_error for table in found.tables.values()) < 0.05
    assert (found.target, found.measure, found.num_real, found.num_rows) == ("member", "AUROC", 600, 600)
    assert found.notes == ()


def test_a_copy_of_the_training_rows_is_as_close_as_the_table_says() -> None:
    train = related(1200, 1)
    found = compare(related(600, 0), {"copy": train}, train)
    assert found.copied == pytest.approx(0.75)
    assert found.tables["copy"].privacy.closer_to_training == pytest.approx(found.copied, abs=0.05)


def test_columns_shuffled_one_by_one_keep_their_values_and_lose_each_other() -> None:
    frame = related(500, 0)
    again = shuffle_columns(frame, 0)
    for name in frame.columns:
        assert sorted(map(str, again[name])) == sorted(map(str, frame[name]))
    assert abs(again["size"].corr(again["weight"])) < 0.2


def test_the_same_seed_gives_the_same_numbers() -> None:
    arguments = (related(200, 0), {"made": related(200, 1)})
    first, again, other = (compare(*arguments, max_rows=60, seed=seed).as_dict() for seed in (0, 0, 1))
    assert str(first) == str(again) != str(other)  # as texts, for NaN is not NaN


def test_without_training_rows_nothing_is_said_of_privacy() -> None:
    found = compare(related(100, 0), {"made": related(100, 1)})
    assert math.isnan(found.tables["made"].privacy.closer_to_training)
    assert math.isnan(found.copied)
    assert any("Privacy" in note for note in found.notes)
    content = json.loads(to_json(found.as_dict()))
    assert content["tables"]["made"]["closer_to_training"] is None
    assert content["tables"]["made"]["columns"].keys() == set(related(1, 0).columns)


def test_wide_and_long_tables_cost_no_more_and_it_is_said() -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(300, 60))).rename(columns=str)
    found = compare(frame[:100], {"made": frame[100:]}, max_rows=80, max_pairs=30)
    assert (found.num_real, found.num_rows) == (80, 80)
    assert len(found.tables["made"].pairs) == 30
    assert len(found.tables["made"].columns) == 60
    words = " ".join(found.notes)
    for part in ("more than 80 rows", "Of 1,770 pairs of columns 30", "50 of 60 columns"):
        assert part in words


def test_one_row_and_one_column_are_compared_as_far_as_that_goes() -> None:
    found = compare(related(1, 0), {"made": related(1, 1)}, related(1, 2))
    assert math.isnan(found.tables["made"].two_sample)
    alone = compare(related(50, 0)[["city"]], {"made": related(50, 1)[["city"]]})
    assert math.isnan(alone.tables["made"].trend_error)
    assert math.isnan(alone.tables["made"].usefulness)
    assert alone.tables["made"].shape_error < 0.3


def test_mistakes_end_in_one_sentence() -> None:
    frame = mixed()
    with pytest.raises(DataError, match=r"There is no column 'ctiy' to predict. Did you mean 'city'\?"):
        compare(frame, {"made": frame}, target="ctiy")
    with pytest.raises(DataError, match="The made rows must have the columns of the real rows, but lack 'city'"):
        compare(frame, {"made": frame.drop(columns="city")})
    with pytest.raises(DataError, match="no columns"):
        compare(frame[[]], {"made": frame})
    with pytest.raises(ConfigError, match="The 'max_rows' parameter of compare must be a whole number from 1 on"):
        compare(frame, {"made": frame}, max_rows=0)
