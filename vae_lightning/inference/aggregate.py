"""Where the codes of real rows lie: a mixture of normals that new rows can be drawn from.

The aggregate posterior ∫ q(z|x) p(x) dx of a trained VAE is not its prior, except where the data are as simple as the
prior. A z from the prior then often lands where the decoder has seen nothing, and rows drawn so vary too little.
Estimating the density of the codes once the networks are trained changes neither the model nor any number that is
measured of it, and its draws come to lie where the decoder knows something.

A model with conditions draws z from it whatever the condition, as from the prior, which knows of none either. The two
are compared on validation codes beside their own conditions c: E[log q(z) - log p(z)] is by how much KL(q(z|c) ‖ q(z))
is smaller than KL(q(z|c) ‖ p(z)) on average, so that what is better for all rows is better given their conditions.

Source:
    Ghosh et al. 2020, From variational to deterministic autoencoders, section 4 (ex-post density estimation); Dai &
    Wipf 2019, Diagnosing and enhancing VAE models (two-stage VAE).
"""

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from vae_lightning.data.seeds import random_stream, stream_seed
from vae_lightning.data.store import ROWS_AT_ONCE, RowStore
from vae_lightning.model.vae import VAE

NUM_COMPONENTS = (1, 3, 10, 30)
PSEUDO_ROWS = (0, 3, 10, 30, 100)
"""Rows of the normals' mean covariance imagined in each of them: few real rows do not speak for a covariance."""
MAX_NUMBERS = 300_000
"""Of all covariances together: what a checkpoint may grow by."""
ROWS_PER_COMPONENT = 20
MAX_ITERATIONS = 30
TRAINING_POINTS = 10_000
VALIDATION_POINTS = 4_000
DRAWS_PER_ROW = 10
"""At most: with a single one the mixture takes the draws for the rows."""
LEAST_ROWS = 10
"""Validation rows without which nothing is chosen."""
MANY_ROWS = 30
"""Validation rows from which on more than a single normal is tried."""
CLEARLY = 3.0
"""Standard errors by which a mixture must be better than the prior."""


@dataclass(frozen=True, eq=False)
class AggregatePosterior:
    """``q(z) = Σ_k w_k N(z; m_k, F_k F_kᵀ)``, a density of the codes of the rows that a VAE was trained on; float64.

    Attributes:
        weights: w, positive and of sum 1, shape (K,).
        means: m, shape (K, L).
        factors: F, lower triangular with a positive diagonal, shape (K, L, L).
        gain: E_q(z|x)[log q(z) - log p(z)] over the validation rows, nats per row: how much better than the prior it
            knows the codes of rows that neither it nor the networks were fitted to.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor
    gain: float = math.nan

    @property
    def num_components(self) -> int:
        """K."""
        return len(self.weights)

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z) of points ``z`` (..., L) -> (...), float64, nats."""
        flat = z.double().reshape(-1, z.shape[-1])
        constant = 0.5 * flat.shape[-1] * math.log(2 * math.pi)
        parts = []
        for weight, mean, factor in zip(self.weights, self.means, self.factors, strict=True):
            standard = torch.linalg.solve_triangular(factor, (flat - mean).T, upper=False)
            parts.append(weight.log() - 0.5 * standard.square().sum(0) - factor.diagonal().log().sum() - constant)
        return torch.stack(parts).logsumexp(0).reshape(z.shape[:-1])

    def sample(self, num_rows: int, temperature: float = 1.0) -> Tensor:
        """Points (num_rows, L) from torch's global random stream.

        Args:
            num_rows: how many.
            temperature: the standard deviations of every normal are multiplied by it.
        """
        component = torch.multinomial(self.weights, num_rows, replacement=True)
        z = temperature * torch.randn(num_rows, self.means.shape[1], dtype=self.means.dtype)
        for k, (mean, factor) in enumerate(zip(self.means, self.factors, strict=True)):
            here = component == k
            z[here] = mean + z[here] @ factor.T
        return z

    def as_tensors(self) -> dict[str, Tensor]:
        """Everything by name, for files that hold tensors."""
        gain = torch.tensor(self.gain, dtype=torch.float64)
        return {"weights": self.weights, "means": self.means, "factors": self.factors, "gain": gain}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], latent_dim: int) -> Self:
        """What :meth:`as_tensors` gave, from a file of unknown origin.

        Raises:
            ValueError: when it is no mixture over ``latent_dim`` dimensions.
        """
        expected = ("weights", "means", "factors", "gain")
        if not isinstance(tensors, Mapping) or set(tensors) != set(expected):
            raise ValueError("its parts are not weights, means, factors and gain")
        parts = [tensors[name] for name in expected]
        if not all(isinstance(part, Tensor) and _is_plain(part) for part in parts):
            raise ValueError("its parts are no plain tensors of float64")
        weights, means, factors, gain = (part.detach() for part in parts)
        num = weights.numel()
        shapes = [(num,), (num, latent_dim), (num, latent_dim, latent_dim), ()]
        if num == 0 or [tuple(part.shape) for part in (weights, means, factors, gain)] != shapes:
            raise ValueError(f"its shapes are not those of a mixture over {latent_dim} dimensions")
        if not all(bool(part.isfinite().all()) for part in (weights, means, factors, gain)):
            raise ValueError("it holds what is no number")
        if bool((weights < 0).any()) or not math.isclose(float(weights.sum()), 1, abs_tol=1e-6):
            raise ValueError("its weights are no probabilities")
        diagonal = factors.diagonal(dim1=-2, dim2=-1)
        if bool((diagonal <= 0).any()) or not torch.equal(factors, factors.tril()):
            raise ValueError("its factors are not lower triangular with a positive diagonal")
        return cls(weights, means, factors, float(gain))


def _is_plain(tensor: Tensor) -> bool:
    is_dense = tensor.layout == torch.strided and not tensor.is_nested
    return is_dense and tensor.device.type == "cpu" and tensor.dtype == torch.float64


def describe_draws(aggregate: AggregatePosterior | None) -> str:
    """Where the z of new rows come from, in words."""
    if aggregate is None:
        return "z from the prior"
    num = aggregate.num_components
    normals = "a normal" if num == 1 else f"a mixture of {num} normals"
    return (
        f"z from {normals} fitted to the codes of the training rows, {aggregate.gain:.2f} nats a row better on "
        "validation codes than the prior"
    )


@torch.no_grad()
def fit_aggregate_posterior(vae: VAE, train: RowStore, valid: RowStore, seed: int) -> AggregatePosterior | None:
    """The mixture that knows the codes of the validation rows best; None where none knows them better than the prior.

    Mixtures are fitted to a few draws of q(z|x) for each training row, by EM, over the dimensions that tell rows apart;
    of the others, mean and standard deviation are. The number of normals, and how alike their covariances are
    kept, are chosen on draws for the validation rows. The fit is the same whenever ``seed`` is.

    Args:
        vae: in evaluation mode.
        train: rows (N, C), model units, on the model's device.
        valid: likewise.
        seed: of all draws.
    """
    if valid.num_rows < LEAST_ROWS:
        return None
    with random_stream(stream_seed(seed, "aggregate posterior")):
        means, z = _draw_codes(vae, train, TRAINING_POINTS)
        _, valid_z = _draw_codes(vae, valid, VALIDATION_POINTS)
    if not all(bool(points.isfinite().all()) for points in (z, valid_z)):
        return None
    prior = vae.prior.log_prob(valid_z.to(vae.output.weight)).double().cpu()
    best, best_gain, best_error = None, 0.0, 0.0
    most = len(means) // ROWS_PER_COMPONENT if valid.num_rows >= MANY_ROWS else 1
    for candidates in _candidates(z.reshape(-1, vae.latent_dim), means, most, seed):
        before = best_gain
        for candidate in candidates:
            gains = (candidate.log_prob(valid_z) - prior).mean(0)
            if (gain := float(gains.mean())) > best_gain:
                best, best_gain, best_error = candidate, gain, float(gains.std()) / math.sqrt(len(gains))
        if best is not None and best_gain == before:
            break  # more normals only know the training rows better
    if best is None or best_gain <= CLEARLY * best_error:
        return None
    return AggregatePosterior(best.weights, best.means, best.factors, best_gain)


def _draw_codes(vae: VAE, rows: RowStore, most: int) -> tuple[Tensor, Tensor]:
    """Posterior means (B, L) of at most ``most`` rows, and draws (S, B, L), about ``most`` in all; float64, CPU."""
    chosen = torch.randperm(rows.num_rows)[:most].sort().values
    num_draws = min(DRAWS_PER_ROW, -(-most // len(chosen)))
    means, draws = [], []
    for index in chosen.split(ROWS_AT_ONCE):
        posterior = vae.encode(rows.select(index.to(rows.device)).cast(vae.output.weight))
        means.append(posterior.mean)
        draws.append(posterior.rsample(vae.noise(num_draws, len(index))))
    return torch.cat(means).double().cpu(), torch.cat(draws, 1).double().cpu()


def _candidates(z: Tensor, means: Tensor, most: int, seed: int) -> Iterator[list[AggregatePosterior]]:
    """For each number of normals up to ``most``, mixtures of points ``z`` (M, L) that differ in the rows imagined."""
    # Both take a second or more to import, which loading a model need not wait for.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    from vae_lightning.inference.metrics import ACTIVE_UNIT_VARIANCE

    active = means.var(0) > ACTIVE_UNIT_VARIANCE
    if not bool(active.any()):
        return
    center, spread = z.mean(0), z.std(0)
    points = ((z - center) / spread)[:, active].numpy()
    state = stream_seed(seed, "mixture") % 2**32
    for num in NUM_COMPONENTS:
        if num > max(1, most) or num * len(active) ** 2 > MAX_NUMBERS:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # what is not worth another iteration is not missed
            mixture = GaussianMixture(num, tol=0.01, max_iter=MAX_ITERATIONS, random_state=state).fit(points)
        weights, locations, covariances = map(
            torch.from_numpy, (mixture.weights_, mixture.means_, mixture.covariances_)
        )
        within = torch.einsum("k,kij->ij", weights, covariances)
        all_means = center.repeat(num, 1)
        all_means[:, active] += locations * spread[active]
        candidates = []
        num_rows = (len(means) * weights)[:, None, None]
        for imagined in PSEUDO_ROWS if num > 1 else (0,):
            factors = torch.linalg.cholesky((num_rows * covariances + imagined * within) / (num_rows + imagined))
            all_factors = spread.diag().repeat(num, 1, 1)
            all_factors[:, active[:, None] & active] = (spread[active, None] * factors).flatten(1)
            candidates.append(AggregatePosterior(weights, all_means, all_factors))
        yield candidates
