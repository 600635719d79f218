"""How a delimited text is written, as far as somebody has said so; what nobody said is found out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from vae_lightning.errors import check_parameter, is_count

DELIMITERS = {"tab": "\t", "\\t": "\t", "space": " ", "comma": ",", "semicolon": ";", "pipe": "|"}
PIPE = "-"
TEXT_ENDINGS = (".csv", ".tsv", ".txt")
MARKS = {"comma": ",", "point": ".", "space": " ", "apostrophe": "'"}
MISSING = frozenset(
    ("", "NA", "N/A", "n/a", "na", "NaN", "nan", "NAN", "-NaN", "-nan", "NULL", "null", "None", "none", "<NA>", "#N/A")
).union("?-.", ["--"])
"""Words that stand where a number is missing."""


@dataclass(frozen=True)
class Dialect:
    """How a text is written; None where it is to be found out.

    Args:
        delimiter: between the columns, one character or a word of :data:`DELIMITERS`.
        decimal: the decimal mark, a point or a comma, as itself or as a word of :data:`MARKS`.
        thousands: what stands between groups of three digits, the same.
        missing: words that mean a missing value, beside the usual ones; a number means every way to write it.
        encoding: its name, such as ``cp1252``; None for UTF-8, or UTF-16 and UTF-32 with a byte order mark.
        skip_rows: how many lines before the header are no part of the table, or the numbers of lines anywhere.
        header: whether the first line holds names.
    """

    delimiter: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    missing: Sequence[str | int | float] | str | int | float = ()
    encoding: str | None = None
    skip_rows: Sequence[int] | int = ()
    header: bool | None = None

    def __post_init__(self) -> None:
        for name in ("missing", "skip_rows"):  # a list of a configuration is the same as a tuple
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        one = self.separator is None or (len(self.separator) == 1 and self.separator not in '"\r\n')
        words = f"one character, or one of the words {', '.join(word for word in DELIMITERS if word.isalpha())}"
        check_parameter("Table", "delimiter", one, words, self.delimiter)
        check_parameter("Table", "decimal", self.point in (None, ".", ","), "point or comma", self.decimal)
        mark = self.thousands_mark
        legal = mark is None or (len(mark) == 1 and not mark.isalnum() and mark not in '-+"\r\n')
        check_parameter("Table", "thousands", legal, f"one mark, or one of {', '.join(MARKS)}", self.thousands)
        differ = mark is None or mark not in {self.point or ("." if mark != "." else ","), self.separator}
        words = "another mark than the decimal mark and the delimiter"
        check_parameter("Table", "thousands", differ, words, self.thousands)
        lines = [self.skip_rows] if isinstance(self.skip_rows, int) else self.skip_rows
        legal = all(is_count(line, int(lines is self.skip_rows)) for line in lines)
        words = "a number of lines before the header, or a list of line numbers, counted from 1"
        check_parameter("Table", "skip_rows", legal, words, self.skip_rows)
        if self.encoding is not None:
            words = "an encoding that Python knows, such as utf-8, utf-16, cp1252 or latin-1"
            check_parameter("Table", "encoding", _is_encoding(self.encoding), words, self.encoding)

    @property
    def separator(self) -> str | None:
        """The delimiter as a character."""
        return None if self.delimiter is None else DELIMITERS.get(self.delimiter, self.delimiter)

    @property
    def point(self) -> str | None:
        """The decimal mark as a character."""
        return None if self.decimal is None else MARKS.get(self.decimal, self.decimal)

    @property
    def thousands_mark(self) -> str | None:
        """The thousands separator as a character."""
        return None if self.thousands is None else MARKS.get(self.thousands, self.thousands)

    @cached_property
    def missing_words(self) -> frozenset[str]:
        """All words that mean a missing value."""
        given = [self.missing] if isinstance(self.missing, str | int | float) else self.missing
        return MISSING | {str(word).strip() for word in given}

    @property
    def skipped_lines(self) -> frozenset[int]:
        """The lines that are no part of the table, counted from 1."""
        return frozenset(range(1, self.skip_rows + 1) if isinstance(self.skip_rows, int) else self.skip_rows)

    def of_companion(self) -> "Dialect":
        """The same for another file: of single lines that are left out only those at the beginning, such as units."""
        if isinstance(self.skip_rows, int):
            return self
        return replace(self, skip_rows=[line for line in self.skip_rows if line <= len(self.skip_rows) + 1])


def is_text(path: str) -> bool:
    """Whether a file of this name is delimited text."""
    return path == PIPE or Path(path.lower().removesuffix(".gz")).suffix in TEXT_ENDINGS


def recorded_dialect(record: Mapping[str, Any], path: str) -> Dialect:
    """How the text was written that a model was trained on, as far as somebody said so.

    Args:
        record: what the model's checkpoint says of it.
        path: the file that is to be read: of another one than that, no single lines are left out.
    """
    source = (record.get("data", {}).get("source") or {}) if is_text(path) else {}
    found = {field.name: source[field.name] for field in fields(Dialect) if field.name in source}
    is_same = Path(str(source.get("path"))).expanduser().resolve() == Path(path).expanduser().resolve()
    if not is_same and (not isinstance(found.get("skip_rows"), int) or found.get("header") is False):
        found.pop("skip_rows", None)
    return Dialect(**found)


def _is_encoding(name: str) -> bool:
    try:
        return isinstance("".encode(name), bytes)
    except (LookupError, UnicodeError, TypeError, ValueError):
        return False


class NumberFormat:
    """Which texts are numbers, given the decimal mark and what separates thousands."""

    def __init__(self, decimal: str = ".", thousands: str | None = None) -> None:
        self.decimal, self.thousands = decimal, thousands
        point = re.escape(decimal)
        whole = r"\d+" if thousands is None else rf"(?:\d{{1,3}}(?:{re.escape(thousands)}\d{{3}})+|\d+)"
        exponent = r"(?:[eE][-+]?\d+)?"
        words = r"[iI][nN][fF](?:[iI][nN][iI][tT][yY])?"
        #: Of a whole text, for RE2 and Python alike, hence digits are 0 to 9.
        self.pattern = rf"[-+]?(?:(?:{whole}(?:{point}\d*)?|{point}\d+){exponent}|{words})".replace(r"\d", "[0-9]")

    def is_number(self, text: str) -> bool:
        """Whether ``text``, without spaces around it, is a number."""
        return re.fullmatch(self.pattern, text) is not None

    def plain(self, text: str) -> str:
        """The number as Python and Arrow write it."""
        return text.replace(self.thousands or "", "").replace(self.decimal, ".") if self.is_number(text) else text
