"""Files that are never half there, JSON that every program reads, and files that anybody may have written."""

import csv
import itertools
import json
import math
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DEEPEST, MOST_DIGITS = 100, 300


def write_whole(path: Path, content: bytes) -> Path:
    """Write beside ``path`` and rename: whoever reads it finds the old file or the new one.

    Raises:
        OSError: when it cannot be written; nothing is left beside it.
    """
    partial = partial_beside(path)
    try:
        with partial.open("xb") as file:  # never through a link that somebody laid there
            file.write(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def partial_beside(path: Path) -> Path:
    """Where ``path`` is written before it is renamed; what killed processes left there is removed."""
    remove_partials(path)
    return path.with_name(f".{path.name}.{os.getpid()}")


def remove_partials(path: Path) -> None:
    """Remove half-written versions of ``path`` whose process is gone, or is this one."""
    if not path.parent.is_dir():
        return
    half = re.compile(rf"\.{re.escape(path.name)}\.(\d+)(\.old)?")
    for found in os.listdir(path.parent):
        match = half.fullmatch(found)
        if match and (int(match[1]) == os.getpid() or not _is_alive(int(match[1]))):
            left = path.with_name(found)
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    if os.name != "posix":
        return True  # there a signal of 0 would not only look
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def free_directory(path: str) -> str:
    """``path``, or where that is taken, with the first number behind it that is not: the directory is made at once.

    Two runs that begin in the same second get two directories.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    for name in itertools.chain([path], (f"{path}_{number}" for number in itertools.count(2))):
        try:
            Path(name).mkdir()
        except FileExistsError:
            continue
        return name
    raise AssertionError("there is no end to numbers")


def parse_json(text: str | bytes) -> dict[str, Any]:
    """The JSON object of a file that may be anybody's.

    Raises:
        ValueError: for anything else, and for what no program of ours writes and few can work with: values within more
            than a hundred others, whole numbers beyond the range of floats.
    """
    try:
        content = json.loads(text, parse_int=_to_int)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")
    level: list[Any] = [content]
    for _ in range(DEEPEST):
        parts = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        if not parts:
            return content
        level = list(itertools.chain.from_iterable(parts))
    raise ValueError("it is nested too deeply")


def _to_int(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"it holds a number of {len(digits)} digits")
    return int(digits)


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV that may be anybody's; cells that are missing are empty, surplus ones are left out.

    Raises:
        OSError: when it cannot be read.
        ValueError: when it is no CSV.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, restval=""))
    except csv.Error as error:
        raise ValueError(str(error)) from None
    return [{name: cell for name, cell in row.items() if name is not None} for row in rows]


def to_json(content: Any) -> str:
    """``content`` as JSON; numbers that are none, NaN and infinity, are null: JSON has no words for them.

    >>> to_json({"error": float("nan"), "warnings": []})
    '{\\n  "error": null,\\n  "warnings": []\\n}'
    """
    return json.dumps(_without_nan(content), indent=2, allow_nan=False)


def _without_nan(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {name: _without_nan(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
