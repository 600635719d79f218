"""A callback that writes down what each process of several sees of a training step."""

import json
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback


class Probe(Callback):
    """Per step: the fitted scale, and the squares that this process's own rows would fit it to.

    Args:
        folder: gets one file for each process.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.steps: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        # Nothing has been learned at a rate of 0: the decoder still predicts 0, the mean of standardized columns.
        squares = {"sum": float(batch.x.double().square().sum()), "cells": batch.x.numel()}
        self.steps.append({"scale": float(pl_module.vae.likelihood.scale.fitted), **squares})

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        (self.folder / f"rank{trainer.global_rank}.json").write_text(json.dumps(self.steps))
