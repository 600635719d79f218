"""Sampler against KL: the one test that decides what the second head is."""

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.posterior.divergence import KLReading
from vae_lightning.doctor.losses.posterior.noise import SamplerReading
from vae_lightning.doctor.losses.posterior.sigma import STD, VAR, Sigma
from vae_lightning.doctor.losses.posterior.verdict import find_unclamped
from vae_lightning.doctor.report import Finding


def compare_with_kl(sampler: SamplerReading, kl: KLReading | None) -> list[Finding]:
    """Findings about the σ(s) of the sampler, in the light of the KL if there is one."""
    if sampler.sigma is None:
        return []
    if kl is None or kl.dead:
        return _judge_alone(sampler, sampler.sigma)
    if sampler.constant:
        if np.ptp(kl.values) < 1e-9:
            return [Finding("MISMATCH", True, "Neither the draw nor the KL depends on s.")]
        says = "The draw's standard deviation does not depend on s, while the KL does."
        return [Finding("MISMATCH", False, says, "Use the same σ(s) in sampler and KL.")]
    if kl.by_sampler and kl.terms is not None:
        scales = kl.terms.find_scales(free=True) if kl.consistent else None
        return [_judge_scale(sampler, 1 / scales[0] if scales else 1.0)]
    if kl.terms is None or kl.terms.sigma is None:
        return []
    inside = find_unclamped(kl) if np.array_equal(kl.grid, sampler.grid) else np.ones(sampler.grid.size, dtype=bool)
    return [_compare_sigma(sampler, sampler.sigma, kl.terms.sigma, inside)]


def _judge_alone(sampler: SamplerReading, sigma: Array) -> list[Finding]:
    if sampler.constant:
        says = f"The standard deviation of the draw is {float(np.median(sigma)):.4g} whatever s is."
        return [Finding("MISMATCH", None, says, "Right if the KL has no s either: give it too.", about="sample")]
    if sampler.label is None:
        return []
    if sampler.normal and sampler.label.canonical and abs(sampler.factor - 1) > max(0.01, 6 * sampler.error):
        return [_report_wrong_scale(sampler.factor)]
    says = f"The sampler draws with σ(s) = {sampler.text}: {sampler.label.reads}."
    if sampler.label is not STD:
        return [Finding("MISMATCH", True, says, about="sample")]
    advice = "Right if the head that gives s is kept positive; a raw linear head is not. The KL must use this σ too."
    return [Finding("RAW-AS-STD", True, says, advice, about="sample")]


def _compare_sigma(sampler: SamplerReading, drawn: Array, used: Sigma, inside: Array) -> Finding:
    tolerance = 3e-3 if sampler.exact else 0.04
    ratio = drawn / used(sampler.grid)
    middle: Array = (np.abs(sampler.grid) <= 1.7) & inside
    middle = middle if middle.sum() >= 3 else inside
    factor = float(np.median(ratio[middle]))
    spread = np.where(inside, np.abs(ratio / factor - 1), 0.0)
    if np.max(spread) < tolerance:
        return _judge_scale(sampler, factor)
    if np.max(spread[middle]) < tolerance:  # a clamp on one side only shows at the ends of the grid
        says = f"Sampler and KL agree on σ = {used.text} for s between -1.7 and 1.7; beyond, one of them clamps s."
        return Finding("MISMATCH", True, says, "Clamp s once, before both.")
    squared = drawn / used(sampler.grid) ** 2
    code, same = "MISMATCH", ("MISMATCH: the sampler is meant, and the KL is the one to change",)
    if np.ptp(squared) < 0.02 * np.max(squared) and abs(float(np.median(squared)) - 1) < 0.05:
        code = "VAR-AS-STD"
        if sampler.label is STD:
            same = ("RAW-AS-STD: s, a variance for the KL, multiplies the noise as it is",)
    elif sampler.label is STD and used not in (STD, VAR):
        code = "RAW-AS-STD"
    evidence = {"s": sampler.grid.tolist(), "sampler": drawn.tolist(), "kl": used(sampler.grid).tolist()}
    mend = f"If {used.reads}, as the KL has it, draw z = m + {used.text.strip('|')}·eps."
    own = "σ measured point by point"
    if sampler.label is not None:
        own = f"σ = {sampler.text}"
        mend += f" Or keep the sampler, and write the KL with its {own}."
    says = f"The sampler draws with {own}, the KL is that of σ = {used.text}."
    return Finding(code, False, says, mend, evidence, same if code != "MISMATCH" else ())


def _judge_scale(sampler: SamplerReading, factor: float) -> Finding:
    if abs(factor - 1) > max(0.01, 6 * sampler.error) and sampler.normal and sampler.error <= 0.1:
        return _report_wrong_scale(factor)
    says = f"Sampler and KL use the same σ(s){'' if sampler.label is None else ' = ' + sampler.text}."
    signed = sampler.label is STD and sampler.signed
    advice = "s itself is the standard deviation, of either sign: keep it positive, or use exp(s/2)." if signed else ""
    return Finding("MISMATCH", True, says, advice)


def _report_wrong_scale(factor: float) -> Finding:
    says = f"The noise is {factor:.4g} times as wide as σ(s)."
    advice = "Draw eps with standard deviation one; the temperature belongs to generation, not to training."
    return Finding("EPS-SCALE", False, says, advice, {"factor": factor}, about="sample")
