"""Are these data legal for that likelihood? Asked once, before the first step."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vae_lightning.data.columns import Column
from vae_lightning.data.split import check_count
from vae_lightning.data.wording import count, shorten
from vae_lightning.errors import DataError, Setting
from vae_lightning.likelihoods.support import Support


def is_illegal(u: Tensor, supports: Sequence[Support]) -> Tensor:
    """Which values of ``u`` (..., C), in model units, no column's support contains; same shape, bool."""
    illegal = torch.ones_like(u, dtype=torch.bool)
    for support in dict.fromkeys(supports):
        columns = torch.tensor([one == support for one in supports], device=u.device)
        illegal &= ~(columns & support.contains(u))
    return illegal


def check_support(
    u: Tensor,
    *,
    split: str,
    columns: Sequence[Column],
    supports: Sequence[Support],
    likelihood: Sequence[str],
    preprocess: Sequence[str],
    place: Callable[[int], str] | None = None,
    first_row: int = 1,
    mask: Tensor | None = None,
) -> None:
    """Raise a DataError if a value lies outside its column's support.

    Args:
        u: Shape ``(N, C)``: rows as the likelihood sees them, that is after the preprocessing.
        split: Which rows they are, as an adjective: ``"train"``, ``"valid"``, ``"test"``.
        columns: Length C.
        supports: What is legal in each column, length C.
        likelihood: The name of each column's, length C.
        preprocess: The name of the preprocessing that each column went through, length C.
        place: How a row is called; by default by its number.
        first_row: The number of the first row.
        mask: Which cells hold a value, ``(N, C)``; None for all.

    Raises:
        DataError: Naming the columns, how many values, the first bad one, and what to type instead.
    """
    bad = is_illegal(u, supports) if mask is None else is_illegal(u, supports) & mask
    if not bool(bad.any()):
        return
    row, column = divmod(int(bad.flatten().byte().argmax()), u.shape[1])
    # Of columns side by side, those that are refused for the same reason.
    kinds = list(zip(supports, likelihood, preprocess, strict=True))
    bad = bad & torch.tensor([kind == kinds[column] for kind in kinds], device=u.device)
    num_bad, name, way = int(bad.sum()), likelihood[column], preprocess[column]
    where = bad.any(dim=0).nonzero().flatten().tolist()
    names = [repr(columns[index].name) for index in where]
    low, high = u[bad].min().item(), u[bad].max().item()
    where_it_is = f"row {first_row + row}" if place is None else place(row)
    first = f"{u[row, column].item():.6g} in {where_it_is}, column {columns[column].name!r}"
    share = f"in {count(len(names), 'column')} of {len(columns):,}" if len(columns) > 1 else "in the only column"
    raise DataError(
        f"The data do not fit the {name} likelihood, whose values must be {supports[column].words}: {num_bad:,} "
        f"of {count(bad.numel(), 'value')} of the {split} rows (after preprocess={way}) "
        f"{'is' if num_bad == 1 else 'are'} something else (from {low:.6g} to {high:.6g}), {share}: {shorten(names)}. "
        f"The first is {first}.{_too_large(u[bad])}",
        _alternatives(supports[column], name, way, u[bad]),
    )


def check_known(
    x: Tensor,
    columns: Sequence[Column],
    known: Sequence[Sequence[float] | None],
    place: Callable[[int], str],
) -> None:
    """Raise a DataError if a number is none of those that its column may hold.

    Args:
        x: Rows in data units, ``(N, C)``; NaN is an empty cell.
        columns: Length C.
        known: The values that each column may hold, length C; None where any.
        place: How a row is called.

    Raises:
        DataError: Naming the column, the values it may hold, how many others there are and the first.
    """
    for index, values in enumerate(known):
        if values is None:
            continue
        cells = x[:, index]
        bad = ~(torch.isin(cells, torch.tensor(values, dtype=cells.dtype, device=x.device)) | torch.isnan(cells))
        if not bool(bad.any()):
            continue
        row = int(bad.byte().argmax())
        told = shorten((f"{value:.10g}" for value in values), 10)
        raise DataError(
            f"The column {columns[index].name!r} must hold one of {told}: the values that the model was trained on. "
            f"{int(bad.sum()):,} of {count(len(bad), 'value')} {'is' if bad.sum() == 1 else 'are'} something else, the "
            f"first {cells[row].item():.10g} in {place(row)}. Leave the cell empty where the value is not known."
        )


def check_batch_size(num_train: int, batch_size: int) -> None:
    """Raise a DataError if the training rows do not fill one batch."""
    check_count("data", "batch_size", batch_size)
    if num_train < batch_size:
        raise DataError(
            f"The data have {count(num_train, 'training row')}, fewer than one batch of {batch_size:,}. Give more rows "
            "or a smaller batch.",
            [Setting("data.batch_size", 1 << (num_train.bit_length() - 1))],
        )


def _too_large(bad: Tensor) -> str:
    if bool(torch.isfinite(bad).all()):
        return ""
    return " Values must be finite and below 3.4e38: drop those rows or columns, or rescale them."


def _alternatives(support: Support, likelihood: str, preprocess: str, bad: Tensor) -> list[Setting]:
    if not bool(torch.isfinite(bad).all()):
        return []
    ways = support.alternatives(preprocess)
    return [way for way in ways if (way.key, way.value) != ("likelihood", likelihood)]
