"""What a training left, and the page on it: the same for a run as it ends, a run directory and a fit in memory."""

import copy
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from vae_lightning.comparison.compare import Comparison
from vae_lightning.data.choices import join_alike
from vae_lightning.data.dataset import Dataset
from vae_lightning.data.store import RowsInMemory, RowStore
from vae_lightning.doctor.report import Report
from vae_lightning.doctor.runs.trained import Record, Trained, examine_model
from vae_lightning.errors import UserError
from vae_lightning.inference.evaluation import Evaluation
from vae_lightning.inference.model import VAEModel
from vae_lightning.inference.verdict import Course
from vae_lightning.objectives.base import Objective
from vae_lightning.reporting.figures import training
from vae_lightning.reporting.figures.gallery import PlotImage, draw_figures
from vae_lightning.reporting.figures.style import encode_png, use_style
from vae_lightning.reporting.figures.subject import Subject
from vae_lightning.runs.comparison import compare_run
from vae_lightning.version import __version__

COMPARED_ROWS = 1_000
"""Of each table: more would cost a page more seconds than they tell."""
PARTS = {"train": "rows to train on", "valid": "to validate", "test": "to test"}


@dataclass(frozen=True)
class Outcome:
    """A trained model, and what is known of its training.

    Attributes:
        model: with the weights that are kept, in evaluation mode.
        rows: by part, in model units and the model's dtype; empty where they cannot be had any more.
            Where there are none to test, those to validate judge the model.
        epochs: how many were trained.
        seed: of every draw.
        objective: what training maximised; None where that is not known.
        best: val/nelbo of the weights kept; NaN where that is not known.
        history: every epoch's terms by name; empty where that is not known.
        start_is_best: whether the weights kept are those before the first step.
        labels: one for each validation row, or None.
        image_shape: where a row is a flattened image.
        table: the test table's numbers; None where there is none.
        course: how training went; None where that is not known.
        dataset: the rows in data units; None where they cannot be had.
    """

    model: VAEModel
    rows: Mapping[str, RowStore]
    epochs: int
    seed: int
    objective: Objective | None = None
    best: float = math.nan
    history: Mapping[str, np.ndarray] = field(default_factory=dict)
    start_is_best: bool = False
    labels: np.ndarray | None = None
    image_shape: Sequence[int] | None = None
    table: Evaluation | None = None
    course: Course | None = None
    dataset: Dataset | None = None

    @property
    def title(self) -> str:
        """What the page is called."""
        return f"VAE on {self._data.get('name', 'rows')}"

    @property
    def _data(self) -> Mapping[str, object]:
        data: Mapping[str, object] = self.model.record.get("data", {})
        return data

    @property
    def choices(self) -> list[tuple[str, ...]]:
        """What the columns were taken for, and why, alike ones together; empty where one family takes all."""
        kept: Any = self._data.get("choices")
        return join_alike(kept or [])

    @property
    def judges(self) -> RowStore:
        """The rows that the model is judged by."""
        return self.rows.get("test", self.rows["valid"])

    @property
    def _training(self) -> str:
        return f"{self.epochs} epochs" if self.course is None else self.course.words

    def state_facts(self) -> dict[str, str]:
        """What was trained: name → words."""
        vae = self.model.vae
        counts = [f"{rows.num_rows:,} {PARTS[part]}" for part, rows in self.rows.items()]
        data = ", ".join([str(self._data.get("name", "rows")), f"{len(self.model.columns):,} columns", *counts])
        parameters = sum(parameter.numel() for parameter in vae.parameters())
        model = f"{vae.latent_dim} latent dimensions, likelihood {vae.likelihood.words}"
        return {
            "data": f"{data}; fingerprint {self._data.get('fingerprint', 'unknown')}",
            "preprocessing": self.model.scaling.words,
            "model": f"{parameters:,} parameters, {model}",
            "training": f"{self._training}; seed {self.seed}",
            "versions": f"vae_lightning {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
        }

    def examine(self) -> Report:
        """The doctor's findings, as ``vae-lightning doctor RUN`` has them; it needs the rows."""
        model, cpu = self.model, torch.device("cpu")
        if model.vae.output.weight.device != cpu:
            model = copy.deepcopy(model).cpu()  # the doctor's quadratures are made of numbers there
        judged, valid = (RowsInMemory.of(rows.to(cpu).batches()).rows for rows in (self.judges, self.rows["valid"]))
        record = None if math.isnan(self.best) else Record(self.best, valid, self.seed)
        train = self.rows["train"].to(cpu)
        return examine_model(Trained(model, train, judged, self.objective, record, self.table, self.course))

    def compare(self) -> Comparison | None:
        """Drawn rows held against test rows; None without these, and for images: nobody compares pixels one by one."""
        if self.dataset is None or self.dataset.image_shape is not None:
            return None
        try:
            return compare_run(self.model, self.dataset, self.seed, COMPARED_ROWS)
        except UserError:
            return None  # infinite values were drawn, which the doctor and the run's warnings tell

    def draw(self) -> list[PlotImage]:
        """Every figure that suits; without rows the curves of training alone."""
        if self.rows:
            shown = (self.labels, self.image_shape, self.seed, self.history, self.start_is_best)
            return list(draw_figures(Subject.of(self.model, self.rows, *shown)))
        if not training.has_terms(self.history):
            return []
        with use_style():
            png = encode_png(training.draw_terms(self.history, self.start_is_best))
        return [PlotImage(plot, png) for plot in training.PLOTS]
