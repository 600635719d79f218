"""The 8×8 handwritten digits that ship with scikit-learn."""

from vae_lightning.data.columns import Column, pixel_names
from vae_lightning.data.dataset import Dataset, Rows
from vae_lightning.data.sources.base import Source
from vae_lightning.data.split import split_rows


class Digits(Source):
    """1,797 handwritten digits of 8×8 pixels, grey levels 0 to 16, labelled 0 to 9. Needs no network.

    Args:
        valid_fraction: The share of the rows that becomes the validation part.
        test_fraction: The share of the rows that becomes the test part.
        seed: Which random split.
    """

    def __init__(self, *, valid_fraction: float = 0.1, test_fraction: float = 0.2, seed: int = 0) -> None:
        self.valid_fraction = valid_fraction
        self.test_fraction = test_fraction
        self.seed = seed

    def load(self) -> Dataset:
        """64 columns ``pixel_0_0`` to ``pixel_7_7``.

        Raises:
            DataError: Fractions that leave a part empty.
        """
        from sklearn.datasets import load_digits

        x, labels = load_digits(return_X_y=True)
        train, valid, test = split_rows(Rows(x, labels), self.valid_fraction, self.test_fraction, self.seed)
        return Dataset(
            name="digits",
            columns=tuple(Column(name, str(x.dtype)) for name in pixel_names(8, 8)),
            train=train,
            valid=valid,
            test=test,
            value_range=(0.0, 16.0),
            image_shape=(8, 8),
        )
