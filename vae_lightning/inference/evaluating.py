"""What every look at a trained model needs: evaluation mode, and rows that can be gone through again."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import nn

P = ParamSpec("P")
R = TypeVar("R")
Module = TypeVar("Module", bound=nn.Module)


def evaluating(method: Callable[Concatenate[Module, P], R]) -> Callable[Concatenate[Module, P], R]:
    """The method in evaluation mode and without gradients: rows are neither dropped out nor counted."""

    @functools.wraps(method)
    def call(self: Module, /, *args: P.args, **kwargs: P.kwargs) -> R:
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                return method(self, *args, **kwargs)
        finally:
            self.train(training)

    return call


class ReIterable:
    """What begins anew whenever it is iterated.

    Args:
        start: gives the iterator.
    """

    def __init__(self, start: Callable[[], Iterator[Any]]) -> None:
        self.start = start

    def __iter__(self) -> Iterator[Any]:
        return self.start()
