"""The protocol of sources: where rows come from."""

from abc import ABC, abstractmethod
from collections.abc import Collection

from vae_lightning.data.dataset import Dataset
from vae_lightning.likelihoods.family import Family


class Source(Family, ABC):
    """Something that a data set can be loaded from.

    Its constructor's arguments are plain values: with the source's name they are what a checkpoint records of the rows.
    """

    @abstractmethod
    def load(self) -> Dataset:
        """Read the rows, split them, and check everything that does not depend on a model.

        Raises:
            DataError: The data cannot be used; the message says what to do.
        """

    def load_mixed(self, *, whole: Collection[str] = ()) -> Dataset:  # noqa: ARG002 - most have no dates
        """As :meth:`load`, for models of columns of any kind: texts and dates are columns, too, where there are any.

        Args:
            whole: names of columns of dates that stay one number of days.

        Raises:
            DataError: as :meth:`load`.
        """
        return self.load()
