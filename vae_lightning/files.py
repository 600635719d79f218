"""Files that are never half there, and JSON that every program reads."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_whole(path: Path, content: bytes) -> Path:
    """Write beside ``path`` and rename: whoever reads it finds the old file or the new one.

    Raises:
        OSError: when it cannot be written; nothing is left beside it.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


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
