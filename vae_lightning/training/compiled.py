"""A training step as one compiled program: loss, gradient, clipping and the optimiser's update."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import Optimizer

from vae_lightning.data.batch import Batch
from vae_lightning.model.program import as_program
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.base import Objective, Weights
from vae_lightning.training.step import Statistics, StepLoss

WORTH_FILLING = 1.5e7
"""Multiply-adds (rows that fill a short batch up, times parameters) that take as long as what an eager step does beside
its arithmetic: about a millisecond."""
SWITCHES = {"foreach": True, "fused": False, "capturable": True}
"""Of an optimiser, so that its step can be compiled: the learning rate is a tensor then, and may change."""
DRAW_OR_KEEP = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)


class Clip(NamedTuple):
    """The limit of a gradient: of its ``norm``, or of each ``value``."""

    limit: float
    of: str


class CompiledStep:
    """A step, the same as the eager one within rounding.

    What changes from step to step is given to the program as tensors: the rows, the noise, β and the learning rate.
    The optimiser's state stays where it is, so that either way of stepping goes on with what the other left. The
    program is of one shape: rows that fill a short batch up repeat its last, and weigh nothing.

    Args:
        vae: the model.
        objective: what training maximises.
        optimizer: of the weights, which it has stepped once.
        like: a batch.
        num_rows: of a full batch.
        clip: the limit of the gradient; None for no limit.
    """

    def __init__(
        self, vae: VAE, objective: Objective, optimizer: Optimizer, like: Batch, num_rows: int, clip: Clip | None = None
    ) -> None:
        self._optimizer, self._clip = optimizer, clip
        self._named = {name: one for name, one in vae.named_parameters() if one in optimizer.state}
        self._gradients = [torch.zeros_like(one) for one in self._named.values()]
        self._rates = [torch.tensor(float(group["lr"])) for group in optimizer.param_groups]
        self._loss = StepLoss(vae, objective)
        self._update: Callable[[Optimizer], Any] = inspect.unwrap(type(optimizer).step)  # without marks and hooks
        self._program = as_program(self._step)
        self._num_rows, self._shapes = num_rows, _shapes(like)
        self._fewest = num_rows - WORTH_FILLING / sum(one.numel() for one in vae.parameters())
        self._of_full_batches = torch.ones(num_rows)
        #: Whether it has been compiled, and has taken a step.
        self.has_run = False

    def fits(self, batch: Batch) -> bool:
        """Whether the program is made for such a batch, and no slower than an eager step where it is a short one."""
        return self._fewest <= batch.num_rows <= self._num_rows and _shapes(batch) == self._shapes

    def __call__(self, batch: Batch, noise: Tensor, weights: Weights) -> Statistics:
        """Take a step; arguments as of :func:`~vae_lightning.training.step.loss_and_statistics`."""
        moving = Weights(*(torch.as_tensor(value, dtype=noise.dtype) for value in weights))
        count = batch.num_rows if batch.weight is None else batch.weight.sum()
        with self._switched(), torch.no_grad():  # else much is kept, as for a second derivative
            terms, observed, fitted = self._program(*self._fill_up(batch, noise), moving)
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

    @contextmanager
    def _switched(self) -> Iterator[None]:
        groups = self._optimizer.param_groups
        kept = [{name: group[name] for name in ("lr", *SWITCHES)} for group in groups]
        for one, gradient in zip(self._named.values(), self._gradients, strict=True):
            one.grad = gradient
        for group, rate in zip(groups, self._rates, strict=True):
            group.update(SWITCHES, lr=rate.fill_(group["lr"]))
        try:
            yield
        finally:
            for group, own in zip(groups, kept, strict=True):
                group.update(own)

    def _step(self, batch: Batch, noise: Tensor, weights: Weights) -> tuple[Tensor, Tensor | None, Tensor | None]:
        params = list(self._named.values())

        def loss_of(values: Sequence[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
            named = {f"vae.{name}": value for name, value in zip(self._named, values, strict=True)}
            found: tuple[Tensor, dict[str, Tensor]] = functional_call(self._loss, named, (batch, noise, weights))
            return found

        gradients, (_, found) = grad_and_value(loss_of, has_aux=True)(params)
        for one, gradient in zip(params, gradients, strict=True):
            assert one.grad is not None
            one.grad.copy_(gradient)
        if self._clip is not None:
            (clip_grad_norm_ if self._clip.of == "norm" else clip_grad_value_)(params, self._clip.limit)
        self._update(self._optimizer)
        return found["terms"], found.get("observed"), found.get("fitted")


def _shapes(batch: Batch) -> list[torch.Size | None]:
    """Of a row of each part."""
    return [None if part is None else part.shape[1:] for part in batch]


def reason_for_eager(vae: VAE, optimizer: Optimizer) -> str | None:
    """Why the steps of a model cannot be compiled; None where they can."""
    if vae.output.weight.device.type != "cpu":
        return "compiled steps have been measured on CPUs only"
    if any(isinstance(one, DRAW_OR_KEEP) for one in vae.modules()):
        return "dropout and batch normalisation draw or keep numbers within a step"
    if not all({"lr", *SWITCHES} <= group.keys() for group in optimizer.param_groups):
        return f"{type(optimizer).__name__} has no step that can be compiled"
    return None
