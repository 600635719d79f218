"""Text files: opened whatever their encoding, decoded or refused in one line, gone through line by line."""

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO, cast

from vae_lightning.data.files.archives import unreadable
from vae_lightning.data.files.dialect import Dialect
from vae_lightning.errors import DataError, Setting

Line = tuple[int, str]
"""A line and its number, counted from 1."""
MAX_LINE = 2**26
"""Characters: a longer line, or a pipe without any line ends, is no row of a table."""
BYTE_ORDER_MARKS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
GZIP = b"\x1f\x8b"


def find_encoding(start: bytes, dialect: Dialect) -> str:
    """The encoding of a text that begins with ``start``: what was said, or what a byte order mark says, or UTF-8."""
    if dialect.encoding is not None:
        return "utf-8-sig" if dialect.encoding.lower().replace("-", "") == "utf8" else dialect.encoding
    # Excel's "Unicode text" is UTF-16, its "CSV UTF-8" starts with a byte order mark.
    return next((name for mark, name in BYTE_ORDER_MARKS.items() if start.startswith(mark)), "utf-8-sig")


def open_text(path: Path, dialect: Dialect) -> TextIO:
    """Open plain or gzipped text."""
    with path.open("rb") as file:
        is_gzip = path.suffix.lower() == ".gz" or file.read(2) == GZIP
    opened: Callable[..., object] = gzip.open if is_gzip else open
    with cast(TextIO, opened(path, "rb")) as file:
        encoding = find_encoding(cast(bytes, file.read(4)), dialect)
    return cast(TextIO, opened(path, "rt", encoding=encoding, newline=""))


@contextmanager
def readable_text(path: Path, dialect: Dialect) -> Iterator[TextIO]:
    """An open text.

    Raises:
        DataError: It cannot be decoded, or its archive is damaged.
    """
    try:
        with open_text(path, dialect) as file:
            yield file
    except UnicodeError as error:
        where = _first_bad_byte(path, dialect)
        encoding = dialect.encoding or "UTF-8"
        raise DataError(
            f"'{path}' is not {encoding} text{where}. Save it as UTF-8, or name its encoding.",
            [Setting("data.encoding", "cp1252", "Western Europe, Windows"), Setting("data.encoding", "utf-16")],
        ) from error
    except (OSError, EOFError, zlib.error) as error:  # a damaged archive
        raise unreadable(path, "delimited text", error) from error


def _first_bad_byte(path: Path, dialect: Dialect) -> str:
    if dialect.encoding is not None:
        return ""
    # A damaged archive may end before that byte comes again.
    with suppress(OSError, EOFError, zlib.error), open_text(path, Dialect(encoding="latin-1")) as file:
        for number, line in Lines(file, f"'{path}'"):
            content = line.encode("latin-1")
            try:
                content.decode()
            except UnicodeDecodeError as error:
                if number == 1 and content.startswith(tuple(BYTE_ORDER_MARKS)):
                    break  # It is no UTF-8 to begin with.
                return f": line {number} holds the byte 0x{content[error.start]:02x}"
    return ""


class Lines:
    """The lines of an open text, gone through once: one by one with their numbers, from 1, or many as one text.

    Args:
        file: the text.
        name: what messages call it.

    Attributes:
        number: of the last line that was handed out.
    """

    def __init__(self, file: TextIO, name: str) -> None:
        self.number = 0
        self._file, self._name = file, name
        self._characters = 0

    def __iter__(self) -> Iterator[Line]:
        return self

    def __next__(self) -> Line:
        line = self._file.readline(MAX_LINE)
        if not line:
            raise StopIteration
        self._note(1, len(line), len(line))
        return self.number, line

    def take(self, count: int) -> str:
        """About as many more lines as one text, empty at the end; how many is estimated from those before."""
        texts = []
        while count > 0:
            size = count * self._characters // max(self.number, 1)
            text = self._file.read(min(max(size, 1), MAX_LINE // 2))
            if not text:
                break
            if not text.endswith("\n"):
                text += self._file.readline(MAX_LINE)
            # As the file's own lines are: a carriage return may end one, too.
            ends = text.count("\n") + (text.count("\r") - text.count("\r\n") if "\r" in text else 0)
            found = ends + (text[-1] not in "\r\n")
            self._note(found, len(text), len(text) - 1 - text.rfind("\n", 0, -1))
            count -= found
            texts.append(text)
        return "".join(texts)

    def _note(self, lines: int, characters: int, last: int) -> None:
        self.number += lines
        self._characters += characters
        if last >= MAX_LINE:
            raise DataError(f"{self._name} is no table: line {self.number} is longer than {MAX_LINE:,} characters.")
