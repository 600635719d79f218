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
        for number, line in number_lines(file, f"'{path}'"):
            content = line.encode("latin-1")
            try:
                content.decode()
            except UnicodeDecodeError as error:
                if number == 1 and content.startswith(tuple(BYTE_ORDER_MARKS)):
                    break  # It is no UTF-8 to begin with.
                return f": line {number} holds the byte 0x{content[error.start]:02x}"
    return ""


def number_lines(file: TextIO, name: str) -> Iterator[Line]:
    """The lines of an open text with their numbers, from 1; ``name`` is what messages call it."""
    number = 0
    while line := file.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE:
            raise DataError(f"{name} is no table: line {number} is longer than {MAX_LINE:,} characters.")
        yield number, line
