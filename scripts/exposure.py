"""What an exposure is worth: test NLL of counts whose rates are known, told their exposure in three ways.

    python scripts/exposure.py                                  two spreads of the exposure, one seed
    python scripts/exposure.py --likelihood negative_binomial --spreads 1.0 --seeds 0 1

Four counts depend on one normal number z; their means are e · b exp(s z), and log e is normal, its standard deviation
the spread. 4,000 rows are trained on and 4,000 others measured, in nats per row. *Truth* is the NLL of the law that
made the rows, its integral over z by quadrature. Every setting is `VAEEstimator`'s default.
"""

import argparse

import numpy as np
import pandas as pd
import scipy.stats

from vae_lightning import VAEEstimator

BASE, SLOPE = np.array([0.5, 2.0, 5.0, 20.0]), np.array([0.8, -0.6, 0.4, 0.7])
SIZE = np.array([2.0, 1.0, 4.0, 8.0])
"""Dispersion of the negative binomial."""
COUNTS, TIME = ["a", "b", "c", "d"], "time"
WAYS = {"exposure": {"exposure": TIME}, "condition": {"condition": [TIME]}, "without": {}}
NODES = np.linspace(-6, 6, 1201)


def draw(likelihood: str, spread: float, seed: int, num_rows: int = 4000) -> pd.DataFrame:
    """Rows of counts and their exposure."""
    draws = np.random.default_rng(seed)
    z, time = draws.normal(size=num_rows), np.exp(draws.normal(0, spread, num_rows))
    mean = time[:, None] * BASE * np.exp(z[:, None] * SLOPE)
    rates = draws.gamma(SIZE, mean / SIZE) if likelihood == "negative_binomial" else mean
    return pd.DataFrame(draws.poisson(rates), columns=COUNTS).assign(**{TIME: time})


def true_nll(table: pd.DataFrame, likelihood: str) -> float:
    """``-log ∫ p(x|z, e) N(z) dz``, mean over the rows, nats."""
    total = 0.0
    for part in np.array_split(np.arange(len(table)), max(1, len(table) // 200)):
        rows = table.iloc[part]
        mean = rows[TIME].to_numpy()[:, None, None] * (BASE * np.exp(NODES[:, None] * SLOPE))
        law = scipy.stats.poisson(mean)
        if likelihood == "negative_binomial":
            law = scipy.stats.nbinom(SIZE, SIZE / (SIZE + mean))
        log_px = law.logpmf(rows[COUNTS].to_numpy()[:, None]).sum(-1)
        step = NODES[1] - NODES[0]
        total -= np.logaddexp.reduce(log_px + scipy.stats.norm.logpdf(NODES) + np.log(step), axis=1).sum()
    return total / len(table)


def measure(train: pd.DataFrame, test: pd.DataFrame, likelihood: str, way: str, **settings: object) -> float:
    """The test NLL of a VAE that is told the exposure in one of `WAYS`."""
    columns = COUNTS if way == "without" else [*COUNTS, TIME]
    vae = VAEEstimator(likelihood, random_state=0, verbose=False, **WAYS[way], **settings).fit(train[columns])
    return -float(vae.model_.log_prob(test[columns], num_samples=300, seed=0).mean())


def main() -> None:
    """Print a line for each spread and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--likelihood", choices=("poisson", "negative_binomial"), default="poisson")
    parser.add_argument("--spreads", nargs="+", type=float, default=[0.5, 1.5])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    options = parser.parse_args()
    print("| spread | seed | truth | " + " | ".join(WAYS) + " |")
    print("|---" * (3 + len(WAYS)) + "|")
    for spread in options.spreads:
        for seed in options.seeds:
            train, test = (draw(options.likelihood, spread, seed + part) for part in (0, 100))
            found = [measure(train, test, options.likelihood, way) for way in WAYS]
            cells = [true_nll(test, options.likelihood), *found]
            print(f"| {spread} | {seed} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |", flush=True)


if __name__ == "__main__":
    main()
