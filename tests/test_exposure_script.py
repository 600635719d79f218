"""`scripts/exposure.py`: its truth is one, and counts told their exposure come nearer to it."""

import importlib
from typing import Any

import numpy as np
import pytest
import scipy.stats


@pytest.fixture(scope="module")
def script() -> Any:
    return importlib.import_module("scripts.exposure")


def test_the_truth_of_counts_without_a_hidden_number_is_their_own(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "SLOPE", np.zeros(4))
    table = script.draw("poisson", 0.5, seed=0, num_rows=300)
    mean = table["time"].to_numpy()[:, None] * script.BASE
    truth = -scipy.stats.poisson(mean).logpmf(table[script.COUNTS].to_numpy()).sum(-1).mean()
    assert script.true_nll(table, "poisson") == pytest.approx(truth, rel=1e-6)


def test_the_exposure_is_worth_something(script: Any) -> None:
    train, test = (script.draw("poisson", 1.5, seed, num_rows=600) for seed in (0, 1))
    small = {"latent_dim": 1, "hidden_dims": (16,), "max_epochs": 40}
    found = {way: script.measure(train, test, "poisson", way, **small) for way in ("exposure", "without")}
    assert script.true_nll(test, "poisson") - 0.1 < found["exposure"] < found["without"] - 0.5
