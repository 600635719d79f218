"""The reconstruction: its family, its sign, its factor, and whether it is a likelihood at all."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.blackbox.box import seed
from vae_lightning.doctor.losses.posterior.sigma import POSITIVE_GRID, identify_sigma
from vae_lightning.doctor.losses.reconstruction.blocks import MOST, Block, BlockBox, find_blocks
from vae_lightning.doctor.losses.reconstruction.classes import examine_classes, examine_coupled, read_one_hot
from vae_lightning.doctor.losses.reconstruction.exponential import find_natural_family
from vae_lightning.doctor.losses.reconstruction.layout import ORDINARY, ReconstructionReading, Term, replace_head
from vae_lightning.doctor.losses.reconstruction.reach import check_far_values, check_signs_of_heads, check_unit_reach
from vae_lightning.doctor.losses.reconstruction.supports import MEASURES, Normalisation, normalise
from vae_lightning.doctor.report import Finding


def examine_reconstruction(
    term: Term, kl_weight: float | None = None, free_constant: bool = False
) -> list[ReconstructionReading]:
    """Examine ``reconstruction(x, out)``: one reading, or one for each block of columns that are treated alike.

    Args:
        term: The function.
        kl_weight: The factor in front of the KL, where it is known: a common factor is no mistake.
        free_constant: Whether its constant is unknown (it was taken out of a whole loss).

    Raises:
        CallFailed: It gives no numbers.
    """
    reading = ReconstructionReading(term, free_constant=free_constant)
    if term.layout.kind.startswith("class"):
        examine_classes(reading)
        return [reading]
    random = _check_randomness(term)
    if random:
        reading.findings += random
        return [reading]
    # Equal values in all columns hide what the argmax of a one-hot row shows.
    kinds = term.combine(term.pair[1], ORDINARY), term.combine(term.pair[0], [head + 0.1 for head in ORDINARY])
    if not _ignores_x(term) and term.reduction.regular and term.add_up(*kinds):
        _examine_alike(reading, kl_weight)
        return [reading]
    blocks = [block for block in find_blocks(term) if not block.idle]
    if not blocks and term.columns <= MOST:
        reading.findings.append(_report_no_comparison())
    elif len(blocks) < 2 and (not blocks or blocks[0].size == term.columns):
        examine_coupled(reading)
    else:
        return [_examine_block(term, block, kl_weight) for block in blocks]
    return [reading]


def _examine_block(whole: Term, block: Block, kl_weight: float | None) -> ReconstructionReading:
    term = Term(BlockBox(whole, block), block.size, whole.layout)
    reading = ReconstructionReading(term, free_constant=True, block=block)
    if block.coupled:
        examine_coupled(reading)
    else:
        _examine_alike(reading, kl_weight)
    if not block.open and block.size > 1:
        _recognise_mean(reading, block.size, kl_weight or 1.0)
    return reading


def _recognise_mean(reading: ReconstructionReading, size: int, kl_weight: float) -> None:
    """A factor of one over a number of columns that is typed into the code is a mean over them."""
    weight, a = (None if one is None else one / abs(kl_weight) for one in (reading.weight, reading.curvature))
    if weight is not None and abs(weight * size - 1) < 1e-4 and reading.weight is not None:
        reading.weight *= size
    elif a is not None and any(abs(a * size / one - 1) < 1e-4 for one in (0.5, 1.0) if abs(a / 0.5 - 1) > 1e-4):
        reading.curvature = a * abs(kl_weight) * size
    else:
        return
    reading.term.reduction = replace(reading.term.reduction, column_power=-1)


def _examine_alike(reading: ReconstructionReading, kl_weight: float | None) -> None:
    """Examine a reconstruction whose columns are all treated alike, each by itself."""
    term = reading.term
    expected = [1.0] if kl_weight is None else list(dict.fromkeys([1.0, abs(kl_weight)]))
    if _ignores_x(term):
        reading.findings.append(_report_no_comparison())
        return
    if not _read_sign(reading):
        return
    # Beside a rate, which falls where the mean rises, the crossed difference points the other way.
    found = any(_read_family(reading, sign, expected, kl_weight) for sign in (reading.sign, -reading.sign))
    if not found and not read_one_hot(reading, coupled=False):
        _judge_no_likelihood(reading, expected)
    names = ("", *["the output"] * term.layout.heads)
    passing = term.box.check_gradients("NO-GRAD", names, *term.example(term.layout), comparable=False)
    # A gradient that is not finite is a consequence of what has been found already.
    known = [one for one in passing if one.code != "OVERFLOW" or reading.likelihood is not False]
    reading.findings += [*check_signs_of_heads(term), *known]


def _check_randomness(term: Term) -> list[Finding]:
    usual, other = (term.combine(x, ORDINARY) for x in term.pair[::-1])
    values = [term.measure(usual) for _ in range(3)]
    if not np.ptp(values) > 1e-10 * max(1.0, abs(values[0])):
        return []
    differences = []  # between x and another x, beside one noise
    for number in (1, 1, 2, 3):
        seed(number)
        value = term.measure(usual)
        seed(number)
        differences.append(value - term.measure(other))
    if differences[0] == differences[1] and np.ptp(differences) > 1e-6 * max(1.0, abs(differences[0])):
        says = "The output is drawn at random before it is compared with x: that is no likelihood."
        advice = "Give the decoder's mean and variance to −log p(x|z) as they are."
        return [Finding("UNNORMALISED", False, says, advice)]
    says = "Two calls with the same arguments differ: the reconstruction is random, so nothing can be read off it."
    return [Finding("UNSEEDED", None, says, "Take dropout and noise out of the loss function.")]


def _ignores_x(term: Term) -> bool:
    values = [term.value(x, ORDINARY) for x in (*term.pair, 0.55)]
    return bool(np.ptp(values) < 1e-12 * max(1.0, abs(values[0])))


def _report_no_comparison() -> Finding:
    says = "The reconstruction does not compare x with out: the effect of one does not depend on the other."
    advice = "Compare the decoder's output with the row it came from."
    return Finding("UNNORMALISED", False, says, advice)


def _read_sign(reading: ReconstructionReading) -> bool:
    """Read the sign; False if x and out do not even meet."""
    term = reading.term
    (left, right), meeting = term.pair, []
    for head in range(term.layout.heads):
        low, high = (replace_head(ORDINARY, head, value) for value in (0.35, 0.7))
        crossed = term.value(right, low) + term.value(left, high) - term.value(right, high) - term.value(left, low)
        meeting.append(crossed)
    size = abs(term.value(right, ORDINARY)) + abs(term.value(left, ORDINARY)) + 1e-9
    if max(abs(crossed) for crossed in meeting) < 1e-9 * size:
        reading.findings.append(_report_no_comparison())
        return False
    reading.sign = 1.0 if _points_up(term, meeting) else -1.0
    return True


def _points_up(term: Term, meeting: Sequence[float]) -> bool:
    if term.layout.heads == 1:
        return meeting[0] > 0
    # Beside fixed heads, far x must cost more than near ones.
    far = [term.value(x, ORDINARY) for x in (-9.0, 0.5, 9.0)]
    if np.all(np.isfinite(far)) and abs(far[0] + far[2] - 2 * far[1]) > 1e-9:
        return far[0] + far[2] > 2 * far[1]
    counts = [term.value(x, ORDINARY) for x in (0.0, 30.0)]
    if np.all(np.isfinite(counts)):
        return counts[1] > counts[0]
    edges = [term.value(x, ORDINARY) for x in (0.02, 0.5, 0.98)]
    return not np.all(np.isfinite(edges)) or edges[0] + edges[2] > 2 * edges[1] or meeting[0] > 0


def _read_family(reading: ReconstructionReading, sign: float, expected: list[float], kl_weight: float | None) -> bool:
    """Read the family with one of the two signs; False if it is a likelihood with neither support nor factor."""
    term = reading.term
    found = normalise(term, sign, expected)
    solved = found is not None and found.weight is not None and found.weight not in expected
    natural = None
    if term.layout.heads == 1 and (found is None or solved):
        natural = find_natural_family(lambda x, out: sign * term.value(x, (out,)), expected)
    if natural is not None:
        reading.sign = sign
        reading.family, reading.weight, reading.likelihood = natural[0], natural[1], True
        says = f"Up to a term of x alone it is the negative log-likelihood of the {natural[0]} family."
        reading.findings.append(Finding("UNNORMALISED", True, says))
        return True
    if found is None:
        return False
    reading.sign = sign
    _accept(reading, found, kl_weight)
    return True


def _judge_no_likelihood(reading: ReconstructionReading, expected: list[float]) -> None:
    term = reading.term
    reading.likelihood = False
    if term.layout.heads == 1 and _is_exchanged(term, expected):
        says = "With its two arguments exchanged it is a likelihood: target and prediction are swapped."
        advice = "Give the prediction where the prediction belongs, and the data as the target."
        reading.findings.append(Finding("ARG-SWAP", False, says, advice))
        return
    says = (
        "The total of exp(−reconstruction) depends on the decoder's output, be it over x that are 0 and 1, counts, in "
    )
    says += "[0, 1], positive or real numbers, angles or 256 grey levels: it is no likelihood of any of them."
    advice = "Look for a weight on one class, a smoothed or clipped target, or a term that is no density."
    if term.layout.heads > 1:
        advice = "Look for a missing log σ: a learned scale needs it. Or for a factor on one of the terms."
    reading.findings.append(Finding("UNNORMALISED", False, says, advice))


def _accept(reading: ReconstructionReading, found: Normalisation, kl_weight: float | None) -> None:
    term, sign = reading.term, reading.sign
    reading.family, reading.weight, reading.likelihood = found.support, found.weight, True
    if found.support == "real" and found.weight is None:
        reading.curvature = _read_curvature(term, sign)
        if reading.curvature is not None:
            reading.family = "squared error"
        else:
            reading.tail = sign * (term.value(301.0, ORDINARY) - term.value(300.0, ORDINARY))
    if found.support == "real" and term.layout.heads == 1:
        reading.findings += check_far_values(term)
    if found.support in ("binary", "unit") and term.layout.heads == 1:
        reading.findings += check_unit_reach(term, sign / (found.weight or 1.0), found.support)
    words = {"binary": "0/1 data", "unit": "data in [0, 1]", "circle": "angles"}
    words |= {name: f"{name}, a Jacobian of x alone apart" for name in ("log x", "log(1 + x)")}
    says = f"exp(−reconstruction) is normalised over {words.get(found.support, found.support + ' data')}"
    if reading.free_constant:
        says += ", up to a constant"
    elif abs(found.log_z) >= 0.01 * abs(found.weight or 1.0):
        says += f", up to the factor exp({found.log_z:.4g}) per column, which no gradient sees"
    reading.findings.append(Finding("UNNORMALISED", True, f"{says}."))
    weight = found.weight
    usual = (1.0,) if kl_weight is None else (1.0, abs(kl_weight))
    if weight is None or term.layout.heads == 1 or any(abs(weight / one - 1) < 0.01 for one in usual):
        return
    if kl_weight is None or not _whole_is_scaled(term, sign, weight):
        reading.likelihood, reading.weight = False, 1.0
        says = f"It is a likelihood only when divided by {weight:.4g}: the total of exp(−reconstruction) varies."
        advice = f"Check the factor of the log term against the rest, or multiply the KL by {weight:.4g} too."
        others = (f"SCALE: the whole is multiplied by {weight:.4g}",)
        reading.findings[-1] = Finding("UNNORMALISED", False, says, advice, {"weight": weight}, others)


def _whole_is_scaled(term: Term, sign: float, weight: float) -> bool:
    """Whether w is a factor of the whole rather than of the log term: then the scale is one that people write.

    w (x − μ)²/(2σ²) + w log σ can be read with this σ, or, if only the log term has the factor, with σ/√w.
    """
    grid = POSITIVE_GRID[:8]
    for head in range(term.layout.heads):
        heads = [[0.35 if one != head else float(s) for one in range(term.layout.heads)] for s in grid]
        seconds = sign * np.array([np.diff([term.value(x, one) for x in (-1.0, 0.0, 1.0)], 2)[0] for one in heads]) / 2
        if not np.all(seconds > 0) or np.ptp(seconds) < 1e-6 * np.max(seconds):
            continue
        label, factor = identify_sigma(grid, np.sqrt(weight / (2 * seconds)), 1e-3)
        return label is not None and abs(factor - 1) < 1e-3
    return False


def _read_curvature(term: Term, sign: float) -> float | None:
    """a, if the reconstruction is a·(x − g(out))² + constant."""
    seconds = []
    for x in (-2.0, 0.0, 1.5):
        for out in (0.25, 0.7):
            three = [sign * term.value(x + step, (out,)) for step in (-1.0, 0.0, 1.0)]
            seconds.append((three[0] - 2 * three[1] + three[2]) / 2)
    a = float(np.median(seconds))
    return a if a > 0 and np.ptp(seconds) < (1e-3 if term.box.single_precision else 1e-6) * a + 1e-9 else None


def _is_exchanged(term: Term, expected: list[float]) -> bool:
    """Whether it is a likelihood of its second argument, as it is or behind a sigmoid or an exponential."""
    for link in _LINKS:
        other = copy(term)
        other.known, other.pack = {}, lambda x, out, link=link: (out, link(x))
        reading = ReconstructionReading(other)
        known = any(_read_family(reading, sign, expected, None) for sign in (1.0, -1.0))
        if known and reading.family not in _CONTINUOUS and reading.weight in expected:
            return True
    return False


_LINKS: tuple[Callable[[Array], Array], ...] = (
    lambda x: x,
    lambda x: np.log(x.clip(1e-17) / (1 - x).clip(1e-17)),
    lambda x: np.log(x.clip(1e-9)),
)
"""What a decoder's activation undoes."""
_CONTINUOUS = {*MEASURES, "Gaussian"} - {"binary", "counts"}
