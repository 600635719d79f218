"""The numbers of a trained model on rows it has not seen, each beside what it has to beat."""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from vae_lightning.data.seeds import random_stream
from vae_lightning.inference.importance import Estimate, log_prob
from vae_lightning.inference.metrics import ELBOMeter
from vae_lightning.model.vae import VAE

ROWS_AT_ONCE = 8192


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

    def as_dict(self) -> dict[str, float]:
        """Name → number."""
        return asdict(self)


@torch.no_grad()
def evaluate(
    vae: VAE,
    batches: Iterable[Tensor],
    training_rows: Tensor | None,
    num_samples: int = 1000,
    seed: int = 0,
    log_abs_det: float = 0.0,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Evaluate ``vae`` on rows in model units, on the model's device.

    Args:
        vae: in evaluation mode.
        batches: the rows (B, C) a batch at a time; gone through twice.
        training_rows: what the baseline is fitted to; None leaves it out (NaN).
        num_samples: importance samples per row.
        seed: the same seed gives the same numbers.
        log_abs_det: log |det du/dx| of the preprocessing, which takes densities to data units.
        progress: called with the number of rows just finished.

    Raises:
        ConfigError: when ``num_samples`` is below 1.
    """
    likelihood, num_columns = vae.likelihood, vae.likelihood.num_columns
    shift = -log_abs_det
    # Whoever is here has all rows, and may be the only process of several that is.
    meter = ELBOMeter(vae.latent_dim, vae.log_var_bound, sync=False).to(vae.output.weight.device)
    marginal = None if training_rows is None else likelihood.marginal(training_rows)
    floor, baseline = 0.0, 0.0 if marginal is not None else math.nan
    with random_stream(seed):
        for batch in batches:
            floor += float(likelihood.entropy_floor(batch).double().sum())
            if marginal is not None:
                baseline -= float(marginal.log_prob(batch).double().sum())
            output = vae(batch)
            terms = vae.terms(batch, output)
            loc, log_var = output.posterior
            meter.update(terms.log_px, terms.kl, loc, log_var, likelihood.at_floor(output.px))
        means = {name: float(value) for name, value in meter.compute().items()}
        parts = [log_prob(vae, batch, num_samples, progress) for batch in batches]
    estimate = Estimate(*(torch.cat(column) for column in zip(*parts, strict=True)))
    nll = shift - estimate.log_prob.double()
    reconstruction = shift - float(estimate.log_px.double().mean())
    num_rows = len(nll)
    return Evaluation(
        nelbo=reconstruction + means["kl"],
        reconstruction=reconstruction,
        kl=means["kl"],
        nll=float(nll.mean()),
        nll_standard_error=float(nll.std() / math.sqrt(num_rows)) if num_rows > 1 else math.nan,
        nll_per_column=float(nll.mean()) / num_columns,
        bits_per_column=float(nll.mean()) / num_columns / math.log(2),
        active_units=int(means["active_units"]),
        latent_dim=vae.latent_dim,
        baseline=baseline / num_rows + shift,
        entropy_floor=floor / num_rows + shift,
        log_var_at_bound=means["log_var_at_bound"],
        variance_at_floor=means["variance_at_floor"],
        num_rows=num_rows,
        num_samples=num_samples,
    )
