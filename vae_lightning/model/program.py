"""A method as one compiled program."""

from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

import torch

OPTIONS: dict[str, Any] = {"cpp_wrapper": True, "guard_filter_fn": torch.compiler.skip_all_guards_unsafe}
"""Each call is one call of compiled code, which looks at nothing first: whoever calls sees to it that shapes, and what
the object holds, stay as they were at the first call."""


def as_program(method: Callable[..., Any]) -> Callable[..., Any]:
    """What a bound method does, compiled as a whole at its first call, for the shapes of that call.

    Programs are kept by their code, and nothing looks whether another object's is this one's: so each has its own.
    """
    bound: Any = method
    code = bound.__func__
    own = FunctionType(code.__code__.replace(), code.__globals__, closure=code.__closure__)
    return torch.compile(MethodType(own, bound.__self__), fullgraph=True, dynamic=False, options=OPTIONS)
