"""Adam's step without what torch does around it: profiler marks, hooks, groups sorted by device at every call."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

KERNELS = {Adam: torch._fused_adam_, AdamW: torch._fused_adamw_}


def direct_step(optimizer: Optimizer) -> Callable[[], None] | None:
    """What ``optimizer.step()`` does, bit for bit, at a third of its cost.

    Holds as long as the optimiser's settings and its state's tensors do: ask again at every block of batches.

    Returns:
        The step; None for anything but a plain fused Adam or AdamW of one group that has stepped before.
    """
    hooks = (optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks)
    if type(optimizer) not in KERNELS or any((*hooks, _global_optimizer_pre_hooks, _global_optimizer_post_hooks)):
        return None
    kernel, (group, *others) = KERNELS[type(optimizer)], optimizer.param_groups
    if others or not group["fused"] or group["amsgrad"] or not isinstance(group["lr"], float):
        return None
    state = optimizer.state
    params: list[Tensor] = [one for one in group["params"] if one in state]
    if not params or len({(one.device, one.dtype) for one in params}) > 1:
        return None
    averages, squares, steps = ([state[one][name] for one in params] for name in ("exp_avg", "exp_avg_sq", "step"))
    beta1, beta2 = group["betas"]
    options = {name: group[name] for name in ("lr", "weight_decay", "eps", "maximize")}

    @torch.no_grad()
    def step() -> None:
        gradients: list[Any] = [one.grad for one in params]
        if any(one is None for one in gradients):  # of a weight that this batch did not use
            optimizer.step()
            return
        torch._foreach_add_(steps, 1)
        kernel(params, gradients, averages, squares, [], steps, beta1=beta1, beta2=beta2, amsgrad=False, **options)

    return step
