"""Columns of any kind as numbers, and which of their values are none."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vae_lightning.data.files.dialect import NumberFormat

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SECONDS = 86_400.0
"""Of a day."""
TRUE, FALSE = ["True", "TRUE", "true"], ["False", "FALSE", "false"]


def as_numbers(series: "pd.Series") -> tuple["pd.Series", np.ndarray]:
    """A column as numpy numbers, and which of its values are not numbers (missing ones are no text: they are NaN)."""
    import pandas as pd

    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "biuf":
        return series, np.zeros(len(series), dtype=bool)

    if series.dtype.kind in "mMc":
        return series, series.notna().to_numpy()
    if isinstance(series.dtype, pd.SparseDtype):
        return as_numbers(series.sparse.to_dense())
    if pd.api.types.is_numeric_dtype(series.dtype):  # pandas' own nullable dtypes
        return series.astype(np.float64 if series.hasnans else series.dtype.numpy_dtype), np.zeros(len(series), bool)
    numbers = pd.to_numeric(series.astype(object), errors="coerce").astype(np.float64)
    return numbers, (numbers.isna() & series.notna()).to_numpy()


def as_texts(series: "pd.Series") -> "pd.Series":
    """A column as texts; what is missing stays so."""
    given = series.astype(object)
    return given.where(given.isna(), given.astype(str)).where(given.notna(), None)


def read_dates(series: "pd.Series") -> "pd.Series":
    """A column as dates and times without a zone, NaT where one is missing or none: ISO 8601, or dates already."""
    import pandas as pd

    if series.dtype.kind == "M":
        return series.dt.tz_convert(None) if getattr(series.dtype, "tz", None) else series
    texts = as_texts(series)
    known = texts.str.match(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:|$)", na=False)
    return pd.to_datetime(texts.where(known, None), format="ISO8601", errors="coerce", utc=True).dt.tz_localize(None)


def to_codes(series: "pd.Series", levels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The place of each text among the levels, NaN where it is missing; and which are none of these."""
    import pandas as pd

    texts = as_texts(series)
    codes = pd.Index(levels).get_indexer(pd.Index(texts)).astype(np.float64)
    missing = texts.isna().to_numpy()
    wrong = (codes < 0) & ~missing
    codes[codes < 0] = np.nan
    return codes, wrong


def to_days(series: "pd.Series") -> tuple[np.ndarray, np.ndarray]:
    """Dates and times as days since 1970, NaN where one is missing; and which are none."""
    dates = read_dates(series)
    wrong = (dates.isna() & as_texts(series).notna()).to_numpy()
    return (dates.to_numpy() - np.datetime64(0, "s")) / np.timedelta64(1, "s") / SECONDS, wrong


class TextNumbers:
    """Texts as numbers, under one number format and one set of words for what is missing."""

    def __init__(self, numbers: NumberFormat, missing: frozenset[str]) -> None:
        import pyarrow as pa

        self.format = numbers
        self.words = pa.array(sorted(missing), pa.string())
        #: Every way to write these is a missing value: -999.0 is -999.
        self.codes = sorted({float(numbers.plain(word)) for word in missing if numbers.is_number(word)})

    def column(self, texts: "pa.Array") -> "pa.Array":
        """Whole numbers, fractions or truth values with nulls, or the texts where one of them is none of these."""
        import pyarrow as pa
        import pyarrow.compute as pc

        trimmed, wrong = self._plain(texts)
        if not pc.any(wrong, skip_nulls=True).as_py():
            return self.coded(_cast(trimmed))
        truth = pc.is_in(trimmed, pa.array(TRUE))
        known = pc.or_(truth, pc.is_in(trimmed, pa.array([*FALSE, None], pa.string())))
        return pc.if_else(trimmed.is_null(), None, truth) if pc.all(known).as_py() else texts

    def texts(self, series: "pd.Series") -> "pd.Series":
        """A column of texts without the blanks around them, None where a word means that the value is missing."""
        import pandas as pd
        import pyarrow as pa
        import pyarrow.compute as pc

        trimmed = pc.utf8_trim_whitespace(pa.array(as_texts(series), pa.string()))
        kept = pc.if_else(pc.is_in(trimmed, self.words), None, trimmed)
        return pd.Series(kept.to_numpy(zero_copy_only=False), series.index, dtype=object)

    def coded(self, numbers: "pa.Array") -> "pa.Array":
        """Numbers with nulls for those that are codes for what is missing."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not self.codes or pa.types.is_boolean(numbers.type):
            return numbers
        hit = pc.is_in(numbers.cast(pa.float64(), safe=False), pa.array(self.codes))
        return pc.if_else(hit, pa.scalar(None, numbers.type), numbers)

    def __call__(self, series: "pd.Series") -> tuple["pd.Series", np.ndarray]:
        """As :func:`as_numbers`."""
        import pandas as pd
        import pyarrow as pa
        import pyarrow.compute as pc

        if isinstance(series.dtype, np.dtype) and series.dtype.kind in "biuf":
            return as_numbers(series)
        trimmed, wrong = self._plain(pa.array(series.astype(object), pa.string()))
        values = self.coded(pc.if_else(wrong, None, trimmed).cast(pa.float64()))
        return pd.Series(to_numpy(values), series.index), np.asarray(pc.fill_null(wrong, False))

    def _plain(self, texts: "pa.Array") -> tuple["pa.Array", "pa.Array"]:
        """Texts as Arrow reads them, null where missing, and which are no numbers."""
        import pyarrow.compute as pc

        trimmed = pc.utf8_trim_whitespace(texts)
        trimmed = pc.if_else(pc.is_in(trimmed, self.words), None, trimmed)
        wrong = pc.invert(pc.match_substring_regex(trimmed, f"^(?:{self.format.pattern})$"))
        for mark, plain in ((self.format.thousands, ""), (self.format.decimal, ".")):
            if mark is not None and mark != plain:
                trimmed = pc.if_else(wrong, trimmed, pc.replace_substring(trimmed, mark, plain))
        return trimmed, wrong


def _cast(texts: "pa.Array") -> "pa.Array":
    import pyarrow as pa
    import pyarrow.compute as pc

    if pc.all(pc.match_substring_regex(texts, "^-?[0-9]{1,19}$")).as_py():
        try:
            return texts.cast(pa.int64())
        except pa.ArrowInvalid:
            pass  # too many digits
    return texts.cast(pa.float64())


def to_numpy(column: "pa.Array | pa.ChunkedArray") -> np.ndarray:
    """A column of Arrow as a writable array: of numbers and truth values where none is null, else NaN for these."""
    import pyarrow as pa

    if pa.types.is_null(column.type) or (column.null_count and not pa.types.is_string(column.type)):
        column = column.cast(pa.float64(), safe=False)
    values = column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()
    return values if values.flags.writeable else values.copy()
