"""Which likelihood suits counts: test NLL of a table of them, as probabilities of the counts under each.

    python scripts/counts.py pbmc68k_reduced_counts.npz              three likelihoods, three splits
    python scripts/counts.py FILE --likelihoods poisson --seeds 0    a first look

FILE is an NPZ archive whose array `x` holds counts (N, C). A tenth of the rows, at random, is not trained on; every
setting is `VAEEstimator`'s default. A Gaussian of y = log(1 + x) gives densities, which no probability compares with.
What compares is the probability that it gives the count: that of y between log(x + 1/2) and log(x + 3/2), of a count of
0 all below log(3/2), integrated under p(y|z) with the same importance samples over z as the others' NLL. Beside it
stands the density in the counts' units, with the Jacobian -log(1 + x): of a column that hardly varies it is as great as
the floor under the standard deviation lets it be, and says nothing.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vae_lightning import VAEEstimator
from vae_lightning.data.seeds import random_stream
from vae_lightning.inference import importance
from vae_lightning.likelihoods.base import Predictive

LIKELIHOODS = ("negative_binomial", "poisson", "gaussian")
NUM_SAMPLES = 1000


class CountsOfLogs(nn.Module):
    """A Gaussian of standardized log(1 + x), which gives counts their probabilities.

    Args:
        gaussian: of values in model units.
        mean: of log(1 + x), (C,).
        scale: its standard deviation, (C,).
    """

    def __init__(self, gaussian: nn.Module, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.gaussian, self.mean, self.scale = gaussian, mean, scale

    def forward(self, raw: Tensor) -> "IntervalPredictive":
        return IntervalPredictive(self.gaussian(raw), self.mean, self.scale)


class IntervalPredictive:
    """log p of the interval that each count stands for; as :class:`CountsOfLogs`."""

    def __init__(self, gaussian: Predictive, mean: Tensor, scale: Tensor) -> None:
        self.gaussian, self.mean, self.scale = gaussian, mean, scale

    def log_prob(self, u: Tensor) -> Tensor:
        """log p of counts whose standardized log(1 + x) is ``u``, shape of ``u``, at least exp(-700)."""
        counts = torch.expm1(u.double() * self.scale + self.mean).round()
        location, stddev = self.gaussian.mean.double(), self.gaussian.stddev.double()
        low, high = ((torch.log(counts + step) - self.mean) / self.scale for step in (0.5, 1.5))
        low = torch.where(counts == 0, -torch.inf, low)
        low, high = (low - location) / stddev, (high - location) / stddev
        # Of an interval above the mean, the same one mirrored: no difference of numbers near 1.
        is_above = low > 0
        low, high = torch.where(is_above, -high, low), torch.where(is_above, -low, high)
        log_high, log_low = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
        return (log_high + torch.log(-torch.expm1((log_low - log_high).clamp_max(-1e-12)))).to(u.dtype)


def measure(x: np.ndarray, likelihood: str, seed: int, **options: Any) -> dict[str, float]:
    """Nats per count: ``probability``, and of the Gaussian ``density`` in the counts' units."""
    order = np.random.default_rng(seed).permutation(len(x))
    test, train = np.split(x[order].astype(np.float64), [len(x) // 10])
    is_gaussian = likelihood == "gaussian"
    read = np.log1p if is_gaussian else np.asarray
    model = VAEEstimator(likelihood, random_state=seed, **options).fit(read(train)).model_
    vae, batch = model.vae.eval(), model.model_units(read(test))

    def log_prob() -> float:
        with torch.no_grad(), random_stream(seed):
            return float(importance.log_prob(vae, batch, NUM_SAMPLES, compile=False).log_prob.mean()) / x.shape[1]

    if not is_gaussian:
        return {"probability": -log_prob()}
    density = -log_prob() - float(model.log_slopes(batch).mean()) + float(np.log1p(test).mean())
    vae.likelihood = CountsOfLogs(vae.likelihood, model.scaling.mean, model.scaling.scale)
    return {"probability": -log_prob(), "density": density}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--likelihoods", nargs="+", choices=LIKELIHOODS, default=LIKELIHOODS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    with np.load(options.file, allow_pickle=False) as archive:
        x = archive["x"]
    print(f"{'likelihood':20}{'seed':>6}{'nats per count':>17}{'density':>10}{'seconds':>9}")
    for seed in options.seeds:
        for likelihood in options.likelihoods:
            started = time.process_time()
            found = measure(x, likelihood, seed)
            density = f"{found['density']:10.4f}" if "density" in found else " " * 10
            seconds = time.process_time() - started
            print(f"{likelihood:20}{seed:6}{found['probability']:17.4f}{density}{seconds:9.0f}", flush=True)


if __name__ == "__main__":
    main()
