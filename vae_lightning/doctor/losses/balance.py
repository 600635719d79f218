"""KL against reconstruction: signs, reductions, the effective β and the σ that it implies."""

from dataclasses import dataclass, field

import numpy as np

from vae_lightning.doctor.losses.posterior.divergence import KLReading
from vae_lightning.doctor.losses.reconstruction.layout import ReconstructionReading
from vae_lightning.doctor.report import Finding

SAME = 2e-3


@dataclass
class Balance:
    """What the two terms make together.

    Args:
        beta: The effective β as text, with B, L and D where it depends on them.
        variance: The σ² that a squared error implies when β is taken as 1, for the given number of columns; else None.
    """

    beta: str = ""
    variance: float | None = None
    findings: list[Finding] = field(default_factory=list)


def compare_terms(
    kl: KLReading | None,
    reconstruction: ReconstructionReading | None,
    columns: int | None,
    intended: float = 1.0,
) -> Balance:
    """Compare the KL with the reconstruction, or judge one of them alone.

    Args:
        kl: The KL's reading.
        reconstruction: The reconstruction's reading.
        columns: The number of columns of the user's data, if known.
        intended: The β that the user means to have.
    """
    if kl is not None and kl.dead:
        kl = None
    if reconstruction is None or not reconstruction.family:
        if kl is None or (reconstruction is not None and not reconstruction.findings):
            return Balance()
        return Balance(findings=_judge_kl_alone(kl, intended, reconstruction is None))
    if kl is None:
        return Balance(findings=_judge_reconstruction_alone(reconstruction))
    balance = _judge_both(kl, reconstruction, columns, intended)
    balance.findings[:0] = _check_signs(kl, reconstruction)
    return balance


def compare_blocks(readings: list[ReconstructionReading]) -> list[Finding]:
    """Whether the blocks of a reconstruction of mixed columns are reduced alike; without a KL beside them."""
    known = [one for one in readings if one.family and one.block is not None and one.term.reduction.regular]
    if len({one.term.reduction.column_power for one in known}) < 2:
        return []
    parts = [f"{one.block.text}: {one.term.reduction.text('columns')}" for one in known if one.block is not None]
    says = f"The blocks of columns are reduced differently ({'; '.join(parts)}): some count more than others."
    return [Finding("MEAN-SUM", False, says, "Sum over columns, average over rows.", about="reconstruction")]


def report_sign_flip(what: str, about: str) -> Finding:
    """The finding for a term of the wrong sign."""
    says = f"The {what} has the wrong sign: minimising the loss makes it as bad as it can get, without end."
    advice = "Minimise reconstruction + KL: −log p(x|z) and ½ Σ (m² + σ² − 1 − 2 log σ) ≥ 0."
    others = ("If both terms are maximised it is right; then give both.",)
    return Finding("SIGN-FLIP", False, says, advice, alternatives=others, about=about)


def _judge_kl_alone(kl: KLReading, intended: float, really_alone: bool) -> list[Finding]:
    if kl.weight is None:
        return []
    findings = [report_sign_flip("KL", "kl")] if kl.weight < 0 else []
    # The reconstruction may be summed over rows, too.
    powers = {"B": min(kl.reduction.row_power, 0), "L": kl.reduction.column_power}
    findings += _report_reductions(powers, _format_beta(1.0, powers, None), kl.reduction.row_power, "kl")
    weight = abs(kl.weight) / intended
    if kl.consistent and abs(weight - 1) > SAME and not findings:
        size = _as_whole_number(1 / weight)
        if size and not _is_typed_decimal(weight):
            says = f"The KL is divided by {size}: right if the reconstruction is averaged over {size} columns or rows."
            return [Finding("SCALE", None, says, "Give the reconstruction too.", about="kl")]
        findings.append(_report_factor(weight, "kl"))
    if really_alone and not findings:
        says = f"β cannot be judged without the reconstruction. The KL is {kl.reduction.text('latent dimensions')}."
        findings.append(Finding("SCALE", True, says, about="kl"))
    return findings


def _judge_reconstruction_alone(reconstruction: ReconstructionReading) -> list[Finding]:
    findings = [report_sign_flip("reconstruction", "reconstruction")] if reconstruction.sign < 0 else []
    reduction = reconstruction.term.reduction
    weight = reconstruction.weight
    if weight is not None and reconstruction.likelihood and abs(weight - 1) > 0.01 and reduction.column_power == 0:
        says = f"The reconstruction is {weight:.4g} times a negative log-likelihood."
        advice = f"Multiply the KL by {weight:.4g} too, or remove the factor."
        findings.append(Finding("SCALE", False, says, advice, {"weight": weight}, about="reconstruction"))
    says = f"The reconstruction is {reduction.text('columns')}; the KL must be reduced alike"
    says += ", and divided by the number of columns." if reduction.column_power == -1 else "."
    findings.append(Finding("MEAN-SUM", True, says, about="reconstruction"))
    return findings


def _check_signs(kl: KLReading, reconstruction: ReconstructionReading) -> list[Finding]:
    flipped = [name for name, sign in (("KL", kl.weight or 1.0), ("reconstruction", reconstruction.sign)) if sign < 0]
    if len(flipped) == 2:
        says = "Both terms are negated: an ELBO, to be maximised. Minimise its negative."
        return [Finding("SIGN-FLIP", True, says, about="kl and reconstruction")]
    return [report_sign_flip(name, name.lower()) for name in flipped]


def _judge_both(kl: KLReading, reconstruction: ReconstructionReading, columns: int | None, intended: float) -> Balance:
    reduction, about = reconstruction.term.reduction, "kl and reconstruction"
    if not reduction.regular or not kl.reduction.regular:
        return Balance()
    powers = {
        "B": kl.reduction.row_power - reduction.row_power,
        "L": kl.reduction.column_power,
        "D": kl.power - reduction.column_power,
    }
    weight = abs(kl.weight) / intended if kl.weight is not None and kl.consistent else 1.0
    ratio, free = _compute_ratio(weight, reconstruction)
    balance = Balance(_format_beta(ratio, powers, columns))
    if reconstruction.curvature and not powers["B"] and not powers["L"] and (columns or not powers["D"]):
        balance.variance = weight / (2 * reconstruction.curvature) * (columns or 1) ** powers["D"]
    excuse = _explain_by_size(powers, ratio, reconstruction, columns, weight)
    wrong = abs(ratio - 1) > 0.01 and not free
    if excuse is not None:
        balance.findings.append(excuse)
    elif any(powers.values()):
        balance.findings += _report_reductions(powers, balance.beta, kl.reduction.row_power, about)
        if wrong:
            balance.findings.append(_report_beta(f"β = {balance.beta}", {"ratio": ratio}, about))
    elif wrong:
        balance.findings.append(_report_factor(ratio, about, reconstruction.curvature is not None))
    else:
        value = "1 for some scale of the noise model" if free else f"{ratio:.4g}"
        says = f"Both terms are reduced alike; the effective β is {value}."
        balance.findings.append(Finding("SCALE", True, says, about=about))
    return balance


def _compute_ratio(weight: float, reconstruction: ReconstructionReading) -> tuple[float, bool]:
    """β apart from its dependence on shapes, and whether a variance may explain any value of it."""
    if reconstruction.weight is not None:
        return weight / reconstruction.weight, False
    a = reconstruction.curvature
    if a is None:
        # Laplace, Student and the like: as with a squared error, a scale explains every factor but the plain one.
        plain = reconstruction.tail is not None and abs(reconstruction.tail - 1) < SAME
        return (weight, False) if plain and abs(weight - 1) > SAME else (1.0, True)
    # a·SSE + b·KL is a Gaussian with σ² = b/(2a). Only where the squared error stands as people write it, with a = ½
    # or 1, is another factor in front of the KL a β rather than a variance.
    usual = any(abs(a / weight - value) < 0.01 for value in (0.5, 1.0)) or abs(weight - 1) < SAME
    written = any(abs(a - value) < 2e-4 for value in (0.5, 1.0))
    return (1.0, True) if usual or not written else (weight, False)


def _format_beta(ratio: float, powers: dict[str, int], columns: int | None) -> str:
    parts = [f"{ratio:.4g}"] if abs(ratio - 1) > SAME or not any(powers.values()) else []
    for name, power in powers.items():
        if power:
            parts.append(name if power == 1 else f"{name}^{power}")
    text = " · ".join(parts)
    others = [name for name, power in powers.items() if power and name != "D"]
    if columns and powers["D"] and not others:
        size = f"{ratio * columns ** powers['D']:.4g}"
        text += f" = {size}" if text == "D" else f" = {size} for D = {columns}"
    return text


def _explain_by_size(
    powers: dict[str, int],
    ratio: float,
    reconstruction: ReconstructionReading,
    columns: int | None,
    weight: float,
) -> Finding | None:
    """A constant in front can be the number of rows, columns or latents, typed in; then β is 1 for that number."""
    odd = {name: power for name, power in powers.items() if power}
    if len(odd) != 1 or abs(next(iter(odd.values()))) != 1:
        return None
    name, power = next(iter(odd.items()))
    a = reconstruction.curvature
    # With any scale of the noise model, KL/D alone makes up for the mean; with a plain one, a factor may be in it too.
    ratios = [ratio, weight] if a is None else [weight, weight / a, weight / (2 * a)]
    for candidate in ratios:
        size = candidate ** (-power)
        if name == "D" and columns:
            if abs(size - columns) < 0.01 * columns:
                says = f"The KL's factor makes up for the mean over columns: β = 1 for D = {columns}."
                return Finding("MEAN-SUM", True, says, about="kl and reconstruction")
            continue
        whole = _as_whole_number(size)
        if whole and not _is_typed_decimal(weight):
            says = f"β = 1 if {name} = {whole}, and wrong for any other {_NAMES[name]}."
            return Finding("SCALE", None, says, "Sum instead of typing the number in.", about="kl and reconstruction")
    return None


_NAMES = {"B": "number of rows in a batch", "L": "number of latents", "D": "number of columns"}


def _as_whole_number(size: float) -> int | None:
    whole = round(size) if np.isfinite(size) else 0
    # One and two are what a ½ more or less makes of a squared error.
    return whole if whole >= 3 and abs(size - whole) < 1e-6 * whole else None


def _is_typed_decimal(weight: float) -> bool:
    """Whether a factor looks like a decimal typed by hand (0.01, 0.00025) rather than one over a count."""
    if abs(weight - 1) < SAME:
        return False
    return weight < 1 and abs(float(f"{weight:.2e}") - weight) < 1e-9 * weight


_REDUCTIONS = {
    ("B", 1): ("KL-BATCH-SUM", "The KL is summed over the batch, the reconstruction is not", "kl and reconstruction"),
    ("L", -1): ("KL-MEAN-L", "The KL is averaged over latent dimensions", "kl"),
    ("D", 1): ("MEAN-SUM", "The reconstruction is averaged over columns, the KL is not", "kl and reconstruction"),
}
"""What β depends on, and by which power -> the code, what was done, and to what; any other power is a hidden β."""


def _report_reductions(powers: dict[str, int], beta: str, kl_rows: int, about: str) -> list[Finding]:
    findings = []
    for name, power in powers.items():
        known = _REDUCTIONS.get((name, power)) if name != "B" or kl_rows == 1 else None
        if known is not None:
            advice = "Sum over latents and columns, and average both terms over rows only."
            findings.append(Finding(known[0], False, f"{known[1]}: β = {beta}.", advice, about=known[2]))
        elif power:
            findings.append(_report_beta(f"reductions differ, β = {beta}", {}, about))
    return findings


def _report_factor(weight: float, about: str, squared: bool = False) -> Finding:
    same = (f"a Gaussian with variance {weight:.4g} times as large, the whole multiplied",) * squared
    if abs(weight - 2) < 0.01:
        says = "The KL is twice the KL: its ½ is missing."
        return Finding("HALF", False, says, "Put the ½ back.", {"beta": weight}, ("SCALE: β = 2", *same), about=about)
    same = (("HALF: a ½ applied twice",) if abs(weight - 0.5) < 0.01 else ()) + same
    return _report_beta(f"The KL is multiplied by {weight:.6g}", {"beta": weight}, about, same)


def _report_beta(detail: str, evidence: dict[str, float], about: str, alternatives: tuple[str, ...] = ()) -> Finding:
    advice = "With β other than 1 the loss is no bound on log p(x). Sum over columns and latents, average over rows, "
    advice += "and name β openly (diagnose has `beta=` for one that is meant)."
    return Finding("SCALE", False, f"A hidden β: {detail}.", advice, evidence, alternatives, about=about)
