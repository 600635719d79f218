"""Warm-up schedules at the points where their values are known."""

import numpy as np
import pytest

from vae_lightning.objectives.schedules import SCHEDULES

TIMES = np.linspace(0, 3, 601)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("none", [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]),
        ("cosine", [0.0, (1 - 0.5**0.5) / 2, 0.5, (1 + 0.5**0.5) / 2, 1.0, 1.0]),
        ("cyclical", [0.0, 0.5, 1.0, 1.0, 0.0, 0.5]),
    ],
)
def test_values_at_each_quarter(name: str, values: list[float]) -> None:
    assert [SCHEDULES[name](t) for t in (0, 0.25, 0.5, 0.75, 1, 1.25)] == pytest.approx(values, abs=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
def test_weights_are_shares(name: str) -> None:
    values = [SCHEDULES[name](t) for t in TIMES]
    assert min(values) >= 0
    assert max(values) == 1


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_a_warm_up_never_falls_and_ends_at_one(name: str) -> None:
    values = np.array([SCHEDULES[name](t) for t in TIMES])
    assert (np.diff(values) >= 0).all()
    assert (values[TIMES >= 1] == 1).all()
    assert SCHEDULES[name](-0.5) == 0


def test_a_cycle_repeats() -> None:
    values = np.array([SCHEDULES["cyclical"](t) for t in TIMES[:-1]]).reshape(3, 200)
    np.testing.assert_allclose(values, np.broadcast_to(values[0], (3, 200)), atol=1e-9)
