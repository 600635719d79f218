"""What a fitted estimator shows of itself: the curves of its training, and the page that runs have, too."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from vae_lightning.data.store import RowsInMemory, RowStore
from vae_lightning.doctor.report import Finding, Report
from vae_lightning.inference.model import VAEModel
from vae_lightning.reporting.figures.style import encode_png, use_style
from vae_lightning.reporting.figures.training import draw_terms
from vae_lightning.reporting.html import Page
from vae_lightning.reporting.table import evaluate_with_bar, explain
from vae_lightning.runs.checkup import recorded_objective
from vae_lightning.runs.outcome import Outcome
from vae_lightning.training.module import MONITOR

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class PagesMixin:
    """Figures and report of an estimator."""

    model_: VAEModel
    history_: dict[str, list[float]]
    n_iter_: int
    best_nelbo_: float
    warnings_: list[str]
    num_samples: int
    _best_epoch: int
    #: The rows of the last fit; neither saved nor pickled.
    _kept_rows: Mapping[str, RowStore]

    def plot(self) -> "Figure":
        """The curves of training: loss, reconstruction and KL, nats per row in data units, and the best epoch.

        A notebook shows the figure where it is the last value of a cell; ``plot().savefig("curves.png")`` keeps it.
        """
        check_is_fitted(self)
        with use_style():
            figure = draw_terms(self._history, self._best_epoch < 0)
        # A figure that pyplot does not manage would show itself as words.
        figure._repr_png_ = partial(encode_png, figure)  # type: ignore[attr-defined]
        return figure

    def report(self) -> Page:
        """The page that runs have as ``report.html``: table, the doctor's findings, figures; all of it is measured now.

        A notebook shows it where it is the last value of a cell; ``report().save("report.html")`` keeps it. There are
        no test rows: the validation rows judge the model. Without the rows, as after :meth:`load`, it holds the curves.
        """
        check_is_fitted(self)
        outcome = self._outcome()
        table, findings = [], Report([Finding("DATA", None, "The rows are not kept with a saved model.", about="data")])
        if outcome.rows:
            batches, samples = list(outcome.judges.batches()), int(self.num_samples)
            result = evaluate_with_bar(
                outcome.model, batches, outcome.rows["train"], outcome.rows["valid"], samples, outcome.seed
            )
            table, findings = explain(result, outcome.best), outcome.examine()
        parameters: dict[str, Any] = self.get_params(deep=False)  # type: ignore[attr-defined]
        return Page(
            title=outcome.title,
            facts=outcome.state_facts(),
            choices=outcome.choices,
            table=table,
            verdict=findings.verdict,
            findings=findings,
            warnings=self.warnings_,
            configuration="\n".join(f"{name}={value!r}" for name, value in parameters.items()),
            figures=outcome.draw(),
            judged="Validation rows, which also chose the best epoch",
        )

    @property
    def _history(self) -> dict[str, np.ndarray]:
        terms = {name: np.array(values) for name, values in self.history_.items()}
        return {"epoch": np.arange(len(terms[MONITOR])), **terms}

    def _outcome(self) -> Outcome:
        model = self.model_
        rows = {part: _cast(kept, model) for part, kept in getattr(self, "_kept_rows", {}).items()}
        seed, objective = int(model.record["seed"]), recorded_objective(model.record)
        terms = (self.best_nelbo_, self._history, self._best_epoch < 0)
        return Outcome(model, rows, self.n_iter_, seed, objective, *terms)


def _cast(rows: RowStore, model: VAEModel) -> RowStore:
    return RowsInMemory(RowsInMemory.of(rows.batches()).rows.cast(model.vae.output.weight))
