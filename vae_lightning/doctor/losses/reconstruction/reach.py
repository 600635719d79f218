"""Which probabilities or means the decoder's output can express inside the reconstruction."""

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.reconstruction.layout import ORDINARY, Term, replace_head
from vae_lightning.doctor.losses.reconstruction.supports import compute_mean
from vae_lightning.doctor.report import Finding

STEP = 1e-3
REALS: Array = np.concatenate([-np.logspace(2.6, -1, 19), np.logspace(-1, 2.6, 19)])
COUNTS: Array = np.arange(0.0, 61.0)
OUTPUTS: Array = np.array([-1e3, -30.0, -8.0, -3.0, -1.0, -0.3, 0.0, 0.3, 1.0, 3.0, 8.0, 30.0, 1e3])
"""Decoder outputs from end to end."""
LOGITS = "Use cross-entropy on logits, with no activation before it."


def check_unit_reach(term: Term, sign: float, support: str) -> list[Finding]:
    """Whether a likelihood of zeros and ones, or a density on [0, 1], can have its mean near both ends.

    Args:
        term: The reconstruction, of one number per column.
        sign: What turns it into nats: its sign over its factor.
        support: ``binary`` or ``unit``.
    """

    def mean(out: float) -> float:
        return compute_mean(term, sign, support, out)

    inside = {out: mean(out) for out in (0.02, 0.25, 0.5, 0.75, 0.98)}
    far = {out: mean(out) for out in (-30.0, -8.0, -1.0, 2.0, 8.0, 30.0)}
    known = [p for p in (*inside.values(), *far.values()) if np.isfinite(p)]
    low, high, edge = min(known), max(known), 0.02 if support == "binary" else 0.2
    takes_all = all(np.isfinite(p) for p in far.values())
    # A plain probability is refused on both sides of [0, 1]; an activation such as tanh takes every positive output.
    plain = max(abs(p - out) for out, p in inside.items() if np.isfinite(p)) < 0.02
    flat = np.ptp([far[out] for out in (-1.0, -8.0, -30.0)]) < 1e-9
    stays = f"Whatever the output is, the mean stays between {low:.4f} and {high:.4f}"
    laws = (
        (takes_all and low > 0.49 and high < 0.74, "DOUBLE-SIGMOID", f"{stays}: a sigmoid of a sigmoid."),
        (takes_all and (low > edge or high < 1 - edge), "OUT-ACT", f"{stays}: an activation before it."),
        (takes_all and not plain and flat, "OUT-ACT", "Every negative output gives the same mean: no gradient passes."),
        (
            takes_all and not np.isfinite(mean(100.0)),
            "OVERFLOW",
            "At an output of ±100 it is NaN or infinite: a sigmoid that rounds to 0 or 1 before its log; single "
            "precision fails from 17 on.",
        ),
        (
            not plain and np.isnan(far[-1.0]) and np.isfinite(far[2.0]),
            "OUT-ACT",
            "Negative outputs give NaN: the activation before the cross-entropy leaves [0, 1].",
        ),
    )
    evidence = {"least mean": low, "greatest mean": high}
    return [Finding(code, False, says, LOGITS, evidence) for broken, code, says in laws if broken][:1]


def check_far_values(term: Term) -> list[Finding]:
    """OVERFLOW where a density of real x is not finite for an x that is a hundred away from the output."""
    if all(np.isfinite(term.value(x, (0.0,))) for x in (-100.0, 100.0)):
        return []
    says = "For an x that is 100 away from the output the reconstruction is NaN or infinite: an exponential overflows."
    advice = "Use a stable form: softplus or logsumexp for log(1 + e^t); single precision fails much earlier."
    return [Finding("OVERFLOW", False, says, advice)]


def check_signs_of_heads(term: Term) -> list[Finding]:
    """Whether heads beside a mean, which may be any number, may be negative, too: raw outputs are both."""
    usual = ORDINARY[: term.layout.heads]

    def refuses(head: int) -> bool:
        return not all(np.isfinite(term.value(x, replace_head(usual, head, -0.7))) for x in term.pair)

    refused = [head for head in range(term.layout.heads) if refuses(head)]
    if not refused or len(refused) == term.layout.heads:
        return []  # heads that are all positive come from activations outside
    names = " and ".join(f"out[{head}]" for head in refused)
    says = f"It is not finite for negative {names}, unlike the other output: a raw output used as a scale or variance."
    advice = "Make it positive first: the exponential of half a log-variance, or a softplus plus a small number."
    return [Finding("OVERFLOW", False, says, advice, {"heads": refused})]


def find_reach(term: Term, counts: bool) -> tuple[float, float]:
    """The least and the greatest mean (of a density: mode) over all outputs; infinite where nothing limits it."""
    outputs = OUTPUTS[np.abs(OUTPUTS) < 10] if counts else OUTPUTS
    places: list[float] = []
    for head in range(term.layout.heads):
        found = [_find_places(term, head, float(out), counts) for out in outputs]
        if all(len(each) < 2 for each in found):  # a scale has several
            places += [place for each in found for place in each]
    return (min(places), max(places)) if places else (-np.inf, np.inf)


def _find_places(term: Term, head: int, out: float, counts: bool) -> list[float]:
    """The x at which ρ neither rises nor falls with the output, whatever term of x alone is missing; none if untold."""
    below, above = (replace_head(ORDINARY[: term.layout.heads], head, out + step) for step in (-STEP, STEP))

    def slope(x: Array) -> Array:
        low, high = term.values(x, below), term.values(x, above)
        noise = (1e-6 if term.box.single_precision else 1e-13) * np.abs(high)
        return np.where(np.abs(high - low) > noise, high - low, np.nan)

    x = COUNTS if counts else REALS
    slopes = slope(x)
    x, slopes = x[np.isfinite(slopes)], slopes[np.isfinite(slopes)]
    turns = np.flatnonzero(np.diff(slopes > 0))
    if x.size < 2 or turns.size > 1:
        return x[turns].tolist()
    if not turns.size:  # it lies beyond, where the slope is smaller
        first, last = np.abs(slopes[[0, -1]])
        return [float(np.copysign(np.inf, out if abs(first / last - 1) < 1e-6 else first - last))]
    low, high = x[turns[0]], x[turns[0] + 1]
    for _ in range(0 if counts else 3):  # each round keeps one of eight parts
        nodes = np.linspace(low, high, 9)
        turn = np.flatnonzero(np.diff(slope(nodes) > 0))
        low, high = (nodes[turn[0]], nodes[turn[0] + 1]) if turn.size == 1 else (low, high)
    left, right = slope(np.array([low, high]))
    place = float(low + (high - low) * left / (left - right))
    return [place if np.isfinite(place) else float(low)]
