"""The user's own file: delimited text, Parquet, Feather, NPY or NPZ."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vae_lightning.console import log
from vae_lightning.data.columns import Column
from vae_lightning.data.dataset import Dataset, Rows, find_condition_places
from vae_lightning.data.dates import split_dates
from vae_lightning.data.faults import Fault, find_empty, find_infinite, find_nameless, find_tiny, read_numbers
from vae_lightning.data.files.archives import Archive, existing_path, read_npy
from vae_lightning.data.files.dialect import TEXT_ENDINGS, Dialect
from vae_lightning.data.files.sheets import Sheet, array_sheet, check_unique, read_arrow
from vae_lightning.data.files.text import read_text
from vae_lightning.data.mixed import Coded, code_column, code_conditions, dtype_of
from vae_lightning.data.sources.base import Source
from vae_lightning.data.split import split_off, split_rows
from vae_lightning.data.wording import shorten
from vae_lightning.errors import DataError, Setting, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

ENDINGS = (*TEXT_ENDINGS, ".parquet", ".feather", ".arrow", ".npy", ".npz")
PARTS = ("train", "valid", "test")
Numbers = tuple[tuple[Column, ...], dict[str, np.ndarray]]
"""Columns, and their numbers by part."""
Reader = Callable[[dict[str, Sheet], list[str]], Numbers]
DUTIES = {
    "condition": "A condition is told to the model and neither modelled, dropped nor a label",
    "exposure": "An exposure multiplies the means of counts and is neither modelled, dropped, a label nor a condition",
}
TYPEABLE = 30  # Above this many column names, nobody types them


class Table(Source):
    """Rows from a file.

    Read are delimited text (.csv, .tsv, .txt, gzipped or not), Parquet, Feather (.feather, .arrow), NPY and NPZ.
    Nothing is ever unpickled. How a text is written is found out where that is safe, and the log says what was found.

    An NPZ archive with arrays ``train`` and ``test`` or ``valid`` brings its own split; otherwise ``key`` names the
    array, or it is ``x``, or the only one with rows and columns. If its 1-D array ``columns`` has a text for every
    column, these are the names. A stack of images, shape ``(N, H, W)``, is flattened.

    Args:
        path: The file. With ``valid_path`` or ``test_path``, the training rows alone.
        key: Which array of an NPZ archive.
        columns: The columns to train on, in this order; all of them by default.
        drop: Columns to leave out.
        label: A column (or, in an NPZ archive, a 1-D array; ``train_NAME`` or ``NAME_train`` for ``train``, and so
            on) that is not trained on but kept beside the rows.
        condition: Columns that are not modelled but told to encoder and decoder, of any kind and without empty cells:
            new rows are then drawn for given values of theirs.
        exposure: A column of positive numbers that is not modelled and that the mean of every count is proportional to:
            a time, an area, a library size; as ``offset(log(exposure))`` in a regression.
        delimiter: Between the columns of a text, one character, or ``tab``, ``space`` ...; None finds it out.
        decimal: The decimal mark, ``point`` or ``comma``; None finds it out.
        thousands: What stands between groups of three digits: ``comma``, ``point``, ``space``, ``apostrophe``; None
            finds it out.
        missing: Words that mean a missing value, beside the usual ones such as NA, nan and an empty cell.
        encoding: Of a text, such as ``cp1252``; None takes UTF-8, or what a byte order mark says.
        skip_rows: How many lines before the header are no part of the table; or a list of line numbers, counted from 1
            (of ``valid_path`` and ``test_path`` those at the beginning).
        header: Whether the first line holds names. None decides: it does unless it is a row of numbers; 0, 1, 2 ... are
            names, and so are rising or falling numbers that are no values of their columns (years, wavelengths).
        valid_path: A file with the validation rows and the same columns.
        test_path: A file with the test rows and the same columns.
        valid_fraction: The share of the rows that becomes the validation part, if no file or array gives it.
        test_fraction: The same for the test part.
        seed: Which random split.
        image_shape: Height and width (and 3, for colours) if a row is a flattened image; figures then show images.
    """

    def __init__(
        self,
        path: str | None = None,
        *,
        key: str | None = None,
        columns: Sequence[str | int] | str | int | None = None,
        drop: Sequence[str | int] | str | int = (),
        label: str | int | None = None,
        condition: Sequence[str | int] | str | int = (),
        exposure: str | int | None = None,
        delimiter: str | None = None,
        decimal: str | None = None,
        thousands: str | None = None,
        missing: Sequence[str | int | float] | str | int | float = (),
        encoding: str | None = None,
        skip_rows: Sequence[int] | int = (),
        header: bool | None = None,
        valid_path: str | None = None,
        test_path: str | None = None,
        valid_fraction: float = 0.1,
        test_fraction: float = 0.1,
        seed: int = 0,
        image_shape: Sequence[int] | None = None,
    ) -> None:
        self.path = path
        self.key = key
        self.columns = None if columns is None else _names(columns)
        self.drop = _names(drop)
        self.label = None if label is None else str(label)
        self.condition = _names(condition)
        self.exposure = None if exposure is None else str(exposure)
        self.dialect = Dialect(delimiter, decimal, thousands, missing, encoding, skip_rows, header)
        self.paths = {"valid": valid_path, "test": test_path}
        self.fractions = {"valid": valid_fraction, "test": test_fraction}
        self.seed = seed
        self.image_shape = None if image_shape is None else tuple(image_shape)

    def load(self, sheets: dict[str, Sheet] | None = None) -> Dataset:
        """Read and check the rows; columns that hold text or dates, and infinite values, are refused.

        Args:
            sheets: What :meth:`sheets` gave, where the files have been read already.

        Raises:
            DataError: The file cannot be read, or not every column to train on is a column of numbers.
        """
        return self._load(self.sheets() if sheets is None else sheets, self._read_numbers)

    def load_mixed(self, sheets: dict[str, Sheet] | None = None, *, whole: Collection[str] = ()) -> Dataset:
        """As :meth:`load`, but texts are categories, and dates are split into columns of weeks, weekdays, hours ...

        Identifiers are passed by, as the log says.

        Args:
            sheets: As for :meth:`load`.
            whole: Names of columns of dates that stay one number of days.
        """
        return self._load(self.sheets() if sheets is None else sheets, self._read_mixed, whole)

    def _load(self, sheets: dict[str, Sheet], read: Reader, whole: Collection[str] = ()) -> Dataset:
        path = Path(str(self.path))
        columns, given = self._rows(sheets, read, whole)
        told, values = code_conditions(sheets, self.condition, self.exposure)
        given = {part: replace(rows, condition=values.get(part)) for part, rows in given.items()}
        shape: tuple[int, ...] | None = sheets["train"].image_shape
        if shape is not None and (self.columns is not None or len(columns) != math.prod(shape)):
            shape = None
        if self.image_shape is not None:
            shape = self._checked_shape(self.image_shape, len(columns))
        return Dataset(
            Path(path.name.removesuffix(".gz")).stem,
            columns,
            *self._split(given),
            image_shape=shape,
            condition_columns=told,
            condition_places=self._places(sheets["train"], columns, told),
            exposure=self.exposure,
        )

    @staticmethod
    def _checked_shape(shape: tuple[int, ...], num_columns: int) -> tuple[int, ...]:
        legal = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
        if legal and min(shape) >= 1 and math.prod(shape) == num_columns:
            return shape
        raise DataError(
            "The 'image_shape' parameter of Table must be [height, width] or [height, width, 3], whose product is the "
            f"number of columns, {num_columns}. Got {list(shape)} instead."
        )

    def sheets(self) -> dict[str, Sheet]:
        """What the file and its companions hold, by part and unchecked; ``train`` is always there.

        Raises:
            DataError: A file cannot be read.
        """
        sheets = self._read(existing_path(self.path, "Table", f"a file ({', '.join(ENDINGS)})"), "train")
        for part, other in self.paths.items():
            if other is not None:
                sheets[part] = self._read_part(other, part)
        return sheets

    def _read(self, path: Path, part: str) -> dict[str, Sheet]:
        ending = Path(path.name.lower().removesuffix(".gz")).suffix
        if path.is_dir():
            inside = sorted(entry.name for entry in path.iterdir() if entry.name.lower().endswith(ENDINGS))
            hint = f", such as {shorten(inside, 3)}" if inside else ""
            raise DataError(f"'{path}' is a folder: name a file in it{hint}.")
        if ending in TEXT_ENDINGS:
            return {"train": read_text(path, self.dialect if part == "train" else self.dialect.of_companion())}
        if self.dialect != Dialect() and part == "train":
            raise DataError(
                f"'{path}' is no text: delimiter, decimal, thousands, missing, encoding, skip_rows and header say how "
                "one is written. Leave them away."
            )
        match path.suffix.lower():
            case ".parquet" | ".feather" | ".arrow":
                return {"train": read_arrow(path)}
            case ".npy":
                return {"train": array_sheet(read_npy(path), path.name)}
            case ".npz":
                return self._read_archive(path, part)
        raise DataError(
            f"'{path}' has no known ending. Known are {', '.join(ENDINGS)}, and .gz after {', '.join(TEXT_ENDINGS)}."
        )

    def _read_part(self, path: str, part: str) -> Sheet:
        sheets = self._read(existing_path(path, "Table", "a file", parameter=f"{part}_path"), part)
        if len(sheets) > 1 and part not in sheets:
            raise DataError(
                f"'{path}' holds the arrays {' and '.join(sheets)}, but no '{part}': name one.",
                [Setting("data.key", "NAME")],
            )
        return sheets.get(part, sheets["train"])

    def _read_archive(self, path: Path, part: str) -> dict[str, Sheet]:
        arrays = Archive(path)
        tables = arrays.tables
        known = [key for key in (part, "x", "X") if key in arrays]
        if self.key is not None:
            if self.key not in arrays:
                holds = f"'{path}', which holds {arrays}."
                hint = did_you_mean(self.key, arrays)
                raise DataError(f"There is no array '{self.key}' in {holds} {hint}".rstrip())
            keys = {"train": self.key}
        elif "train" in arrays:
            keys = {name: name for name in PARTS if name in arrays}
        elif known or len(tables) == 1:
            keys = {"train": (known or tables)[0]}
        else:
            raise DataError(
                f"'{path}' holds {arrays}: name the one with the rows.",
                [Setting("data.key", name) for name in tables or ["NAME"]],
            )
        return {name: self._archive_sheet(path, arrays, key, len(keys) > 1) for name, key in keys.items()}

    def _archive_sheet(self, path: Path, arrays: Archive, key: str, split: bool) -> Sheet:
        array = arrays[key]
        if array is None:
            raise DataError(
                f"The array '{key}' of '{path}' holds pickled objects, which could run foreign code and are never "
                "loaded. Save it as numbers: numpy.savez(path, x=rows.astype(float))."
            )
        sheet = array_sheet(array, f"{path.name}, array '{key}'", arrays.get("columns"))
        candidates = (f"{key}_{self.label}", f"{self.label}_{key}") if split else (self.label,)
        label = next((name for name in candidates if name in arrays), None)
        if self.label is None or label is None or self.label in sheet.frame.columns:
            return sheet
        values = arrays[label]
        if values is None or values.shape != (len(sheet.frame),):
            got = "pickled objects" if values is None else f"shape {values.shape}"
            raise DataError(
                f"The 'label' parameter of Table must name an array of shape ({len(sheet.frame)},), one label per "
                f"row. '{label}' in '{path}' has {got} instead."
            )
        return replace(sheet, frame=sheet.frame.assign(**{self.label: values}))

    def _rows(
        self, sheets: dict[str, Sheet], read: Reader, whole: Collection[str]
    ) -> tuple[tuple[Column, ...], dict[str, Rows]]:
        sheets = {part: sheets[part] for part in sorted(sheets, key=PARTS.index)}
        names: list[str] = []
        for part, sheet in sheets.items():
            selected = self._select(sheet, part)
            if part == "train":
                names = selected
            elif set(selected) != set(names):
                raise self._other_columns(sheet, selected, sheets["train"], names)
        columns, arrays = read(sheets, names)
        names = [column.name for column in columns]
        for part, sheet in sheets.items():
            for find in (find_empty, find_infinite, find_tiny):
                fault = find(sheet, arrays[part], names) if part == "train" or find is not find_empty else None
                if fault:
                    raise self._refusal(fault, names)
        columns, arrays = split_dates(columns, arrays, whole)
        return columns, {part: Rows(x, _labels(sheets[part].frame, self.label)) for part, x in arrays.items()}

    def _read_numbers(self, sheets: dict[str, Sheet], names: list[str]) -> Numbers:
        """Columns that are all of numbers."""
        frames = {part: self._numbers(sheet, names) for part, sheet in sheets.items()}
        columns = [[frame[name].to_numpy() for frame in frames.values()] for name in names]
        dtypes = [dtype_of(sheets["train"], name, parts) for name, parts in zip(names, columns, strict=True)]
        common = {np.result_type(*parts) for parts in columns}
        numeric = {np.dtype(np.uint8) if dtype.kind == "b" else dtype for dtype in common}
        # Neither read-only nor strided, as tensors will share this memory.
        arrays = {
            part: np.require(frame.to_numpy(dtype=np.result_type(*numeric)), requirements=["C", "W"])
            for part, frame in frames.items()
        }
        return tuple(map(Column, names, dtypes)), arrays

    def _read_mixed(self, sheets: dict[str, Sheet], names: list[str]) -> Numbers:
        """Columns of any kind."""
        found = {name: code_column(sheets, name) for name in names}
        unclear = [name for name, one in found.items() if one is None]
        for sheet in sheets.values() if unclear else ():
            self._numbers(sheet, unclear)
        passed = {name: one for name, one in found.items() if isinstance(one, str)}
        for name, why in passed.items():
            log.info(f"Column {name!r} is passed by: {why}.")
        coded = [one for one in found.values() if isinstance(one, Coded)]
        if not coded:
            raise DataError(f"No column of {sheets['train'].name} is left to train on: {shorten(passed.values())}.")
        arrays = {part: np.stack([one.values[part] for one in coded], axis=1) for part in sheets}
        return tuple(one.column for one in coded), arrays

    def _places(self, sheet: Sheet, columns: Sequence[Column], told: Sequence[Column]) -> tuple[int, ...]:
        """Where conditions stand among all columns: where the file has them, or last where the user orders columns."""
        if self.columns is not None:
            return tuple(range(len(columns), len(columns) + len(told)))
        return find_condition_places(list(sheet.frame.columns), columns, told)

    def _select(self, sheet: Sheet, part: str) -> list[str]:
        """The columns to train on; each name that the user typed must exist, though labels and drops only in train."""
        present = list(sheet.frame.columns)
        label, exposure = (_names(() if name is None else name) for name in (self.label, self.exposure))
        roles = {"columns": self.columns or [], "condition": self.condition, "exposure": exposure}
        roles |= {"drop": self.drop, "label": label}
        for role, wanted in roles.items():
            for name in wanted if part == "train" or role not in ("drop", "label") else ():
                if name not in present:
                    hint = did_you_mean(name, present) or f"Its columns are {shorten(present, 10)}."
                    raise DataError(f"data.{role}: there is no column {name!r} in {sheet.name}. {hint}")
        check_unique(self.columns or [], "data.columns")
        check_unique(self.condition, "data.condition")
        for (told, duty), (role, wanted) in product(DUTIES.items(), roles.items()):
            twice = [name for name in roles[told] if name in wanted and role not in (told, "exposure")]
            if twice:
                raise DataError(f"data.{told}: {twice[0]!r} is named in data.{role}, too. {duty}: take it out of one.")
        kept = present if self.columns is None else self.columns
        names = [name for name in kept if name not in (*self.drop, *self.condition, *exposure) and name != self.label]
        if not names:
            raise DataError(
                f"No column of {sheet.name} is left to train on: its {len(present)} are dropped, labels or conditions."
            )
        nameless = find_nameless(sheet, names) if self.columns is None else None
        if nameless:
            raise self._refusal(nameless, names)
        return names

    def _refusal(self, fault: Fault, names: list[str]) -> DataError:
        """What was found wrong with columns, and how to train without them."""
        kept = len(fault.columns) < len(names)
        ways = [*fault.settings, *([self._without(list(fault.columns), names)] if kept else [])]
        return DataError(fault.says, ways)

    def _without(self, bad: list[str], names: list[str], effect: str = "") -> Setting:
        """What leaves columns out, in the shorter way; what was typed before is not lost."""
        kept = [name for name in names if name not in bad]
        drop = [*self.drop, *bad]
        if self.columns is None and len(drop) <= TYPEABLE:
            return Setting("data.drop", drop, effect)
        return Setting("data.columns", kept if len(kept) <= TYPEABLE else ["NAMES", "TO", "KEEP"], effect)

    def _other_columns(self, sheet: Sheet, names: list[str], train: Sheet, wanted: list[str]) -> DataError:
        lacking = [repr(name) for name in wanted if name not in names]
        extra = [name for name in names if name not in wanted]
        parts = [f"lacks {shorten(lacking)}"] if lacking else []
        if extra:
            more = ", ".join([shorten([repr(name) for name in extra])])
            parts.append(f"also has {more}")
        return DataError(
            f"{sheet.name} must have the same columns as {train.name}, but {' and '.join(parts)}.",
            [] if lacking else [self._without(extra, names)],
        )

    def _numbers(self, sheet: Sheet, names: list[str]) -> "pd.DataFrame":
        """The columns of these names as numpy numbers, or a DataError about those that are text or dates."""
        frame, bad = read_numbers(sheet, names)
        if bad is None:
            return frame
        if len(bad.columns) == len(names):
            says = f"{bad.says} No column of numbers would be left without them."
            raise DataError(says, bad.settings)
        advice = [*bad.settings, self._without(list(bad.columns), names, "what is not a number is left out")]
        if self.label is None:
            advice.append(Setting("data.label", bad.columns[0], "this column is kept beside the rows"))
        raise DataError(bad.says, advice)

    def _split(self, given: dict[str, Rows]) -> tuple[Rows, Rows, Rows]:
        train = given["train"]
        if len(given) == 1:
            return split_rows(train, self.fractions["valid"], self.fractions["test"], self.seed)
        for part in ("valid", "test"):
            if part not in given:
                train, given[part] = split_off(train, self.fractions[part], self.seed, part)
        return train, given["valid"], given["test"]


def _names(names: Sequence[str | int] | str | int) -> list[str]:
    return [str(names)] if isinstance(names, str | int) else [str(name) for name in names]


def _labels(frame: "pd.DataFrame", label: str | None) -> np.ndarray | None:
    if label is None or label not in frame.columns:
        return None
    values = frame[label].to_numpy()
    return values.copy() if values.dtype.kind in "biuf" else values.astype(str)
