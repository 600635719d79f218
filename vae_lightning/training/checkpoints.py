"""Checkpoints that a kill at any moment cannot tear."""

import io
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames: the file is the old one or the new one, never half of one.

    Lightning's own writer goes through the system's temporary folder, which may lie on another disk, where a move is
    a copy and no longer atomic. The second checkpoint of the same step (best, then last) is the first under another
    name. Reading admits tensors and plain values only.
    """

    def __init__(self) -> None:
        super().__init__()
        self._newest: tuple[dict[str, Any], Path] | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        partial.unlink(missing_ok=True)
        # The same step is saved after its validation and at the epoch's end, where the loops have moved on.
        moment = {name: checkpoint.get(name) for name in ("epoch", "global_step", "loops")}
        try:
            if self._newest is not None and self._newest[0] == moment and self._newest[1].exists():
                _link(self._newest[1], partial)
            else:
                # Not straight to the file: there torch reports a full disk as a nameless RuntimeError.
                buffer = io.BytesIO()
                torch.save(checkpoint, buffer)
                _write(partial, buffer.getbuffer())
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)
        self._newest = (moment, target)

    def load_checkpoint(self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True) -> Any:
        return torch.load(path, map_location=map_location, weights_only=True)


def _write(path: Path, content: memoryview) -> None:
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            # A full disk is known before anything is written, and renaming over the old file need not wait for the
            # new one's blocks to be allocated.
            os.posix_fallocate(file.fileno(), 0, len(content))
        file.write(content)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
