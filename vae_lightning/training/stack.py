"""K models of one shape trained as one: their parameters stacked, one step for all of them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.optim import Adam, AdamW, Optimizer

from vae_lightning.console import console
from vae_lightning.data.batch import Batch
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.base import Weights
from vae_lightning.training.step import StepLoss
from vae_lightning.training.work import Work

State = dict[str, Tensor]
WORTH_COMPILING = 20_000
"""Steps, counted for each member, that save as much as the compiler takes: a millisecond each, half a minute in all."""
MOST_COMPILED = 64
"""Kinds of stacks that one process may compile."""


def reason_to_stay_alone(vae: VAE, optimizer: Optimizer, trainer: Trainer) -> str | None:
    """Why a model cannot be trained in a stack; None where it can."""
    group = optimizer.param_groups[0]
    kinds = {type(part) for part in vae.modules()}
    reasons = {
        "dropout draws from a stream of its own": bool(kinds & {nn.Dropout}),
        "batch normalisation looks at a whole batch": bool(kinds & {nn.BatchNorm1d}),
        "the likelihood is fitted in closed form between steps": bool(vae.likelihood.statistics_size),
        "the optimiser is neither Adam nor AdamW": type(optimizer) not in (Adam, AdamW),
        "the optimiser has groups of parameters": len(optimizer.param_groups) > 1,
        "amsgrad or maximize is set": bool(group.get("amsgrad") or group.get("maximize")),
        "gradients are clipped by value": trainer.gradient_clip_algorithm is GradClipAlgorithmType.VALUE,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


class Stack:
    """One program for the steps of K members at once.

    Args:
        first: work of any of the members: their networks differ in numbers only.
        size: K; with fewer members the places that are left repeat the first.
    """

    def __init__(self, first: Work, size: int) -> None:
        self.size = size
        self._loss = StepLoss(first.vae, first.objective)
        self._step: Callable[..., State] = self._eager_step
        group = first.optimizer.param_groups[0]
        self._beta1, self._beta2 = group["betas"]
        self._eps = group["eps"]
        self._is_decoupled = type(first.optimizer) is AdamW
        self._clip = first.clip
        self._tries_to_compile = self._can_be_stacked = True

    def take(self, works: Sequence[Work], ahead: int) -> int:
        """Take as many steps as every one of the works still wants; returns their number.

        Args:
            works: of one kind, K at most.
            ahead: steps that will be wanted in all, counted for each member.
        """
        if self._tries_to_compile and ahead >= WORTH_COMPILING:
            self._compile()
        count = min(work.left for work in works)
        if self._can_be_stacked:
            try:
                self._take_together(works, count)
                return count
            except Exception as error:  # a family of somebody's own may do what no map over members can
                why = str(error).strip().partition("\n")[0]
                console.print(f"Trained one by one, as they cannot be stacked: {type(error).__name__}: {why}")
                self._can_be_stacked = False
        for work in works:
            work.take_alone(count)
        return count

    def _take_together(self, works: Sequence[Work], count: int) -> None:
        members = [*works, *[works[0]] * (self.size - len(works))]
        for work in works:
            _begin_state(work.optimizer)
        names = [name for name, _ in works[0].vae.named_parameters()]
        parameters, first, second = (
            {name: torch.stack([tensors[i] for tensors in columns]) for i, name in enumerate(names)}
            for columns in zip(*(_tensors(work) for work in members), strict=True)
        )
        own = [dict(work.vae.named_buffers()) for work in members]
        buffers = {name: torch.stack([one[name] for one in own]) for name in own[0]}
        inputs = {
            name: torch.stack([work.inputs[name][work.taken : work.taken + count] for work in members], 1)
            for name in works[0].inputs
        }
        sizes = [self._sizes(work, count) for work in members]
        rates = torch.tensor(sizes, dtype=torch.float64).permute(2, 1, 0).to(inputs["noise"])  # (T, 3, K)
        taken = []
        with torch.no_grad():
            for step in range(count):
                batch = {name: value[step] for name, value in inputs.items()}
                taken.append(self._step(parameters, first, second, buffers, batch, rates[step]))
            for place, work in enumerate(works):
                self._hand_back(work, place, (parameters, first, second), count)
                work.terms += [said["terms"][place] for said in taken]
                work.observed += [said["observed"][place] for said in taken if "observed" in said]
                work.taken += count

    def _sizes(self, work: Work, count: int) -> tuple[list[float], list[float], list[float]]:
        """Of each step: ``lr / (1 - β₁ᵗ)``, ``√(1 - β₂ᵗ)``, and what decays the weights."""
        group = work.optimizer.param_groups[0]
        before = int(work.optimizer.state[group["params"][0]]["step"])
        steps = range(before + 1, before + 1 + count)
        lr, decay = float(group["lr"]), float(group["weight_decay"])
        return (
            [lr / (1 - self._beta1**t) for t in steps],
            [(1 - self._beta2**t) ** 0.5 for t in steps],
            [lr * decay if self._is_decoupled else decay] * count,
        )

    def _eager_step(
        self, parameters: State, first: State, second: State, buffers: State, batch: State, rates: Tensor
    ) -> State:
        """Loss, gradients and Adam (Kingma & Ba 2015, algorithm 1) of all members; changes the first three in place."""
        said: State
        gradients, (_, said) = vmap(grad_and_value(self._loss_of, has_aux=True))(parameters, buffers, batch)
        if self._clip:
            gradients = _clip(gradients, self._clip)
        for name, parameter in parameters.items():
            size, root, decay = (rate.view(-1, *[1] * (parameter.dim() - 1)) for rate in rates)
            gradient = gradients[name]
            if self._is_decoupled:
                parameter.mul_(1 - decay)
            else:
                gradient = gradient + decay * parameter
            first[name].lerp_(gradient, 1 - self._beta1)
            second[name].mul_(self._beta2).addcmul_(gradient, gradient, value=1 - self._beta2)
            parameter.sub_(size * first[name] / (second[name].sqrt() / root + self._eps))
        return said

    def _loss_of(self, parameters: State, buffers: State, batch: State) -> tuple[Tensor, State]:
        """Loss and statistics of one member: a method, as annotations of a function in a function would be compiled."""
        state = {f"vae.{name}": value for name, value in {**parameters, **buffers}.items()}
        rows = Batch(batch["x"], batch.get("mask"), batch.get("condition"), batch["weight"])
        found: tuple[Tensor, State] = functional_call(self._loss, state, (rows, batch["noise"], Weights(batch["beta"])))
        return found

    def _compile(self) -> None:
        self._tries_to_compile = False
        torch._dynamo.config.recompile_limit = MOST_COMPILED  # else the ninth would be an error
        eager = self._eager_step
        compiled = torch.compile(eager, fullgraph=True, dynamic=False, options={"cpp_wrapper": True})

        def step(*given: Any) -> State:
            try:
                return compiled(*given)
            except Exception as error:  # no compiler, a home that cannot be written, an operator that it does not know
                why = str(error).strip().partition("\n")[0]
                console.print(f"The stacked step is not compiled: {type(error).__name__}: {why}")
                self._step = eager
                return eager(*given)

        self._step = step

    def _hand_back(self, work: Work, place: int, states: Sequence[State], count: int) -> None:
        for tensors, state in zip(_tensors(work), states, strict=True):
            torch._foreach_copy_(list(tensors), [value[place] for value in state.values()])
        for parameter in work.optimizer.param_groups[0]["params"]:
            work.optimizer.state[parameter]["step"] += count


def _clip(gradients: State, most: float) -> State:
    """Each member's gradients, divided by what the norm of all of them exceeds ``most`` by, as torch does."""
    norm = torch.stack([gradient.flatten(1).square().sum(1) for gradient in gradients.values()]).sum(0).sqrt()
    factor = (most / (norm + 1e-6)).clamp_max(1.0)
    return {name: factor.view(-1, *[1] * (g.dim() - 1)) * g for name, g in gradients.items()}


def _tensors(work: Work) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Parameters and Adam's two moments of a member."""
    parameters = [parameter.detach() for parameter in work.vae.parameters()]
    states = [work.optimizer.state[parameter] for parameter in work.vae.parameters()]
    return parameters, [state["exp_avg"] for state in states], [state["exp_avg_sq"] for state in states]


def _begin_state(optimizer: Optimizer) -> None:
    """What Adam makes at its first step."""
    for parameter in optimizer.param_groups[0]["params"]:
        if not optimizer.state[parameter]:
            zeros = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
            optimizer.state[parameter] = {"step": torch.tensor(0.0, device=parameter.device), **zeros}
