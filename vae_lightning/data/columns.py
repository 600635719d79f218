"""The columns of a table: their names and dtypes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column of a data set.

    Args:
        name: The name that the source gave it.
        dtype: The numpy dtype, as a string, in which values are given back. A ``"bool"`` column is read as 0 and 1,
            dates as days since 1970, fractions of days for times.
        levels: The texts that a column of texts may hold. A row's number is the place of its text among them.
    """

    name: str
    dtype: str
    levels: tuple[str, ...] | None = None

    @property
    def is_date(self) -> bool:
        """Whether its values are dates or times."""
        return self.dtype.startswith("datetime64")

    @property
    def is_whole(self) -> bool:
        """Whether its values, as a matrix has them, are whole numbers: also truth values, days and codes of texts."""
        return (
            self.levels is not None or self.dtype == "datetime64[D]" or self.dtype.startswith(("int", "uint", "bool"))
        )

    def as_plain(self) -> list[object]:
        """The column in plain values, as records have it.

        >>> Column("city", "object", ("Oslo", "Rome")).as_plain()
        ['city', 'object', ['Oslo', 'Rome']]
        """
        return [self.name, self.dtype, *([] if self.levels is None else [list(self.levels)])]


def pixel_names(height: int, width: int) -> list[str]:
    """Column names of a flattened image, row by row: ``pixel_0_0``, ``pixel_0_1`` ..."""
    return [f"pixel_{row}_{column}" for row in range(height) for column in range(width)]
