"""Training, validation and test rows: which row goes where."""

import numpy as np

from vae_lightning.data.dataset import Rows
from vae_lightning.data.wording import count
from vae_lightning.errors import DataError, Setting, is_count


def split_rows(rows: Rows, valid_fraction: float, test_fraction: float, seed: int) -> tuple[Rows, Rows, Rows]:
    """Split rows at random, but always alike for a seed, into training, validation and test rows.

    Each part but the first has its fraction of the rows, rounded, and at least one row.

    Raises:
        DataError: A fraction outside (0, 1), fractions that leave nothing to train on, or too few rows.
    """
    if valid_fraction + test_fraction >= 1:
        raise DataError(
            "The 'valid_fraction' and 'test_fraction' parameters must sum to less than 1, or nothing is left to "
            f"train on. Got {valid_fraction:g} + {test_fraction:g} instead."
        )
    num_valid = _part_size(len(rows), valid_fraction, "valid")
    num_test = _part_size(len(rows), test_fraction, "test")
    order = _shuffle(len(rows), num_valid + num_test, seed)
    cut = num_test + num_valid
    return rows.take(order[cut:]), rows.take(order[num_test:cut]), rows.take(order[:num_test])


def split_off(rows: Rows, fraction: float, seed: int, part: str) -> tuple[Rows, Rows]:
    """Split rows at random into what remains for training and one other ``part`` (``"valid"`` or ``"test"``).

    Raises:
        DataError: A fraction outside (0, 1), or too few rows.
    """
    size = _part_size(len(rows), fraction, part)
    order = _shuffle(len(rows), size, seed)
    return rows.take(order[size:]), rows.take(order[:size])


def _part_size(num_rows: int, fraction: float, part: str) -> int:
    if not 0 < fraction < 1:
        raise DataError(
            f"The '{part}_fraction' parameter must be above 0 and below 1, as the {part} part is split off "
            f"{num_rows} rows and needs at least one of them. Got {fraction:g} instead."
        )
    return max(1, round(num_rows * fraction))


def _shuffle(num_rows: int, num_taken: int, seed: int) -> np.ndarray:
    check_seed(seed)
    if num_taken >= num_rows:
        raise DataError(
            f"The data have only {count(num_rows, 'row')}: too few for training, validation and test parts, "
            "which need at least one each. Give more rows, or files for the parts.",
            [Setting("data.valid_path", "FILE"), Setting("data.test_path", "FILE")],
        )
    return np.random.default_rng(seed).permutation(num_rows)


def check_seed(seed: int) -> None:
    """Raise a DataError unless ``seed`` is a whole number from 0 on."""
    if not is_count(seed, 0):
        raise DataError(f"The 'seed' parameter must be a whole number from 0 on. Got {seed!r} instead.")


def check_count(owner: str, name: str, value: int, least: int = 1) -> None:
    """Raise a DataError unless the parameter ``name`` of ``owner`` is a whole number of at least ``least``."""
    if not is_count(value, least):
        raise DataError(
            f"The '{name}' parameter of {owner} must be a whole number of at least {least}. Got {value!r} instead."
        )
