"""Which probabilities or means the decoder's output can express inside the reconstruction."""

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.reconstruction.layout import ORDINARY, Term, replace_head
from vae_lightning.doctor.losses.reconstruction.supports import UNIT_NODES, find_mode
from vae_lightning.doctor.report import Finding

NEAR = np.array([-1.5, 0.3, 2.0])


def _probability(term: Term, factor: float, out: float) -> float:
    zero, one = factor * term.value(0.0, (out,)), factor * term.value(1.0, (out,))
    if not np.isfinite(zero) or not np.isfinite(one):
        return np.nan
    return float(1 / (1 + np.exp(np.clip(one - zero, -700, 700))))


def check_bernoulli_reach(term: Term, factor: float) -> list[Finding]:
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
    below = [far[out] for out in (-1.0, -8.0, -30.0)]
    if not plain and takes_all and np.ptp(below) < 1e-9:
        says = f"Every negative output gives the same probability, {below[0]:.2g}: no gradient passes there."
        advice = "Use cross-entropy on logits, with no activation before it."
        return [Finding("OUT-ACT", False, says, advice, evidence, about="reconstruction")]
    distant = _probability(term, factor, 100.0)
    if takes_all and not np.isfinite(distant):
        says = (
            "At an output of ±100 the cross-entropy is NaN or infinite: a sigmoid that rounds to 0 or 1 before its log."
        )
        advice = (
            "Use cross-entropy on logits, or keep probabilities away from 0 and 1; single precision fails from 17 on."
        )
        return [Finding("OVERFLOW", False, says, advice, about="reconstruction")]
    if not plain and np.isnan(far[-1.0]) and np.isfinite(far[2.0]):
        says = "Negative outputs give NaN: the activation before the cross-entropy leaves [0, 1]."
        advice = "Use cross-entropy on logits, with no activation before it."
        return [Finding("OUT-ACT", False, says, advice, evidence, about="reconstruction")]
    return []


def check_far_values(term: Term) -> list[Finding]:
    """OVERFLOW where a density of real x is not finite for an x that is a hundred away from the output."""
    if all(np.isfinite(term.value(x, (0.0,))) for x in (-100.0, 100.0)):
        return []
    says = "For an x that is 100 away from the output the reconstruction is NaN or infinite: an exponential overflows."
    advice = "Use a stable form: softplus or logsumexp for log(1 + e^t); single precision fails much earlier."
    return [Finding("OVERFLOW", False, says, advice, about="reconstruction")]


def check_unit_reach(term: Term, sign: float) -> list[Finding]:
    """Whether a density on [0, 1] with one number per column can have its mean near both ends."""
    x = UNIT_NODES
    means = []
    for out in (-30.0, -8.0, 0.5, 8.0, 30.0):
        rho = sign * term.values(x, (out,))
        if not np.all(np.isfinite(rho)):
            return []
        mass = np.exp(rho.min() - rho) * x * (1 - x)
        means.append(float(mass @ x / mass.sum()))
    low, high = min(means), max(means)
    if low < 0.2 and high > 0.8:
        return []
    says = f"Whatever the output is, the mean stays between {low:.3f} and {high:.3f}: an activation before the density."
    others = ("OUT-ACT: another activation than a sigmoid",)
    advice = "Give it the decoder's output as it is."
    return [Finding("DOUBLE-SIGMOID", False, says, advice, {"means": means}, others, about="reconstruction")]


def find_mode_reach(term: Term, sign: float, grid: Array) -> tuple[float, float]:
    """The least and the greatest x that a density of real x can have as its mode, over outputs in `grid`."""
    places, usual = [], ORDINARY[: term.layout.heads]
    for head in range(term.layout.heads):

        def modes(outs: Array, head: int = head) -> list[float]:
            return [find_mode(term, sign, replace_head(usual, head, out)) for out in outs]

        if np.nanmax(near := np.array(modes(NEAR))) - np.nanmin(near) < 1e-3:
            continue  # a scale, not a mean
        # Beyond what is searched counts as without limit.
        places += [
            place if np.isfinite(place) else np.copysign(np.inf, out)
            for out, place in zip(grid, modes(grid), strict=True)
        ]
    return (min(places), max(places)) if places else (-np.inf, np.inf)


def find_rate_reach(term: Term, sign: float, grid: Array) -> tuple[float, float]:
    """The least and the greatest mean that a likelihood of counts can have, over outputs in `grid`.

    A term of x alone (log x!) is no concern of the optimiser and may be missing, so the mean is read off as the count
    between which and the next ρ neither rises nor falls with the output: at the mean, dρ/d out = 0.
    """
    x = np.arange(0.0, 61.0)
    means = []
    for head in range(term.layout.heads):
        for out in grid:
            near = [replace_head(ORDINARY[: term.layout.heads], head, out + step) for step in (-1e-3, 1e-3)]
            slope = sign * (term.values(x, near[1]) - term.values(x, near[0]))
            if not np.all(np.isfinite(slope)) or np.ptp(slope) < 1e-12:
                continue
            turn = np.flatnonzero(np.diff(np.sign(slope)) != 0)
            if turn.size:
                left = int(turn[0])
                means.append(left + float(slope[left] / (slope[left] - slope[left + 1])))
            else:
                means.append(np.inf if abs(slope[0]) > abs(slope[-1]) else 0.0)
    return (min(means), max(means)) if means else (0.0, np.inf)


def find_mean_reach(term: Term, sign: float, grid: Array) -> tuple[float, float]:
    """The least and the greatest x at which a squared error a·(x − g(out))² can be zero, over the outputs `grid`."""
    places = []
    for out in grid:
        three = [sign * term.value(x, (float(out),)) for x in (-1.0, 0.0, 1.0)]
        second = three[0] - 2 * three[1] + three[2]
        if np.all(np.isfinite(three)) and second > 0:
            places.append((three[0] - three[2]) / (2 * second))
    return (min(places), max(places)) if places else (-np.inf, np.inf)
