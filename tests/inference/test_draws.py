"""Rows that cannot be rows of the table, counted among the draws."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from vae_lightning.config.record import recorded_dataset
from vae_lightning.inference.draws import find_impossible_draws
from vae_lightning.runs.loading import load

REPORTS = Path(__file__).parents[2].parent / "shared" / "reports" / "tables"


def impossible(run: Any) -> str:
    model = load(run.run_dir)
    dataset = recorded_dataset(model.record, [column.name for column in model.columns])
    notice = find_impossible_draws(model, dataset.train)
    return "" if notice is None else str(notice)


@pytest.fixture(scope="module")
def skewed(train: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Durations that are never negative, a temperature that may be, debts that are never positive."""
    folder = tmp_path_factory.mktemp("skewed")
    draws = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"duration": draws.exponential(100, 400), "warmth": draws.normal(0, 5, 400), "debt": -draws.exponential(9, 400)}
    )
    frame.to_csv(folder / "rows.csv", index=False)
    return train(folder / "run", "data=table", f"data.path={folder / 'rows.csv'}", "trainer.max_epochs=1")


def test_values_of_a_sign_that_no_row_has_are_counted_by_column(skewed: Any) -> None:
    said = impossible(skewed)
    assert "of 4,000 drawn rows are impossible" in said
    assert "'duration' (1" in said  # a normal of an exponential's moments is negative in 16 %
    assert "'debt' (1" in said
    assert "warmth" not in said


def test_the_run_says_it_in_log_and_summary(skewed: Any) -> None:
    assert [words for words in skewed.summary["warnings"] if "drawn rows are impossible" in words]
    assert "drawn rows are impossible" in (skewed.run_dir / "train.log").read_text()


def test_columns_of_both_signs_and_bits_have_no_impossible_rows(gaussian_run: Any, bernoulli_run: Any) -> None:
    assert impossible(gaussian_run) == ""
    assert impossible(bernoulli_run) == ""


def test_the_reported_table(train: Callable[..., Any], tmp_path: Path) -> None:
    path = REPORTS / "kdd_like.csv"
    if not path.exists():
        pytest.skip(f"needs {path.name}, which is not in {REPORTS}")
    run = train(tmp_path, "data=table", f"data.path={path}", "trainer.max_epochs=1")
    said = impossible(run)
    assert all(f"'{name}' (" in said for name in ("src_bytes", "duration", "count", "srv_count"))
    assert "num_outbound" not in said
