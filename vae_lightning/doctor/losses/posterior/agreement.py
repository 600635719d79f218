"""Sampler against KL: the one test that decides what the second head is."""

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.posterior.divergence import KLReading
from vae_lightning.doctor.losses.posterior.sampler import SamplerReading
from vae_lightning.doctor.losses.posterior.sigma import LOG_STD, LOG_VAR, STD, VAR, Sigma
from vae_lightning.doctor.losses.posterior.verdict import KLVerdict, find_unclamped
from vae_lightning.doctor.report import Finding


def compare_with_kl(sampler: SamplerReading, kl: KLReading | None, verdict: KLVerdict | None) -> list[Finding]:
    """Findings about the σ(s) of the sampler, in the light of the KL if there is one."""
    if sampler.sigma is None:
        return []
    if kl is None or verdict is None or kl.dead:
        return _judge_alone(sampler)
    if sampler.constant:
        if np.ptp(kl.values) < 1e-9:
            return [Finding("MISMATCH", True, "Neither the draw nor the KL depends on s.", about="sample and kl")]
        says = "The draw's standard deviation does not depend on s, while the KL does."
        return [Finding("MISMATCH", False, says, "Use the same σ(s) in sampler and KL.", about="sample and kl")]
    if verdict.by_sampler and verdict.reading is not None:
        variance = verdict.reading.factors["variance"]
        scale = float(np.sqrt(variance)) if verdict.consistent and variance > 0 else 1.0
        return [_judge_scale(sampler, 1 / scale)]
    used = None if verdict.reading is None else verdict.reading.sigma
    if used is None:
        return _check_raw_head(sampler, verdict)
    inside = find_unclamped(kl) if np.array_equal(kl.grid, sampler.grid) else np.ones(sampler.grid.size, dtype=bool)
    return _compare_sigma(sampler, used, inside)


def _judge_alone(sampler: SamplerReading) -> list[Finding]:
    if sampler.sigma is not None and sampler.constant:
        says = f"The standard deviation of the draw is {float(np.median(sampler.sigma)):.4g} whatever s is."
        return [Finding("MISMATCH", None, says, "Right if the KL has no s either: give it too.", about="sample")]
    if sampler.label is None:
        return []
    if sampler.normal and sampler.label.canonical and abs(sampler.factor - 1) > max(0.01, 6 * sampler.error):
        return [_report_wrong_scale(sampler.factor)]
    says = f"The sampler draws with σ(s) = {sampler.text}: {sampler.label.reads}."
    advice = ""
    if sampler.label is STD:
        advice = (
            "Right if the head that gives s is kept positive; a raw linear head is not. The KL must use this σ too."
        )
    return [Finding("RAW-AS-STD" if sampler.label is STD else "MISMATCH", True, says, advice, about="sample")]


def _check_raw_head(sampler: SamplerReading, verdict: KLVerdict) -> list[Finding]:
    terms = [str(name) for finding in verdict.findings for name in finding.evidence.get("terms", ())]
    if verdict.consistent or sampler.label is not STD or not any(name.startswith("e^") for name in terms):
        return []
    says = "The sampler multiplies the noise by s itself, and the KL's terms are not those of σ = |s|."
    return [Finding("RAW-AS-STD", False, says, _MEND[LOG_VAR.text], about="sample and kl")]


_MEND = {
    LOG_VAR.text: "If s is a log-variance, as the KL has it, draw z = m + exp(s/2)·eps.",
    LOG_STD.text: "If s is a log standard deviation, as the KL has it, draw z = m + exp(s)·eps.",
    STD.text: "If s is the standard deviation, as the KL has it, draw z = m + s·eps.",
    VAR.text: "If s is the variance, as the KL has it, draw z = m + sqrt(s)·eps.",
}


def _compare_sigma(sampler: SamplerReading, used: Sigma, inside: Array) -> list[Finding]:
    assert sampler.sigma is not None
    tolerance = 3e-3 if sampler.exact else 0.04
    ratio = sampler.sigma / used(sampler.grid)
    middle: Array = (np.abs(sampler.grid) <= 1.7) & inside
    middle = middle if middle.sum() >= 3 else inside
    factor = float(np.median(ratio[middle]))
    spread = np.where(inside, np.abs(ratio / factor - 1), 0.0)
    if np.max(spread) < tolerance:
        return [_judge_scale(sampler, factor)]
    if np.max(spread[middle]) < tolerance:  # a clamp on one side only shows at the ends of the grid
        says = f"Sampler and KL agree on σ = {used.text} for s between -1.7 and 1.7; beyond, one of them clamps s."
        return [Finding("MISMATCH", True, says, "Clamp s once, before both.", about="sample and kl")]
    code = name_disagreement(sampler, used)
    evidence = {
        "s": [float(s) for s in sampler.grid[::4]],
        "sampler": [float(f"{value:.4g}") for value in sampler.sigma[::4]],
        "kl": [float(f"{value:.4g}") for value in used(sampler.grid)[::4]],
    }
    mend = _MEND.get(used.text, f"Draw z = m + σ·eps with the KL's σ = {used.text}.")
    own = "σ measured point by point" if sampler.label is None else f"σ = {sampler.text}"
    if sampler.label is not None:
        mend += f" Or keep the sampler, and write the KL with its σ = {sampler.text}."
    says = f"The sampler draws with {own}, the KL is that of σ = {used.text}."
    return [Finding(code, False, says, mend, evidence, _other_readings(code, sampler), about="sample and kl")]


def _other_readings(code: str, sampler: SamplerReading) -> tuple[str, ...]:
    if code == "VAR-AS-STD" and sampler.label is STD:
        return ("RAW-AS-STD: s, a variance for the KL, multiplies the noise as it is",)
    return () if code == "MISMATCH" else ("MISMATCH: the sampler is meant, and the KL is the one to change",)


def name_disagreement(sampler: SamplerReading, used: Sigma) -> str:
    """The code for a sampler whose σ(s) is not that of a self-consistent KL."""
    assert sampler.sigma is not None
    ratio = sampler.sigma / used(sampler.grid) ** 2
    if np.ptp(ratio) < 0.02 * np.max(ratio) and abs(float(np.median(ratio)) - 1) < 0.05:
        return "VAR-AS-STD"
    if sampler.label is STD and used not in (STD, VAR):
        return "RAW-AS-STD"
    return "MISMATCH"


def _judge_scale(sampler: SamplerReading, factor: float) -> Finding:
    if abs(factor - 1) <= max(0.01, 6 * sampler.error) or not sampler.normal or sampler.error > 0.1:
        says = f"Sampler and KL use the same σ(s){'' if sampler.label is None else ' = ' + sampler.text}."
        advice = ""
        if sampler.label is STD and sampler.signed:
            advice = "s itself is the standard deviation, of either sign: keep it positive, or use exp(s/2)."
        return Finding("MISMATCH", True, says, advice, about="sample and kl")
    return _report_wrong_scale(factor)


def _report_wrong_scale(factor: float) -> Finding:
    return Finding(
        "EPS-SCALE",
        False,
        f"The noise is {factor:.4g} times as wide as σ(s).",
        "Draw eps with standard deviation one; the temperature belongs to generation, not to training.",
        {"factor": factor},
        about="sample",
    )
