"""Steps that a member of a stack wants taken, with everything that they depend on."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from vae_lightning.data.batch import Batch
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.base import Objective, Weights
from vae_lightning.training.step import Statistics, differentiate

OWN = {
    "seed": (),
    "data": (),
    "scheduler": (),
    "preprocess": (),
    "optimizer": ("lr", "weight_decay"),
    "objective": ("beta", "warmup", "warmup_epochs"),
    "likelihood": ("scale",),
}
"""What each member of a stack may have of its own: whole groups of settings, or some of their settings."""


@dataclass(eq=False)
class Work:
    """Steps that a member wants taken: T batches of at most B rows, with everything that they depend on.

    Args:
        vae: the member's network; its parameters are what is trained.
        objective: what training maximises.
        optimizer: Adam or AdamW over the parameters.
        record: the settings that the model was made with.
        batches: in their order.
        noise: of each batch, (S, rows, N).
        betas: the weight of the KL at each step.
        clip: the norm that a gradient may have; 0 for any.
        width: B, rows of the widest batch that may come.
        ahead: steps that will be wanted in all, this work included; where that is not known, these; 0 where nothing is
            to be compiled for them.
    """

    vae: VAE
    objective: Objective
    optimizer: Optimizer
    record: dict[str, Any]
    batches: Sequence[Batch]
    noise: Sequence[Tensor]
    betas: Sequence[float]
    clip: float
    width: int
    ahead: int
    taken: int = 0
    terms: list[Tensor] = field(default_factory=list)
    observed: list[Tensor] = field(default_factory=list)

    @property
    def left(self) -> int:
        """Steps that have not been taken."""
        return len(self.batches) - self.taken

    @property
    def statistics(self) -> list[Statistics]:
        """What the steps say of themselves."""
        observed: Sequence[Tensor | None] = self.observed or [None] * len(self.terms)
        weights = [float(b.num_rows) if b.weight is None else b.weight.sum() for b in self.batches]
        return [Statistics(*step, None) for step in zip(self.terms, weights, observed, strict=True)]

    def take_alone(self, count: int) -> None:
        """Take the next steps by itself, as a run that stands alone does."""
        for step in range(self.taken, self.taken + count):
            weights = Weights(self.betas[step])
            self.optimizer.zero_grad()
            said = differentiate(self.vae, self.objective, self.batches[step], self.noise[step], weights)
            if self.clip:
                nn.utils.clip_grad_norm_(self.vae.parameters(), self.clip)
            self.optimizer.step()
            self.terms.append(said.terms)
            self.observed += [] if said.observed is None else [said.observed]
        self.taken += count

    @cached_property
    def kind(self) -> str:
        """The same for all that can be one stack."""
        options = {k: v for k, v in self.optimizer.param_groups[0].items() if k not in ("params", "initial_lr")}
        settings = {**self.record, "optimizer": options, "objective": asdict(self.objective)}
        shared = {
            group: {name: value for name, value in node.items() if name not in OWN.get(group, ())}
            for group, node in settings.items()
            if isinstance(node, dict) and OWN.get(group) != ()
        }
        shapes = [(name, tuple(t.shape), str(t.dtype), str(t.device)) for name, t in self.vae.state_dict().items()]
        first = self.batches[0]
        given = [part is not None for part in first[1:3]]
        classes = [str(type(one)) for one in (self.objective, self.optimizer, self.vae.likelihood)]
        return json.dumps(
            [shared, shapes, classes, given, self.clip, self.width, self.noise[0].shape[::2]], default=str
        )

    @cached_property
    def inputs(self) -> dict[str, Tensor]:
        """The batches as tensors (T, B, ...); rows that fill a short one up repeat its last, and weigh nothing."""
        like = self.noise[0]
        found = {"weight": torch.zeros(len(self.batches), self.width, dtype=like.dtype, device=like.device)}
        for number, batch in enumerate(self.batches):
            found["weight"][number, : batch.num_rows] = 1.0 if batch.weight is None else batch.weight
        for name in ("x", "mask", "condition"):
            if getattr(self.batches[0], name) is not None:
                found[name] = torch.stack([self._fill_up(getattr(batch, name)) for batch in self.batches])
        found["noise"] = torch.stack([self._fill_up(one.transpose(0, 1)).transpose(0, 1) for one in self.noise])
        found["beta"] = torch.tensor(self.betas, dtype=like.dtype, device=like.device)
        return found

    def _fill_up(self, rows: Tensor) -> Tensor:
        return rows if len(rows) == self.width else rows[torch.arange(self.width).clamp_max(len(rows) - 1)]
