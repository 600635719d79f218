"""Rows of delimited text, a block at a time: the one reader that training, the commands and the doctor share."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from itertools import count as count_from
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np

from vae_lightning.console import log
from vae_lightning.data.files.dialect import Dialect
from vae_lightning.data.files.layout import QUOTE, WORDS, Layout, Record, find_layout, read_records
from vae_lightning.data.files.lines import Line, Lines, readable_text
from vae_lightning.data.files.numbers import FALSE, TRUE, TextNumbers, to_numpy
from vae_lightning.data.files.sheets import Sheet
from vae_lightning.data.wording import count
from vae_lightning.errors import DataError, Setting

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE_LINES = 200  # from which the layout of a text is found out
SAMPLE_CHARACTERS = 2**20
LEAST_LINES = 8
CELLS_AT_ONCE = 2**20
WIDE = 2000
"""Columns above which time goes by their number, not by that of the cells."""


class TextRows:
    """Rows of a text, gone through once.

    Args:
        file: the text.
        name: what to call it in messages.
        dialects: what may be known of how it is written: the first that finds the expected columns, else the last.
        expected: names of columns that should be there.

    Raises:
        DataError: It is no text, or its layout cannot be found.
    """

    def __init__(self, file: TextIO, name: str, dialects: Sequence[Dialect], expected: Sequence[str] = ()) -> None:
        self.name = name
        self._unread = Lines(file, name)
        sample, size = [], 0
        for line in self._unread:
            sample.append(line)
            size += len(line[1])
            if len(sample) >= SAMPLE_LINES or (size > SAMPLE_CHARACTERS and len(sample) >= LEAST_LINES):
                break
        if any("\0" in line for _, line in sample):
            raise DataError(
                f"{name} is no text in {file.encoding}: it holds zero bytes.",
                [Setting("data.encoding", "utf-16-le", "where it is text")],
            )
        self.layout = _choose_layout(sample, name, dialects, expected)
        self.numbers = TextNumbers(self.layout.numbers, self.layout.missing)
        self._known = self._one_by_one(sample)
        if self.layout.header:
            next(self._records(chain(self._known, self._unread)), None)

    def _one_by_one(self, sample: Sequence[Line]) -> Iterator[Line]:
        """The lines of the sample, and those after it among which some are no part of the table."""
        layout, last = self.layout, max(self.layout.skipped, default=0)
        following = iter(lambda: next(self._unread, None) if self._unread.number < last else None, None)
        return (line for line in chain(sample, following) if line[0] >= layout.start and line[0] not in layout.skipped)

    def blocks(self, rows_at_once: int, as_text: Iterable[str] = ()) -> Iterator[dict[str, "pa.Array"]]:
        """Columns by name, at most ``rows_at_once`` rows at a time.

        Numbers and truth values have nulls for what is missing. A column that holds anything else in a block, and those
        named ``as_text``, are the texts of the file, from that block on.

        Raises:
            DataError: A row has too many or too few fields, or a quoted field has no end.
        """
        texts, left = set(as_text), list[Line]()
        while True:
            known = [*left, *islice(self._known, max(0, rows_at_once - len(left)))]
            first = self._unread.number + 1
            text = "".join(line for _, line in known) + self._unread.take(rows_at_once - len(known))
            if not text:
                return
            block, left = self._parse(text, texts), []
            if block is None:
                numbers = chain((number for number, _ in known), count_from(first))
                lines = zip(numbers, io.StringIO(text, newline=""))  # noqa: B905 - numbers have no end
                records = islice(self._records(chain(lines, self._known, self._unread)), rows_at_once)
                block = self._convert([self.layout.check(record, self.name) for record in records], texts)
                left = list(lines)
            size = len(next(iter(block.values()))) if block else 0
            for start in range(0, size, rows_at_once):
                yield {name: column.slice(start, rows_at_once) for name, column in block.items()}
            texts |= {name for name, column in block.items() if _is_text(column)}

    def _records(self, lines: Iterable[Line]) -> Iterator[Record]:
        try:
            yield from read_records(lines, self.layout.delimiter)
        except csv.Error as error:
            raise DataError(f"{self.name} cannot be read as delimited text: {error}.") from error

    def _parse(self, text: str, texts: set[str]) -> dict[str, "pa.Array"] | None:
        """The block as Arrow reads it; None where it is not that simple, or wrong and has to be told in which line."""
        import pyarrow as pa
        from pyarrow import csv as arrow

        layout, missing = self.layout, self.numbers.words.to_pylist()
        if len(layout.names) > WIDE:  # it takes its time for every column, however few the rows
            return None
        # What Arrow reads otherwise: quoted fields of several lines, thousands, hexadecimal whole numbers.
        if QUOTE in text or layout.numbers.thousands is not None:
            return None
        if ("x" in text and "0x" in text) or ("X" in text and "0X" in text):  # one character is found far sooner
            return None
        delimiter = layout.delimiter
        if delimiter == " ":
            text = "".join(f"{' '.join(line.split())}\n" for line in io.StringIO(text, newline=""))
        if " " in text:
            while f"{delimiter} " in text:
                text = text.replace(f"{delimiter} ", delimiter)
            if text.startswith(" ") or "\n " in text:
                return None
        names = [*layout.names, "\0"] if layout.trailing else layout.names
        content = text.encode()

        def read(columns: list[str], as_text: Iterable[str]) -> "pa.Table":
            return arrow.read_csv(
                pa.py_buffer(content),
                arrow.ReadOptions(column_names=names, use_threads=False, block_size=len(content) + 2),
                arrow.ParseOptions(delimiter=delimiter, quote_char=False),
                arrow.ConvertOptions(
                    column_types=dict.fromkeys([*as_text, "\0"], pa.string()),
                    null_values=missing,
                    true_values=TRUE,
                    false_values=FALSE,
                    decimal_point=layout.numbers.decimal,
                    include_columns=columns,
                    check_utf8=False,
                ),
            )

        try:
            table = read(names, texts & set(names))
            known = {*texts, "\0"}
            if layout.trailing and set(table.column("\0").unique().to_pylist()) - {""}:
                return None
            odd = [field.name for field in table.schema if field.name not in known and not _is_number(field.type)]
            again = read(odd, odd) if odd else None
        except pa.ArrowInvalid:
            return None
        block = {}
        for name in layout.names:
            column = (table if again is None or name not in odd else again).column(name)
            column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
            if name in odd:
                column = self.numbers.column(column)
            elif name not in texts:
                column = self.numbers.coded(column)
            block[name] = column
        return block

    def _convert(self, rows: list[list[str]], texts: set[str]) -> dict[str, "pa.Array"]:
        import pyarrow as pa

        if len(self.layout.names) > WIDE and not texts:
            block = self._convert_wide(rows)
            if block is not None:
                return block
        columns = zip(self.layout.names, map(list, zip(*rows, strict=True)), strict=False)
        arrays = {name: pa.array(column, pa.string()) for name, column in columns}
        return {name: one if name in texts else self.numbers.column(one) for name, one in arrays.items()}

    def _convert_wide(self, rows: list[list[str]]) -> dict[str, "pa.Array"] | None:
        """All cells at once, where all of them are numbers as Arrow reads them."""
        import pyarrow as pa

        numbers, names = self.numbers, self.layout.names
        if not rows or numbers.format.decimal != "." or numbers.format.thousands is not None or numbers.codes:
            return None
        try:
            values = pa.array(chain.from_iterable(rows), pa.string()).cast(pa.float64()).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            return None
        matrix = np.ascontiguousarray(values.reshape(len(rows), -1).T)
        whole = (matrix == np.rint(matrix)).all(axis=1)
        block = {name: pa.array(column) for name, column in zip(names, matrix, strict=True)}
        for index in whole.nonzero()[0].tolist():  # fractions too, if they are written so
            block[names[index]] = numbers.column(pa.array([row[index] for row in rows], pa.string()))
        return block


def _choose_layout(sample: Sequence[Line], name: str, dialects: Sequence[Dialect], expected: Sequence[str]) -> Layout:
    for dialect in dialects[:-1]:
        try:
            layout = find_layout(sample, name, dialect, expected)
        except DataError:
            continue
        if set(expected) <= set(layout.names):
            return layout
    return find_layout(sample, name, dialects[-1], expected)


def _is_text(column: "pa.Array") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(column.type))


def _is_number(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return pa.types.is_int64(kind) or pa.types.is_float64(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)


def read_text(path: Path, dialect: Dialect) -> Sheet:
    """Read delimited text, plain or gzipped.

    Args:
        path: The file.
        dialect: What is known of how it is written.

    Raises:
        DataError: The file is empty, damaged, no text, ragged, or names a column twice.
    """
    import pandas as pd

    with readable_text(path, dialect) as file:
        rows = TextRows(file, f"'{path}'", [dialect])
        names = rows.layout.names
        size = rows_in_block(len(names))
        blocks = list(rows.blocks(size))
    if not blocks:
        raise DataError(f"'{path}' has a header of {count(len(names), 'column')} but no rows.")
    columns = {name: [block[name] for block in blocks] for name in names}
    # A column that is numbers in some blocks and not in others is read again, as the file has it.
    kinds = {name: {str(part.type) for part in parts} - {"null"} for name, parts in columns.items()}
    mixed = [name for name in names if len(kinds[name]) > 1 and kinds[name] & {"string", "bool"}]
    if mixed:
        with readable_text(path, dialect) as file:
            again = list(TextRows(file, f"'{path}'", [dialect]).blocks(size, mixed))
        columns |= {name: [block[name] for block in again] for name in mixed}
    layout, numbers = rows.layout, rows.numbers
    truths = frozenset(name for name in names if kinds[name] == {"bool"})
    log.info(f"{path.name}: {describe(layout)}.")

    def lines(wanted: Sequence[int]) -> list[int]:
        with readable_text(path, dialect) as file:
            found = [line for line, _ in islice(layout.records(Lines(file, path.name)), max(wanted) + 1)]
        return [found[row] for row in wanted]

    def place(row: int) -> str:
        return f"row {row + 1} (line {lines([row])[0]} of {path.name})"

    frame = pd.DataFrame({name: _join(parts) for name, parts in columns.items()}, copy=len(names) > WIDE)
    return Sheet(
        frame,
        path.name,
        place,
        numbers=numbers,
        texts=numbers.texts,
        lines=lines,
        skipped=layout.skipped,
        truths=truths,
    )


def rows_in_block(num_columns: int) -> int:
    """How many rows are read at once."""
    return max(64, CELLS_AT_ONCE // num_columns)


def describe(layout: Layout) -> str:
    """What was found out of a text, in words."""
    header = "with" if layout.header else "without"
    mark = WORDS.get(layout.delimiter, repr(layout.delimiter))
    return "; ".join([f"{count(len(layout.names), 'column')}, delimiter {mark}, {header} a header", *layout.notes])


def _join(parts: Sequence["pa.Array"]) -> np.ndarray:
    """The blocks of a column as one array; whole numbers become fractions where some block has these."""
    values = [to_numpy(part) for part in parts]
    kinds = {array.dtype.kind for array in values}
    # Truth values of which some are missing are numbers, as fractions are.
    return np.concatenate([array.astype(np.float64) for array in values] if kinds == {"b", "f"} else values)
