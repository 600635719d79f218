"""`VAEImputer`: empty cells filled by a VAE, as scikit-learn knows imputers."""

from collections.abc import Sequence
from typing import Any, Literal, Self

import pandas as pd
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from vae_lightning.errors import check_parameter, is_count
from vae_lightning.estimator.estimator import RandomState, VAEEstimator, seed_of
from vae_lightning.estimator.rows import Given, TakesHolesMixin, check_rows
from vae_lightning.inference.imputation import NUM_SAMPLES
from vae_lightning.inference.model import VAEModel
from vae_lightning.inference.scoring import NUM_SAMPLES as SCORE_SAMPLES


class VAEImputer(TakesHolesMixin, OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Fills empty cells with what a variational autoencoder makes of the row's other cells.

    A number becomes its conditional mean, a text or one of two values the likeliest one; ``model_.impute(X, draws=10)``
    gives ten completed tables instead (multiple imputation), and the uncertainty of every cell. Observed cells stay as
    they are. A frame may hold texts and dates, too, and gives a frame; columns of texts that are different in every row
    are left alone.

    Args:
        likelihood: p(x|z): ``auto`` for a family for each column, by what it holds, or one for all, as
            :class:`VAEEstimator` has it.
        latent_dim: as :class:`VAEEstimator` has it, and so are all up to ``validation_fraction``.
        hidden_dims: widths of the encoder.
        learning_rate: Adam's greatest step size.
        batch_size: rows per step.
        max_epochs: most passes over the training rows.
        patience: epochs without a lower validation NELBO before training stops.
        validation_fraction: share of the rows that is not trained on but watched.
        num_samples: draws of each cell that its guess is made of.
        accelerator: where it is trained: cpu, gpu or auto.
        random_state: an int makes every fit the same.
        verbose: as :class:`VAEEstimator` has it.

    Attributes:
        estimator_: the fitted :class:`VAEEstimator`.
        model_: its :class:`VAEModel`, in float32.
        n_features_in_: columns C.
        feature_names_in_: their names, where ``fit`` was given a frame with names.

    Source:
        Rezende et al. 2014; Mattei & Frellsen 2018 and 2019 (MIWAE).

    Example:
        >>> import numpy as np
        >>> from vae_lightning import VAEImputer
        >>> z = np.random.default_rng(0).normal(size=(300, 1))
        >>> rows = np.hstack([z, 2 * z, -z]) + 0.1
        >>> rows[0, 1] = np.nan
        >>> imputer = VAEImputer(latent_dim=1, hidden_dims=(), max_epochs=30, random_state=0)
        >>> filled = imputer.fit_transform(rows)
        >>> bool(abs(filled[0, 1] - (2 * z[0, 0] + 0.1)) < 0.2)
        True
    """

    def __init__(
        self,
        likelihood: str = "auto",
        *,
        latent_dim: int | Literal["auto"] = "auto",
        hidden_dims: Sequence[int] = (256, 128),
        learning_rate: float | Literal["auto"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        max_epochs: int | Literal["auto"] = "auto",
        patience: int | Literal["auto"] = "auto",
        validation_fraction: float = 0.1,
        num_samples: int = NUM_SAMPLES,
        accelerator: str = "cpu",
        random_state: RandomState = None,
        verbose: bool | int = True,
    ) -> None:
        self.likelihood = likelihood
        self.latent_dim = latent_dim
        self.hidden_dims = hidden_dims
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.num_samples = num_samples
        self.accelerator = accelerator
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Given, y: object = None) -> Self:
        """Train on rows ``X`` (N, C), some cells of which may be empty; ``y`` is ignored.

        Raises:
            ConfigError: (a ``ValueError``) for a parameter that makes no sense.
            DataError: (a ``ValueError``) for rows outside the likelihood's support, or a column without any value.
        """
        legal = is_count(self.num_samples)
        check_parameter("VAEImputer", "num_samples", legal, "a whole number from 1 on", self.num_samples)
        self._seed = seed_of(self.random_state)
        parameters = {**self.get_params(deep=False), "random_state": self._seed, "num_samples": SCORE_SAMPLES}
        check_rows(self, X, self.likelihood, reset=True)
        self.estimator_ = VAEEstimator(**parameters).fit(X)
        # Draws do not need the digits, and take half the time.
        self.model_: VAEModel = self.estimator_.model_.float()
        return self

    def transform(self, X: Given) -> Any:
        """``X`` (N, C) with its empty cells filled: a frame for a frame, else an array.

        The same rows are filled alike every time.
        """
        check_is_fitted(self)
        rows = check_rows(self, X, self.likelihood, reset=False)
        if not isinstance(X, pd.DataFrame):
            return self.model_.impute(rows, num_samples=self.num_samples, seed=self._seed)
        return self.model_.impute(X, num_samples=self.num_samples, seed=self._seed)
