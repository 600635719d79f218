"""Which probabilities or means the decoder's output can express inside the reconstruction."""

import numpy as np

from vae_lightning.doctor.base import Finding
from vae_lightning.doctor.blackbox.arrays import Array
from vae_lightning.doctor.reconstruction.layout import Term


def _probability(term: Term, factor: float, out: float) -> float:
    zero, one = factor * term.value(0.0, (out,)), factor * term.value(1.0, (out,))
    if not np.isfinite(zero) or not np.isfinite(one):
        return np.nan
    return float(1 / (1 + np.exp(np.clip(one - zero, -700, 700))))


def bernoulli_reach(term: Term, factor: float) -> list[Finding]:
    """Whether a cross-entropy with one number per column, times `factor` in nats, can say every probability."""
    if term.layout.heads != 1:
        return []
    inside = {out: _probability(term, factor, out) for out in (0.02, 0.25, 0.5, 0.75, 0.98)}
    far = {out: _probability(term, factor, out) for out in (-30.0, -8.0, -1.0, 2.0, 8.0, 30.0)}
    known = {out: p for out, p in {**inside, **far}.items() if np.isfinite(p)}
    values = list(known.values())
    if not values:
        return []
    low, high = min(values), max(values)
    evidence = {"least probability": low, "greatest probability": high}
    takes_all = all(np.isfinite(p) for p in far.values())
    if takes_all and low > 0.49 and high < 0.74:
        says = f"Whatever the output is, the probability stays in {low:.4f} to {high:.4f}: a sigmoid of a sigmoid."
        advice = "Give the cross-entropy on logits the decoder's output as it is."
        return [Finding("DOUBLE-SIGMOID", False, says, advice, evidence, about="reconstruction")]
    if takes_all and (low > 0.02 or high < 0.98):
        says = f"Whatever the output is, the probability stays between {low:.4f} and {high:.4f}."
        advice = "Use cross-entropy on logits, with no activation before it."
        return [Finding("OUT-ACT", False, says, advice, evidence, about="reconstruction")]
    # A plain probability is refused on both sides of [0, 1]; an activation such as tanh takes every positive output.
    plain = max(abs(p - out) for out, p in inside.items() if np.isfinite(p)) < 0.02
    if not plain and np.isnan(far[-1.0]) and np.isfinite(far[2.0]):
        says = "Negative outputs give NaN: the activation before the cross-entropy leaves [0, 1]."
        advice = "Use cross-entropy on logits, with no activation before it."
        return [Finding("OUT-ACT", False, says, advice, evidence, about="reconstruction")]
    return []


def mean_reach(term: Term, sign: float, grid: Array) -> tuple[float, float]:
    """The least and the greatest x at which a squared error a·(x − g(out))² can be zero, over the outputs `grid`."""
    places = []
    for out in grid:
        three = [sign * term.value(x, (float(out),)) for x in (-1.0, 0.0, 1.0)]
        second = three[0] - 2 * three[1] + three[2]
        if np.all(np.isfinite(three)) and second > 0:
            places.append((three[0] - three[2]) / (2 * second))
    return (min(places), max(places)) if places else (-np.inf, np.inf)
