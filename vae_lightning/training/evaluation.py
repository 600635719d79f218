"""An evaluation pass: the same noise every time, so that a curve shows the model and not the dice."""

from collections.abc import Iterable

import torch

from vae_lightning.data.batch import Batch
from vae_lightning.data.seeds import random_stream
from vae_lightning.inference.metrics import ELBOMeter
from vae_lightning.model.vae import VAE


class Evaluation:
    """Passes over rows in a random stream of their own, which leaves the one that trains where it was.

    Args:
        vae: the model.
        meter: what adds the passes up.
        seed: of the stream.
    """

    def __init__(self, vae: VAE, meter: ELBOMeter, seed: int) -> None:
        self._vae, self._meter, self._seed = vae, meter, seed

    def begin(self) -> None:
        """Forget what was added, and begin the stream."""
        self._meter.reset()
        self._stream = random_stream(self._seed)
        self._stream.__enter__()

    def add(self, batch: Batch) -> None:
        """Add a batch to the means."""
        terms = self._vae(batch, self._vae.noise(1, batch.num_rows))
        self._meter.update(terms, batch, self._vae.likelihood.at_floor(terms.px))

    def end(self) -> dict[str, float]:
        """Leave the stream; the means, by name."""
        self._stream.__exit__(None, None, None)
        return {name: float(value) for name, value in self._meter.compute().items()}

    @torch.no_grad()
    def of(self, batches: Iterable[Batch]) -> dict[str, float]:
        """The means over all rows of ``batches``."""
        self.begin()
        for batch in batches:
            self.add(batch)
        return self.end()
