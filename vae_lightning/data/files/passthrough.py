"""What passes through without being read by the model, and how it keeps its kind."""

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from vae_lightning.errors import DataError

READ: dict[str, tuple[type, str]] = {
    "whole": (int, "Int64"),
    "natural": (int, "UInt64"),
    "fraction": (float, "Float64"),
}


def numbers_kept_whole(batch: Any, frame: pd.DataFrame, read: set[str]) -> pd.DataFrame:
    """``frame`` of an Arrow batch with the whole numbers that pandas would have made fractions, as values are missing.

    A float64 holds no whole number beyond 2**53, and writes those below with a decimal point.

    Args:
        batch: the Arrow record batch.
        frame: what pandas makes of it.
        read: columns that the model reads as numbers anyway.
    """
    import pyarrow as pa

    wrong = [
        field.name
        for field, column in zip(batch.schema, batch.columns, strict=True)
        if pa.types.is_integer(field.type) and column.null_count and field.name in frame.columns
    ]
    nullable = {name: _nullable(batch.column(name)) for name in wrong if name not in read}
    return frame.assign(**{name: values.set_axis(frame.index) for name, values in nullable.items()})


def _nullable(column: Any) -> pd.Series:
    dtypes = {f"{kind}int{bits}": f"{kind.upper()}Int{bits}" for kind in ("", "u") for bits in (8, 16, 32, 64)}
    return column.to_pandas(types_mapper=lambda kind: pd.api.types.pandas_dtype(dtypes[str(kind)]))


class TextColumns:
    """Columns of text on their way into a file that has dtypes: the first batch decides, and all others must follow.

    Texts become whole numbers, fractions or truth values only where these write the same text again, so that a code
    such as 007 stays a text; what is missing stays missing.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, str] = {}

    def __call__(self, name: str, texts: pd.Series) -> pd.Series:
        """The values of a batch.

        Raises:
            DataError: when they are not of the kind that the first batch had.
        """
        kind = self._kinds.setdefault(name, _kind(texts))
        if kind == "nothing":
            return texts.astype("string").mask(texts == "")  # a kind, which None alone has not
        if kind == "text":
            return texts.astype(object).mask(texts == "", None)
        if _kind(texts) not in (kind, "nothing", "whole" if kind == "fraction" else kind):
            odd = next(text for text in texts if _kind(pd.Series([text])) not in (kind, "nothing"))
            raise DataError(
                f"The column {name!r} held numbers at first, and then {odd!r}. Write .csv, which keeps every text."
            )
        empty = texts == ""
        if kind == "truth":
            return (texts == "True").astype(object).mask(empty, None) if empty.any() else texts == "True"
        read, dtype = READ[kind]
        values = pd.Series(pd.array([read(text) if text else None for text in texts], dtype=dtype), texts.index)
        return values if empty.any() else values.astype(dtype.lower())


def _kind(texts: pd.Series) -> str:
    given = texts[texts != ""]
    if given.empty:
        return "nothing"
    if given.str.fullmatch(r"0|-?[1-9]\d{0,19}").all():
        low, high = min(map(int, given)), max(map(int, given))
        return "whole" if low >= -(2**63) and high < 2**63 else "natural" if low >= 0 and high < 2**64 else "text"
    if given.isin(["True", "False"]).all():
        return "truth"
    fractions = given.str.fullmatch(r"-?(?:0|[1-9]\d*)?(?:\.\d*)?(?:[eE][-+]?\d+)?") & given.str.contains(r"\d")
    return "fraction" if fractions.all() and all(map(_is_kept, given)) else "text"


def _is_kept(text: str) -> bool:
    """Whether the float64 nearest to a number is written with the same digits."""
    written = repr(float(text))
    return written == text or ("inf" not in written and Decimal(written) == Decimal(text))


def common_dtype(frame: pd.DataFrame) -> np.dtype:
    """The dtype of an array that holds all columns; truth values count as 0 and 1, what is missing is NaN.

    Raises:
        DataError: when a column holds no numbers.
    """
    dtypes = [np.dtype(np.uint8) if dtype == np.dtype(bool) else dtype for dtype in frame.dtypes]
    kinds = {str(name): getattr(dtype, "kind", "O") for name, dtype in zip(frame.columns, dtypes, strict=True)}
    text = next((name for name, kind in kinds.items() if kind not in "iuf"), None)
    if text is not None:
        raise DataError(f"An .npy file holds numbers only, and the column {text!r} holds none. Write .csv or .parquet.")
    found = np.result_type(*(getattr(dtype, "numpy_dtype", dtype) for dtype in dtypes))
    return np.result_type(found, np.float64) if found.kind in "iu" and frame.isna().any(axis=None) else found
