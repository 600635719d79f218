"""`VAEEstimator`: the VAE as scikit-learn knows estimators, in pipelines, searches and set_output."""

import math
import warnings
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, DensityMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from vae_lightning.config.settings import AUTO
from vae_lightning.data.columns import Column
from vae_lightning.data.dataset import Dataset, Rows
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.data.split import split_off
from vae_lightning.errors import UserError, check_parameter, is_count
from vae_lightning.estimator.advice import as_parameter
from vae_lightning.estimator.directory import DirectoryMixin
from vae_lightning.estimator.pages import PagesMixin
from vae_lightning.estimator.rows import TakesHolesMixin, check_rows, learn_columns, learn_conditions
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.family import Family
from vae_lightning.networks.mlp import ACTIVATIONS
from vae_lightning.objectives.base import Objective
from vae_lightning.posteriors.base import PosteriorFamily
from vae_lightning.priors.base import Prior
from vae_lightning.runs.fitting import fit_in_memory, in_memory
from vae_lightning.runs.loading import describe_epoch

RandomState = int | np.random.RandomState | None
ACCELERATORS = ("cpu", "gpu", "auto")
Part = str | Mapping[str, Any]
"""The name of a family, or a dict of its name and its settings."""
PARTS: dict[str, type[Family]] = {"posterior": PosteriorFamily, "prior": Prior, "objective": Objective}


class VAEEstimator(TakesHolesMixin, PagesMixin, DirectoryMixin, TransformerMixin, DensityMixin, BaseEstimator):
    r"""A variational autoencoder as a scikit-learn transformer, density and anomaly score.

    It maximises the evidence lower bound, in nats per row,

    .. math:: \log p(x) \ge E_{q(z|x)}[\log p(x|z)] - \beta\, KL(q(z|x) \| p(z)), \qquad \beta = 1,

    with the machinery of ``train.py``: preprocessing fitted on the training rows, the loss guard, early stopping on
    the validation NELBO and the weights of its best epoch. Nothing is written to disk, and torch's random stream,
    threads and flags are left as they were. Afterwards rows are encoded and scored in float64 on the CPU.

    A terminal or a notebook shows a bar. An interrupt ends training and keeps what was learned; two at once end the
    program. :meth:`plot` draws the curves, :meth:`report` is the whole page, :meth:`save` and :meth:`load` keep it.

    ``score_samples`` is log p(x), as everywhere in scikit-learn higher for the more normal row: **the anomaly score is
    its negative**, ``-score_samples(X)``.

    Cells may be empty: NaN, None. They count for nothing in the bound, and the encoder is told which they are.

    The defaults are those of ``train.py``; what is ``auto`` follows from the number of rows and columns.

    Args:
        likelihood: p(x|z): ``gaussian`` for real numbers, ``bernoulli`` for 0 and 1 or probabilities,
            ``continuous_bernoulli`` for values in [0, 1], ``poisson`` for counts, ``laplace`` for real numbers with
            outliers, others of docs/settings.md; ``auto`` for a family for each column: of a frame also texts and
            dates.
        likelihood_options: its own settings, such as ``{"variance": "predicted"}``.
        latent_dim: latent dimensions L; ``auto``: as many as there are columns, 64 at most.
        hidden_dims: widths of the encoder, reversed for the decoder; empty makes a linear model.
        activation: relu, leaky_relu, elu, gelu, silu, softplus or tanh; ``auto``: elu for real columns, else relu.
        dropout: probability of zeroing a hidden unit in training.
        condition: names of columns of the frame that are not modelled but told to encoder and decoder, of any kind and
            without empty cells; ``sample(..., where={"batch": 3})`` draws rows for given values of theirs.
        exposure: the name of a column of positive numbers that is not modelled and that the mean of every count is
            proportional to, as an offset in a regression.
        preprocess: none, standardize, gaussianize, minmax or binarize; None lets the likelihood decide (standardize for
            gaussian).
        posterior: q(z|x): a name, or a dict of the name and its settings.
        prior: p(z), likewise: ``standard_normal``, or ``{"name": "mixture", "num_components": 5}``.
        objective: what training maximises, likewise: ``elbo``, or ``iwae``.
        beta: weight of the KL in training, where the objective has one. What is monitored and scored has β = 1
            whatever this is.
        learning_rate: Adam's greatest step size, which falls to 0 along a cosine; ``auto``: 0.005 for values
            from 0 to 1, else 0.002.
        batch_size: rows per step, all of them where there are fewer; ``auto``: a sixteenth of the rows, 16 to 256.
        max_epochs: most passes over the training rows; ``auto``: 4,000 steps, more on large tables.
        patience: epochs without a lower validation NELBO before training stops; ``auto``: a quarter of all.
        validation_fraction: share of the rows that is not trained on but watched.
        num_samples: importance samples of ``score_samples``.
        accelerator: where it is trained: cpu, gpu or auto.
        random_state: an int makes every fit the same; see scikit-learn's glossary.
        verbose: False or 0 for silence; True or 1 for a bar, once training has taken a second, on a terminal or in a
            notebook, nothing elsewhere; 2 for what is done in words, too, wherever the output goes.

    Attributes:
        model_: the trained :class:`VAEModel`, in data units: ``model_.threshold(0.99)`` is the score that 1 % of the
            validation rows exceed, ``model_.score_by_column(rows)`` what each column adds to a score.
        n_features_in_: columns C.
        feature_names_in_: their names, where ``fit`` was given a frame with names.
        n_iter_: epochs trained.
        best_nelbo_: validation NELBO of the weights that are kept, nats per row in data units.
        history_: every epoch's training and validation terms by name, nats per row in data units.
        warnings_: what the loss guard had to say, such as that the posterior collapsed.

    Source:
        Kingma & Welling 2013 (the model); Burda et al. 2015 (the importance-sampled log p).

    Example:
        >>> import numpy as np
        >>> from vae_lightning import VAEEstimator
        >>> draws = np.random.default_rng(0)
        >>> rows = draws.normal(size=(300, 1)) * [1.0, 2.0, -1.0] + 0.1 * draws.normal(size=(300, 3))
        >>> vae = VAEEstimator(latent_dim=1, hidden_dims=(), learning_rate=0.02, max_epochs=30, random_state=0)
        >>> vae = vae.fit(rows)
        >>> vae.transform(rows).shape, vae.inverse_transform(vae.transform(rows)).shape, vae.sample(5).shape
        ((300, 1), (300, 3), (5, 3))
        >>> anomaly = -vae.score_samples([[1.0, 2.0, -1.0], [1.0, -2.0, -1.0]])
        >>> bool(anomaly[0] < vae.model_.threshold(0.99, kind="nll") < anomaly[1])
        True
    """

    def __init__(
        self,
        likelihood: str = "gaussian",
        *,
        likelihood_options: Mapping[str, Any] | None = None,
        latent_dim: int | Literal["auto"] = "auto",
        hidden_dims: Sequence[int] = (256, 128),
        activation: str = "auto",
        dropout: float = 0.0,
        condition: Sequence[str] | str | None = None,
        exposure: str | None = None,
        preprocess: str | None = None,
        posterior: Part = "gaussian",
        prior: Part = "standard_normal",
        objective: Part = "elbo",
        beta: float = 1.0,
        learning_rate: float | Literal["auto"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        max_epochs: int | Literal["auto"] = "auto",
        patience: int | Literal["auto"] = "auto",
        validation_fraction: float = 0.1,
        num_samples: int = 64,
        accelerator: str = "cpu",
        random_state: RandomState = None,
        verbose: bool | int = True,
    ) -> None:
        self.likelihood = likelihood
        self.likelihood_options = likelihood_options
        self.latent_dim = latent_dim
        self.hidden_dims = hidden_dims
        self.activation = activation
        self.dropout = dropout
        self.condition = condition
        self.exposure = exposure
        self.preprocess = preprocess
        self.posterior = posterior
        self.prior = prior
        self.objective = objective
        self.beta = beta
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.num_samples = num_samples
        self.accelerator = accelerator
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: ArrayLike | pd.DataFrame, y: object = None) -> Self:
        """Train on rows ``X`` (N, C) in data units, some of them held out for validation; ``y`` is ignored.

        Raises:
            ConfigError: (a ``ValueError``) for a parameter that makes no sense.
            DataError: (a ``ValueError``) for rows outside the likelihood's support.
            RunError: when the loss broke a law, such as not being finite.
            KeyboardInterrupt: for an interrupt before anything was learned, or the second within three seconds; any
                other one ends training with a ``ConvergenceWarning``, and the best weights so far are the model.
        """
        self._check_parameters()
        rows = check_rows(self, X, self.likelihood, reset=True, told=self._told)
        whole = (self.likelihood_options or {}).get("columns") or ()
        columns, x = learn_columns(rows, X, self._names, whole, self._told)
        seed = seed_of(self.random_state)
        try:
            dataset = self._dataset(x, columns, seed, rows)
            fitted = fit_in_memory(self._config(len(dataset.train), seed), dataset, int(self.verbose))
        except UserError as error:
            raise type(error)(error.worded(as_parameter).removeprefix("data.")) from None
        self.model_, self.history_, self.n_iter_ = fitted.model, fitted.history, fitted.epochs
        self.warnings_ = [notice.worded(as_parameter) for notice in fitted.warnings]
        self.best_nelbo_, self._kept_rows = fitted.best, fitted.rows
        if fitted.interrupted:
            kept = describe_epoch(self._best_epoch)
            said = f"Interrupted after {self.n_iter_} epochs. The best weights so far are kept, those {kept}."
            self.warnings_.append(said)
            warnings.warn(said, ConvergenceWarning, stacklevel=2)
        return self

    def transform(self, X: ArrayLike | pd.DataFrame) -> np.ndarray:
        """The codes of rows ``X`` (N, C): the means of q(z|x), shape (N, L)."""
        rows = self._rows(X)  # before the model is asked for: without a fit there is none
        return np.asarray(self.model_.encode(rows))

    def inverse_transform(self, X: ArrayLike | pd.DataFrame) -> np.ndarray:
        """The means of p(x|z) at codes ``X`` (N, L), shape (N, C), data units.

        Raises:
            DataError: (a ``ValueError``) for codes of another width.
        """
        check_is_fitted(self)
        return np.asarray(self.model_.decode(check_array(X, dtype=np.float64)))

    def score_samples(self, X: ArrayLike | pd.DataFrame) -> np.ndarray:
        """log p(x) of each row of ``X`` (N, C), nats in data units, shape (N,): higher is more normal.

        ``-score_samples(X)`` is the anomaly score. Importance-sampled with ``num_samples`` draws of q(z|x), the same
        for every row, so that a row's score depends on that row alone; low by some nats where they are few.
        """
        rows = self._rows(X)
        return -np.asarray(self.model_.score(rows, kind="nll", num_samples=self.num_samples))

    def score(self, X: ArrayLike | pd.DataFrame, y: object = None) -> float:
        """The mean log p(x) of rows ``X``, nats in data units; ``y`` is ignored."""
        return float(self.score_samples(X).mean())

    def sample(
        self, n_samples: int = 1, random_state: RandomState = None, where: Mapping[str, Any] | None = None
    ) -> np.ndarray | pd.DataFrame:
        """New rows (n_samples, C) in data units: draws from p(x|z), not means; z as for ``VAEModel.sample``.

        Args:
            n_samples: how many.
            random_state: an int makes every call the same.
            where: values of conditions, by name; the others are drawn as the training rows have them.

        Returns:
            A frame with the names and dtypes of the one that ``fit`` was given; an array where it was given an array.

        Raises:
            ConfigError: (a ``ValueError``) when ``n_samples`` is below 1.
            DataError: (a ``ValueError``) for conditions and values of theirs that the model does not know.
        """
        check_is_fitted(self)
        check_parameter("sample", "n_samples", is_count(n_samples), "a whole number from 1 on", n_samples)
        drawn = self.model_.sample(int(n_samples), seed=seed_of(random_state), where=where)
        return drawn if hasattr(self, "feature_names_in_") else drawn.to_numpy()

    def __getstate__(self) -> dict[str, Any]:
        """Without the rows: a pickle is a model, not a table."""
        return {name: value for name, value in super().__getstate__().items() if name != "_kept_rows"}

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Names of the codes: z0, z1, ..., as ``vae-lightning encode`` has them; ``input_features`` is ignored."""
        check_is_fitted(self)
        return np.array([f"z{i}" for i in range(self.model_.vae.latent_dim)], dtype=object)

    def _check_parameters(self) -> None:
        whole = "a whole number from 1 on"
        names, scalings = (*Likelihood.families(), AUTO), tuple(Scaling.families())
        options = self.likelihood_options
        dims = self.hidden_dims
        widths = isinstance(dims, Sequence | np.ndarray) and all(is_count(width) for width in dims)
        legal = {
            "likelihood": (self.likelihood in names, f"one of {', '.join(names)}"),
            "likelihood_options": (
                options is None or (isinstance(options, Mapping) and "name" not in options),
                "a dict of the likelihood's settings or None",
            ),
            "hidden_dims": (widths, "a sequence of whole numbers from 1 on"),
            "activation": (self.activation in (*ACTIVATIONS, AUTO), f"one of {', '.join((*ACTIVATIONS, AUTO))}"),
            "dropout": (_is_number(self.dropout) and 0 <= self.dropout < 1, "at least 0 and below 1"),
            "condition": (_are_names(self.condition), "a name, a sequence of names or None"),
            "exposure": (
                self.exposure is None or (isinstance(self.exposure, str) and self.exposure not in self._told[:-1]),
                "the name of a column that is no condition, or None",
            ),
            "preprocess": (self.preprocess in (None, *scalings), f"one of {', '.join(scalings)} or None"),
            **{
                group: (_name(getattr(self, group)) in base.families(), f"one of {', '.join(base.families())}")
                for group, base in PARTS.items()
            },
            "beta": (_is_number(self.beta) and self.beta >= 0, "at least 0 and finite"),
            "learning_rate": (
                self.learning_rate == AUTO or (_is_number(self.learning_rate) and self.learning_rate > 0),
                f"positive and finite, or {AUTO}",
            ),
            **{
                name: (getattr(self, name) == AUTO or is_count(getattr(self, name)), f"{whole}, or {AUTO}")
                for name in ("latent_dim", "batch_size", "max_epochs", "patience")
            },
            "num_samples": (is_count(self.num_samples), whole),
            "validation_fraction": (
                _is_number(self.validation_fraction) and 0 < self.validation_fraction < 1,
                "above 0 and below 1",
            ),
            "verbose": (isinstance(self.verbose, bool) or is_count(self.verbose, 0), "True, False, 0, 1 or 2"),
            "accelerator": (self.accelerator in ACCELERATORS, f"one of {', '.join(ACCELERATORS)}"),
        }
        for name, (holds, must_be) in legal.items():
            check_parameter("VAEEstimator", name, holds, must_be, getattr(self, name))
        weighted = self._objective_has_beta()
        check_parameter("VAEEstimator", "beta", weighted or self.beta == 1, "1 with this objective", self.beta)

    def _objective_has_beta(self) -> bool:
        return "beta" in Objective.families()[str(_name(self.objective))].__dataclass_fields__

    @property
    def _told(self) -> list[str]:
        """Names of the columns that are not modelled, that of the exposure last."""
        condition = [self.condition] if isinstance(self.condition, str) else list(self.condition or ())
        return condition if self.exposure is None else [*condition, self.exposure]

    def _dataset(self, x: np.ndarray, columns: tuple[Column, ...], seed: int, rows: Any) -> Dataset:
        told = learn_conditions(rows, columns, self._told, self.exposure) if self._told else {}
        given = Rows(x, condition=told.pop("values", None))
        train, valid = split_off(given, float(self.validation_fraction), seed, "valid")
        # Nothing is tested here, and the machinery wants test rows only to look at them.
        return Dataset("the rows given", columns, train, valid, valid, **told)

    def _config(self, num_rows: int, seed: int) -> dict[str, Any]:
        """The configuration that ``train.py`` would compose; numpy's numbers as Python's, as Lightning wants them."""
        weight = {"beta": float(self.beta)} if self._objective_has_beta() else {}
        return {
            "seed": seed,
            "data": {"batch_size": _least(self.batch_size, num_rows), "preprocess": self.preprocess},
            "likelihood": {
                **(self.likelihood_options or {}),
                "name": self.likelihood,
            },
            "model": {
                "latent_dim": _plain(self.latent_dim),
                "hidden_dims": [int(width) for width in self.hidden_dims],
                "activation": self.activation,
                "dropout": float(self.dropout),
            },
            "posterior": _node(self.posterior),
            "prior": _node(self.prior),
            "objective": {**weight, **_node(self.objective)},
            "optimizer": {
                "_target_": "torch.optim.Adam",
                "fused": True,
                "lr": AUTO if self.learning_rate == AUTO else float(self.learning_rate),
            },
            "scheduler": {"_target_": "vae_lightning.Cosine", "epochs": _plain(self.max_epochs)},
            **in_memory(self.accelerator, _plain(self.max_epochs), _plain(self.patience), int(self.verbose)),
        }

    def _rows(self, X: ArrayLike | pd.DataFrame) -> Any:
        check_is_fitted(self)
        return check_rows(self, X, self.likelihood, reset=False, told=self._told)


def _name(part: object) -> object:
    name = part.get("name") if isinstance(part, Mapping) else part
    return name if isinstance(name, str) else None


def _node(part: Part) -> dict[str, Any]:
    return {"name": part} if isinstance(part, str) else dict(part)


def seed_of(random_state: RandomState) -> int:
    """A seed that follows from scikit-learn's ``random_state``."""
    return int(check_random_state(random_state).randint(2**31 - 1))


def _plain(number: int | str) -> int | str:
    """numpy's whole numbers as Python's."""
    return AUTO if number == AUTO else int(number)


def _least(batch_size: int | str, num_rows: int) -> int | str:
    return AUTO if batch_size == AUTO else min(int(batch_size), num_rows)


def _are_names(value: object) -> bool:
    return value is None or (isinstance(value, Sequence) and all(isinstance(one, str) for one in value))


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
