"""Rows as scikit-learn's users hand them over: arrays and frames of numbers, and frames of columns of any kind."""

from collections.abc import Collection, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, check_array
from sklearn.utils.validation import validate_data

from vae_lightning.config.settings import AUTO
from vae_lightning.data.columns import Column
from vae_lightning.data.dataset import find_condition_places
from vae_lightning.data.dates import split_dates
from vae_lightning.data.faults import check_not_masked
from vae_lightning.data.files.sheets import Sheet
from vae_lightning.data.mixed import Coded, code_column, code_conditions
from vae_lightning.data.wording import shorten
from vae_lightning.errors import DataError, did_you_mean

Given: TypeAlias = ArrayLike | pd.DataFrame


class TakesHolesMixin:
    """Of estimators whose rows may have empty cells anywhere, and which are fitted once they have a ``model_``."""

    n_features_in_: int

    @property
    def _names(self) -> list[str]:
        """Of the columns that ``fit`` was given."""
        return [str(name) for name in getattr(self, "feature_names_in_", [f"x{i}" for i in range(self.n_features_in_)])]

    def __sklearn_tags__(self) -> Tags:
        """Empty cells may be anywhere."""
        tags: Tags = super().__sklearn_tags__()  # type: ignore[misc]  # of the estimator that this is mixed into
        tags.input_tags.allow_nan = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """A fit that failed or was interrupted at its beginning has seen rows, and leaves no model."""
        return hasattr(self, "model_")


def check_rows(
    estimator: BaseEstimator, X: Given, likelihood: str, reset: bool, told: Sequence[str] = ()
) -> np.ndarray | pd.DataFrame:
    """``X`` as float64 (N, C) with NaN at empty cells; a frame that also holds texts, dates or conditions as it is.

    Args:
        estimator: keeps the names of columns, or is held against them.
        X: the rows.
        likelihood: of the model: only ``auto`` knows texts and dates.
        reset: whether these are the rows of a fit.
        told: names of columns that are not modelled, conditions and the exposure.

    Raises:
        ValueError: as scikit-learn has it.
        DataError: for rows without these columns.
    """
    check_not_masked(X)
    finite, least = "allow-nan", 2 if reset else 1
    if told:
        _check_told(X, told)
    if isinstance(X, pd.DataFrame) and (told or (likelihood == AUTO and not all(map(_is_numeric, X.dtypes)))):
        rows: pd.DataFrame = validate_data(estimator, X, reset=reset, skip_check_array=True)
        if len(rows) < least:
            raise DataError(f"Found array with {len(rows)} sample(s), and more are needed.")
        if likelihood != AUTO:
            check_array(X.drop(columns=list(told)), dtype=np.float64, ensure_all_finite=finite)
        return rows
    found: np.ndarray = validate_data(
        estimator, X, dtype=np.float64, ensure_all_finite=finite, ensure_min_samples=least, reset=reset
    )
    return found


def _check_told(X: Given, told: Sequence[str]) -> None:
    if not isinstance(X, pd.DataFrame) or not all(isinstance(name, str) for name in X.columns):
        raise DataError(f"Rows with {shorten(map(repr, told))} must be a frame whose columns have names.")
    for name in told:
        if name not in X.columns:
            hint = did_you_mean(name, X.columns) or f"There are {shorten(map(repr, X.columns), 10)}."
            raise DataError(f"The rows have no column {name!r}. {hint}")


def learn_columns(
    rows: np.ndarray | pd.DataFrame,
    X: Given,
    names: list[str],
    whole: Collection[str] = (),
    told: Sequence[str] = (),
) -> tuple[tuple[Column, ...], np.ndarray]:
    """The columns to train on and their numbers (N, C): all, but for texts that are different in every row.

    Args:
        rows: what :func:`check_rows` gave.
        X: what it was given.
        names: of the columns.
        whole: names of columns of dates that stay one number of days.
        told: names of columns that are not modelled.

    Raises:
        DataError: when a column is empty, or holds numbers and cells that are none.
    """
    if isinstance(rows, pd.DataFrame):
        columns, x = _code(rows.set_axis(names, axis=1).drop(columns=list(told)))
    else:
        columns, x = tuple(map(Column, names, _dtypes(X, len(names)))), rows
    empty = [column.name for column, values in zip(columns, x.T, strict=True) if np.isnan(values).all()]
    if empty:
        raise DataError(f"Every cell is empty in {shorten(map(repr, empty))}: nothing can be learned of it. Drop it.")
    columns, parts = split_dates(columns, {"train": x}, whole)
    return columns, parts["train"]


def learn_conditions(
    rows: pd.DataFrame, columns: tuple[Column, ...], conditions: Sequence[str], exposure: str | None
) -> dict[str, Any]:
    """What a data set says of columns that are not modelled, ``values`` (N, J) among it.

    Raises:
        DataError: when such a column has empty cells, or nothing that rows have in common.
    """
    told, arrays = code_conditions({"train": _sheet(rows)}, conditions, exposure)
    return {
        "values": arrays["train"],
        "condition_columns": told,
        "condition_places": find_condition_places(list(rows.columns), columns, told),
        "exposure": exposure,
    }


def _sheet(frame: pd.DataFrame) -> Sheet:
    # Of truth values some of which are missing pandas makes a column of objects.
    truths = {name for name, values in frame.items() if values.dropna().map(lambda one: isinstance(one, bool)).all()}
    return Sheet(frame.reset_index(drop=True), "the rows given", truths=frozenset(map(str, truths)))


def _code(frame: pd.DataFrame) -> tuple[tuple[Column, ...], np.ndarray]:
    sheet = _sheet(frame)
    coded = []
    for name in frame.columns:
        series = sheet.frame[name]
        if _is_numeric(series.dtype):
            dtype = _dtypes(series.to_frame(), 1)[0]
            coded.append(Coded(Column(name, dtype), {"train": series.to_numpy(np.float64, na_value=np.nan)}))
            continue
        found = code_column({"train": sheet}, name)
        if found is None:
            raise DataError(f"The column {name!r} holds many numbers and texts beside them: make them one kind.")
        if isinstance(found, Coded):
            coded.append(found)
    if not coded:
        raise DataError("No column is left to train on: every row has a text of its own in each.")
    return tuple(one.column for one in coded), np.stack([one.values["train"] for one in coded], axis=1)


def _dtypes(X: Any, width: int) -> list[str]:
    """A frame's own, of pandas' nullable columns those of numpy; of an array float64."""
    known = [getattr(dtype, "numpy_dtype", dtype) for dtype in X.dtypes] if isinstance(X, pd.DataFrame) else []
    plain = [str(dtype) if isinstance(dtype, np.dtype) and dtype.kind in "biuf" else "float64" for dtype in known]
    return plain or ["float64"] * width


def _is_numeric(dtype: Any) -> bool:
    return bool(pd.api.types.is_numeric_dtype(dtype))
