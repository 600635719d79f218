"""Data frames to a file or a pipe, a batch at a time; the file appears only once it is whole."""

import io
import os
import re
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from vae_lightning.data.files.dialect import PIPE
from vae_lightning.data.files.passthrough import common_dtype
from vae_lightning.errors import DataError
from vae_lightning.files import partial_beside

if TYPE_CHECKING:
    import pyarrow as pa

DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
ENDINGS = (*DELIMITERS, *(f"{ending}.gz" for ending in DELIMITERS), ".parquet", ".feather", ".arrow", ".npy")
FORMULA = r"[=@\t\r]|[+-](?![\d.,eE+-]*$)"
"""How a text begins that a spreadsheet runs; a signed number is none."""


class RowWriter:
    """Writes batches of rows, in the format that the ending of ``path`` names; ``-`` writes CSV to standard output.

    Labels of rows are written, numbers that merely count them are not. Used as a context: where that ends in an
    error, no file is left and one that was there stays as it was.

    Args:
        path: .csv, .tsv, .txt (each also with .gz), .parquet, .feather, .arrow, .npy, or ``-``.

    Attributes:
        formulas: columns of a text whose name or values a spreadsheet would run as formulas; they are written as they
            are, for whoever reads them as data must get them unchanged.

    Raises:
        DataError: for another ending, a folder that does not exist, what is no file, or batches that differ in dtypes.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path).expanduser()
        name = self.path.name.lower()
        self.ending = PIPE if path == PIPE else next((e for e in ENDINGS if name.endswith(e)), "")
        if not self.ending:
            raise DataError(f"'{path}' has no known ending to write. Known are {', '.join(ENDINGS)}, and - for a pipe.")
        if path != PIPE and not self.path.parent.is_dir():
            raise DataError(f"There is no folder '{self.path.parent}' to write '{self.path.name}' into.")
        if path != PIPE and self.path.is_dir():
            raise DataError(f"'{path}' is a folder: name a file in it.")
        if self.path.exists() and not self.path.is_file():
            raise DataError(f"'{path}' is a pipe or a device: print to - instead.")
        # Through a link, so that it stays one.
        self.path = self.path.resolve()
        self._partial = partial_beside(self.path)
        self.formulas: list[str] = []
        self._file: Any = None
        self._arrow: Any = None
        self._array: _ArrayFile | None = None

    def __enter__(self) -> Self:
        return self

    def write(self, frame: pd.DataFrame) -> None:
        """Add rows; all batches have the columns of the first."""
        if self.ending in (".parquet", ".feather", ".arrow"):
            self._write_arrow(frame)
        elif self.ending == ".npy":
            self._array = self._array or _ArrayFile(self._partial, frame)
            self._array.write(frame)
        else:
            self._write_text(frame)

    def _write_text(self, frame: pd.DataFrame) -> None:
        self.formulas += [n for n in _find_formulas(frame) if n not in self.formulas]
        first = self._file is None
        if first:
            self._file = _utf8_output() if self.ending == PIPE else self._open_text()
        frame.to_csv(
            self._file,
            sep=DELIMITERS.get(self.ending.removesuffix(".gz"), ","),
            header=first,
            index=not isinstance(frame.index, pd.RangeIndex),
            lineterminator="\n",
        )

    def _open_text(self) -> Any:
        import gzip

        if self.ending.endswith(".gz"):
            return gzip.open(self._partial, "wt", encoding="utf-8", newline="")
        return self._partial.open("w", encoding="utf-8", newline="")

    def _write_arrow(self, frame: pd.DataFrame) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        keeps_index = not isinstance(frame.index, pd.RangeIndex)
        schema = None if self._arrow is None else self._arrow.schema
        try:
            table = pa.Table.from_pandas(frame, schema=schema, preserve_index=keeps_index)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise DataError(
                f"A column changes its kind within the rows: {' '.join(map(str, error.args))}. "
                f"Write .csv instead of {self.ending}, which passes every value on as it is."
            ) from error
        if self._arrow is None:
            self._arrow = _ArrowFile(self._partial, table.schema, parquet if self.ending == ".parquet" else None)
        self._arrow.write(table)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._array is not None:
                self._array.close()
            if self._arrow is not None:
                self._arrow.close()
            if self._file is not None and self.ending != PIPE:
                self._file.close()
            if kind is None and self._partial.exists():
                os.replace(self._partial, self.path)
        finally:
            self._partial.unlink(missing_ok=True)


class _ArrayFile:
    """An NPY file that grows: its header has room for any number of rows, and says in the end how many there are."""

    def __init__(self, path: Path, frame: pd.DataFrame) -> None:
        self.dtype, self.width, self.rows = common_dtype(frame), len(frame.columns), 0
        self._file = path.open("wb")
        self._write_header()

    def _write_header(self) -> None:
        # numpy keeps 20 digits for the number of rows, so that the header is as long whatever it is.
        self._file.seek(0)
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.rows, self.width)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def write(self, frame: pd.DataFrame) -> None:
        """Add rows."""
        if not np.can_cast(common_dtype(frame), self.dtype, "same_kind"):
            raise DataError(
                "An .npy file has one dtype, and fractions or missing values came after whole numbers only. "
                "Write .csv or .parquet."
            )
        missing = {"na_value": np.nan} if self.dtype.kind == "f" else {}
        self._file.write(np.ascontiguousarray(frame.to_numpy(dtype=self.dtype, **missing)).tobytes())
        self.rows += len(frame)

    def close(self) -> None:
        """Say how many rows there are."""
        self._write_header()
        self._file.close()


def _utf8_output() -> Any:
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.encoding.lower().replace("-", "") != "utf8":
        sys.stdout.reconfigure(encoding="utf-8")
    return sys.stdout


class _ArrowFile:
    """Parquet or Feather: the same two calls."""

    def __init__(self, path: Path, schema: "pa.Schema", parquet: Any) -> None:
        import pyarrow as pa

        self.schema = schema
        if parquet is not None:
            self._writer = parquet.ParquetWriter(path, schema)
        else:
            self._writer = pa.ipc.new_file(str(path), schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))

    def write(self, table: "pa.Table") -> None:
        """Add rows."""
        self._writer.write_table(table)

    def close(self) -> None:
        """Write what ends the file."""
        self._writer.close()


def _find_formulas(frame: pd.DataFrame) -> list[str]:
    texts = [values.dropna().astype(str) for _, values in frame.items() if not pd.api.types.is_numeric_dtype(values)]
    found = {str(values.name) for values in texts if values.str.match(FORMULA).any()}
    return [str(name) for name in frame.columns if str(name) in found or re.match(FORMULA, str(name))]
