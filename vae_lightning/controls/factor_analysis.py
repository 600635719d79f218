"""Factor analysis: the best linear model of real columns, robust where maximum likelihood is not."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from vae_lightning.controls.completion import complete, has_holes
from vae_lightning.controls.covariance import Moments
from vae_lightning.controls.factor_model import LEAST_NOISE, FactorAnalysis
from vae_lightning.data.batch import Batch
from vae_lightning.data.store import RowsInMemory
from vae_lightning.likelihoods.moments import RowBatches, SomeColumns, Together, held_variances

PSEUDO_ROWS = (0.0, *(10.0**power for power in range(-6, 3)))
"""How many rows of independent columns may be imagined beside the real ones: a millionth of one to a hundred."""
ENOUGH_ROWS, MOST_ROWS = 30, 2048
"""With fewer validation rows the choice is made by cross-validation within the training rows; more are not needed."""
FOLDS = 5
MOST_STEPS, FEWEST_STEPS = 300, 10
MOST_PRODUCTS = 1e11
"""Multiply-adds of a fit to columns whose covariance is of low rank."""
CHOOSING = 1024
"""Columns that imagined rows and factors are chosen on where there are too many."""
TOLERANCE = 1e-5
"""Nats per column and row that a step must gain."""
SPARE = 8
"""Directions more than wanted in the iteration for leading eigenvectors."""
MOST_TURNS = 10
"""Times that empty cells are filled anew: of 30 % removed from 1,000 rows of 40 columns afterwards nothing moves."""

Value = TypeVar("Value")
FitVariances = Callable[[Tensor, Tensor], Tensor]
"""Residual variances and what is held of them, both (C,) → noise variances (C,)."""


class Fold(NamedTuple):
    """Rows to fit, their moments, and the rows to judge the fit by."""

    rows: RowBatches
    moments: Moments
    judges: Sequence[Batch]


def fit_factor_analysis(
    train: RowBatches,
    valid: RowBatches | None,
    latent_dim: int,
    fit_variances: FitVariances | None = None,
    held: Tensor | None = None,
) -> FactorAnalysis:
    """Factor analysis of the training rows that other rows agree with.

    Maximum likelihood buys training likelihood with vanishing noise where columns are nearly constant or rows are few,
    and pays with any sum on the next row. So rows of independent columns are imagined beside the real ones, and the
    number of factors may be lower: how many, the validation rows decide, or cross-validation where these are few. A
    gain over no factors at all that is within one standard error is none.

    Where cells are empty a first fit is that of the covariances of pairs of columns, each over the rows that have both.
    Then in turns the cells are filled, with their uncertainty, and the filled rows fitted: EM for cells missing at
    random, which maximises the likelihood of the observed cells (Little & Rubin 2002, section 11.3).

    Cost: ``O(N C²)`` for the covariance and some hundred products of C x C with L; above 2,048 columns ``O(N C L)`` and
    at most ``MOST_PRODUCTS`` multiply-adds, as the choice is made on 1,024 columns. With P patterns of holes up to
    ``MOST_TURNS`` times ``O(P L C (C + L))`` beside, but no more turns than ``MOST_PRODUCTS`` multiply-adds allow: of
    50,000 rows and 784 columns with holes anywhere none at all.

    Args:
        train: the training rows.
        valid: the validation rows; None for cross-validation.
        latent_dim: the most factors; what is not needed of them is 0.
        fit_variances: which noise variances are possible; by default one for each column.
        held: what no noise variance may fall below, (C,); by default what training and validation rows say.

    Returns:
        The fit to all training rows.
    """
    fit_variances = torch.maximum if fit_variances is None else fit_variances
    held = held_variances(train if valid is None else Together(train, valid)) if held is None else held
    size = 2 * latent_dim + 4 * SPARE
    whole = Fold(train, replace(Moments.of(train, size), held=held), ())
    rank = min(latent_dim, len(held))
    start = None
    if whole.moments.vectors is None:
        folds = list(_folds(train, valid, whole.moments, size))
        folds, pseudo_rows, chosen, noise = _choose(folds, rank, fit_variances, size)
        if folds[0].rows is train:
            whole, start = folds[0], noise
    else:  # every fit takes seconds to minutes: the choice is made on some of the columns, as free as any
        some = torch.linspace(0, len(held) - 1, min(CHOOSING, len(held)), dtype=torch.float64).round().long()
        narrow = SomeColumns(train, some.tolist())
        judges = None if valid is None else SomeColumns(valid, some.tolist())
        folds = list(_folds(narrow, judges, replace(Moments.of(narrow, size), held=held[some]), size))
        _, pseudo_rows, chosen, _ = _choose(folds, rank, torch.maximum, size)
    model = _fit_observed(whole, chosen, pseudo_rows, fit_variances, size, start)[0]
    missing = latent_dim - model.loadings.shape[1]
    return replace(model, loadings=torch.nn.functional.pad(model.loadings, (0, missing)))


def _choose(
    folds: list[Fold], rank: int, fit_variances: FitVariances, size: int
) -> tuple[list[Fold], float, int, Tensor]:
    """How many rows to imagine and how many factors to keep, and the noise of the first fold with nothing imagined.

    Where cells are empty that is chosen twice: for their first fit, and for the rows as it fills them, which are given.
    """
    pseudo_rows, chosen, noise = _choose_once(folds, rank, fit_variances)
    filled = [fold._replace(moments=_fit_observed(fold, rank, pseudo_rows, fit_variances, size)[1]) for fold in folds]
    if all(one.moments is fold.moments for one, fold in zip(filled, folds, strict=True)):
        return folds, pseudo_rows, chosen, noise
    return filled, *_choose_once(filled, rank, fit_variances)


def _choose_once(folds: Sequence[Fold], rank: int, fit_variances: FitVariances) -> tuple[float, int, Tensor]:
    # Every other search begins where this one ends.
    starts = [_fit(fold.moments, rank, 0.0, fit_variances).noise for fold in folds]

    @cache
    def log_probs(pseudo_rows: float, rank: int) -> Tensor:
        """Log-densities of rows that were not fitted."""
        return torch.cat(
            [
                _fit(fold.moments, rank, pseudo_rows, fit_variances, start).log_prob(batch)
                for fold, start in zip(folds, starts, strict=True)
                for batch in fold.judges
            ]
        )

    def score(pseudo_rows: float, rank: int) -> float:
        return float(log_probs(pseudo_rows, rank).mean())

    pseudo_rows = _climb(PSEUDO_ROWS, lambda value: score(value, rank))
    ranks = [rank >> halvings for halvings in range(rank.bit_length())] + [0]
    chosen = _climb(ranks, lambda value: score(pseudo_rows, value))
    gain = log_probs(pseudo_rows, chosen) - log_probs(pseudo_rows, 0)
    error = gain.std(correction=0) / math.sqrt(len(gain))
    return pseudo_rows, chosen if gain.mean() >= error else 0, starts[0]


def _fit_observed(
    fold: Fold, rank: int, pseudo_rows: float, fit_variances: FitVariances, size: int, start: Tensor | None = None
) -> tuple[FactorAnalysis, Moments]:
    """The fit to the observed cells of rows, and the moments of the rows as it fills them; the fold's without holes."""
    moments = fold.moments
    model, last = _fit(moments, rank, pseudo_rows, fit_variances, start), -math.inf
    for _ in range(_most_turns(fold.rows, rank, len(moments.mean))):
        filled, log_prob = complete(fold.rows, model, size)
        if log_prob - last < TOLERANCE * len(moments.mean):
            break
        moments, last = replace(filled, held=moments.held), log_prob
        model = _fit(moments, rank, pseudo_rows, fit_variances, model.noise)
    return model, moments


def _most_turns(rows: RowBatches, rank: int, num_columns: int) -> int:
    """None without holes, or where nothing can be said of one cell from another."""
    if rank == 0 or not has_holes(rows):
        return 0
    patterns = sum(1 if b.mask is None else len(torch.unique(b.mask, dim=0)) for b in rows.batches())
    return min(MOST_TURNS, int(MOST_PRODUCTS / (patterns * rank * num_columns * (num_columns + rank))))


def _climb(values: Sequence[Value], score: Callable[[Value], float]) -> Value:
    """The value with the greatest score of a sequence with one hill; two steps down in a row end the search."""
    best, greatest, falls = values[0], -math.inf, 0
    for value in values:
        reached = score(value)
        if reached > greatest:
            best, greatest, falls = value, reached, 0
        else:
            falls += 1
        if falls == 2:
            break
    return best


def _folds(train: RowBatches, valid: RowBatches | None, moments: Moments, size: int) -> Iterator[Fold]:
    """What to fit, and the rows to judge it by."""
    first = [] if valid is None else list(islice(valid.batches(), 1))
    judges = [Batch(batch.x, batch.mask, weight=batch.weight).split(MOST_ROWS)[0] for batch in first]
    if sum(len(batch.x) for batch in judges) >= ENOUGH_ROWS:
        yield Fold(train, moments, judges)
        return
    rows = RowsInMemory.of(Batch(batch.x, batch.mask, weight=batch.weight) for batch in train.batches()).rows
    count = min(FOLDS, len(rows.x))
    if count < 2:
        yield Fold(train, moments, [rows])
        return
    order = torch.randperm(len(rows.x), generator=torch.Generator().manual_seed(0)).to(rows.x.device)
    parts = order.tensor_split(count)
    for number, part in enumerate(parts):
        others = torch.cat([other for index, other in enumerate(parts) if index != number])
        fitted = RowsInMemory(rows.select(others))
        yield Fold(fitted, replace(Moments.of(fitted, size), held=moments.held), [rows.select(part)])


def _fit(
    moments: Moments, rank: int, pseudo_rows: float, fit_variances: FitVariances, start: Tensor | None = None
) -> FactorAnalysis:
    """Maximum likelihood with imagined rows: in turns the best loadings for the noise, and the noise for the loadings.

    For given noise the best loadings are the leading eigenvectors of the whitened covariance (Jöreskog 1967, eq. 15);
    with them the noise of EM is what they leave of the diagonal, so the likelihood never falls. The eigenvectors come
    from two power iterations a turn, which begin where the last turn ended.

    Args:
        moments: of the rows.
        rank: factors.
        pseudo_rows: imagined rows of independent columns with the columns' variances.
        fit_variances: which noise variances are possible.
        start: noise variances to begin with.
    """
    share = pseudo_rows / (moments.num_rows + pseudo_rows)
    # A column whose variance is held has no factors: it is as independent as nothing can be learned of it.
    free = (moments.held == 0).double()[:, None]
    scale = torch.where(moments.variance > 0, moments.variance, moments.held)
    variance = (1 - share) * moments.variance + share * scale

    def noise_of(residual: Tensor) -> Tensor:
        return fit_variances(residual.clamp_min(LEAST_NOISE), moments.held).clamp_min(LEAST_NOISE)

    def multiply(right: Tensor) -> Tensor:
        found = (1 - share) * moments.multiply(free * right) + (share * scale)[:, None] * right
        return free * found

    num_columns = len(variance)
    noise = noise_of(variance / 2 if start is None else start)
    if rank == 0:
        return FactorAnalysis(moments.mean, variance.new_zeros(num_columns, 0), noise_of(variance))
    size = min(num_columns, rank + SPARE)
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(free * torch.randn(num_columns, size, generator=generator, dtype=torch.float64))[0]
    loadings, last = variance.new_zeros(num_columns, rank), -math.inf
    for step in range(_most_steps(moments, size)):
        root = noise.sqrt()[:, None]
        for _ in range(SPARE if step == 0 else 2):
            basis = torch.linalg.qr(multiply(basis / root) / root)[0]
        values, rotation = torch.linalg.eigh(basis.T @ (multiply(basis / root) / root))
        values, basis = values.flip(0), basis @ rotation.flip(1)
        loadings = free * root * basis[:, :rank] * (values[:rank] - 1).clamp_min(0).sqrt()
        kept = values[:rank].clamp_min(1)
        likelihood = -0.5 * float(noise.log().sum() + (kept.log() - kept + 1).sum() + (variance / noise).sum())
        if likelihood - last < TOLERANCE * num_columns and step > 1:
            break
        last = likelihood
        noise = noise_of(variance - loadings.square().sum(1))
    return FactorAnalysis(moments.mean, _rotate(loadings, noise), noise)


def _most_steps(moments: Moments, size: int) -> int:
    if moments.vectors is None:
        return MOST_STEPS
    num_columns, rank = moments.vectors.shape
    step = 3 * num_columns * size * (2 * rank + size)  # three products, and as many decompositions
    return min(MOST_STEPS, max(FEWEST_STEPS, int(MOST_PRODUCTS / step)))


def _rotate(loadings: Tensor, noise: Tensor) -> Tensor:
    """The same model with ``loadingsᵀ diag(1 / noise) loadings`` diagonal, its greatest entry first."""
    scaled = loadings / noise.sqrt()[:, None]
    _, rotation = torch.linalg.eigh(scaled.T @ scaled)
    return loadings @ rotation.flip(1)
