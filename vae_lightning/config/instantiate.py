"""From a configuration node to the object it names: every key is checked against the constructor's signature.

The yaml files hold only what differs from the constructors' defaults, so the signatures are what is legal.
"""

import functools
import importlib
import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from vae_lightning.errors import ConfigError, UserError, check_parameter, nearest
from vae_lightning.likelihoods.family import Family


def locate(target: str, path: str) -> Callable[..., Any]:
    """Import the class or function that ``target`` names.

    Raises:
        ConfigError: when there is none of that name.
    """
    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{path}._target_={target} names nothing that can be imported: {error}.") from None


def legal_keys(target: Callable[..., Any], given: Iterable[str] = ()) -> list[str]:
    """Names of the parameters of ``target``, less those that the program gives itself."""
    parameters = inspect.signature(target).parameters.values()
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in given]


def completed(node: Mapping[str, Any], target: Callable[..., Any]) -> dict[str, Any]:
    """``node`` with the constructor's plain defaults filled in: a record that later defaults cannot change."""
    parameters = inspect.signature(target).parameters.values()
    defaults = {p.name: list(p.default) if isinstance(p.default, tuple) else p.default for p in parameters}
    plain = (bool, int, float, str, list, type(None))
    return {**{name: value for name, value in defaults.items() if isinstance(value, plain)}, **node}


def construct(node: Mapping[str, Any], path: str, target: Callable[..., Any] | None = None, /, **given: Any) -> Any:
    """Build what ``node`` describes.

    Args:
        node: ``_target_`` (unless ``target`` is passed) and keyword arguments; with ``_partial_`` the result waits for
            more arguments.
        path: where the node stands in the configuration, for messages.
        target: the class, where the program knows it.
        **given: arguments the program adds.

    Raises:
        ConfigError: for a key the constructor does not know, naming the nearest one it does, and for a value it
            refuses.
    """
    waits = target is None and node.get("_partial_")
    target, arguments = checked(node, path, target, given)
    if waits:
        return functools.partial(target, **arguments, **given)
    return called(target, path, **arguments, **given)


def checked(
    node: Mapping[str, Any], path: str, target: Callable[..., Any] | None = None, given: Iterable[str] = ()
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The class a node names and the arguments for it, once keys and plain values are known to be legal.

    Raises:
        ConfigError: as :func:`construct`, but for what only the constructor itself can tell.
    """
    # A class that the program itself chose is always built at once.
    directives = ("_target_",) if target is not None else ("_target_", "_partial_")
    if target is None:
        if "_target_" not in node:
            raise ConfigError(f"{path} names nothing to build: it has no _target_.")
        target = locate(str(node["_target_"]), path)
    arguments = {key: value for key, value in node.items() if key not in directives}
    check_keys(arguments, legal_keys(target, given), path)
    check_types(target, arguments)
    return target, arguments


def checked_part(node: Mapping[str, Any], group: str, base: type[Family], given: Iterable[str]) -> None:
    """Hold a node that names a family of this package against that family's constructor.

    Raises:
        ConfigError: for an unknown name, key or value.
    """
    if "name" not in node:
        raise ConfigError(f"{group} names nothing to build: it has no name. Type {group}=NAME.")
    options = {key: value for key, value in node.items() if key != "name"}
    checked(options, group, base.named(str(node["name"]), group), given)


def called(target: Callable[..., Any], path: str, /, *args: Any, **arguments: Any) -> Any:
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
            raise ConfigError(f"There is no setting {path}.{key}. {nearest(key, legal)}")


def check_types(target: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Hold plain values against the annotations of ``target``.

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
            owner = getattr(target, "__name__", str(target))
            check_parameter(owner, name, _matches(value, hints[name]), _words(hints[name]), value)


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
    if hint in (bool, str, type(None)):
        return isinstance(value, hint)
    return True


def _words(hint: Any) -> str:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_words(option) for option in get_args(hint))
    if origin is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        return f"a list, each item {_words(get_args(hint)[0])}"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
    return names.get(hint, getattr(hint, "__name__", str(hint)))
