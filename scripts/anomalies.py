"""How well a VAE's score finds anomalies, beside a control of one line, on six public tables.

    python scripts/anomalies.py [--data ../shared/data] [--seeds 10] [--sets cardio musk ...] [--epochs 100] [--jobs 1]
    python scripts/anomalies.py --beta 1000 --seeds 2 --epochs 20  # training collapses, and the start is kept

For each seed: a random 60/40 split, the anomalies left in the training rows; columns z-scored on the training rows; one
configuration for all sets (`CONFIGURATION`), none tuned to any of them; labels are only used to compute the AUROC,
never to train, to stop or to choose. Mean ± standard deviation over seeds. The scores are -ELBO, -log p(x)
and -E[log p(x|z)].

The control is the distance from the training mean in standard deviations. Independent normals rank rows the same way,
so a VAE whose posterior has collapsed *is* the control, and its column says nothing about VAEs. Hence the law that
this script checks: wherever the VAE equals the control, the doctor says COLLAPSE. Equal AUROCs may be a coincidence;
equal ranks may not, so both are told and the ranks decide: exit status 1 if, on some seed, they are correlated by
0.99 or more and the doctor is silent.

The data are archives adbench_NAME.npz with x (N, C) and y, 1 for anomalies (Han et al. 2022, ADBench).
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from vae_lightning import VAEEstimator
from vae_lightning.data.store import RowsInMemory
from vae_lightning.doctor.runs.trained import Trained, examine_model
from vae_lightning.inference.scoring import SCORE_KINDS

SETS = ("cardio", "musk", "optdigits", "satellite", "thyroid", "vowels")
CONFIGURATION = {"latent_dim": 8, "hidden_dims": (64, 32), "batch_size": 128, "patience": 20}
# The benchmark table in PyOD's documentation (Zhao et al. 2019): the same 60/40 split, mean of 10 trials.
PUBLISHED = {
    "cardio": "PCA .950, OCSVM .935, IForest .921",
    "musk": "PCA 1.000",
    "optdigits": "HBOS .873, IForest .725",
    "satellite": "MCD .803, HBOS .758",
    "vowels": "KNN .968",
}
EQUAL_AUROC, EQUAL_RANKS = 0.005, 0.99


@dataclass(frozen=True)
class Trial:
    """One fit: AUROCs by score, the rank correlation of the -ELBO score with the control, and the doctor's findings."""

    auroc: dict[str, float]
    ranks: float
    active_units: str
    codes: tuple[str, ...]

    @property
    def collapsed(self) -> bool:
        """Whether the doctor says so."""
        return "COLLAPSE" in self.codes

    @property
    def same_auroc(self) -> bool:
        """Whether the VAE's AUROC is the control's."""
        return abs(self.auroc["elbo"] - self.auroc["control"]) < EQUAL_AUROC

    @property
    def same_ranks(self) -> bool:
        """Whether the VAE ranks rows as the control does."""
        return self.ranks >= EQUAL_RANKS


def trial(x: np.ndarray, y: np.ndarray, seed: int, estimator: VAEEstimator) -> Trial:
    """Split, fit, score and examine."""
    train, test, _, anomalous = train_test_split(x, y, test_size=0.4, random_state=seed)
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    model = estimator.set_params(random_state=seed).fit(train).model_
    scores = {kind: model.score(test, kind) for kind in SCORE_KINDS}
    scores["control"] = np.sqrt((test**2).sum(1))  # the distance from the training mean in standard deviations
    report = examine_model(Trained(model, RowsInMemory(model.model_units(train)), model.model_units(test)))
    return Trial(
        {name: float(roc_auc_score(anomalous, score)) for name, score in scores.items()},
        float(spearmanr(scores["elbo"], scores["control"]).statistic),
        report.measured["active units"],
        report.codes,
    )


def row(name: str, trials: Sequence[Trial]) -> str:
    """One line of the table."""
    aurocs = [np.array([t.auroc[score] for t in trials]) for score in (*SCORE_KINDS, "control")]
    cells = [f"{a.mean():.3f} ± {a.std(ddof=1) if len(a) > 1 else 0:.3f}" for a in aurocs]
    ranks = np.mean([t.ranks for t in trials])
    collapsed = sum(t.collapsed for t in trials)
    said = [f"{collapsed} of {len(trials)}", f"{ranks:.3f}", PUBLISHED.get(name, "–")]
    return f"| {' | '.join([name, *cells, *said])} |"


def law(results: dict[str, list[Trial]]) -> tuple[list[str], bool]:
    """What there is to say of the law, and whether it holds on every seed."""
    lines, holds = [], True
    for name, trials in results.items():
        for seed, one in enumerate(trials):
            if (one.same_auroc or one.same_ranks) and not one.collapsed:
                broken = one.same_ranks
                holds &= not broken
                verdict = "LAW BROKEN, same ranks" if broken else "same AUROC by coincidence, ranks differ"
                lines.append(
                    f"- {name}, seed {seed}: VAE {one.auroc['elbo']:.4f}, control {one.auroc['control']:.4f}, rank "
                    f"correlation {one.ranks:.3f}, {one.active_units} units active, no COLLAPSE: {verdict}."
                )
    fits = [one for trials in results.values() for one in trials]
    collapsed = [one for one in fits if one.collapsed]
    equal = [one for one in fits if one.same_ranks]
    lines.append(
        f"- Of {len(fits)} fits the doctor calls {len(collapsed)} COLLAPSE; {len(equal)} rank rows as the control does "
        f"(rank correlation at least {EQUAL_RANKS}), {sum(one.collapsed for one in equal)} of these called COLLAPSE."
    )
    return lines, holds


def findings(results: dict[str, list[Trial]]) -> list[str]:
    """What else the doctor said, by set."""
    lines = []
    for name, trials in results.items():
        codes = sorted({code for t in trials for code in t.codes})
        told = ", ".join(f"{code} {sum(code in t.codes for t in trials)}" for code in codes) or "none"
        lines.append(f"- {name}: {told}; active units {', '.join(t.active_units for t in trials)}.")
    return lines


def main(arguments: list[str] | None = None, say: Callable[[str], object] = print) -> int:
    """Exit status 1 if the law is broken on some seed, 2 without data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder with adbench_NAME.npz")
    parser.add_argument("--seeds", type=int, default=10, help="splits of each set")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--epochs", type=int, default=100, help="at most so many for each fit")
    parser.add_argument(
        "--beta", type=float, default=1.0, help="weight of the KL in training; a large one makes that collapse"
    )
    parser.add_argument("--jobs", type=int, default=1, help="fits at a time")
    options = parser.parse_args(arguments)
    absent = [name for name in options.sets if not (options.data / f"adbench_{name}.npz").exists()]
    if absent:
        say(f"{options.data} lacks adbench_NAME.npz for {', '.join(absent)}.")
        return 2
    started = time.perf_counter()
    estimator = VAEEstimator(max_epochs=options.epochs, beta=options.beta, **CONFIGURATION)
    say("| set | -ELBO | -log p(x) | reconstruction | control | COLLAPSE | ranks, VAE vs control | published |")
    say("|---|---|---|---|---|---|---|---|")
    results = {}
    for name in options.sets:
        with np.load(options.data / f"adbench_{name}.npz", allow_pickle=False) as archive:
            x, y = archive["x"].astype(np.float64), archive["y"]
        fits = (delayed(trial)(x, y, seed, estimator) for seed in range(options.seeds))
        results[name] = list(Parallel(n_jobs=options.jobs)(fits))
        say(row(name, results[name]))
    lines, holds = law(results)
    say("\nWherever the VAE equals the control, the doctor says COLLAPSE:\n\n" + "\n".join(lines))
    say("\nThe doctor's findings (seeds on which each was made), and active units by seed:\n")
    say("\n".join(findings(results)))
    seconds = time.perf_counter() - started
    say(f"\n{options.seeds} seeds, at most {options.epochs} epochs, β = {options.beta:g}, {seconds:.0f} s.")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
