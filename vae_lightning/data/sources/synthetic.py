"""Rows from a linear-Gaussian model, whose exact log-density is known."""

import numpy as np

from vae_lightning.data.columns import Column
from vae_lightning.data.dataset import Dataset, Rows
from vae_lightning.data.sources.base import Source
from vae_lightning.data.split import check_count, check_seed, split_rows
from vae_lightning.errors import DataError


class LinearGaussian(Source):
    r"""Rows :math:`x = W z + \mu + s \epsilon` with standard normal z and :math:`\epsilon`.

    Hence :math:`x \sim N(\mu, W W^T + s^2 I)`.
    A Gaussian VAE with linear networks can match it exactly, so its loss can be held against the truth.

    Args:
        num_rows: Rows in all three parts together.
        num_columns: C.
        latent_dim: L, the number of factors behind the columns.
        noise_scale: s, the standard deviation of the noise.
        valid_fraction: The share of the rows that becomes the validation part.
        test_fraction: The share of the rows that becomes the test part.
        seed: Of the truth, the rows and the split.

    Attributes:
        weight: W, shape ``(C, L)``.
        mean: The mean of the rows, shape ``(C,)``.

    Raises:
        DataError: A size below 1, or a noise scale that is not positive.

    Example:
        >>> source = LinearGaussian(num_rows=100, num_columns=4, latent_dim=2)
        >>> data = source.load()
        >>> source.log_prob(data.test.x).shape
        (20,)
    """

    def __init__(
        self,
        *,
        num_rows: int = 5000,
        num_columns: int = 10,
        latent_dim: int = 3,
        noise_scale: float = 0.5,
        valid_fraction: float = 0.1,
        test_fraction: float = 0.2,
        seed: int = 0,
    ) -> None:
        for name, value in (("num_rows", num_rows), ("num_columns", num_columns), ("latent_dim", latent_dim)):
            check_count("LinearGaussian", name, value)
        check_seed(seed)
        if not 0 < noise_scale < float("inf"):
            raise DataError(
                f"The 'noise_scale' parameter of LinearGaussian must be positive. Got {noise_scale!r} instead."
            )
        self.num_rows = num_rows
        self.noise_scale = float(noise_scale)
        self.valid_fraction = valid_fraction
        self.test_fraction = test_fraction
        self.seed = seed
        truth = np.random.default_rng([seed, 0])
        self.weight = truth.normal(size=(num_columns, latent_dim))
        self.mean = truth.normal(size=num_columns)

    def load(self) -> Dataset:
        """Columns ``x0``, ``x1`` ...; the same rows for the same arguments.

        Raises:
            DataError: Fractions that leave a part empty.
        """
        num_columns, latent_dim = self.weight.shape
        draws = np.random.default_rng([self.seed, 1])
        z = draws.normal(size=(self.num_rows, latent_dim))
        x = z @ self.weight.T + self.mean + self.noise_scale * draws.normal(size=(self.num_rows, num_columns))
        train, valid, test = split_rows(Rows(x), self.valid_fraction, self.test_fraction, self.seed)
        columns = tuple(Column(f"x{index}", "float64") for index in range(num_columns))
        return Dataset(name="synthetic", columns=columns, train=train, valid=valid, test=test)

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """The exact log-density of each row, shape ``(N,)``, in nats, for ``x`` of shape ``(N, C)``."""
        num_columns = len(self.mean)
        covariance = self.weight @ self.weight.T + self.noise_scale**2 * np.eye(num_columns)
        factor = np.linalg.cholesky(covariance)
        white = np.linalg.solve(factor, (np.asarray(x, dtype=np.float64) - self.mean).T)
        log_det = 2 * np.log(np.diag(factor)).sum()
        return -0.5 * ((white**2).sum(axis=0) + log_det + num_columns * np.log(2 * np.pi))
