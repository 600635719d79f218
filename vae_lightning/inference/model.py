"""A VAE that speaks data units: the network together with its columns and its preprocessing."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vae_lightning.console import log
from vae_lightning.controls.choice import fit_control
from vae_lightning.data.batch import Batch
from vae_lightning.data.columns import Column
from vae_lightning.data.conditions import Conditions
from vae_lightning.data.dates import join_columns
from vae_lightning.data.frames import Data, check_not_empty, from_matrix, to_matrix, wrap_like
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.data.seeds import random_stream
from vae_lightning.data.store import ROWS_AT_ONCE, RowsInMemory
from vae_lightning.errors import ConfigError, check_parameter
from vae_lightning.inference.aggregate import describe_draws
from vae_lightning.inference.evaluating import ReIterable, evaluating
from vae_lightning.inference.evaluation import Evaluation, evaluate
from vae_lightning.inference.filling import FillingMixin
from vae_lightning.inference.importance import log_prob
from vae_lightning.inference.reference import DENSITY, PROBABILITY, ReferenceMeasure
from vae_lightning.inference.sampling import Draws, find_conditions, sample_batches
from vae_lightning.inference.scoring import (
    NUM_SAMPLES,
    SCORE_KINDS,
    Score,
    ScoreKind,
    Scores,
    check_kind,
    noise,
    scores,
)
from vae_lightning.model.parts import BLOCKS, NAME
from vae_lightning.model.vae import VAE

SCORE = "anomaly_score"
KL = "kl"


class VAEModel(FillingMixin):
    """A trained model as its users hold it: data rows in, data rows, codes or nats out.

    Arrays give arrays; data frames give data frames with the same index. A frame's columns are found by name, so
    their order does not matter and other columns may be present. An array's are those of ``input_columns``: rows that
    go in have the conditions too, where there are any; of what comes out only new rows have them.

    Args:
        vae: the network, in model units.
        scaling: the map between data units and model units, fitted on the training rows.
        columns: names and dtypes of the data's columns.
        record: plain values that say how to build this model again, and what it was trained on.
        conditions: what encoder and decoder are told beside a row; None where it is nothing.
    """

    def __init__(
        self,
        vae: VAE,
        scaling: Scaling,
        columns: Sequence[Column],
        record: Mapping[str, Any] | None = None,
        conditions: Conditions | None = None,
    ) -> None:
        super().__init__(vae, scaling, columns, conditions)
        self.record = dict(record or {})
        #: Scores of the validation rows by kind, which :meth:`threshold` takes its quantiles from.
        self.valid_scores: dict[str, np.ndarray] = {}

    def log_abs_det(self, batch: Batch) -> Tensor:
        """log |det du/dx| at each row's observed cells: what its log-density lacks in data units, (B,), float64."""
        return self.log_slopes(batch).sum(-1)

    @property
    def reference_measure(self) -> ReferenceMeasure:
        """What the NELBO is stated against: two that differ in it cannot be compared, even on the same rows.

        A density is stated in data units, so every invertible scaling gives the same. A probability is that of the
        rows as the model sees them, and where they are made into bits, so is a density.
        """
        kinds = sorted({DENSITY if one else PROBABILITY for one in self.vae.likelihood.density_columns.tolist()})
        in_data_units = kinds == [DENSITY] and self.scaling.is_invertible
        return ReferenceMeasure(" and ".join(kinds), None if in_data_units else self.scaling.description)

    def loss_floor(self) -> float:
        """The least NELBO any parameters can reach, nats per row in data units: -sum(max_log_prob + max_log_slopes)."""
        slopes = self._of_densities(self.scaling.max_log_slopes())
        return -float(self.vae.likelihood.max_log_prob().sum()) - float(slopes.sum())

    @evaluating
    def encode(self, rows: Data, return_std: bool = False) -> Data | tuple[Data, Data]:
        """Posterior means of ``rows`` (N, C), shape (N, L); with ``return_std`` also standard deviations.

        Raises:
            DataError: when columns are missing, values are not finite numbers or lie outside the support.
        """
        posteriors = [self.vae.encode(u) for u in self._batches(rows)]
        names = [column.name for column in self._code_columns()]
        loc = wrap_like(rows, torch.cat([p.mean for p in posteriors]), names)
        if not return_std:
            return loc
        return loc, wrap_like(rows, torch.cat([p.stddev for p in posteriors]), names)

    @evaluating
    def reconstruct(self, rows: Data, mean: bool = False) -> Data:
        """The decoder's mean at each row's posterior mean, (N, C), data units; of ``gaussianize`` its median.

        Args:
            rows: (N, C).
            mean: give a frame's columns of whole numbers or truth values as fractions, not in their own dtype.

        Raises:
            DataError: as :meth:`encode`.
        """
        means = torch.cat([self.vae.reconstruct(u) for u in self._batches(rows)])
        values = self.scaling.inverse(means)
        if not isinstance(rows, pd.DataFrame):
            return wrap_like(rows, values, [column.name for column in self.columns])
        labels = {str(label): label for label in rows.columns}  # numbers, where the frame calls its columns so
        table = join_columns(self.columns)
        given = [rows[labels[column.name]].dtype for column in table]
        # Dates that are given as texts are no texts, and no numbers of days either.
        given = [c.dtype if c.is_date and one.kind != "M" else one for c, one in zip(table, given, strict=True)]
        dtypes = [np.dtype(np.float64)] * len(given) if mean else given
        again = from_matrix(values.cpu().numpy(), self.columns, rows.index, dtypes)
        return again.set_axis([labels[column.name] for column in table], axis=1)

    @evaluating
    def decode(self, codes: Data, where: Mapping[str, Any] | None = None) -> Data:
        """The decoder's mean at latent points ``codes`` (N, L) such as :meth:`encode` gives; (N, C), data units.

        Args:
            codes: (N, L).
            where: values of condition columns; the others are those that most training rows have that share these.

        Raises:
            DataError: when they have another shape, lack a dimension, or are not finite numbers.
        """
        points = to_matrix(codes, self._code_columns(), "latent dimension", holes=False)
        z = torch.from_numpy(points).to(self.vae.output.weight)
        told = None if self.conditions is None else self.conditions.commonest(find_conditions(self, where or {}))
        condition = self.tell(told)
        means = torch.cat([self.vae.decode(part, condition).point for part in z.split(ROWS_AT_ONCE)])
        return wrap_like(codes, self.scaling.inverse(means), [column.name for column in self.columns])

    def sample(
        self,
        num_rows: int,
        seed: int | None = None,
        mean: bool = False,
        temperature: float = 1.0,
        prior: bool = False,
        where: Mapping[str, Any] | None = None,
        given: Mapping[str, Any] | None = None,
    ) -> pd.DataFrame:
        """New rows: draws from p(x|z), with the data's column names and dtypes, conditions included.

        z comes from ``aggregate_posterior``, the mixture of normals that was fitted to the codes of the training rows
        when training had ended: a decoder knows the places where these lie. Where there is none, z comes from the
        prior. Only draws are made so: ELBO, KL and log p(x) are those of the model with its prior.

        Args:
            num_rows: how many.
            seed: the same seed gives the same rows; without one they follow torch's global random stream.
            mean: give the means of p(x|z) instead of draws, medians for ``gaussianize``; they vary too little to pass
                for data.
            temperature: standard deviations of z are multiplied by it; 1 is the model, less stays nearer to typical
                rows.
            prior: draw z from the prior in any case.
            where: values of condition columns. The other conditions are drawn as the training rows have them that
                share these.
            given: values of modelled columns: rows that have them, by importance resampling (see
                :mod:`vae_lightning.inference.given`); the log tells the effective sample size.

        Raises:
            ConfigError: when ``num_rows`` is below 1 or ``temperature`` below 0.
            DataError: for columns and values that the model does not know, or cells that it makes too unlikely.
        """
        draws = Draws(seed, mean, temperature, prior, where or {}, given or {})
        return pd.concat(list(sample_batches(self, num_rows, draws, log.info)), ignore_index=True)

    @evaluating
    def log_prob(self, rows: Data, num_samples: int = 1000, seed: int = 0) -> np.ndarray | pd.Series:
        """Importance-sampled log p(x) of each row, nats, data units, shape (N,); see :func:`estimate.log_prob`.

        Raises:
            DataError: as :meth:`encode`.
            ConfigError: when ``num_samples`` is below 1.
        """
        check_not_empty(rows)
        with random_stream(seed):
            found = [(log_prob(self.vae, u, num_samples).log_prob, self.log_abs_det(u)) for u in self._batches(rows)]
        values = torch.cat([part.double() + gained for part, gained in found]).cpu().numpy()
        return pd.Series(values, index=rows.index, name="log_prob") if isinstance(rows, pd.DataFrame) else values

    @evaluating
    def score(
        self, rows: Data, kind: ScoreKind = "elbo", num_samples: int = NUM_SAMPLES, seed: int = 0
    ) -> np.ndarray | pd.Series:
        """How unusual each row is, nats in data units, shape (N,): higher is more anomalous.

        Args:
            rows: (N, C).
            kind: ``elbo``, -ELBO(x); ``nll``, the importance-sampled -log p(x); ``reconstruction``, -E_q[log p(x|z)].
            num_samples: draws of z, the same for every row, so that a row's score depends on that row alone.
            seed: of those draws.

        Raises:
            DataError: as :meth:`encode`.
            ConfigError: for another ``kind``, or ``num_samples`` below 1.
        """
        check_kind(kind)
        parts = self._scores(rows, num_samples, seed)
        total = torch.cat([part.of(kind).total for part in parts]).cpu().numpy()
        return pd.Series(total, index=rows.index, name=SCORE) if isinstance(rows, pd.DataFrame) else total

    @evaluating
    def score_by_column(
        self, rows: Data, kind: ScoreKind = "elbo", num_samples: int = NUM_SAMPLES, seed: int = 0
    ) -> pd.DataFrame:
        """What each score is made of: ``anomaly_score`` = ``kl`` + the sum of ``nats_NAME`` over the columns.

        Arguments and errors as :meth:`score`. For ``nll`` the parts are those of the true posterior p(z|x); for
        ``reconstruction`` there is no ``kl``.
        """
        check_kind(kind)
        found = [part.of(kind) for part in self._scores(rows, num_samples, seed)]
        score = Score(*(torch.cat(part) for part in zip(*found, strict=True)))
        parts = {SCORE: score.total, **({} if kind == "reconstruction" else {KL: score.kl})}
        index = rows.index if isinstance(rows, pd.DataFrame) else None
        whole = pd.DataFrame({name: part.cpu().numpy() for name, part in parts.items()}, index=index)
        names = [f"nats_{column.name}" for column in self.columns]
        return pd.concat([whole, pd.DataFrame(score.by_column.cpu().numpy(), index=index, columns=names)], axis=1)

    @evaluating
    def calibrate(self, rows: Data) -> Self:
        """Keep the scores of rows that the model was not trained on, for :meth:`threshold`; a finished run has them.

        Raises:
            DataError: as :meth:`encode`.
        """
        totals = [[part.of(kind).total for kind in SCORE_KINDS] for part in self._scores(rows, NUM_SAMPLES, 0)]
        columns = zip(SCORE_KINDS, zip(*totals, strict=True), strict=True)
        self.valid_scores = {kind: torch.cat(total).cpu().numpy() for kind, total in columns}
        return self

    def threshold(self, quantile: float = 0.99, kind: ScoreKind = "elbo") -> float:
        """The score that a share ``quantile`` of the validation rows do not exceed.

        Raises:
            ConfigError: for a quantile outside (0, 1), another ``kind``, or a model without validation scores.
        """
        check_kind(kind, "threshold")
        check_parameter("threshold", "quantile", 0 < quantile < 1, "between 0 and 1", quantile)
        if kind not in self.valid_scores:
            raise ConfigError(
                "This model has no validation scores to take a quantile of: its run has not finished, or is older than "
                "they are. In Python, calibrate(rows) takes them from rows not trained on."
            )
        return float(np.quantile(self.valid_scores[kind], quantile))

    @evaluating
    def evaluate(
        self,
        rows: Data | Iterable[Data],
        training_rows: Data | None = None,
        num_samples: int = 1000,
        seed: int = 0,
        progress: Callable[[int], None] | None = None,
        valid_rows: Data | None = None,
    ) -> Evaluation:
        """The numbers of the test table for ``rows``, which may also come as batches that can be gone through again.

        Args:
            rows: (N, C).
            training_rows: what the baseline and the control are fitted to; without them there is neither.
            num_samples: importance samples per row.
            seed: the same seed gives the same numbers.
            progress: called with the number of rows just finished.
            valid_rows: what chooses among the controls; by default some of the training rows.

        Raises:
            DataError: as :meth:`encode`.
            ConfigError: when ``num_samples`` is below 1.
        """
        if isinstance(rows, np.ndarray | pd.DataFrame):
            check_not_empty(rows)
        batches = self.batches([rows] if isinstance(rows, np.ndarray | pd.DataFrame) else rows)
        trained, valid = (
            None if part is None else RowsInMemory(self.model_units(part)) for part in (training_rows, valid_rows)
        )
        vae, control = self.vae, None
        if trained is not None:
            control = fit_control(vae.likelihood, trained, valid, vae.latent_dim, vae.exposed)
        return evaluate(vae, batches, trained, num_samples, seed, self.log_slopes, progress, control)

    def batches(self, parts: Iterable[Any]) -> Iterable[Batch]:
        """``parts``, each (N, C) in data units, as batches in model units; where they begin anew, so do the batches."""
        return ReIterable(lambda: (batch for rows in parts for batch in self._batches(rows)))

    def info(self) -> dict[str, Any]:
        """What this model is, and what it was trained on: plain values by name."""
        data, options = self.record.get("data", {}), self.record.get("model", {})
        return {
            "data": data.get("name"),
            "source": data.get("source"),
            "columns": [column.name for column in join_columns(self.columns)],
            "condition": [] if self.conditions is None else self.conditions.names,
            "preprocess": self.scaling.words,
            "likelihood": self.vae.likelihood.words,
            "likelihood options": {
                k: v for k, v in self.record.get("likelihood", {}).items() if k not in (NAME, BLOCKS)
            },
            "choices": data.get("choices"),
            "network": {name: options[name] for name in ("hidden_dims", "activation", "dropout") if name in options},
            "latent dimensions": self.vae.latent_dim,
            "parameters": sum(p.numel() for p in self.vae.parameters()),
            "objective": self.record.get("objective"),
            "seed": self.record.get("seed"),
            "draws": describe_draws(self.aggregate_posterior),
            "reference measure": str(self.reference_measure),
            "least NELBO": self.loss_floor() + 0.0,
        }

    def _scores(self, rows: Data, num_samples: int, seed: int) -> Iterator[Scores]:
        """A batch at a time: what each column adds to each kind would fill the memory where only sums are wanted."""
        check_not_empty(rows)
        draws = noise(self.vae, num_samples, seed)
        return (scores(self.vae, u, draws).shift(self.log_slopes(u)) for u in self._batches(rows))

    def log_slopes(self, batch: Batch) -> Tensor:
        """What each cell's log-density gains from model units to data units, shape (B, C), float64."""
        slopes = self._of_densities(self.scaling.log_slopes(batch.x))
        # What is not observed has no density, and so none to change the units of.
        return slopes if batch.mask is None else torch.where(batch.mask, slopes, 0.0)

    def mean_log_slopes(self) -> Tensor:
        """The mean of :meth:`log_slopes` over the training rows' observed cells, by column, shape (C,), float64."""
        return self._of_densities(self.scaling.mean_log_slopes())

    def _of_densities(self, slopes: Tensor) -> Tensor:
        """A probability does not change with the units."""
        return torch.where(self.vae.likelihood.density_columns.to(slopes.device), slopes, 0.0)

    def _code_columns(self) -> list[Column]:
        return [Column(f"z{i}", "float64") for i in range(self.vae.latent_dim)]

    def _batches(self, rows: Data) -> list[Batch]:
        return self.model_units(rows).split(ROWS_AT_ONCE)
