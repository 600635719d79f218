"""Tables that are known first and written second: the matrix is the oracle for whatever reads the text."""

import gzip
import re
import zlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from hypothesis import strategies as st

WORDS = {"comma": ",", "point": ".", "space": " ", "apostrophe": "'", "semicolon": ";", "tab": "\t", "pipe": "|"}
MISSING = ["NA", "nan", "NULL", "None", "?", "-", "n/a", "#N/A", ""]
GARBAGE = ["abc", "1.2.3", "--5", "0x10", "1_000", "١٢", "5 kg", "1e", "1,2,3", "12-3", "½", "True?", "1 2", "²"]


@dataclass(frozen=True)
class Column:
    """One column as it was meant and as it is written.

    Attributes:
        kind: whole, fraction, truth or label.
        values: exact; None where missing; texts of a label.
        texts: with a decimal point and without marks between thousands.
    """

    kind: str
    values: list[Any]
    texts: list[str]


@dataclass(frozen=True)
class Text:
    """A file, and what is true of it.

    Attributes:
        name: of the file.
        content: its bytes.
        told: settings of the table that say how it is written.
        names: of all columns, in their order.
        columns: all columns.
        labels: names of those that hold no numbers or are no measurements.
        damage: what was done to the file afterwards; nothing as a rule.
        row: which row was damaged.
    """

    name: str
    content: bytes
    told: dict[str, Any]
    names: list[str]
    columns: list[Column]
    labels: list[str]
    damage: str = ""
    row: int = -1

    def __repr__(self) -> str:
        try:
            content = gzip.decompress(self.content) if self.name.endswith(".gz") else self.content
        except (OSError, EOFError, zlib.error):
            content = self.content
        what = f"damage: {self.damage} in row {self.row}" if self.damage else "sound"
        return f"{self.name} {content!r} told={self.told} {what}"

    @property
    def measured(self) -> list[str]:
        """Names of the columns to train on."""
        return [name for name in self.names if name not in self.labels]

    @property
    def is_unusable(self) -> bool:
        """Whether a column to train on holds an infinite value, or none at all."""
        measured = [self.column(name).values for name in self.measured]
        return any(
            all(value is None for value in values)
            or any(isinstance(value, float) and np.isinf(value) for value in values)
            for values in measured
        )

    def column(self, name: str) -> Column:
        """The column of a name."""
        return self.columns[self.names.index(name)]


def exact(text: str) -> Decimal:
    """The number that a text with a decimal point means."""
    return Decimal(text)


@st.composite
def wholes(draw: st.DrawFn, rows: int) -> Column:
    """Bits, counts, numbers with a sign, keys of up to 19 digits."""
    most = draw(st.sampled_from([1, 9, 5000, 10**6, 2**53 + 10, 2**63 - 1]))
    least = draw(st.sampled_from([0, -most]))
    values = draw(st.lists(st.integers(least, most), min_size=rows, max_size=rows))
    return Column("whole", list(values), [str(value) for value in values])


@st.composite
def fractions(draw: st.DrawFn, rows: int) -> Column:
    """Decimals of one length, whatever ``repr`` writes, or numbers with exponents."""
    style = draw(st.sampled_from(["decimals", "repr", "exponent"]))
    if style == "decimals":
        places = draw(st.integers(1, 4))
        whole = draw(st.lists(st.integers(-(10**8), 10**8), min_size=rows, max_size=rows))
        texts = [f"{Decimal(value).scaleb(-places):f}" for value in whole]
    else:
        some = st.floats(1e-30, 1e30) | st.floats(-1e30, -1e-30) | st.just(0.0)
        floats = draw(st.lists(some, min_size=rows, max_size=rows))
        texts = [repr(value) if style == "repr" else f"{value:.3{draw(st.sampled_from('eE'))}}" for value in floats]
    return Column("fraction", [float(text) for text in texts], texts)


@st.composite
def truths(draw: st.DrawFn, rows: int) -> Column:
    """Truth values."""
    yes, no = draw(st.sampled_from([("True", "False"), ("true", "false"), ("TRUE", "FALSE")]))
    values = draw(st.lists(st.booleans(), min_size=rows, max_size=rows))
    return Column("truth", list(values), [yes if value else no for value in values])


KEYS = ["A", "é", "b c", "007", "0", "00", "1.50", "1e5", "-1", "x,y", "x;y", 'say "x"', "it's", "#1", "a|b", "True"]
TEXTS = (
    st.sampled_from(KEYS)
    | st.integers(10**15, 10**26).map(str)
    | st.integers(0, 10**30).map(lambda digits: f"{digits // 10**25}.{digits % 10**25}")
)


@st.composite
def labels(draw: st.DrawFn, rows: int) -> Column:
    """Texts, keys with leading zeros, numbers with more digits than a float has: all to be passed through."""
    texts = draw(st.lists(TEXTS, min_size=rows, max_size=rows))
    return Column("label", list(texts), list(texts))


@dataclass(frozen=True)
class Style:
    """How a text is written."""

    delimiter: str
    decimal: str
    thousands: str
    header: bool
    end: str
    encoding: str
    quotes: bool
    trailing: bool
    padded: bool


@st.composite
def styles(draw: st.DrawFn) -> Style:
    """Any way to write a table whose marks do not collide."""
    delimiter = draw(st.sampled_from([",", ";", "\t", "|", " "]))
    decimal = draw(st.sampled_from([".", ".", ","]))
    thousands = draw(
        st.sampled_from(["", "", "", ",", ".", " ", "'"]).filter(lambda mark: mark not in (decimal, delimiter))
    )
    quotes = draw(st.booleans()) or delimiter == decimal
    return Style(
        delimiter=delimiter,
        decimal=decimal,
        thousands=thousands,
        header=draw(st.sampled_from([True, True, True, False])),
        end=draw(st.sampled_from(["\n", "\n", "\r\n"])),
        encoding=draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252"])),
        quotes=quotes,
        trailing=draw(st.sampled_from([False, False, False, True])) and delimiter != " ",
        padded=draw(st.booleans()) and delimiter not in " \t",
    )


def number_text(text: str, style: Style) -> str:
    """A number with the style's marks."""
    if style.thousands and re.fullmatch(r"-?\d{4,}(\.\d+)?", text):
        whole, point, rest = text.partition(".")
        text = f"{int(whole):,}".replace(",", "\0") + point + rest
        if whole.startswith("-") and not text.startswith("-"):
            text = f"-{text}"
    return text.replace(".", style.decimal).replace("\0", style.thousands)


@st.composite
def tables(draw: st.DrawFn) -> Text:
    """A table, written in some style, told or left to be found out where that has one answer, and perhaps damaged."""
    rows = draw(st.integers(3, 9))
    times = draw(st.sampled_from([1, 1, 1, 6]))  # a long table, whose odd row is one of many
    kinds = draw(st.lists(st.sampled_from(["whole", "fraction", "truth"]), min_size=1, max_size=4))
    with_labels = draw(st.lists(st.sampled_from(["label"]), max_size=2))
    order = draw(st.permutations([*kinds, *with_labels]))
    makers = {"whole": wholes, "fraction": fractions, "truth": truths, "label": labels}
    drawn = [draw(makers[kind](rows)) for kind in order]
    columns = [Column(column.kind, column.values * times, column.texts * times) for column in drawn]
    style = draw(styles())
    names = [f"{draw(st.sampled_from(['a', 'b c', 'size [m]', 'é', 'x.y', 'N°']))}{i}" for i in range(len(columns))]
    if not style.header:
        names = [str(i) for i in range(len(columns))]
    if style.delimiter == " " and not style.quotes:
        names = [name.replace(" ", "_") for name in names]
    told_missing = ""
    if draw(st.sampled_from([False, False, True])):
        place, row = draw(st.integers(0, len(columns) - 1)), draw(st.integers(0, rows * times - 1))
        word = draw(st.sampled_from([*MISSING, "-999", "fehlt"]))
        clash = word == "-999" and any(value == -999 for column in columns for value in column.values)
        if columns[place].kind != "label" and not clash and (word or (len(columns) > 1 and style.delimiter != " ")):
            columns[place].values[row], columns[place].texts[row] = None, word
            told_missing = word if word in ("-999", "fehlt") else ""
    return draw(written(Text("", b"", {}, names, columns, []), style, told_missing))


@st.composite
def written(draw: st.DrawFn, table: Text, style: Style, missing: str) -> Text:
    """The table as bytes."""
    labels = [name for name, column in zip(table.names, table.columns, strict=True) if column.kind == "label"]
    cells = []
    for column in table.columns:
        numeric = column.kind in ("whole", "fraction")
        kept = [value is None for value in column.values]
        texts = zip(column.texts, kept, strict=True)
        cells.append([number_text(text, style) if numeric and not word else text for text, word in texts])
    rows = [list(row) for row in zip(*cells, strict=True)]
    damage = draw(st.sampled_from(["", "", "", "", "short", "long", "garbage", "cut", "twice", "bytes"]))
    row = draw(st.integers(1, len(rows) - 1))
    measured = [i for i, name in enumerate(table.names) if name not in labels]
    if damage == "short" and len(rows[row]) > 1:
        del rows[row][draw(st.integers(0, len(rows[row]) - 1))]
    elif damage == "long":
        rows[row].insert(draw(st.integers(0, len(rows[row]))), draw(st.sampled_from(["7", "x", "0.5"])))
    elif damage == "garbage":
        rows[row][draw(st.sampled_from(measured))] = draw(st.sampled_from(GARBAGE))
    names = list(table.names)
    if damage == "twice" and len(names) > 1 and style.header:
        names[1] = names[0]
    elif damage == "short" and len(names) == 1:
        damage = ""  # an empty line is no row
    elif damage == "twice":
        damage = ""
    lines = [_line(fields, style) for fields in ([names] if style.header else []) + rows]
    told = _told(style, missing)
    comments = draw(st.sampled_from([[], [], [], ["# made by hand"], ["Title", ""]]))
    if comments and comments[0] == "Title":
        told["skip_rows"] = 2
    end = style.end if draw(st.booleans()) else ""
    text = style.end.join([*comments, *lines]) + end
    encoding = style.encoding
    try:
        content = text.encode(encoding)
    except UnicodeEncodeError:
        encoding, content = "utf-8", text.encode()
        told.pop("encoding", None)
    if not _is_ambiguous(table, style, lines, rows, damage) and draw(st.booleans()):
        told = {key: value for key, value in told.items() if key in ("missing", "encoding", "skip_rows")}
    name = f"table{draw(st.sampled_from(['.csv', '.tsv', '.txt']))}"
    if damage == "cut":
        content = content[: draw(st.integers(0, len(content)))]
    if draw(st.sampled_from([False, False, False, True])):
        name, content = f"{name}.gz", gzip.compress(content, 1)
    if damage == "bytes":
        content = draw(mutated(content))
    return Text(name, content, told, table.names, table.columns, labels, damage, row)


def _line(fields: list[str], style: Style) -> str:
    def quote(text: str) -> str:
        special = style.delimiter in text or '"' in text or text.startswith("#")
        return '"' + text.replace('"', '""') + '"' if style.quotes or special else text

    between = f"{style.delimiter} " if style.padded else style.delimiter
    return between.join(map(quote, fields)) + (style.delimiter if style.trailing else "")


def _told(style: Style, missing: str) -> dict[str, Any]:
    marks = {mark: word for word, mark in WORDS.items()}
    told: dict[str, Any] = {
        "delimiter": marks[style.delimiter],
        "decimal": marks[style.decimal],
        "header": style.header,
    }
    if style.thousands:
        told["thousands"] = marks[style.thousands]
    if missing:
        told["missing"] = missing
    if style.encoding == "cp1252":
        told["encoding"] = style.encoding
    return told


def _is_ambiguous(table: Text, style: Style, lines: list[str], rows: list[list[str]], damage: str) -> bool:
    """Whether somebody who only has the file could read it in another way than it was meant."""
    if damage or style.thousands or not style.header or style.trailing:
        return True
    if len(rows[0]) == 1 and any(mark in line for line in lines for mark in ",;\t| "):
        return True
    if style.decimal == ",":
        clear = [text for row in rows for text in row if re.fullmatch(r"-?\d+,(\d{1,2}|\d{4,})", text)]
        points = any(re.fullmatch(r"-?\d*\.\d+", text) for row in rows for text in row)
        if not clear or points or style.delimiter in ", ":
            return True
    others = [mark for mark in ";\t|, " if mark not in (style.delimiter, style.decimal if style.decimal != "." else "")]
    if any(2 * sum(mark in line for line in lines) >= len(lines) for mark in others if not style.padded or mark != " "):
        return True
    return not any(column.kind in ("whole", "fraction") for column in table.columns)


@st.composite
def mutated(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes with some of them changed, taken out, doubled or put in."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        to = min(len(content), at + draw(st.integers(1, 8)))
        new = draw(st.binary(max_size=8) | st.sampled_from([b"\0", b'"', b"\xff\xff\xff\xff", b"\n", b"\r", b"9" * 8]))
        content = content[:at] + draw(st.sampled_from([new, b"", content[at:to] + new])) + content[to:]
    return content
