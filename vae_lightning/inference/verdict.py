"""What a training run came to, in one sentence: a pure function of its numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from vae_lightning.data.wording import two_digits
from vae_lightning.inference.evaluation import Evaluation

Code = Literal["learned", "improving", "not_better_than_linear", "collapsed", "diverged", "too_few_rows"]
CODES: tuple[Code, ...] = get_args(Code)
SMALL_KL = 1.0
"""Nats. Without an active unit, a KL below this says that the posterior is the prior; above, that it ran away."""
ERRORS = 2.0  # standard errors that a difference must exceed to count
WINDOW = 1 / 3  # of the progress: the last part of the curve, to which the line is fitted
POINTS = 6  # epochs that a line needs
MATERIAL = 0.02  # of what was learned beyond independent columns: less is no reason to train on
LEAST = 0.01  # nats per row: likewise, however little was learned
SLACK = 0.02  # of a loss: what a curve may rise by without having diverged
NOTICEABLE = 1e-4  # nats per column: less than this is no difference however sure it is


class Verdict(NamedTuple):
    """One of :data:`CODES`, and the same as a sentence."""

    code: Code
    words: str


class Trend(NamedTuple):
    """The line through the last part of a curve.

    Attributes:
        fall: nats that it falls in a thousand steps of full size.
        standard_error: of ``fall``.
        steps: of full size that the line covers.
    """

    fall: float
    standard_error: float
    steps: float


@dataclass(frozen=True)
class Course:
    """How training went, in numbers; everything in nats per row and data units.

    Attributes:
        valid: NELBO of the validation rows at each validation.
        steps: optimiser steps taken by then.
        learning_rates: of these steps.
        train: NELBO of each epoch's steps; NaN where it is not known.
        best_epoch: whose weights are kept, counted from 1; 0 is the start.
        num_valid: validation rows.
        ended: why training ended, in words.
        stopped_early: whether it ended because the validation NELBO had stopped falling.
        beta: the weight of the KL that training ended with.
        final_beta: the weight that it was to end with.
        start: NELBO of the validation rows before the first step; NaN where nobody looked.
    """

    valid: Sequence[float]
    steps: Sequence[float]
    learning_rates: Sequence[float]
    train: Sequence[float]
    best_epoch: int
    num_valid: int
    ended: str
    stopped_early: bool = False
    beta: float = 1.0
    final_beta: float = 1.0
    start: float = math.nan

    @property
    def words(self) -> str:
        """Why training ended, which weights are kept, and the β that was not reached."""
        kept = f"the weights of epoch {self.best_epoch}" if self.best_epoch else "the weights of the start"
        reached = f"; β ended at {self.beta:.2g} instead of {self.final_beta:g}" if self.beta < self.final_beta else ""
        return f"{self.ended}; kept are {kept}{reached}"


def judge(result: Evaluation, course: Course | None) -> Verdict:
    """Say what a run came to.

    The first that holds: too few rows to say anything; diverged; ended within the warm-up of β (improving); collapsed;
    still improving; worse than the better of the control and independent columns, or no better; too few rows to tell
    the two apart; learned.

    Args:
        result: the test rows under the weights that are kept.
        course: of the training; None where nothing is known of it.
    """
    few = _rows_in_words(result, course)
    if few:
        return Verdict("too_few_rows", f"Too few rows to say: {few}, where a spread takes two.")
    if why := _divergence(result, course):
        return Verdict("diverged", f"Diverged: {why}.")
    comparison = _compare(result)
    if course is not None and course.beta < course.final_beta:
        return Verdict(
            "improving",
            f"Training ended while the weight β of the KL was still {course.beta:.2g} of {course.final_beta:g}, so the "
            f"model is not yet the one that was asked for; so far {comparison.words}.",
        )
    if result.active_units == 0:
        return Verdict(
            "collapsed",
            f"Collapsed: none of the {result.latent_dim} latent dimensions is used (KL {result.kl:.3f} nats), so every "
            "row has the same code.",
        )
    if course is not None and (fall := remaining_fall(result, course)):
        how = f"Still improving when training ended, by {two_digits(fall)} nats a thousand steps of full size"
        return Verdict("improving", f"{how}; so far {comparison.words}.")
    return Verdict(comparison.code, comparison.words[0].upper() + comparison.words[1:] + ".")


def fit_trend(values: Sequence[float], steps: Sequence[float], learning_rates: Sequence[float]) -> Trend | None:
    """Fit a line to the last third of a curve, at least six points; None where it has not so many.

    A schedule that ends at a step size of 0 flattens every curve, learned or not. So a step counts by its size: the
    line is fitted over Σ lr / max lr, each point weighted by its share of that, and *last third* is meant in it. Points
    off the line count less (Huber), and the standard error allows for the likeness of neighbours.

    Args:
        values: of the curve.
        steps: taken by then.
        learning_rates: of these steps.
    """
    y, rates = np.asarray(values, dtype=np.float64), np.asarray(learning_rates, dtype=np.float64)
    if len(y) < POINTS or not np.isfinite(y).all() or not (rates > 0).any():
        return None
    sizes = np.diff(np.asarray(steps, dtype=np.float64), prepend=0.0) * rates / rates.max()
    x = np.cumsum(sizes)
    first = min(int(np.searchsorted(x, (1 - WINDOW) * x[-1], side="right")), len(x) - POINTS)
    x, y, sizes = x[first:], y[first:], sizes[first:]
    if x[0] == x[-1]:
        return None
    weights = sizes
    for _ in range(20):
        share = weights / weights.sum()
        centred = x - share @ x
        spread = share @ centred**2
        slope = share @ (centred * y) / spread
        off = y - share @ y - slope * centred
        scale = 1.4826 * np.median(np.abs(off)) + 1e-12
        weights = sizes * np.minimum(1.0, 1.5 * scale / np.maximum(np.abs(off), 1e-12))
    effective = 1 / (share @ share)  # points that count alike
    variance = share @ off**2 / max(effective - 2, 1.0)
    alike = np.clip((off[1:] @ off[:-1]) / max(off @ off, 1e-300), 0.0, 0.9)
    error = math.sqrt(variance * (1 + alike) / (1 - alike) / spread)
    return Trend(-1000 * float(slope), 1000 * error, float(sizes.sum()))


class _Comparison(NamedTuple):
    code: Code
    words: str


def _compare(result: Evaluation) -> _Comparison:
    """The model against the better of the control and independent columns."""
    name, nll, error = "independent columns", result.baseline, result.baseline_gain_standard_error
    if result.control <= nll or math.isnan(nll):
        name, nll, error = result.control_words, result.control, result.control_gain_standard_error
    gain = nll - result.nll
    if math.isnan(gain):
        return _Comparison("too_few_rows", "there is nothing to compare with: no simple model could be fitted")
    if math.isinf(gain):  # a test value that the simple model holds to be impossible
        error = 0.0
    beside = f"± {error:.3f} nats per row"
    num_columns = result.nll / result.nll_per_column if result.nll_per_column else 1.0
    tiny = NOTICEABLE * num_columns
    if gain > max(ERRORS * error, tiny):
        return _Comparison("learned", f"better than {name} by {gain:.3f} {beside} on rows it was not trained on")
    if abs(gain) + ERRORS * error <= max(tiny, LEAST, MATERIAL * _learned(result)):
        return _Comparison("not_better_than_linear", f"as good as {name} and no better (by {gain:.3f} {beside})")
    if gain < -ERRORS * error:
        return _Comparison("not_better_than_linear", f"worse than {name} by {-gain:.3f} {beside}")
    side = "better" if gain > 0 else "worse"
    return _Comparison("too_few_rows", f"too few test rows to tell it from {name} ({side} by {abs(gain):.3f} {beside})")


def _learned(result: Evaluation) -> float:
    """Nats per row that independent columns lack."""
    return max(result.baseline - result.nll, 0.0) if math.isfinite(result.baseline) else 0.0


def _rows_in_words(result: Evaluation, course: Course | None) -> str:
    counts = {"test": result.num_rows, **({} if course is None else {"validation": course.num_valid})}
    few = [f"{size} {part} row{'' if size == 1 else 's'}" for part, size in counts.items() if size < 2]
    return " and ".join(few)


def _divergence(result: Evaluation, course: Course | None) -> str:
    """Why training is held to have diverged; nothing where it did not."""
    if result.active_units == 0 and not result.kl < SMALL_KL:
        return f"the KL is {result.kl:.4g} nats and yet no latent dimension varies with the rows; try a smaller step"
    if course is None or not course.valid:
        return ""
    at_end = course.valid[-1]
    kept = f"the weights of {f'epoch {course.best_epoch}' if course.best_epoch else 'the start'} are kept"
    if not math.isfinite(at_end):
        return f"the validation NELBO ended at {at_end}; {kept}"
    # While β is below its final value the NELBO at β = 1 is not what is minimised, and may rise without harm.
    train = [value for value in course.train if not math.isnan(value)]
    if not train or course.beta < course.final_beta:
        return ""
    # A model that learns its training rows by heart has a validation curve that rises, but no training curve.
    in_training = float(np.median(train[-3:]))
    slack = max(1.0, SLACK * abs(result.baseline))
    if min(result.nll, in_training) > result.baseline + slack:
        return (
            f"the training rows' NELBO ended at {in_training:.4g} nats, far above the {result.baseline:.4g} of "
            "independent columns, which know nothing of one another; try a smaller step or scaled data"
        )
    at_best, lowest = (np.nanmin([course.start, *curve]) for curve in (course.valid, train))
    slack = max(1.0, 0.5 * _learned(result), SLACK * abs(at_best))
    if at_end > at_best + slack and in_training > lowest + slack:
        return (
            f"the validation NELBO ended at {at_end:.4g} nats after {at_best:.4g}, and that of the training "
            f"rows rose with it; {kept}"
        )
    return ""


def remaining_fall(result: Evaluation, course: Course) -> float:
    """Nats a thousand steps by which the validation NELBO still fell; 0 where that was over or is not worth a word."""
    trend = fit_trend(course.valid, course.steps, course.learning_rates)
    if trend is None or course.stopped_early:
        return 0.0
    more = trend.fall * trend.steps / 1000  # if it went on like that for as long again as the line covers
    falls = trend.fall > ERRORS * trend.standard_error and more > max(LEAST, MATERIAL * _learned(result))
    return trend.fall if falls else 0.0
