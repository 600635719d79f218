"""Are these data legal for that likelihood? Asked once, before the first step."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.distributions import constraints

from vae_lightning.data.columns import Column
from vae_lightning.data.split import check_count
from vae_lightning.data.wording import count, listed
from vae_lightning.errors import DataError


def check_support(
    u: Tensor,
    *,
    split: str,
    columns: Sequence[Column],
    support: constraints.Constraint,
    likelihood: str,
    support_words: str,
    preprocess: str,
    place: Callable[[int], str] = lambda row: f"row {row + 1}",
) -> None:
    """Raise a DataError if a value lies outside a likelihood's support.

    Args:
        u: Shape ``(N, C)``: rows as the likelihood sees them, that is after the preprocessing.
        split: Which rows they are, as an adjective: ``"train"``, ``"valid"``, ``"test"``.
        columns: Length C.
        support: What is legal, per value.
        likelihood: Its name.
        support_words: The support in words, such as ``"values in [0, 1]"``.
        preprocess: The kind of preprocessing that the rows went through, as it is typed.
        place: How a row is called.

    Raises:
        DataError: Naming the columns, how many values, the first bad one, and what to type instead.
    """
    bad = outside(u, support)
    num_bad = int(bad.sum())
    if not num_bad:
        return
    row, column = divmod(int(bad.flatten().byte().argmax()), u.shape[1])
    where = bad.any(dim=0).nonzero().flatten().tolist()
    names = [f"'{columns[index].name}'" for index in where]
    low, high = u[bad].min().item(), u[bad].max().item()
    first = f"{u[row, column].item():.6g} in {place(row)}, column '{columns[column].name}'"
    share = f"in {count(len(names), 'column')} of {len(columns):,}" if len(columns) > 1 else "in the only column"
    raise DataError(
        f"The data do not fit the {likelihood} likelihood, whose values must be {support_words}: {num_bad:,} of "
        f"{count(bad.numel(), 'value')} of the {split} rows (after data.preprocess={preprocess}) "
        f"{'is' if num_bad == 1 else 'are'} something else (from {low:.6g} to {high:.6g}), {share}: {listed(names)}. "
        f"The first is {first}. {_advice(_per_value(support), likelihood, preprocess, u[bad])}"
    )


def outside(u: Tensor, support: constraints.Constraint) -> Tensor:
    """Which values of ``u`` are illegal: not finite, or not in the support; same shape."""
    return ~(_per_value(support).check(u) & torch.isfinite(u))


def check_batch_size(num_train: int, batch_size: int) -> None:
    """Raise a DataError if the training rows do not fill one batch."""
    check_count("data", "batch_size", batch_size)
    if num_train < batch_size:
        fitting = 1 << (num_train.bit_length() - 1)
        raise DataError(
            f"The data have {count(num_train, 'training row')}, fewer than one batch of {batch_size:,}. "
            f"Type data.batch_size={fitting}, or give more rows."
        )


def _per_value(support: constraints.Constraint) -> constraints.Constraint:
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support


def _advice(support: constraints.Constraint, likelihood: str, preprocess: str, bad: Tensor) -> str:
    if not bool(torch.isfinite(bad).all()):
        return "Values must be finite and below 3.4e38: drop those rows or columns, or rescale them."
    binary = isinstance(support, type(constraints.boolean))
    unit = isinstance(support, constraints.interval) and (support.lower_bound, support.upper_bound) == (0, 1)
    if not binary and not unit:
        return "Type likelihood=gaussian, which takes all real numbers."
    ways = []
    if likelihood.lower() != "gaussian":
        ways.append("likelihood=gaussian (takes all real numbers)")
    if not binary and preprocess != "minmax":
        ways.append("data.preprocess=minmax (each column rescaled to [0, 1])")
    if preprocess != "binarize":
        ways.append("data.preprocess=binarize (each value becomes 0 or 1)")
    return f"Type {' or '.join(ways)}."
