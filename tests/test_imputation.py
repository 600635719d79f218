"""`scripts/imputation.py`: tables become numbers and come back, and errors are what they are called."""

import argparse
import importlib
from typing import Any

import numpy as np
import pandas as pd
import pytest

TABLE = pd.DataFrame({"a": np.arange(200.0), "b": [*"xyzx"] * 50, "c": np.arange(200) * 2})


@pytest.fixture(scope="module")
def script() -> Any:
    return importlib.import_module("scripts.imputation")


@pytest.mark.parametrize("one_hot", [True, False])
def test_tables_come_back_from_numbers(script: Any, one_hot: bool) -> None:
    codes = script.Codes(TABLE, one_hot)
    pd.testing.assert_frame_equal(codes.decode(codes.encode()), TABLE, check_dtype=False)
    holes, _ = script.remove(TABLE, 0.3, 0)
    assert np.isnan(script.Codes(holes, one_hot).encode()).any(axis=1).sum() == holes.isna().any(axis=1).sum()


def test_the_same_cells_are_removed_every_time(script: Any) -> None:
    holes, known = script.remove(TABLE.mask(TABLE["a"] == 3.0), 0.5, 0)
    again, _ = script.remove(TABLE.mask(TABLE["a"] == 3.0), 0.5, 0)
    pd.testing.assert_frame_equal(holes, again)
    assert not known[3].any()  # what was empty before is no truth to be found
    assert holes.isna().to_numpy()[known].all()


@pytest.mark.parametrize("method", ["mean", "knn", "iterative", "forest"])
def test_every_way_fills_all_and_changes_nothing(script: Any, method: str) -> None:
    holes, known = script.remove(TABLE, 0.2, 0)
    filled = script.METHODS[method](holes, argparse.Namespace(rounds=1))
    assert filled.table.notna().all(axis=None)
    for name in TABLE:
        pd.testing.assert_series_equal(filled.table[name][holes[name].notna()], holes[name].dropna(), check_dtype=False)
    found = script.measure(TABLE, known, filled)
    means = script.measure(TABLE, known, script.mean(holes, argparse.Namespace()))
    assert found["nrmse"] == pytest.approx((found["columns"]["a"] + found["columns"]["c"]) / 2)
    # The nearest of few columns may be rows of which only the letter is known.
    assert method in ("mean", "knn") or found["nrmse"] < 0.75 * means["nrmse"]  # c is twice a


def test_errors_in_closed_form(script: Any) -> None:
    truth = pd.DataFrame({"a": [0.0, 2.0, 0.0, 2.0], "b": [*"xyxy"]})
    guess = pd.DataFrame({"a": [1.0, 1.0, 0.0, 2.0], "b": [*"xxxx"]})
    low, high = pd.DataFrame({"a": [0.0, 0.0, 0.0, 0.0]}), pd.DataFrame({"a": [1.0, 1.0, 1.0, 1.0]})
    found = script.measure(truth, np.ones((4, 2), bool), script.Filled(guess, low, high))
    assert found["nrmse"] == pytest.approx(np.sqrt(0.5))
    assert found["errors"] == 0.5
    assert found["coverage"] == 0.5
