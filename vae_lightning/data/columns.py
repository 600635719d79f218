"""The columns of a table: their names and dtypes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column of a data set.

    Args:
        name: The name that the source gave it.
        dtype: The numpy dtype, as a string, in which values are given back. A ``"bool"`` column is read as 0 and 1.
    """

    name: str
    dtype: str


def pixel_names(height: int, width: int) -> list[str]:
    """Column names of a flattened image, row by row: ``pixel_0_0``, ``pixel_0_1`` ..."""
    return [f"pixel_{row}_{column}" for row in range(height) for column in range(width)]
