"""The numbers of a trained model on rows it has not seen, each beside what it has to beat."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from vae_lightning.estimate import log_prob
from vae_lightning.metrics import ELBOMeter
from vae_lightning.model import ROWS_AT_ONCE, VAEModel, random_stream


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
        baseline: NLL of independent columns of the same family fitted to the training rows.
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
    model: VAEModel,
    rows: Tensor,
    training_rows: Tensor,
    num_samples: int = 1000,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Evaluate ``model`` on ``rows`` (N, C), in model units and on the model's device.

    Args:
        model: in evaluation mode.
        rows: the rows to score.
        training_rows: what the baseline is fitted to, in model units.
        num_samples: importance samples per row.
        seed: the same seed gives the same numbers.
        progress: called with the number of rows just finished.

    Raises:
        ConfigError: when ``num_samples`` is below 1.
    """
    vae, num_columns = model.vae, len(model.columns)
    shift = -model.log_abs_det()
    meter = ELBOMeter(vae.latent_dim, vae.log_var_bound).to(rows.device)
    with random_stream(seed):
        for batch in rows.split(ROWS_AT_ONCE):
            output = vae(batch)
            terms = vae.terms(batch, output)
            loc, log_var = output.posterior
            meter.update(terms.log_px, terms.kl, loc, log_var, vae.likelihood.at_floor(output.px))
        means = {name: float(value) for name, value in meter.compute().items()}
        estimate = log_prob(vae, rows, num_samples, progress)
    nll = shift - estimate.log_prob.double()
    reconstruction = shift - float(estimate.log_px.double().mean())
    marginal = vae.likelihood.marginal(training_rows)
    baseline = sum(-marginal.log_prob(batch).double().sum() for batch in rows.split(ROWS_AT_ONCE)) / len(rows)
    return Evaluation(
        nelbo=reconstruction + means["kl"],
        reconstruction=reconstruction,
        kl=means["kl"],
        nll=float(nll.mean()),
        nll_standard_error=float(nll.std() / math.sqrt(len(nll))) if len(nll) > 1 else math.nan,
        nll_per_column=float(nll.mean()) / num_columns,
        bits_per_column=float(nll.mean()) / num_columns / math.log(2),
        active_units=int(means["active_units"]),
        latent_dim=vae.latent_dim,
        baseline=float(baseline) + shift,
        entropy_floor=float(vae.likelihood.entropy_floor(rows).mean()) + shift,
        log_var_at_bound=means["log_var_at_bound"],
        variance_at_floor=means["variance_at_floor"],
        num_rows=len(rows),
        num_samples=num_samples,
    )
