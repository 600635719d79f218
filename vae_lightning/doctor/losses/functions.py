"""`diagnose`: one examination of somebody's VAE loss, from whatever parts of it are given."""

from collections.abc import Callable
from typing import Any

from vae_lightning.doctor.losses.blackbox.box import keep_random_states
from vae_lightning.doctor.losses.blackbox.deadline import Worker
from vae_lightning.doctor.losses.examination import Examination
from vae_lightning.doctor.report import Finding, Report, check_parameter

SECONDS = 20.0


def diagnose(
    kl: Callable[..., Any] | None = None,
    sample: Callable[..., Any] | None = None,
    reconstruction: Callable[..., Any] | None = None,
    loss: Callable[..., Any] | None = None,
    data: Any = None,
    model: Any = None,
    *,
    likelihood: str | None = None,
    beta: float = 1.0,
    seconds: float = SECONDS,
) -> Report:
    r"""Examine the parts of a VAE loss as black boxes, and say which law each breaks.

    The laws: :math:`z = m + \sigma(s)\,\epsilon` with :math:`\epsilon` standard normal and new for every row, draw and
    dimension; :math:`\mathrm{KL} = \tfrac12 \sum (m^2 + \sigma(s)^2 - 1 - 2\log\sigma(s))` with that same σ(s);
    exp(−reconstruction) a density of x for every output; both terms summed over their columns and averaged over rows.
    Only values are looked at, never names. Every array is float64 unless the functions insist on single precision.

    Args:
        kl: ``kl(m, s)`` with both heads of shape (B, L): a number, one per row, or one per element; in nats.
        sample: ``sample(m, s)``: a draw z of that shape.
        reconstruction: ``reconstruction(x, out)`` with x of shape (B, D): −log p(x|z), shaped as for `kl`. `out` is
            (B, D), or k numbers per column as a tuple, in k blocks or on a last axis, or scores of classes.
        loss: The whole: ``loss(x, out, m, s)``, ``loss(model, x)`` or ``loss(x)``; only the first can be taken apart.
        data: The user's rows (N, D), as an array, tensor or data frame.
        model: What ``loss(model, x)`` is handed.
        likelihood: The family meant, for a loss of x alone: ``bernoulli``, ``gaussian``, ...
        beta: The β that is meant; any other effective one is a finding.
        seconds: The time that the examination of one function may take.

    Returns:
        The findings and what was measured. A function that raises, stalls or returns nonsense is a finding, too.

    Raises:
        ConfigError: `beta` or `seconds` is not positive.

    Source:
        Kingma & Welling 2013, appendix B; the closed forms are those of ``docs`` and ``scripts/negative_loss.py``.

    >>> import torch
    >>> report = diagnose(kl=lambda m, s: 0.5 * (1 + s - m**2 - s.exp()).sum(1).mean())
    >>> report.codes
    ('SIGN-FLIP',)
    """
    check_parameter("diagnose", "beta", beta > 0, "positive", beta)
    check_parameter("diagnose", "seconds", seconds > 0, "positive", seconds)
    worker = Worker()
    examination = Examination(worker, beta, seconds)
    try:
        with keep_random_states():
            examination.read_rows(data)
            examination.examine_whole_loss(loss, model, likelihood)
            examination.examine_parts(kl, sample, reconstruction)
    finally:
        worker.close()
    if all(part is None for part in (kl, sample, reconstruction, loss)):
        says = "No function was given."
        examination.findings.append(Finding("NOTHING", None, says, "Give kl=, sample=, reconstruction= or loss=."))
    return Report(examination.findings, examination.measured)
