"""Files that are never half there."""

import os
from pathlib import Path


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
