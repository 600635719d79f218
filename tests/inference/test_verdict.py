"""The verdict: what each is said of, in which order, and what noise may not bring about."""

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.evaluations import RESULT
from vae_lightning.inference.verdict import CODES, Course, fit_trend, judge

FLAT = [12.0, 10.0, 9.0, 8.4, 8.2, *[8.1] * 15]


def course_of(valid: list[float], **changes: object) -> Course:
    """Of 10 steps an epoch at a constant step size."""
    steps = [10.0 * (i + 1) for i in range(len(valid))]
    known = {"valid": valid, "steps": steps, "learning_rates": [1e-3] * len(valid), "train": valid}
    return Course(**{**known, "best_epoch": len(valid), "num_valid": 50, "ended": "all", **changes})


def test_a_model_that_beats_the_control_has_learned() -> None:
    verdict = judge(RESULT, course_of(FLAT))
    assert verdict.code == "learned"
    assert verdict.words == (
        "Better than factor analysis, 4 latent dimensions by 0.500 ± 0.100 nats per row on rows it was not trained on."
    )


def test_every_code_can_be_reached() -> None:
    falling = list(np.linspace(12, 8, 20))
    collapsed = replace(RESULT, active_units=0, kl=0.01, nll=12.0)
    found = [
        judge(RESULT, course_of(FLAT)),
        judge(RESULT, course_of(falling)),
        judge(replace(RESULT, nll=8.8), course_of(FLAT)),
        judge(collapsed, course_of(FLAT)),
        judge(replace(RESULT, active_units=0, kl=272.0), course_of(FLAT)),
        judge(replace(RESULT, num_rows=1), course_of(FLAT)),
    ]
    assert tuple(verdict.code for verdict in found) == CODES
    assert all(verdict.words.endswith(".") and "\n" not in verdict.words for verdict in found)


def test_the_first_that_holds_is_said() -> None:
    """Too few rows, diverged, within the warm-up, collapsed, still improving, not better, learned."""
    falling = list(np.linspace(12, 8, 20))
    worst = replace(RESULT, num_rows=1, active_units=0, kl=272.0, nll=13.0)
    early = course_of(falling, beta=0.02)
    assert judge(worst, early).code == "too_few_rows"
    enough = replace(worst, num_rows=100)
    assert judge(enough, early).code == "diverged"
    collapsed = replace(enough, kl=0.01, nll=12.0)
    verdict = judge(collapsed, early)
    assert verdict.code == "improving"
    assert "β of the KL was still 0.02 of 1" in verdict.words
    assert judge(collapsed, course_of(falling)).code == "collapsed"
    active = replace(collapsed, active_units=1)
    verdict = judge(active, course_of(falling))
    assert verdict.code == "improving"
    assert verdict.words.endswith(
        "so far worse than factor analysis, 4 latent dimensions by 3.500 ± 0.100 nats per row."
    )
    assert judge(active, course_of(FLAT)).code == "not_better_than_linear"


def test_how_much_it_still_improves_is_the_slope() -> None:
    falling = 12 - 0.002 * 10 * np.arange(1, 101)  # 2 nats a thousand steps
    verdict = judge(replace(RESULT, nll=10.0, control=11.0), course_of(list(falling)))
    assert verdict.code == "improving"
    assert "by 2 nats a thousand steps of full size" in verdict.words


def test_a_run_that_was_stopped_early_is_not_improving() -> None:
    assert judge(RESULT, course_of(list(np.linspace(12, 8, 20)), stopped_early=True)).code == "learned"


def test_a_fall_that_is_not_worth_it_is_no_reason_to_train_on() -> None:
    assert judge(RESULT, course_of(list(np.linspace(8.02, 8.0, 60)))).code == "learned"


@pytest.mark.parametrize("is_cosine", [False, True])
def test_noise_alone_does_not_improve(is_cosine: bool) -> None:
    """At two standard errors one curve in some forty is called falling; as neighbours are alike, it may be two."""
    rates = 0.5 * (1 + np.cos(np.pi * np.arange(100) / 100)) if is_cosine else np.ones(100)
    called = 0
    for seed in range(300):
        noise = np.random.default_rng(seed).normal(size=100)
        for i in range(1, 100):
            noise[i] += 0.6 * noise[i - 1]
        trend = fit_trend(noise, 10 * np.arange(1, 101), rates)
        assert trend is not None
        called += trend.fall > 2 * trend.standard_error
    assert called < 0.08 * 300


def test_a_schedule_that_ends_at_zero_does_not_hide_the_slope() -> None:
    """Of the same descent under half a cosine the last tenth is flat, and yet far from the end of the descent."""
    rates = 0.5 * (1 + np.cos(np.pi * np.arange(200) / 200))
    progress = np.cumsum(10 * rates)
    values = 5 * np.exp(-progress / 1000) + 0.01 * np.random.default_rng(0).normal(size=200)
    assert values[-20] - values[-1] < 0.05  # flat to the eye
    trend = fit_trend(values, 10 * np.arange(1, 201), rates)
    assert trend is not None
    at_the_end = 1000 * 5 / 1000 * math.exp(-progress[-1] / 1000)
    assert trend.fall == pytest.approx(at_the_end, rel=0.3)
    assert trend.fall > 10 * trend.standard_error


def test_spikes_do_not_turn_the_line() -> None:
    values = 5 + 0.01 * np.random.default_rng(0).normal(size=60)
    values[[42, 45]] = 500.0
    trend = fit_trend(values, np.arange(1, 61), np.ones(60))
    assert trend is not None
    assert abs(trend.fall) < 2.0  # a straight line through all points: 18,000 nats a thousand steps
    assert trend.fall < 2 * trend.standard_error


def test_a_short_curve_has_no_trend() -> None:
    assert fit_trend([3.0, 2.0, 1.0], [1, 2, 3], [1.0, 1.0, 1.0]) is None
    assert fit_trend([math.nan] * 9, range(9), [1.0] * 9) is None
    assert fit_trend([1.0] * 9, range(9), [0.0] * 9) is None


def test_a_difference_within_its_error_is_no_verdict() -> None:
    verdict = judge(replace(RESULT, control_gain_standard_error=0.4), course_of(FLAT))
    assert verdict.code == "too_few_rows"
    assert "better by 0.500 ± 0.400" in verdict.words


def test_the_linear_model_itself_is_no_better_than_it() -> None:
    for nll, error in ((8.49999, 1e-6), (8.50001, 1e-6), (8.49, 0.011)):
        verdict = judge(replace(RESULT, nll=nll, control_gain_standard_error=error), course_of(FLAT))
        assert verdict.code == "not_better_than_linear"
        assert verdict.words.startswith("As good as factor analysis, 4 latent dimensions and no better (by ")


def test_the_better_of_the_two_simple_models_counts() -> None:
    overfitted = replace(RESULT, control=1e6, nll=11.0)
    assert "independent columns by 1.000 ± 0.200" in judge(overfitted, course_of(FLAT)).words
    unknown = replace(RESULT, control=math.nan, nll=12.5)
    assert judge(unknown, course_of(FLAT)).words.startswith("Worse than independent columns by 0.500")
    nothing = replace(unknown, baseline=math.nan)
    assert "nothing to compare with" in judge(nothing, course_of(FLAT)).words
    impossible = replace(RESULT, control=math.inf, baseline=math.inf, baseline_gain_standard_error=math.nan)
    assert judge(impossible, None).code == "learned"


def test_a_model_worse_than_knowing_nothing_has_diverged() -> None:
    """What `optimizer.lr=5` ends in: all its dimensions vary, and every number is beyond reason."""
    lost = replace(RESULT, nll=1e9, nelbo=1e9, kl=1e5)
    assert judge(lost, course_of([1e12, 1e10, 1e9])).code == "diverged"


def test_training_that_ended_far_above_its_best_has_diverged() -> None:
    curve = [12.0, 10.0, 9.0, 8.1, 8.1, 30.0, 80.0, 90.0]
    verdict = judge(RESULT, course_of(curve, best_epoch=4))
    assert verdict.code == "diverged"
    assert "ended at 90 nats after 8.1" in verdict.words
    assert "the weights of epoch 4 are kept" in verdict.words
    of_the_start = judge(replace(RESULT, nll=8.5), course_of([50.0, 60.0, 70.0], start=8.5, best_epoch=0))
    assert "the weights of the start are kept" in of_the_start.words


def test_rows_learned_by_heart_are_no_divergence() -> None:
    """The validation curve rises, the training curve falls, and the best weights are kept."""
    valid = [12.0, 9.0, 8.1, 9.0, 12.0, 15.0, 20.0, 30.0]
    train = [12.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0]
    assert judge(RESULT, course_of(valid, train=train, best_epoch=3, stopped_early=True)).code == "learned"


def test_a_posterior_that_ran_away_has_not_collapsed() -> None:
    for kl, code in ((0.02, "collapsed"), (272.0, "diverged"), (math.inf, "diverged")):
        assert judge(replace(RESULT, active_units=0, kl=kl, nll=12.0), None).code == code


@pytest.mark.parametrize(("test", "valid"), [(1, 50), (100, 1), (1, 1)])
def test_one_row_is_no_sample(test: int, valid: int) -> None:
    result = replace(RESULT, num_rows=test, nll_standard_error=math.nan, control_gain_standard_error=math.nan)
    verdict = judge(result, course_of(FLAT, num_valid=valid))
    assert verdict.code == "too_few_rows"
    assert ("1 test row" in verdict.words) == (test == 1)
    assert ("1 validation row" in verdict.words) == (valid == 1)


def test_a_curve_that_ends_in_nan_has_diverged_though_the_weights_of_the_start_are_as_good_as_ever() -> None:
    end = {"best_epoch": 0, "start": 8.1}
    for valid in ([math.nan], [8.2, math.inf]):
        assert judge(RESULT, course_of(valid, **end)).words == (
            f"Diverged: the validation NELBO ended at {valid[-1]}; the weights of the start are kept."
        )
