"""The gradient of a training step as one compiled program."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value

from vae_lightning.data.batch import Batch
from vae_lightning.model.program import as_program
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.base import Objective, Weights
from vae_lightning.training.step import Statistics, StepLoss, loss_and_statistics

WORTH_FILLING = 1.5e7
"""Multiply-adds (rows that fill a short batch up, times parameters) that take as long as what an eager step does beside
its arithmetic: about a millisecond."""
DRAW_OR_KEEP = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)


class CompiledGradient:
    """Loss, statistics and gradient of a batch, the same as eager ones within rounding.

    What changes from step to step is given to the program as tensors: the rows, the noise and β. The program is of one
    shape: rows that fill a short batch up repeat its last, and weigh nothing. Clipping and the optimiser's update are
    not in it: torch's fused ones take a third of the time of what the compiler makes of them.

    Args:
        vae: the model.
        objective: what training maximises.
        like: a batch.
        num_rows: of a full batch.
    """

    def __init__(self, vae: VAE, objective: Objective, like: Batch, num_rows: int) -> None:
        self._named = _used_parameters(vae, objective, like)
        self._params = list(self._named.values())
        self._loss = StepLoss(vae, objective)
        self._program = as_program(self._differentiate)
        self._num_rows, self._shapes = num_rows, _shapes(like)
        self._fewest = num_rows - WORTH_FILLING / sum(one.numel() for one in vae.parameters())
        self._of_full_batches = torch.ones(num_rows)
        #: Whether it has been compiled, and has run.
        self.has_run = False

    def fits(self, batch: Batch) -> bool:
        """Whether the program is made for such a batch, and no slower than an eager step where it is a short one."""
        return self._fewest <= batch.num_rows <= self._num_rows and _shapes(batch) == self._shapes

    def __call__(self, batch: Batch, noise: Tensor, weights: Weights) -> Statistics:
        """Leave the gradient with the parameters; arguments as of
        :func:`~vae_lightning.training.step.loss_and_statistics`.
        """
        moving = Weights(*(torch.as_tensor(value, dtype=noise.dtype) for value in weights))
        count = batch.num_rows if batch.weight is None else batch.weight.sum()
        with torch.no_grad():  # else much is kept, as for a second derivative
            gradients, terms, observed, fitted = self._program(*self._fill_up(batch, noise), moving)
        for one, gradient in zip(self._params, gradients, strict=True):
            one.grad = gradient
        self.has_run = True
        return Statistics(terms, count, observed, fitted)

    def _fill_up(self, batch: Batch, noise: Tensor) -> tuple[Batch, Tensor]:
        """A batch with weights, and with as many rows as the program has."""
        if batch.weight is None:
            batch = batch._replace(weight=self._of_full_batches[: batch.num_rows])
        if batch.num_rows == self._num_rows:
            return batch, noise
        index = torch.arange(self._num_rows).clamp_max(batch.num_rows - 1)
        assert batch.weight is not None
        weight = nn.functional.pad(batch.weight, (0, self._num_rows - batch.num_rows))
        return batch.select(index)._replace(weight=weight), noise.index_select(1, index)

    def _differentiate(
        self, batch: Batch, noise: Tensor, weights: Weights
    ) -> tuple[Sequence[Tensor], Tensor, Tensor | None, Tensor | None]:
        def loss_of(values: Sequence[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
            named = {f"vae.{name}": value for name, value in zip(self._named, values, strict=True)}
            found: tuple[Tensor, dict[str, Tensor]] = functional_call(self._loss, named, (batch, noise, weights))
            return found

        gradients, (_, found) = grad_and_value(loss_of, has_aux=True)(self._params)
        return gradients, found["terms"], found.get("observed"), found.get("fitted")


def _used_parameters(vae: VAE, objective: Objective, like: Batch) -> dict[str, nn.Parameter]:
    """Those on which the loss depends: an optimiser passes by what has no gradient at all."""
    named = {name: one for name, one in vae.named_parameters() if one.requires_grad}
    noise = like.x.new_zeros(objective.num_samples, like.num_rows, vae.posterior.noise_size)
    loss, _ = loss_and_statistics(vae, objective, like, noise, Weights())
    gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {name: one for (name, one), found in zip(named.items(), gradients, strict=True) if found is not None}


def _shapes(batch: Batch) -> list[torch.Size | None]:
    """Of a row of each part."""
    return [None if part is None else part.shape[1:] for part in batch]


def reason_for_eager(vae: VAE) -> str | None:
    """Why the steps of a model cannot be compiled; None where they can."""
    if vae.output.weight.device.type != "cpu":
        return "compiled steps have been measured on CPUs only"
    if any(isinstance(one, DRAW_OR_KEEP) for one in vae.modules()):
        return "dropout and batch normalisation draw or keep numbers within a step"
    return None
