"""Mixture of independent columns: latent classes, for columns of any family."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vae_lightning.controls.base import Control
from vae_lightning.controls.independent import IndependentColumns, Rates
from vae_lightning.controls.rows import spread
from vae_lightning.data.batch import Batch, Batches
from vae_lightning.data.store import RowsInMemory
from vae_lightning.likelihoods.base import Likelihood

MOST_ROWS, MOST_CELLS, FEWEST_ROWS = 4096, 2**20, 256
"""Rows that classes are fitted to: the first number, or as many as hold so many cells, but no fewer than the last."""
ROWS_PER_CLASS = 10
HELD_OUT = 5
"""Every so many'th training row chooses the number of classes where there are no validation rows."""
IMAGINED = 1.0
"""Rows of the whole table that each class holds beside its own: no class is as narrow as the few rows it has."""
MOST_STEPS, LEAST_GAIN = 30, 5e-5
"""EM ends after so many steps, or when one gains less than so many nats a cell."""
MOVES = 10
"""Of the cluster centres before EM."""
SEED = 0


class MixtureOfIndependentColumns(Control):
    """``p(x) = Σ_k π_k Π_c p_k(x_c)``: each row belongs to one of K classes, within which its columns are independent.

    Args:
        log_shares: log π, shape (K,), float64.
        classes: the K distributions of a row.
    """

    def __init__(self, log_shares: Tensor, classes: Sequence[IndependentColumns]) -> None:
        self.log_shares = log_shares
        self.classes = classes

    @property
    def words(self) -> str:
        size = len(self.classes)
        return f"a mixture of {size} {'class' if size == 1 else 'classes'} of independent columns"

    def log_prob(self, batch: Batch) -> Tensor:
        return self.log_joint(batch).logsumexp(-1)

    def log_joint(self, batch: Batch) -> Tensor:
        """``log π_k + log p_k(x)``, shape (B, K), float64."""
        rows = [one.log_prob(batch).double().sum(-1) for one in self.classes]
        return torch.stack(rows, -1) + self.log_shares.to(batch.x.device)


def fit_mixture(
    likelihood: Likelihood, train: Batches, valid: Batches | None, latent_dim: int, exposed: bool = False
) -> MixtureOfIndependentColumns:
    """The mixture that is best on validation rows, of at most ``latent_dim`` + 1 classes and one for each ten rows.

    The means of L + 1 classes span L dimensions: as many as the decoder of a VAE with L latent dimensions moves in. One
    class, the independent columns, is among the candidates.

    Args:
        likelihood: whose ``independent_columns`` is what a class is.
        train: what the classes are fitted to, some thousand rows of it, evenly spaced.
        valid: what chooses the number of classes; None for every fifth training row, which is then not fitted to.
        latent_dim: L.
        exposed: whether the rows have exposures.
    """
    size = likelihood.num_columns
    most = min(MOST_ROWS, max(MOST_CELLS // size, FEWEST_ROWS))
    rows = RowsInMemory.of(spread(train, most)).rows
    if valid is None:
        index = torch.arange(rows.num_rows, device=rows.x.device)
        held_out = index % HELD_OUT == HELD_OUT - 1
        rows, judges = rows.select(index[~held_out]), rows.select(index[held_out])
    else:
        judges = RowsInMemory.of(spread(valid, most)).rows
    largest = max(1, min(latent_dim + 1, rows.num_rows // ROWS_PER_CLASS))
    # Independent columns first: of equals the simplest is taken.
    candidates = [MixtureOfIndependentColumns(torch.zeros(1), [IndependentColumns(likelihood, train, exposed)])]
    sizes = sorted({(largest + 2) // 3, largest} - {1})
    candidates += [_fit(likelihood, rows, num_classes, exposed) for num_classes in sizes]
    weight = _weights(judges)
    return max(candidates, key=lambda model: float(weight @ model.log_prob(judges)))


def _fit(likelihood: Likelihood, rows: Batch, num_classes: int, exposed: bool = False) -> MixtureOfIndependentColumns:
    """EM from the clusters of the rows: it climbs to the nearest maximum of the smoothed likelihood."""
    weight = _weights(rows)
    points = next(Rates(RowsInMemory(rows), likelihood.count_columns).batches()) if exposed else rows
    shares = _cluster(likelihood, points, num_classes)
    last = -torch.inf
    for _ in range(MOST_STEPS):
        model = _maximise(likelihood, rows, shares, exposed)
        joint = model.log_joint(rows)
        total = joint.logsumexp(-1)
        shares = (joint - total[:, None]).exp()
        # What the M-step maximises, its imagined rows included.
        value = float((weight @ total + IMAGINED * (weight @ joint).sum() / weight.sum()) / weight.sum())
        if value - last < LEAST_GAIN * likelihood.num_columns:
            break
        last = value
    return model


def _maximise(
    likelihood: Likelihood, rows: Batch, shares: Tensor, exposed: bool = False
) -> MixtureOfIndependentColumns:
    """The M-step: each class is fitted to all rows, weighted by how much of them is its own.

    Args:
        likelihood: of the classes.
        rows: all of them.
        shares: p(class | row), shape (N, K).
        exposed: whether the rows have exposures.
    """
    weight = _weights(rows)
    counts = weight[:, None] * (shares + IMAGINED / weight.sum())
    # K-fold, so that what a family imagines itself, such as one row of each value, is shared by the classes.
    weighted = [RowsInMemory(rows._replace(weight=counts.shape[1] * own)) for own in counts.T]
    classes = [IndependentColumns(likelihood, some, exposed, refined=False) for some in weighted]
    return MixtureOfIndependentColumns((counts.sum(0) / counts.sum()).log(), classes)


def _cluster(likelihood: Likelihood, rows: Batch, num_classes: int) -> Tensor:
    """Which of ``num_classes`` clusters each row is in, (N, K), 0 or 1: k-means of what an encoder would see.

    The first centres are rows, drawn one after the other by their squared distance to those before (k-means++, Arthur &
    Vassilvitskii 2007).
    """
    parts = []
    for support in dict.fromkeys(likelihood.supports):
        columns = torch.tensor([one == support for one in likelihood.supports], device=rows.x.device)
        x = rows.x[:, columns]
        mask = torch.ones_like(x, dtype=torch.bool) if rows.mask is None else rows.mask[:, columns]
        points = support.to_points(torch.where(mask, x, support.fill))
        mask = mask.repeat_interleave(points.shape[1] // x.shape[1], 1)
        seen = torch.where(mask, points, 0.0)
        parts.append(torch.where(mask, points, seen.sum(0) / mask.sum(0).clamp_min(1)))
    u = torch.cat(parts, 1)
    generator = torch.Generator().manual_seed(SEED)
    centres = u[torch.randint(len(u), (1,), generator=generator).to(u.device)]
    while len(centres) < num_classes:
        distance = torch.cdist(u, centres).amin(1).square().double().cpu()
        chance = distance if float(distance.sum()) > 0 else torch.ones_like(distance)
        centres = torch.cat([centres, u[torch.multinomial(chance, 1, generator=generator).to(u.device)]])
    for _ in range(MOVES):
        own = torch.nn.functional.one_hot(torch.cdist(u, centres).argmin(1), num_classes).to(u)
        sizes = own.sum(0)[:, None]
        centres = torch.where(sizes > 0, own.T @ u / sizes.clamp_min(1), centres)
    return own.double()


def _weights(rows: Batch) -> Tensor:
    weight = torch.ones(rows.num_rows, device=rows.x.device) if rows.weight is None else rows.weight
    return weight.double()
