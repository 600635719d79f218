"""Binary rows whose columns hang together through a few hidden factors."""

import numpy as np

from vae_lightning.data.columns import Column
from vae_lightning.data.dataset import Dataset, Rows
from vae_lightning.data.sources.base import Source
from vae_lightning.data.split import check_count, check_seed

LOADING_SCALE = 4.0
BIAS_SCALE = 2.0


class CorrelatedBits(Source):
    r"""Rows of bits :math:`x_d = 1[w_d \cdot z + b_d + e > 0]` with :math:`z \sim N(0, I)` and e logistic noise.

    Given the factors z, the columns are independent coins with :math:`p(x_d = 1 | z) = \sigma(w_d \cdot z + b_d)`,
    so a Bernoulli VAE can match the rows; without z, they are correlated. The weight of a column on factor k is normal
    with standard deviation 4 / k, as the factors behind real data also differ in strength, and its bias is normal with
    standard deviation 2.

    By default, independent columns with the training rows' frequencies need 139.9 nats per test row, the truth 69.4.

    Args:
        num_columns: C, the number of bits.
        num_train: Training rows.
        num_valid: Validation rows.
        num_test: Test rows.
        num_factors: Length of z.
        seed: Of the weights and of the rows.

    Attributes:
        weight: Rows :math:`w_d`, shape ``(C, num_factors)``.
        bias: The :math:`b_d`, shape ``(C,)``.

    Raises:
        DataError: A size below 1.
    """

    def __init__(
        self,
        *,
        num_columns: int = 224,
        num_train: int = 3974,
        num_valid: int = 994,
        num_test: int = 994,
        num_factors: int = 8,
        seed: int = 0,
    ) -> None:
        sizes = {"num_columns": num_columns, "num_train": num_train, "num_valid": num_valid, "num_test": num_test}
        for name, value in (*sizes.items(), ("num_factors", num_factors)):
            check_count("CorrelatedBits", name, value)
        check_seed(seed)
        self.num_train = num_train
        self.num_valid = num_valid
        self.num_test = num_test
        self.seed = seed
        truth = np.random.default_rng([seed, 0])
        strength = LOADING_SCALE / np.arange(1, num_factors + 1)
        self.weight = strength * truth.normal(size=(num_columns, num_factors))
        self.bias = truth.normal(scale=BIAS_SCALE, size=num_columns)

    def load(self) -> Dataset:
        """Columns ``bit_0``, ``bit_1`` ... of 0 and 1; the same rows for the same arguments."""
        num_columns, num_factors = self.weight.shape
        draws = np.random.default_rng([self.seed, 1])
        num_rows = self.num_train + self.num_valid + self.num_test
        z = draws.normal(size=(num_rows, num_factors))
        noise = draws.logistic(size=(num_rows, num_columns))
        x = (z @ self.weight.T + self.bias + noise > 0).astype(np.uint8)
        train, valid, test = np.split(x, [self.num_train, self.num_train + self.num_valid])
        return Dataset(
            name="correlated_bits",
            columns=tuple(Column(f"bit_{index}", "uint8") for index in range(num_columns)),
            train=Rows(train),
            valid=Rows(valid),
            test=Rows(test),
            value_range=(0.0, 1.0),
        )
