"""The protocol of controls: simple models of the same rows that a trained VAE is held against."""

from abc import ABC, abstractmethod

from torch import Tensor

from vae_lightning.data.batch import Batch


class Control(ABC):
    """A model fitted to the training rows, in closed form or nearly so, that scores what a VAE scores.

    Its log-densities are of the same measure as the likelihood's: nats, model units, so that the scaling's
    log-determinant turns both into data units alike.
    """

    @property
    @abstractmethod
    def words(self) -> str:
        """What it is, for tables: ``factor analysis with 16 latent dimensions``."""

    @abstractmethod
    def log_prob(self, batch: Batch) -> Tensor:
        """log p(x) of each row's observed cells, shape (B,), float64."""
