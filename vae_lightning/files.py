"""Files that are never half there, and JSON that every program reads."""

import itertools
import json
import math
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any


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
