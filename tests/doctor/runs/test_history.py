"""What curves prove, and what they do not."""

import math

import numpy as np
import pytest

from vae_lightning.doctor import examine_history
from vae_lightning.doctor.losses.cases.question import PUBLISHED
from vae_lightning.doctor.runs.curves import read_curves
from vae_lightning.doctor.runs.history import floor_of, growth_power
from vae_lightning.errors import ConfigError, DataError

KERAS = """\
Epoch 1/4
125/125 [==============================] - 1s 5ms/step - loss: 545.21 - kl_loss: 3.2 - val_loss: 540.1
Epoch 2/4
125/125 [==============================] - 0s 2ms/step - loss: 155.20 - kl_loss: 0.0021 - val_loss: 154.1
Epoch 3/4
125/125 ━━━━━━━━━━━━━━━━━━━━ 1s 5ms/step - kl_loss: 0.0011 - loss: 150.2 - val_loss: 149.1
Epoch 4/4
125/125 ━━━━━━━━━━━━━━━━━━━━ 1s 5ms/step - kl_loss: 0.0001 - loss: 149.2 - val_loss: 148.1
"""
LIGHTNING = (
    "epoch,step,train/loss,val/loss,val/kl\n"
    "0,124,120.5,,\n0,124,,101.0,5.0\n1,249,80.5,,\n1,249,,79.0,0.004\n2,374,70,,\n2,374,,69,0.003\n"
)


def question_as_text() -> str:
    return ", ".join(f"{train:g} / {validation:g}" for train, validation in PUBLISHED).replace("-", "\u2212")


@pytest.mark.parametrize("history", [PUBLISHED, question_as_text(), [train for train, _ in PUBLISHED]])
def test_the_question_itself(history) -> None:
    report = examine_history(history, columns=224, likelihood="bernoulli")
    assert report.codes == ("BELOW-FLOOR", "SIGN-FLIP")
    assert report.exit_status == 1
    assert report[0].evidence["epoch"] == 1


def test_the_question_is_a_runaway_whatever_the_likelihood() -> None:
    assert "SIGN-FLIP" in examine_history(PUBLISHED).codes
    assert set(examine_history(PUBLISHED, columns=224, likelihood="gaussian").codes) == {"BELOW-FLOOR", "SIGN-FLIP"}


def test_honest_negative_density_is_legal() -> None:
    falling = [300.0, 20.0, -150.0, -310.0, -380.0, -400.0, -405.0]
    assert examine_history(falling, columns=100, likelihood="gaussian").ok
    assert examine_history(falling).ok
    assert examine_history(falling, columns=100, likelihood="bernoulli").codes == ("BELOW-FLOOR",)


def test_floor_of_a_gaussian_follows_from_its_least_sigma() -> None:
    floor, _ = floor_of(10, "gaussian", math.exp(-6))
    assert floor == pytest.approx(-50.81, abs=0.01)
    curve = [10.0, -20.0, -50.0, -50.5]
    assert examine_history(curve, 10, "gaussian", least_sigma=math.exp(-6)).ok
    assert examine_history([*curve, -51.0], 10, "gaussian", least_sigma=math.exp(-6)).codes == ("BELOW-FLOOR",)


@pytest.mark.parametrize("power", [2.0, 7.0, 13.0])
def test_growth_power_is_read_off(power: float) -> None:
    assert growth_power(-(np.arange(1, 21) ** power)) == pytest.approx(power)


def test_slow_growth_on_probabilities_is_put_down_to_the_data_first() -> None:
    curve = [-(1e4 * epoch**2.0) for epoch in range(1, 12)]
    assert "BCE-RANGE" in examine_history(curve, columns=20, likelihood="bernoulli").codes


def test_nan_after_growth_is_an_overflow() -> None:
    report = examine_history([50.0, 60.0, 55.0, 1e9, 1e30, math.nan, math.nan])
    assert report.codes == ("OVERFLOW",)
    assert report[0].evidence["epoch"] == 6
    assert examine_history([50.0, 49.0, 48.0, math.nan]).codes == ("DIVERGED",)


def test_kl_at_zero_is_dated() -> None:
    report = examine_history(KERAS)
    assert report.codes == ("COLLAPSE",)
    assert report[0].evidence["epoch"] == 2
    assert examine_history({"loss": [9.0, 8, 7], "kl": [0.0, 0.0, 0.0]}).codes == ("KL-DEAD",)
    assert examine_history({"loss": [9.0, 8, 7], "kl": [1.0, -2.0, -3.0]}).codes == ("SIGN-FLIP",)
    assert examine_history({"loss": [9.0, 8, 7], "kl": [0.005, 2.0, 3.0]}).ok


def test_flat_line_at_independent_columns() -> None:
    data = (np.random.default_rng(0).random((500, 20)) < np.linspace(0.1, 0.9, 20)).astype(float)
    p = data.mean(0)
    entropy = float(-(p * np.log(p) + (1 - p) * np.log(1 - p)).sum())
    flat = [entropy * f for f in (3.0, 1.5, 1.001, 1.0, 1.0005, 1.0)]
    report = examine_history(flat, likelihood="bernoulli", data=data)
    assert report.codes == ("COLLAPSE",)
    assert report.measured["independent columns"] == pytest.approx(entropy)
    assert examine_history([value / 20 for value in flat], likelihood="bernoulli", data=data).codes == ("COLLAPSE",)
    assert examine_history([value * 0.8 for value in flat], likelihood="bernoulli", data=data).ok
    assert examine_history(flat, likelihood="bernoulli").ok


def test_data_outside_the_support() -> None:
    report = examine_history([3.0, 2.0, 1.0], likelihood="bernoulli", data=np.random.default_rng(0).normal(size=(9, 4)))
    assert report.codes == ("BCE-RANGE",)


def test_decoder_that_says_one_half() -> None:
    level = 16 * math.log(2)
    assert examine_history([level, level, level, level, level], 16, "bernoulli").codes == ("COLLAPSE",)


def test_lightning_csv(tmp_path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(LIGHTNING)
    for history in (LIGHTNING, path, str(path)):
        curves = read_curves(history)
        assert curves.train.tolist() == [120.5, 80.5, 70]
        assert curves.validation.tolist() == [101, 79, 69]
        assert curves.kl.tolist() == [5.0, 0.004, 0.003]


@pytest.mark.parametrize(
    ("text", "train", "validation"),
    [
        (KERAS, [545.21, 155.2, 150.2, 149.2], [540.1, 154.1, 149.1, 148.1]),
        ("epoch,loss,val_loss\n0,3,4\n1,2,3\n", [3, 2], [4, 3]),
        ("epoch;loss;val_loss\n0;3;4\n1;2;3\n", [3, 2], [4, 3]),
        (
            "Epoch 0: 100%|███| 5/5 [00:01<00:00, 9it/s, v_num=0, train_loss=12.0, val_loss=3]\n"
            "Epoch 1: 100%|███| 5/5 [00:01<00:00, v_num=0, train_loss=-120.0, val_loss=-300]",
            [12, -120],
            [3, -300],
        ),
        (
            "Epoch: 1 Train Loss: 3.5 Val Loss: 4.5\nEpoch: 2 Train Loss: nan Val Loss: inf",
            [3.5, math.nan],
            [4.5, math.inf],
        ),
        ("Epoch 1 loss 3\nloss = 5.0\nEpoch 2\nloss = 4.0", [5, 4], []),
        ("3.0\n2.5\n2.0\n", [3, 2.5, 2], []),
        ("loss\n3.0\n2.5\n", [3, 2.5], []),
        ("\x1b[1mEpoch 1\x1b[0m\nloss: -1e+04\nEpoch 2\nloss: -2.5E+18", [-1e4, -2.5e18], []),
    ],
)
def test_logs_are_read(text: str, train: list[float], validation: list[float]) -> None:
    curves = read_curves(text)
    assert np.array_equal(curves.train, train, equal_nan=True)
    assert np.array_equal(curves.validation, validation, equal_nan=True)


def test_an_elbo_is_the_negative_of_a_loss() -> None:
    assert read_curves({"train_elbo": [-90.0, -80.0]}).train.tolist() == [90, 80]


@pytest.mark.parametrize("history", ["nothing here\nto read", "no_such_file.csv", np.zeros((3, 5)), [], object()])
def test_unreadable_history(history) -> None:
    with pytest.raises(DataError, match="The 'history' parameter of examine_history must be"):
        examine_history(history)


@pytest.mark.parametrize(("name", "value"), [("likelihood", "bernouli"), ("columns", 0), ("least_sigma", -1.0)])
def test_illegal_parameter(name: str, value) -> None:
    with pytest.raises(ConfigError, match=f"The '{name}' parameter of examine_history must be"):
        examine_history([1.0, 2.0], **{name: value})


@pytest.mark.parametrize(
    ("values", "assumed"),
    [
        ([900.0, 850.0, 800.0, 760.0, 730.0], "falls: taken for minus the ELBO"),
        ([-900.0, -850.0, -800.0, -760.0, -730.0], "rises: taken for the ELBO itself"),
        ([40.0, 10.0, -5.0, -20.0, -30.0], "falls: taken for minus the ELBO"),
        ([-40.0, -10.0, 5.0, 20.0, 30.0], "rises: taken for the ELBO itself"),
    ],
)
def test_curve_called_elbo_is_read_by_its_direction(values: list[float], assumed: str) -> None:
    """A falling curve called elbo is minus the ELBO, as some libraries log it, and was said to be below its floor."""
    report = examine_history({"elbo_train": values, "elbo_validation": [value + 5 for value in values]}, 50)
    assert report.ok
    assert report.measured["assumed"] == f"elbo_train {assumed}"
    positive = values[0] * (1 if "minus" in assumed else -1) > 0 and min(values) * max(values) > 0
    assert examine_history({"elbo": values}, 50, "bernoulli").ok == positive
