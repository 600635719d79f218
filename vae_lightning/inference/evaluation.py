"""The numbers of a trained model on rows it has not seen, each beside what it has to beat."""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from vae_lightning.data.batch import Batch
from vae_lightning.data.seeds import random_stream
from vae_lightning.inference.importance import Estimate, log_prob
from vae_lightning.likelihoods.moments import RowBatches
from vae_lightning.model.vae import VAE


@dataclass(frozen=True)
class Evaluation:
    """All in nats per row and data units unless the name says otherwise.

    Attributes:
        nelbo: reconstruction + kl, β = 1.
        reconstruction: -E_q[log p(x|z)], over the draws that ``nll`` uses.
        kl: KL(q(z|x) ‖ p(z)).
        nll: importance-sampled -log p(x), at most ``nelbo`` up to its standard error.
        nll_standard_error: of ``nll`` as a mean over rows, the sampling of rows and of z together.
        nll_per_column: ``nll`` / C, in nats.
        bits_per_column: the same in bits.
        active_units: latent dimensions with Var_x(E[z|x]) > 0.01.
        latent_dim: latent dimensions L.
        baseline: NLL of independent columns of the same family fitted to the training rows; NaN without those.
        entropy_floor: the least loss any model could reach on these very rows.
        num_rows: rows evaluated.
        num_samples: importance samples per row.
        baseline_gain_standard_error: of ``baseline - nll``, from its differences row by row; NaN for a single row.
        control: NLL of the best simple model of such columns fitted to the training rows; NaN without one.
        control_words: what it is.
        control_gain_standard_error: of ``control - nll``, likewise.
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

    def as_dict(self) -> dict[str, float]:
        """Name → number."""
        return asdict(self)


@torch.no_grad()
def evaluate(
    vae: VAE,
    batches: Iterable[Batch],
    training_rows: RowBatches | None,
    num_samples: int = 1000,
    seed: int = 0,
    log_slopes: Tensor | None = None,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Evaluate ``vae`` on rows in model units, on the model's device.

    Args:
        vae: in evaluation mode.
        batches: the rows (B, C) a batch at a time; gone through twice.
        training_rows: what the baseline is fitted to; None leaves it out (NaN).
        num_samples: importance samples per row.
        seed: the same seed gives the same numbers.
        log_slopes: what each column's log-density gains from model units to data units, (C,); by default 0.
        progress: called with the number of rows just finished.

    Raises:
        ConfigError: when ``num_samples`` is below 1.
    """
    # torchmetrics imports matplotlib and scipy: seconds that loading a model need not wait for.
    from vae_lightning.inference.metrics import ELBOMeter

    likelihood, num_columns = vae.likelihood, vae.likelihood.num_columns
    device = vae.output.weight.device
    slopes = torch.zeros(num_columns, dtype=torch.float64) if log_slopes is None else log_slopes.double()
    slopes = slopes.to(device)
    # All rows are here, perhaps in one process of several: wait for no other.
    meter = ELBOMeter(vae, sync=False).to(device)
    baseline_model = None if training_rows is None else likelihood.independent_columns(training_rows)
    shifts, floors, baselines, weights = [], [], [], []
    with random_stream(seed):
        for batch in batches:
            # What is not observed has no density, and so none to change the units of.
            seen = batch.x.new_ones(()).bool() if batch.mask is None else batch.mask
            x = vae.features.fill_masked(batch)
            shifts.append(-torch.where(seen, slopes, 0.0).expand(x.shape).sum(-1))
            floors.append(torch.where(seen, likelihood.entropy_floor(x).double(), 0.0).sum(-1))
            if baseline_model is not None:
                baselines.append(-torch.where(seen, baseline_model.log_prob(x).double(), 0.0).sum(-1))
            weights.append(torch.ones_like(shifts[-1]) if batch.weight is None else batch.weight.double())
            terms = vae(batch, vae.noise(1, batch.num_rows))
            meter.update(terms, batch, likelihood.at_floor(terms.px))
        means = {name: float(value) for name, value in meter.compute().items()}
        parts = [log_prob(vae, batch, num_samples, progress) for batch in batches]
    estimate = Estimate(*(torch.cat(column) for column in zip(*parts, strict=True)))
    shift, weight = torch.cat(shifts), torch.cat(weights)
    weight = weight / weight.sum()

    def mean(values: Tensor) -> float:
        return float(weight @ values.double())

    def standard_error(values: Tensor) -> float:
        """Of rows that count alike: their standard deviation over √N. A single one has none: 0 / 0."""
        variance = (weight * (values - mean(values))).square().sum() / (1 - weight.square().sum())
        return float(variance.sqrt())

    nll = shift - estimate.log_prob.double()
    mean_nll = mean(nll)
    reconstruction = mean(shift - estimate.log_px)
    kl = means["kl"] if vae.kl_is_exact else mean(estimate.kl)
    baseline = torch.cat(baselines) + shift if baselines else nll
    return Evaluation(
        nelbo=reconstruction + kl,
        reconstruction=reconstruction,
        kl=kl,
        nll=mean_nll,
        nll_standard_error=standard_error(nll),
        nll_per_column=mean_nll / num_columns,
        bits_per_column=mean_nll / num_columns / math.log(2),
        active_units=int(means["active_units"]),
        latent_dim=vae.latent_dim,
        baseline=mean(baseline) if baselines else math.nan,
        baseline_gain_standard_error=standard_error(baseline - nll) if baselines else math.nan,
        entropy_floor=mean(torch.cat(floors) + shift),
        log_var_at_bound=means.get("log_var_at_bound", 0.0),
        variance_at_floor=means["variance_at_floor"],
        num_rows=len(nll),
        num_samples=num_samples,
    )
