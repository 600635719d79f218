"""The numbers of a trained model on rows it has not seen, each beside what it has to beat."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vae_lightning.controls.base import Control
from vae_lightning.controls.independent import IndependentColumns
from vae_lightning.data.batch import Batch, Batches
from vae_lightning.data.seeds import random_stream
from vae_lightning.inference.importance import Estimate, log_prob
from vae_lightning.model.vae import VAE

EXTREME = 0.01
"""The share of the rows, at least one, that are asked how much of the NLL's variance is theirs."""


@dataclass(frozen=True)
class Evaluation:
    """All in nats per row and data units unless the name says otherwise; NaN is what does not exist.

    Attributes:
        nelbo: reconstruction + kl, β = 1.
        reconstruction: -E_q[log p(x|z)], over the draws that ``nll`` uses.
        kl: KL(q(z|x) ‖ p(z)).
        nll: importance-sampled -log p(x), at most ``nelbo`` up to its standard error.
        nll_standard_error: of ``nll`` as a mean over rows: how much it would differ on other rows of the same kind.
        nll_per_column: ``nll`` / C, in nats.
        bits_per_column: the same in bits.
        active_units: latent dimensions with Var_x(E[z|x]) > 0.01.
        latent_dim: latent dimensions L.
        baseline: NLL of independent columns of the same family fitted to the training rows.
        entropy_floor: the least loss any model could reach on these very rows.
        log_var_at_bound: share of the posterior's log-variances at their bound.
        variance_at_floor: share of the likelihood's variances at their floor.
        num_rows: rows evaluated.
        num_samples: importance samples per row.
        baseline_gain_standard_error: of ``baseline - nll``, from its differences row by row.
        control: NLL of the simple model that these columns are held against, fitted to the training rows.
        control_words: what it is.
        control_gain_standard_error: of ``control - nll``, likewise.
        explained: share of the way from ``baseline`` to ``control`` that ``nll`` has gone, above 1 where it is the
            best of them; NaN where the control is no better than the baseline, beyond doubt.
        extreme_share: share of the variance of ``nll`` that is owed to the 1 % of the rows farthest from the mean.
    """

    nelbo: float
    reconstruction: float
    kl: float
    nll: float
    nll_standard_error: float
    nll_per_column: float
    bits_per_column: float
    active_units: int
    latent_dim: int
    baseline: float
    entropy_floor: float
    log_var_at_bound: float
    variance_at_floor: float
    num_rows: int
    num_samples: int
    baseline_gain_standard_error: float = math.nan
    control: float = math.nan
    control_words: str = ""
    control_gain_standard_error: float = math.nan
    explained: float = math.nan
    extreme_share: float = math.nan

    def as_dict(self) -> dict[str, Any]:
        """Name → number, but for ``control_words``."""
        return asdict(self)


@torch.no_grad()
def evaluate(
    vae: VAE,
    batches: Iterable[Batch],
    training_rows: Batches | None,
    num_samples: int = 1000,
    seed: int = 0,
    log_slopes: Callable[[Batch], Tensor] | None = None,
    progress: Callable[[int], None] | None = None,
    control: Control | None = None,
) -> Evaluation:
    """Evaluate ``vae`` on rows in model units, on the model's device.

    Args:
        vae: in evaluation mode.
        batches: the rows (B, C) a batch at a time; gone through twice.
        training_rows: what the baseline is fitted to; None leaves it out (NaN).
        num_samples: importance samples per row.
        seed: the same seed gives the same numbers.
        log_slopes: of rows, what each cell's log-density gains from model units to data units, (B, C), 0 where it is
            masked; by default 0.
        progress: called with the number of rows just finished.
        control: fitted to the training rows; None leaves it out (NaN).

    Raises:
        ConfigError: when ``num_samples`` is below 1.
    """
    # torchmetrics imports matplotlib and scipy: seconds that loading a model need not wait for.
    from vae_lightning.inference.metrics import ELBOMeter

    device, num_columns = vae.output.weight.device, vae.likelihood.num_columns
    # All rows are here, perhaps in one process of several: wait for no other.
    meter = ELBOMeter(vae, sync=False).to(device)
    independent = None if training_rows is None else IndependentColumns(vae.likelihood, training_rows, vae.exposed)
    references = []
    with random_stream(seed):
        for batch in batches:
            references.append(_refer(vae, batch, log_slopes, independent, control))
            terms = vae(batch, vae.noise(1, batch.num_rows))
            meter.update(terms, batch, vae.likelihood.at_floor(terms.px))
        means = {name: float(value) for name, value in meter.compute().items()}
        parts = [log_prob(vae, batch, num_samples, progress) for batch in batches]
    estimate = Estimate(*(torch.cat(column).double() for column in zip(*parts, strict=True)))
    rows = _References(*(torch.cat(column) for column in zip(*references, strict=True)))
    if not vae.kl_is_exact:
        means["kl"] = _OverRows(rows.weight).mean(estimate.kl)
    words = "" if control is None else control.words + (" (told no condition)" if vae.told_size else "")
    return _summarise(rows, estimate, means, num_columns, vae.latent_dim, num_samples, words)


def _summarise(
    rows: "_References",
    estimate: Estimate,
    means: Mapping[str, float],
    num_columns: int,
    latent_dim: int,
    num_samples: int,
    control_words: str,
) -> Evaluation:
    over_rows = _OverRows(rows.weight)
    nll = rows.shift - estimate.log_prob
    mean_nll = over_rows.mean(nll)
    reconstruction = over_rows.mean(rows.shift - estimate.log_px)
    way = over_rows.mean(rows.baseline - rows.control)
    is_beyond_doubt = way > 2 * over_rows.standard_error(rows.baseline - rows.control)
    return Evaluation(
        nelbo=reconstruction + means["kl"],
        reconstruction=reconstruction,
        kl=means["kl"],
        nll=mean_nll,
        nll_standard_error=over_rows.standard_error(nll),
        nll_per_column=mean_nll / num_columns,
        bits_per_column=mean_nll / num_columns / math.log(2),
        active_units=int(means["active_units"]),
        latent_dim=latent_dim,
        baseline=over_rows.mean(rows.baseline),
        entropy_floor=over_rows.mean(rows.floor),
        log_var_at_bound=means.get("log_var_at_bound", 0.0),
        variance_at_floor=means["variance_at_floor"],
        num_rows=len(nll),
        num_samples=num_samples,
        baseline_gain_standard_error=over_rows.standard_error(rows.baseline - nll),
        control=over_rows.mean(rows.control),
        control_words=control_words,
        control_gain_standard_error=over_rows.standard_error(rows.control - nll),
        explained=over_rows.mean(rows.baseline - nll) / way if is_beyond_doubt else math.nan,
        extreme_share=over_rows.extreme_share(nll),
    )


class _References(NamedTuple):
    """What is known of each row without the model, (N,), float64: all but the weight in nats."""

    weight: Tensor
    shift: Tensor  # from the NLL in model units to that in data units
    floor: Tensor
    baseline: Tensor
    control: Tensor


def _refer(
    vae: VAE,
    batch: Batch,
    log_slopes: Callable[[Batch], Tensor] | None,
    independent: IndependentColumns | None,
    control: Control | None,
) -> _References:
    x = vae.features.fill_masked(batch)

    def total(columns: Tensor) -> Tensor:
        # What is not observed has no density.
        seen = columns.double() if batch.mask is None else torch.where(batch.mask, columns.double(), 0.0)
        return seen.expand(x.shape).sum(-1)

    shift = x.new_zeros(len(x), dtype=torch.float64) if log_slopes is None else -log_slopes(batch).sum(-1)
    unknown = torch.full_like(shift, torch.nan)
    return _References(
        weight=torch.ones_like(shift) if batch.weight is None else batch.weight.double(),
        shift=shift,
        floor=shift + total(vae.likelihood.entropy_floor(x)),
        baseline=unknown if independent is None else shift - total(independent.log_prob(batch)),
        control=unknown if control is None else shift - control.log_prob(batch),
    )


class _OverRows:
    """Statistics over weighted rows of values (N,), float64; NaN where too few rows are there.

    Args:
        weight: how much each counts, (N,).
    """

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight / weight.sum()

    def mean(self, values: Tensor) -> float:
        return float(self.weight @ values)

    def standard_error(self, values: Tensor) -> float:
        """Of the mean. Of rows that count alike, their standard deviation over √N; a single one has none: 0 / 0."""
        return float((self._squares(values).sum() / (1 - self.weight.square().sum())).sqrt())

    def extreme_share(self, values: Tensor) -> float:
        squares = self._squares(values)
        most = max(1, round(EXTREME * len(values)))
        return float(squares.topk(most).values.sum() / squares.sum())

    def _squares(self, values: Tensor) -> Tensor:
        return (self.weight * (values - self.mean(values))).square()
