"""The columns of a table: their names and dtypes."""

from dataclasses import astuple, dataclass


@dataclass(frozen=True)
class DatePart:
    """What a column holds of a user's column of dates; see :mod:`vae_lightning.data.dates`.

    Args:
        column: the name of the column of dates.
        dtype: its dtype.
        unit: what is counted: ``month``, ``week``, ``day``, ``weekday``, ``hour``, ``minute`` or ``second``.
        shift: what all of the column's dates have in common, milliseconds: the same hour, say, or all of their week.
    """

    column: str
    dtype: str
    unit: str
    shift: int


@dataclass(frozen=True)
class Column:
    """One column of a data set.

    Args:
        name: The name that the source gave it.
        dtype: The numpy dtype, as a string, in which values are given back. A ``"bool"`` column is read as 0 and 1,
            dates as days since 1970, fractions of days for times.
        levels: The texts that a column of texts may hold. A row's number is the place of its text among them.
        part: What it is of a column of dates that was split, where it is that.
    """

    name: str
    dtype: str
    levels: tuple[str, ...] | None = None
    part: DatePart | None = None

    @property
    def source(self) -> str:
        """The name of the column in the user's table: its own, or that of the dates that it is a part of."""
        return self.name if self.part is None else self.part.column

    @property
    def is_number(self) -> bool:
        """Whether a user has it as a column of numbers, rather than of texts or of dates."""
        return self.levels is None and self.part is None and not self.is_date

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
        levels = None if self.levels is None else list(self.levels)
        if self.part is not None:
            return [self.name, self.dtype, levels, list(astuple(self.part))]
        return [self.name, self.dtype, *([] if levels is None else [levels])]


def pixel_names(height: int, width: int) -> list[str]:
    """Column names of a flattened image, row by row: ``pixel_0_0``, ``pixel_0_1`` ..."""
    return [f"pixel_{row}_{column}" for row in range(height) for column in range(width)]
