"""Checkpoints that a kill at any moment cannot tear."""

import io
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from vae_lightning.files import partial_beside

KEPT = ("best_model_path", "kth_best_model_path", "last_model_path")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames: the file is the old one or the new one, never half of one.

    Lightning's own writer goes through the system's temporary folder, which may lie on another disk, where a move is
    a copy and no longer atomic. The second checkpoint of the same step (best, then last) is the first under another
    name. Reading admits tensors and plain values only.

    Args:
        keepers: whose files these are. What they say of them in a checkpoint is taken to be of their folder as it is
            now: a directory may have been moved, and a stranger's may name files anywhere.
    """

    def __init__(self, keepers: Sequence[ModelCheckpoint] = ()) -> None:
        super().__init__()
        self._keepers = keepers
        #: Folders that were there once: one that is gone was deleted or moved, and is not made again.
        self._folders: set[Path] = set()
        self._newest: tuple[dict[str, Any], Path] | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        target = Path(path)
        if target.parent not in self._folders:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._folders.add(target.parent)
        partial = partial_beside(target)
        moment = self.moment_of(checkpoint)
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

    @staticmethod
    def moment_of(checkpoint: dict[str, Any]) -> dict[str, Any]:
        """When it was taken: a step is saved after its validation and at the epoch's end, where the loops moved on."""
        return {name: checkpoint.get(name) for name in ("epoch", "global_step", "loops")}

    def load_checkpoint(self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True) -> Any:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
        states = checkpoint.get("callbacks")
        for keeper in self._keepers:
            if isinstance(states, dict) and isinstance(state := states.get(keeper.state_key), dict):
                states[keeper.state_key] = _at_home(state, Path(str(keeper.dirpath)))
        return checkpoint


def _at_home(state: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The state of who kept files, with these in ``folder``; those that are not there are forgotten."""

    def here(path: Any) -> str:
        moved = folder / Path(str(path)).name
        return str(moved) if path and moved.is_file() else ""

    kept = state.get("best_k_models")
    best = {here(path): score for path, score in kept.items() if here(path)} if isinstance(kept, dict) else {}
    paths = {name: here(state.get(name)) for name in KEPT}
    state = {**state, **paths, "best_k_models": best, "dirpath": str(folder)}
    scores = (state.get("best_model_score"), *best.values())
    is_whole = {paths["best_model_path"], paths["kth_best_model_path"]} <= best.keys()
    if is_whole and all(isinstance(score, Tensor) and score.numel() == 1 for score in scores):
        return state
    return {**state, "best_k_models": {}, "kth_best_model_path": "", "best_model_score": None}


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
