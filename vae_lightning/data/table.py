"""The user's own file: delimited text, Parquet, Feather, NPY or NPZ."""

import csv
import gzip
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

import numpy as np

from vae_lightning.data.base import (
    UNREADABLE,
    Column,
    Dataset,
    Rows,
    Source,
    count,
    existing_path,
    listed,
    nearest,
    override,
    pixel_names,
    read_arrays,
    split_off,
    split_rows,
    unreadable,
)
from vae_lightning.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

TEXT_ENDINGS = (".csv", ".tsv", ".txt")
ENDINGS = (*TEXT_ENDINGS, ".parquet", ".feather", ".arrow", ".npy", ".npz")
DELIMITERS = {"tab": "\t", "\\t": "\t", "space": " ", "comma": ",", "semicolon": ";", "pipe": "|"}
# Of two delimiters that fit equally well, the earlier wins: a comma may be a decimal comma, a space is anywhere.
CANDIDATES = ("\t", ";", "|", ",", " ")
UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # Byte order marks
PARTS = ("train", "valid", "test")
DATE = r"\d{4}-\d\d?-\d\d?|\d\d?[./-]\d\d?[./-]\d{2,4}"
TYPEABLE = 30  # Above this many column names, nobody types them


@dataclass(frozen=True)
class Sheet:
    """What was read of one file: its columns, what to call it in messages, and where in the file a row stands."""

    frame: "pd.DataFrame"
    name: str
    place: Callable[[int], str] = lambda row: f"row {row + 1}"
    image_shape: tuple[int, int] | None = None


class Table(Source):
    """Rows of numbers from a file.

    Read are delimited text (.csv, .tsv, .txt, gzipped or not; the delimiter is found out, and the first line is a
    header unless all of it is numbers), Parquet, Feather (.feather, .arrow), NPY and NPZ. Nothing is ever unpickled.

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
        delimiter: One character, or ``tab``, ``space``; None finds it out.
        valid_path: A file with the validation rows and the same columns.
        test_path: A file with the test rows and the same columns.
        valid_fraction: The share of the rows that becomes the validation part, if no file or array gives it.
        test_fraction: The same for the test part.
        seed: Which random split.
    """

    def __init__(
        self,
        path: str | None = None,
        *,
        key: str | None = None,
        columns: Sequence[str | int] | str | int | None = None,
        drop: Sequence[str | int] | str | int = (),
        label: str | int | None = None,
        delimiter: str | None = None,
        valid_path: str | None = None,
        test_path: str | None = None,
        valid_fraction: float = 0.1,
        test_fraction: float = 0.1,
        seed: int = 0,
    ) -> None:
        self.path = path
        self.key = key
        self.columns = None if columns is None else _names(columns)
        self.drop = _names(drop)
        self.label = None if label is None else str(label)
        self.delimiter = None if delimiter is None else DELIMITERS.get(delimiter, delimiter)
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n'):
            raise DataError(
                "The 'delimiter' parameter of Table must be one character, or one of the words "
                f"{', '.join(word for word in DELIMITERS if word.isalpha())}. Got {delimiter!r} instead."
            )
        self.paths = {"valid": valid_path, "test": test_path}
        self.fractions = {"valid": valid_fraction, "test": test_fraction}
        self.seed = seed

    def load(self) -> Dataset:
        """Read and check the rows; columns that hold text or dates, and missing or infinite values, are refused.

        Raises:
            DataError: The file cannot be read, or not every column to train on is a column of finite numbers.
        """
        path = existing_path(self.path, "Table", f"a file ({', '.join(ENDINGS)})")
        sheets = self._read(path, "train")
        for part, other in self.paths.items():
            if other is not None:
                sheets[part] = self._read_part(other, part)
        columns, given = self._rows(sheets)
        shape = sheets["train"].image_shape
        if shape is not None and (self.columns is not None or len(columns) != shape[0] * shape[1]):
            shape = None
        return Dataset(Path(path.name.removesuffix(".gz")).stem, columns, *self._split(given), image_shape=shape)

    def _read(self, path: Path, part: str) -> dict[str, Sheet]:
        ending = Path(path.name.lower().removesuffix(".gz")).suffix
        if path.is_dir():
            inside = sorted(entry.name for entry in path.iterdir() if entry.name.lower().endswith(ENDINGS))
            hint = f", such as {listed(inside, 3)}" if inside else ""
            raise DataError(f"'{path}' is a folder: name a file in it{hint}.")
        if ending in TEXT_ENDINGS:
            return {"train": _read_text(path, self.delimiter)}
        match path.suffix.lower():
            case ".parquet" | ".feather" | ".arrow":
                return {"train": _read_arrow(path)}
            case ".npy":
                return {"train": _array_sheet(_read_npy(path), path.name)}
            case ".npz":
                return self._read_archive(path, part)
        raise DataError(
            f"'{path}' has no known ending. Known are {', '.join(ENDINGS)}, and .gz after {', '.join(TEXT_ENDINGS)}."
        )

    def _read_part(self, path: str, part: str) -> Sheet:
        sheets = self._read(existing_path(path, "Table", "a file", parameter=f"{part}_path"), part)
        if len(sheets) > 1 and part not in sheets:
            raise DataError(
                f"'{path}' holds the arrays {' and '.join(sheets)}, but no '{part}': name one with data.key=..."
            )
        return sheets.get(part, sheets["train"])

    def _read_archive(self, path: Path, part: str) -> dict[str, Sheet]:
        arrays = read_arrays(path)
        tables = [key for key, array in arrays.items() if array is not None and array.ndim >= 2]
        known = [key for key in (part, "x", "X") if key in arrays]
        if self.key is not None:
            if self.key not in arrays:
                hint = nearest(self.key, arrays)
                raise DataError(f"There is no array '{self.key}' in '{path}'.{hint} It holds {_contents(arrays)}.")
            keys = {"train": self.key}
        elif "train" in arrays:
            keys = {name: name for name in PARTS if name in arrays}
        elif known or len(tables) == 1:
            keys = {"train": (known or tables)[0]}
        else:
            raise DataError(
                f"'{path}' holds {_contents(arrays)}: name the one with the rows, data.key="
                f"{tables[0] if tables else 'NAME'} for example."
            )
        return {name: self._archive_sheet(path, arrays, key, len(keys) > 1) for name, key in keys.items()}

    def _archive_sheet(self, path: Path, arrays: dict[str, np.ndarray | None], key: str, split: bool) -> Sheet:
        array = arrays[key]
        if array is None:
            raise DataError(
                f"The array '{key}' of '{path}' holds pickled objects, which could run foreign code and are never "
                "loaded. Save it as numbers: numpy.savez(path, x=rows.astype(float))."
            )
        sheet = _array_sheet(array, f"{path.name}, array '{key}'", arrays.get("columns"))
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

    def _rows(self, sheets: dict[str, Sheet]) -> tuple[tuple[Column, ...], dict[str, Rows]]:
        names: list[str] = []
        dtypes: dict[str, list[np.dtype]] = {}
        arrays: dict[str, np.ndarray] = {}
        labels: dict[str, np.ndarray | None] = {}
        for part in sorted(sheets, key=PARTS.index):
            sheet = sheets[part]
            selected = self._selected(sheet, part)
            if part == "train":
                names = selected
            elif set(selected) != set(names):
                raise self._other_columns(sheet, selected, sheets["train"], names)
            frame = self._numbers(sheet, names)
            dtypes[part] = list(frame.dtypes)
            numeric = [np.dtype(np.uint8) if dtype.kind == "b" else dtype for dtype in dtypes[part]]
            # Neither read-only nor strided, as tensors will share this memory.
            arrays[part] = np.require(frame.to_numpy(dtype=np.result_type(*set(numeric))), requirements=["C", "W"])
            self._check_finite(arrays[part], sheet, names)
            labels[part] = _labels(sheet.frame, self.label)
        common = [str(np.result_type(*each)) for each in zip(*dtypes.values(), strict=True)]
        dtype = np.result_type(*arrays.values())
        rows = {part: Rows(x.astype(dtype, copy=False), labels[part]) for part, x in arrays.items()}
        return tuple(map(Column, names, common)), rows

    def _selected(self, sheet: Sheet, part: str) -> list[str]:
        """The columns to train on; each name that the user typed must exist, though labels and drops only in train."""
        present = list(sheet.frame.columns)
        asked = {"columns": self.columns or []}
        if part == "train":
            asked |= {"drop": self.drop, "label": [] if self.label is None else [self.label]}
        for parameter, wanted in asked.items():
            for name in wanted:
                if name not in present:
                    hint = nearest(name, present) or f" Its columns are {listed(present, 10)}."
                    raise DataError(f"data.{parameter}: there is no column '{name}' in {sheet.name}.{hint}")
        _check_unique(self.columns or [], "data.columns")
        kept = present if self.columns is None else self.columns
        names = [name for name in kept if name not in self.drop and name != self.label]
        if not names:
            raise DataError(f"No column of {sheet.name} is left to train on: its {len(present)} are dropped or labels.")
        nameless = [name for name in names if re.fullmatch(r"Unnamed: \d+", name)]
        if nameless and self.columns is None:
            raise DataError(
                f"{sheet.name} has {count(len(nameless), 'column')} without a name, {listed(nameless)}: row numbers, "
                f"as pandas writes them? Type {self._without(nameless, names)}, or give a name in the file's header."
            )
        return names

    def _without(self, bad: list[str], names: list[str]) -> str:
        """What to type to leave columns out, in the shorter way; what was typed before is not lost."""
        kept = [name for name in names if name not in bad]
        drop = [*self.drop, *bad]
        if self.columns is None and len(drop) <= TYPEABLE:
            return override("data.drop", drop)
        return override("data.columns", kept) if len(kept) <= TYPEABLE else "data.columns=[the names to keep]"

    def _other_columns(self, sheet: Sheet, names: list[str], train: Sheet, wanted: list[str]) -> DataError:
        lacking = [f"'{name}'" for name in wanted if name not in names]
        extra = [name for name in names if name not in wanted]
        parts = [f"lacks {listed(lacking)}"] if lacking else []
        if extra:
            more = ", ".join([listed([f"'{name}'" for name in extra])])
            parts.append(f"also has {more}" + ("" if lacking else f" (type {self._without(extra, names)})"))
        return DataError(f"{sheet.name} must have the same columns as {train.name}, but {' and '.join(parts)}.")

    def _numbers(self, sheet: Sheet, names: list[str]) -> "pd.DataFrame":
        """The columns of these names as numpy numbers, or a DataError about those that are text or dates."""
        frame = sheet.frame[names]
        converted = {}
        bad = {}
        for name in names:
            series = frame[name]
            if isinstance(series.dtype, np.dtype) and series.dtype.kind in "biuf":
                continue
            converted[name], wrong = _as_numbers(series)
            if wrong.any():
                bad[name] = wrong
        if bad:
            raise self._not_numbers(sheet, names, bad)
        return frame.assign(**converted) if converted else frame

    def _not_numbers(self, sheet: Sheet, names: list[str], bad: dict[str, np.ndarray]) -> DataError:
        def told(name: str) -> str:
            value = sheet.frame[name].iloc[int(bad[name].argmax())]
            kind = "dates" if hasattr(value, "year") or re.match(DATE, str(value)) else "text"
            return f"'{name}' ({kind}, {int(bad[name].sum()):,} of {count(len(sheet.frame), 'value')})"

        first, wrong = next(iter(bad.items()))
        row = int(wrong.argmax())
        value = str(sheet.frame[first].iloc[row])
        advice = "No column of numbers would be left without them."
        if len(bad) < len(names):
            advice = f"Type {self._without(list(bad), names)} to leave out what is not a number."
            if self.label is None:
                advice = advice[:-1] + f", and data.label={first} to keep one beside the rows."
        if re.fullmatch(r"-?\d+,\d+", value):
            advice += " If these are decimal commas, write decimal points."
        return DataError(
            f"{len(bad):,} of {count(len(names), 'column')} of {sheet.name} hold no numbers: "
            f"{listed(map(told, bad))}. The first is '{value[:60]}' in column '{first}', {sheet.place(row)}. {advice}"
        )

    def _check_finite(self, x: np.ndarray, sheet: Sheet, names: list[str]) -> None:
        bad = ~np.isfinite(x)
        where = bad.any(axis=0).nonzero()[0]
        if not len(where):
            return
        row, column = divmod(int(bad.argmax()), x.shape[1])
        found = [f"'{names[index]}' ({int(bad[:, index].sum()):,} of {len(x):,})" for index in where]
        missing = int(np.isnan(x).sum())
        kinds = [f"{size:,} {kind}" for size, kind in ((missing, "missing"), (bad.sum() - missing, "infinite")) if size]
        advice = ""
        if len(where) < len(names):
            advice = f", for example {self._without([names[index] for index in where], names)}"
        raise DataError(
            f"{len(where):,} of {count(len(names), 'column')} of {sheet.name} hold "
            f"{' and '.join(kinds)} values: {listed(found)}. The first is {x[row, column]} in column "
            f"'{names[column]}', {sheet.place(row)}. Missing values are not supported yet: drop those rows or "
            f"columns{advice}."
        )

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


def _check_unique(names: Sequence[str], where: str) -> None:
    twice = [f"'{name}' ({times} times)" for name, times in Counter(names).items() if times > 1]
    if twice:
        raise DataError(f"{where} must name each column once. Got {listed(twice)} instead.")


def _labels(frame: "pd.DataFrame", label: str | None) -> np.ndarray | None:
    if label is None or label not in frame.columns:
        return None
    values = frame[label].to_numpy()
    return values.copy() if values.dtype.kind in "biuf" else values.astype(str)


def _as_numbers(series: "pd.Series") -> tuple["pd.Series", np.ndarray]:
    """A column as numpy numbers, and which of its values are not numbers (missing ones are no text: they are NaN)."""
    import pandas as pd

    if series.dtype.kind in "mMc":
        return series, series.notna().to_numpy()
    if pd.api.types.is_numeric_dtype(series.dtype):  # pandas' own nullable dtypes
        return series.astype(np.float64 if series.hasnans else series.dtype.numpy_dtype), np.zeros(len(series), bool)
    numbers = pd.to_numeric(series.astype(object), errors="coerce").astype(np.float64)
    return numbers, (numbers.isna() & series.notna()).to_numpy()


def _array_sheet(array: np.ndarray, name: str, names: np.ndarray | None = None) -> Sheet:
    import pandas as pd

    if array.dtype.kind not in "biuf":
        what = "complex numbers: save real and imaginary parts as columns" if array.dtype.kind == "c" else "no numbers"
        raise DataError(f"{name} must hold numbers. Got dtype {array.dtype} instead, {what}.")
    if array.ndim not in (2, 3) or not array.size:
        raise DataError(
            f"{name} must have shape (rows, columns), or (rows, height, width) for images, with at least one row and "
            f"column. Got shape {array.shape} instead."
        )
    image_shape = None
    if array.ndim == 3:
        image_shape = (array.shape[1], array.shape[2])
        array = array.reshape(len(array), -1)
    titles = [str(index) for index in range(array.shape[1])] if image_shape is None else pixel_names(*image_shape)
    if names is not None and names.dtype.kind in "US" and names.shape == (array.shape[1],):
        titles = [str(title) for title in names.astype(str)]
        _check_unique(titles, f"{name}: its array 'columns'")
    dtype = array.dtype.newbyteorder("=") if array.dtype.itemsize <= 8 else np.dtype(np.float64)
    return Sheet(pd.DataFrame(array.astype(dtype, copy=False), columns=titles), name, image_shape=image_shape)


def _contents(arrays: dict[str, np.ndarray | None]) -> str:
    if not arrays:
        return "no arrays"
    return listed([f"{key} ({'objects' if array is None else array.shape})" for key, array in arrays.items()], 12)


def _read_npy(path: Path) -> np.ndarray:
    try:
        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except UNREADABLE as error:
        if "allow_pickle" in str(error):
            raise DataError(
                f"'{path}' holds pickled objects, which could run foreign code and are never loaded. "
                "Save it as numbers: numpy.save(path, rows.astype(float))."
            ) from error
        raise unreadable(path, "an NPY array", error) from error


def _read_arrow(path: Path) -> Sheet:
    import pyarrow as pa
    from pyarrow import feather, parquet

    kind = "Parquet" if path.suffix.lower() == ".parquet" else "Feather"
    try:
        table = parquet.ParquetFile(path).read() if kind == "Parquet" else feather.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, kind, error) from error
    _check_unique(table.column_names, f"'{path}'")
    frame = table.to_pandas()
    frame.columns = frame.columns.map(str)
    if not len(frame) or not len(frame.columns):
        raise DataError(f"'{path}' has {count(len(frame.columns), 'column')} but {count(len(frame), 'row')}.")
    return Sheet(frame.reset_index(drop=True), path.name)


def _open_text(path: Path) -> TextIO:
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    with opened(path, "rb") as file:
        # Excel's "Unicode text" is UTF-16, its "CSV UTF-8" starts with a byte order mark.
        encoding = "utf-16" if file.read(2) in UTF_16 else "utf-8-sig"
    return cast(TextIO, opened(path, "rt", encoding=encoding, newline=""))


def _records(lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The last line number and the fields of each record that is not blank."""
    if delimiter == " ":
        lines = (f"{line.strip()}\n" for line in lines)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    for fields in reader:
        if len(fields) > 1 or any(field.strip() for field in fields):
            yield reader.line_num, fields


def _sniff(lines: list[str]) -> str:
    """The delimiter with which most lines have as many fields, more than one, as the first line."""

    def fit(delimiter: str) -> float:
        widths = [len(fields) for _, fields in _records(lines, delimiter)]
        return 0.0 if not widths or widths[0] < 2 else widths.count(widths[0]) / len(widths)

    best = max(CANDIDATES, key=fit)
    return best if fit(best) else ","


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_text(path: Path, delimiter: str | None) -> Sheet:
    import pandas as pd

    try:
        return _parse_text(path, delimiter)
    except DataError:
        raise
    except UnicodeError as error:
        raise DataError(f"'{path}' is not UTF-8 text{_first_bad_byte(path)}. Save it as UTF-8.") from error
    except (pd.errors.ParserError, pd.errors.ParserWarning, csv.Error, *UNREADABLE) as error:
        raise unreadable(path, "delimited text", error) from error


def _parse_text(path: Path, delimiter: str | None) -> Sheet:
    import pandas as pd

    with _open_text(path) as file:
        sample = list(islice(file, 200))
    delimiter = delimiter or _sniff(sample)
    _, first = next(_records(sample, delimiter), (0, []))
    if not first:
        raise DataError(f"'{path}' is empty: there is no line with anything in it.")
    header = not all(map(_is_number, first))
    names = (
        [name.strip() or f"Unnamed: {index}" for index, name in enumerate(first)]
        if header
        else [str(index) for index in range(len(first))]
    )
    _check_unique(names, f"The first line of '{path}'")

    def place(row: int) -> str:
        with _open_text(path) as file:
            line, _ = next(islice(_records(file, delimiter), row + header, None), ("?", []))
        return f"row {row + 1} (line {line} of {path.name})"

    with _open_text(path) as file, warnings.catch_warnings():
        # pandas would only warn that it cuts off fields without a name.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        frame = pd.read_csv(
            file,
            sep=r"\s+" if delimiter == " " else delimiter,
            names=names,
            header=0 if header else None,
            index_col=False,
            skipinitialspace=True,
            low_memory=False,
        )
    if not len(frame):
        raise DataError(f"'{path}' has a header of {count(len(names), 'column')} but no rows.")
    if frame.isna().to_numpy().any():
        _check_widths(path, delimiter, len(names))
    return Sheet(frame, path.name, place)


def _check_widths(path: Path, delimiter: str, width: int) -> None:
    """pandas fills a record that is too short with missing values: tell that from values that are missing."""
    with _open_text(path) as file:
        for line, fields in _records(file, delimiter):
            if len(fields) < width:
                raise DataError(
                    f"Line {line} of '{path}' has {count(len(fields), 'field')}, the first line has {width}."
                )


def _first_bad_byte(path: Path) -> str:
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    with opened(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                if number == 1 and line.startswith(UTF_16):
                    break  # It is no UTF-8 to begin with.
                return f": line {number} holds the byte 0x{line[error.start]:02x}"
    return ""
