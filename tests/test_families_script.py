"""`scripts/families.py`: families of rounded numbers compare with densities."""

import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import families

pytestmark = pytest.mark.usefixtures("one_thread", "flush_denormal")


def test_levels_are_measured_as_the_intervals_that_are_rounded_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """As probabilities they would stand log 10 nats above the density of the numbers themselves."""
    rows = np.random.default_rng(0).normal(size=(1500, 2)).round(1)
    monkeypatch.setitem(families.TABLES, "rounded", lambda _: rows)
    one, auto, levels = (
        families.measure(Path("nowhere"), "rounded", likelihood, 0, "trainer.max_epochs=2", *more)
        for likelihood, *more in (
            ("gaussian",),
            ("auto",),
            ("auto", "likelihood.columns={x0: ordinal, x1: categorical}"),
        )
    )
    assert [one, auto, levels] == pytest.approx([scipy.stats.norm.entropy()] * 3, abs=0.15)
