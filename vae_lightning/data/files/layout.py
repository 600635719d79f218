"""How a text is laid out, found from its first lines where that is safe: delimiter, names, number format."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

from vae_lightning.data.files.dialect import DELIMITERS, MARKS, Dialect, NumberFormat
from vae_lightning.data.files.headers import is_header
from vae_lightning.data.files.lines import Line
from vae_lightning.data.files.sheets import check_unique
from vae_lightning.data.wording import count, shorten
from vae_lightning.errors import DataError, Setting

# Of two delimiters that fit equally well, the earlier wins: a comma may be a decimal comma, a space is anywhere.
CANDIDATES = ("\t", ";", "|", ",", " ")
NEARLY = 0.9  # of the lines of a table, which may have a few bad ones
MOST_CELLS = 20_000  # that are looked at for marks in numbers
QUOTE = '"'
Record = tuple[int, list[str]]
WORDS = {mark: word for word, mark in (DELIMITERS | MARKS).items() if word.isalpha()}
GROUPS = r"[-+]?[1-9]\d{0,2}"  # what stands before the first thousands separator


@dataclass(frozen=True)
class Layout:
    """How a text is laid out.

    Attributes:
        delimiter: between the fields.
        names: of the columns, one for each field of a record.
        header: whether the first record holds the names.
        start: the number of the line that the first record begins in.
        numbers: how numbers are written.
        missing: words that mean a missing value.
        skipped: numbers of lines that are no part of the table.
        trailing: whether a delimiter ends each record, and so an empty last field that is no column.
        notes: what was found out and is worth telling, as clauses.
    """

    delimiter: str
    names: list[str]
    header: bool
    start: int
    numbers: NumberFormat
    missing: frozenset[str]
    skipped: frozenset[int] = frozenset()
    trailing: bool = False
    notes: tuple[str, ...] = ()

    def records(self, lines: Iterable[Line]) -> Iterator[Record]:
        """The rows among ``lines``, with the number of the line that each ends in."""
        lines = (line for line in lines if line[0] >= self.start and line[0] not in self.skipped)
        found = read_records(lines, self.delimiter)
        if self.header:
            next(found, None)
        return found

    def check(self, record: Record, where: str) -> list[str]:
        """The fields of a record, one for each name.

        Raises:
            DataError: It has more or fewer.
        """
        number, fields = record
        if self.trailing:
            fields = _without_end(fields)
        if len(fields) != len(self.names):
            raise _ragged((number, fields), len(self.names), where, self.skipped)
        return fields


def read_records(lines: Iterable[Line], delimiter: str) -> Iterator[Record]:
    """The last line number and the fields of each record that is not blank.

    Raises:
        csv.Error: A quoted field has no end, or is longer than any field may be.
    """
    last = 0

    def texts() -> Iterator[str]:
        nonlocal last
        for number, line in lines:
            last = number
            # Any white space is between columns; a quoted text keeps its own.
            yield line if delimiter != " " else f"{line.strip() if QUOTE in line else ' '.join(line.split())}\n"

    reader = csv.reader(texts(), delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        before = last
        try:
            fields = next(reader, None)
        except csv.Error as error:
            said = str(error).replace("unexpected end of data", "a quoted field has no end")
            raise csv.Error(f"in the record after line {before}, {said}") from error
        if fields is None:
            return
        if len(fields) > 1 or any(field.strip() for field in fields):
            yield last, fields


def find_layout(sample: Sequence[Line], name: str, dialect: Dialect, expected: Sequence[str] = ()) -> Layout:
    """The layout of a text.

    Args:
        sample: its first lines with their numbers.
        name: what to call it in messages.
        dialect: what is known.
        expected: names of columns that should be there, if any are known: a line that has them is the header.

    Raises:
        DataError: There is nothing in it, it names a column twice, or its first line does not fit the others.
    """
    skipped = dialect.skipped_lines
    lines, comments, told = _without_preamble([line for line in sample if line[0] not in skipped])
    if not lines:
        raise DataError(f"{name} is empty: there is no line with anything in it.")
    delimiter = dialect.separator or told or _sniff(lines)
    records = list(_until_error(lines, delimiter))
    if not records:
        raise DataError(f"{name} cannot be read: a quoted field that begins in line {lines[0][0]} has no end.")
    notes = [f"{count(len(comments), 'line')} of comments before the table left out"] if comments else []
    named = None if dialect.header is False else _commented_header(comments, records, delimiter)
    if named is not None:
        records, notes = [named, *records], ["names taken from the comment above the rows"]
    first, rows = records[0][1], [fields for _, fields in records[1:]]
    trailing, labelled = _check_width(records, delimiter, name)
    if trailing:
        first, rows = _without_end(first), [_without_end(fields) for fields in rows]
    numbers, found = _find_numbers(rows or [first], dialect)
    header = dialect.header
    if header is None:
        found_out = named is not None or labelled or is_header(first, rows, numbers, dialect.missing_words, expected)
        if found_out is None:
            raise DataError(
                f"The first line of {name}, {shorten(first, 3)}, may hold names or be a row of values: say which.",
                [Setting("data.header", False, "a row"), Setting("data.header", True, "names")],
            )
        header = found_out
        if all(numbers.is_number(text.strip()) for text in first[not first[0].strip() :]):
            kind, other = ("names", "false: a row") if header else ("a row", "true: names")
            notes.append(f"the first line, {shorten(first, 3)}, taken for {kind} (data.header={other})")
    fields = ["", *first] if labelled else first
    names = [(text.strip() if header else str(i)) or f"Unnamed: {i}" for i, text in enumerate(fields)]
    if trailing:
        notes.append("the delimiter that ends each line makes no column")
    check_unique(names, f"The first line of {name}")
    start, missing = lines[0][0] if named is None else named[0], dialect.missing_words
    left_out = [str(line) for line in sorted(dialect.skipped_lines)]
    notes += [*found, *([f"left out: line {shorten(left_out)}"] if left_out else [])]
    return Layout(delimiter, names, header, start, numbers, missing, dialect.skipped_lines, trailing, tuple(notes))


def _without_preamble(sample: Sequence[Line]) -> tuple[list[Line], list[Line], str | None]:
    """The lines of the table, the comments before it, and the delimiter where Excel's ``sep=;`` names one."""
    comments, delimiter = [], None
    for index, (number, line) in enumerate(sample):
        excel = re.fullmatch(r'"?sep=(.)"?', line.rstrip("\r\n"))
        if excel:
            delimiter = excel[1]
        elif line.startswith("#"):
            comments.append((number, line))
        elif line.strip():
            return list(sample[index:]), comments, delimiter
    return [], comments, delimiter


def _until_error(lines: Sequence[Line], delimiter: str) -> Iterator[Record]:
    """The records of a sample, whose last one may be cut off."""
    try:
        yield from read_records(lines, delimiter)
    except csv.Error:
        return


def _sniff(lines: Sequence[Line]) -> str:
    """The delimiter that cuts most lines into as many fields, more than one, the first line among them."""

    def fit(delimiter: str) -> float:
        widths = [len(fields) for _, fields in _until_error(lines, delimiter)]
        width, times = Counter(widths).most_common(1)[0] if widths else (1, 0)
        return 0.0 if width < 2 else times / len(widths) + (widths[0] > 1 and widths[0] in (width - 1, width))

    fits = {delimiter: fit(delimiter) for delimiter in CANDIDATES}
    best = max(fits.values())
    return next(delimiter for delimiter in CANDIDATES if fits[delimiter] >= NEARLY * best) if best else ","


def _commented_header(comments: Sequence[Line], records: Sequence[Record], delimiter: str) -> Record | None:
    """``# a,b,c`` above rows of numbers, as ``numpy.savetxt`` writes it."""
    if not comments:
        return None
    number, text = comments[-1]
    fields = next(_until_error([(number, text.lstrip("# "))], delimiter), (0, []))[1]
    first = records[0][1]
    is_row = not text.startswith("# ") or any(NumberFormat().is_number(field.strip()) for field in first)
    return (number, fields) if is_row and len(fields) == len(first) > 1 else None


def _without_end(fields: list[str]) -> list[str]:
    """The fields before the delimiter that ends a record."""
    return fields if fields[-1].strip() else fields[:-1]


def _check_width(records: Sequence[Record], delimiter: str, name: str) -> tuple[bool, bool]:
    """Whether every record ends in a delimiter, and whether every row has a label that the header does not name.

    Raises:
        DataError: The rows are not as wide as the first line in any other way.
    """
    first, rows = records[0][1], [fields for _, fields in records[1:]]
    if not rows:
        return False, False
    width = Counter(map(len, rows)).most_common(1)[0][0]
    same = [fields for fields in rows if len(fields) == width]
    # Named and empty throughout, the last column is one without values.
    named = bool(first[-1].strip())
    trailing = width > 1 and not any(fields[-1].strip() for fields in same) and not (named and len(first) == width)
    columns, names = width - trailing, len(first) - (trailing and not named)
    if columns == names:
        return trailing, False
    if names == columns - 1 and len(same) == len(rows):
        labels = [fields[0].strip() for fields in rows]
        counted = all(text.isdecimal() for text in labels)
        steps = [int(b) - int(a) for a, b in pairwise(labels)] if counted else []
        texts = not any(map(NumberFormat().is_number, labels))
        # Two fields for one name may be a decimal comma.
        if (texts or (len(rows) > 1 and set(steps) == {1})) and (names > 1 or delimiter != ","):
            return trailing, True
    start = next(index for index, (_, fields) in enumerate(records) if len(fields) == width)
    if start and len(same) >= NEARLY * (len(records) - start):
        told = _ragged(next(one for one in records[1:] if len(one[1]) != len(first)), len(first), name)
        advice = [Setting("data.skip_rows", records[start - 1][0], "where these lines are a title")]
        if delimiter == ",":
            comma = "where commas are decimal marks"
            advice = [*advice[: width > len(first)], Setting("data.delimiter", "semicolon", comma)]
        raise DataError(told.message, advice)
    return trailing, False  # a record of another length is told where it is read


def _ragged(record: Record, width: int, where: str, skipped: Iterable[int] = ()) -> DataError:
    number, fields = record
    shown = shorten([repr(field[:20]) for field in fields], 4)
    return DataError(
        f"Line {number} of {where} has {count(len(fields), 'field')}, the first line has {width}. The line is {shown}.",
        [Setting("data.skip_rows", sorted({*skipped, number}), "where it is no row")],
    )


def _find_numbers(rows: Sequence[Sequence[str]], dialect: Dialect) -> tuple[NumberFormat, list[str]]:
    """How numbers are written: what cannot be read in two ways, and nothing that would contradict another cell."""
    cells = [text.strip() for text in chain(*(row[:MOST_CELLS] for row in rows[: 1 + MOST_CELLS // len(rows[0])]))]

    def some(pattern: str) -> bool:
        return any(re.fullmatch(pattern, text) for text in cells if "," in text or "." in text or "e" in text)

    point, thousands = dialect.point, dialect.thousands_mark
    marks = {text[i] for text in cells for i in range(1, len(text)) if text[i] in "'’\u00a0\u202f"}
    for mark in sorted(marks) if thousands is None else ():
        if any(re.fullmatch(rf"{GROUPS}({mark}\d{{3}})+([.,]\d+)?", text) for text in cells):
            thousands = mark
    groups = rf"({re.escape(thousands)}\d{{3}})+" if thousands not in (None, ".", ",") else ""
    comma, plain = (
        some(rf"[-+]?\d*{mark}(\d{{1,2}}|\d{{4,}})([eE][-+]?\d+)?")
        or some(rf"[-+]?(0|\d{{4,}})?{mark}\d+([eE][-+]?\d+)?")
        or some(rf"{GROUPS}{groups}{mark}\d+") * bool(groups)
        for mark in (",", r"\.")
    )
    comma = comma or some(rf"{GROUPS}((\.\d{{3}})+,\d+|(\.\d{{3}}){{2,}})")
    english = some(rf"{GROUPS}((,\d{{3}})+\.\d+|(,\d{{3}}){{2,}})")
    if point is None and thousands in (".", ","):
        point = "," if thousands == "." else "."
    if point is None and comma and not plain and not english:
        point = ","
    if thousands is None and point == "," and not plain and some(rf"{GROUPS}(\.\d{{3}})+(,\d*)?"):
        thousands = "."
    if thousands is None and point in (None, ".") and english and not (comma and not plain):
        thousands = ","
    notes = [] if point in (None, dialect.point) or point == "." else ["decimal comma (data.decimal=comma)"]
    if thousands not in (None, dialect.thousands_mark):
        notes.append(f"{thousands!r} between thousands")
    return NumberFormat(point or ".", thousands), notes
