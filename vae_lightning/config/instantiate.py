"""From a configuration node to the object it names: every key is checked against the constructor's signature.

The yaml files hold only what differs from the constructors' defaults, so the signatures are what is legal. A node is
plain values. It names a class of this package's families by ``name``, any other by ``_target_``.
"""

import enum
import importlib
import inspect
import os
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from vae_lightning.errors import ConfigError, UserError, check_parameter, suggest

TARGET = "_target_"
Node = Mapping[str, Any]


def import_class(node: Node, path: str) -> Callable[..., Any]:
    """The class or function that ``node["_target_"]`` names.

    Args:
        node: a node.
        path: where it stands in the configuration, for messages.

    Raises:
        ConfigError: when it names none, or one that cannot be imported.
    """
    if TARGET not in node:
        raise ConfigError(f"{path} names nothing to build: it has no {TARGET}.")
    module, _, name = str(node[TARGET]).rpartition(".")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{path}.{TARGET}={node[TARGET]} names nothing that can be imported: {error}.") from None
    return found


def arguments_of(node: Node) -> dict[str, Any]:
    """The entries of a node that are its class's arguments."""
    return {key: value for key, value in node.items() if key != TARGET}


def legal_keys(target: Callable[..., Any], given: Iterable[str] = ()) -> list[str]:
    """Names of the parameters of ``target``, less those that the program gives itself."""
    parameters = inspect.signature(target).parameters.values()
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in given]


def with_defaults(arguments: Node, target: Callable[..., Any], given: Iterable[str] = ()) -> dict[str, Any]:
    """``arguments`` with the constructor's plain defaults filled in: a record that later defaults cannot change.

    >>> with_defaults({"b": 3}, lambda a=1, b=2: None)
    {'a': 1, 'b': 3}
    """
    parameters = inspect.signature(target).parameters
    defaults = {name: parameters[name].default for name in legal_keys(target, given)}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in defaults.items()}
    filled = {n: v for n, v in plain.items() if isinstance(v, bool | int | float | str | list | None)}
    return {**filled, **arguments}


def check_arguments(arguments: Node, target: Callable[..., Any], path: str, given: Iterable[str] = ()) -> None:
    """Hold keys and plain values against the constructor.

    Raises:
        ConfigError: for a key that it does not know, naming the nearest one it does, and for a value of another type.
    """
    check_keys(arguments, legal_keys(target, given), path)
    check_types(target, arguments)


def instantiate(node: Node, path: str, /, **given: Any) -> Any:
    """Check a node with a ``_target_`` and build what it describes.

    Args:
        node: its class, and keyword arguments.
        path: where it stands in the configuration, for messages.
        **given: arguments that the program adds.

    Raises:
        ConfigError: for a class that cannot be imported, and for a key or a value that the class refuses.
    """
    target, arguments = import_class(node, path), arguments_of(node)
    check_arguments(arguments, target, path, given)
    return call(target, path, **given, **arguments)


def call(target: Callable[..., Any], path: str, /, *args: Any, **arguments: Any) -> Any:
    """``target(*args, **arguments)``, a refusal told in one sentence instead of a traceback.

    Raises:
        ConfigError: when a TypeError, ValueError, ImportError or Lightning's own misconfiguration error comes back.
    """
    try:
        return target(*args, **arguments)
    except UserError:
        raise
    except Exception as error:
        if (
            isinstance(error, (TypeError, ValueError, ImportError))
            or type(error).__name__ == "MisconfigurationException"
        ):
            raise ConfigError(f"{path} cannot be built as configured: {error}") from error
        raise


def check_keys(keys: Iterable[str], legal: Iterable[str], path: str) -> None:
    """Raises:
    ConfigError: for the first key that is not legal.
    """
    legal = list(legal)
    for key in keys:
        if key not in legal:
            raise ConfigError(f"There is no setting {path}.{key}. {suggest(key, legal)}")


def check_types(target: Callable[..., Any], arguments: Node, owner: str = "") -> None:
    """Hold plain values against the annotations of ``target``, which messages call ``owner`` or by its name.

    Raises:
        ConfigError: for a word where a number belongs, and the like.
    """
    function = target.__init__ if inspect.isclass(target) else target
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError):  # annotations of other packages may refer to names that only their checkers see
        return
    for name, value in arguments.items():
        if name in hints:
            named = owner or getattr(target, "__name__", str(target))
            check_parameter(named, name, _matches(value, hints[name]), _describe(hints[name]), value)


def _matches(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return any(_matches(value, option) for option in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        items = get_args(hint)[0] if get_args(hint) else Any
        return isinstance(value, (list, tuple)) and all(_matches(item, items) for item in value)
    if hint in (int, float):
        return isinstance(value, (int, float) if hint is float else int) and not isinstance(value, bool)
    kind = origin or hint
    if kind is Any or not inspect.isclass(kind) or issubclass(kind, enum.Enum) or getattr(kind, "_is_protocol", False):
        return True
    return isinstance(value, kind) or (isinstance(value, str) and issubclass(kind, os.PathLike))


def _describe(hint: Any) -> str:
    """A type in words."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(option) for option in get_args(hint))
    if origin is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        return f"a list, each item {_describe(get_args(hint)[0])}"
    names = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "text",
        dict: "a dictionary",
        type(None): "null",
    }
    return names.get(origin or hint, getattr(hint, "__name__", str(hint)))
