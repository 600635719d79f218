"""A short trial of two starts that are the same linear model but differ in how much of a row z tells."""

import copy
import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from vae_lightning.data.batch import Batch
from vae_lightning.data.loader import BatchLoader
from vae_lightning.data.seeds import random_stream, stream_seed
from vae_lightning.data.store import RowStore
from vae_lightning.model.start import LinearStart
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.base import Weights
from vae_lightning.objectives.elbo import ELBO, elbo
from vae_lightning.training.step import differentiate
from vae_lightning.training.threads import limit_threads

SHARE = 0.1
"""Of the noise of factor analysis, what the other start leaves; z tells the rest."""
MOST_STEPS, LEAST_STEPS, PART_OF_FIT = 400, 100, 0.1
"""Steps that each start is tried for: a tenth of the fit's, where these are enough to tell anything."""
LEAST_ROWS, MOST_ROWS = 30, 2048
"""Validation rows that decide."""
NUM_DRAWS = 4
LEAST_GAIN = 0.03
"""Nats per column that the other start must be ahead by, beside a standard error."""
LEARNING_RATE = 2e-3


def choose_start(
    vae: VAE, start: LinearStart, train: RowStore, valid: RowStore, batch_size: int, num_steps: int, seed: int
) -> str | None:
    """Start the model so that z tells more of each row, where a short trial of both gets further that way.

    Factor analysis gives z what several columns share and calls the rest noise. Of columns that are bound to one
    another by a curve (a ring, two moons) nothing is shared linearly, so z tells nothing, and such a model hardly ever
    learns to tell more: its posterior has collapsed before it began. The same density of rows, and so the same first
    NELBO, has a model whose z tells most of that noise, too. Which of the two trains better depends on the rows.

    Args:
        vae: started from ``start``; changed where the other is better on the validation rows.
        start: factor analysis.
        train: the training rows, model units.
        valid: the validation rows.
        batch_size: rows a step.
        num_steps: of the fit that follows.
        seed: of the run; the global random stream is left as it is.

    Returns:
        What was seen, in words; None where nothing was tried: few validation rows, a short fit, fewer latent dimensions
        than columns, or a likelihood whose variances are given.
    """
    steps = min(MOST_STEPS, int(PART_OF_FIT * num_steps))
    other = start.with_noise(SHARE, vae)
    if other is None or steps < LEAST_STEPS or valid.num_rows < LEAST_ROWS:
        return None
    models = copy.deepcopy(vae), copy.deepcopy(vae)
    batch_size = min(batch_size, train.num_rows)
    other.apply(models[1])
    judges = next(valid.batches(MOST_ROWS))
    found = []
    for model in models:
        with random_stream(stream_seed(seed, "trial")), limit_threads(model, batch_size):
            at_start = _nelbo(model, judges)
            _train(model, BatchLoader(train, batch_size=batch_size, shuffle=True, seed=seed), steps)
            # As in the fit, the weights of the start are kept where training makes them worse.
            found.append(min(at_start, _nelbo(model, judges), key=_mean))
    gain = found[0] - found[1]
    error = float(gain.std()) / math.sqrt(len(gain))
    is_better = _mean(gain) > max(error, LEAST_GAIN * judges.x.shape[1])
    if is_better:
        other.apply(vae)
    told = f"z telling all but {SHARE:.0%} of the noise"
    gained = f"{abs(_mean(gain)):.2f} nats per row {'better' if _mean(gain) > 0 else 'worse'} on validation rows"
    seen = f"after {steps} steps of a trial {gained}"
    return f"factor analysis, {told}: {seen}" if is_better else f"factor analysis; with {told} it was {seen}"


def _train(vae: VAE, loader: BatchLoader, num_steps: int) -> None:
    optimizer = torch.optim.Adam(vae.parameters(), lr=LEARNING_RATE, fused=True)
    # Steps that grow small, or the noise of the last ones would decide.
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, num_steps)
    vae.train()
    objective, weights = ELBO(), Weights()
    for batch in itertools.islice(_batches(loader), num_steps):
        optimizer.zero_grad()
        statistics = differentiate(vae, objective, batch, vae.noise(1, batch.num_rows), weights)
        if statistics.fitted is not None:
            vae.likelihood.update(statistics.fitted)
        optimizer.step()
        scheduler.step()


def _batches(loader: BatchLoader) -> Iterator[Batch]:
    """Epoch after epoch, without end."""
    for epoch in itertools.count():
        loader.set_epoch(epoch)
        yield from loader


def _mean(values: Tensor) -> float:
    return float(values.mean())


@torch.no_grad()
def _nelbo(vae: VAE, rows: Batch) -> Tensor:
    """-ELBO of each row, (B,), nats in model units."""
    vae.eval()
    return -elbo(vae(rows, vae.noise(NUM_DRAWS, rows.num_rows)))
