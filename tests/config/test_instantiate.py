"""From a node to an object: what is legal is read off the constructor, and what is not is named."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Optional, Union

import pytest

from vae_lightning.config.instantiate import (
    call,
    check_arguments,
    check_keys,
    check_types,
    import_class,
    instantiate,
    legal_keys,
    with_defaults,
)
from vae_lightning.errors import ConfigError, RunError


class Thing:
    """Takes one of everything."""

    def __init__(
        self,
        size: int,
        rate: float = 0.5,
        kind: Literal["a", "b"] = "a",
        widths: Sequence[int] = (1, 2),
        name: str | None = None,
        flag: bool = False,
        old: Optional[Union[int, str]] = None,  # noqa: UP007, UP045 - as other packages write it
        hook: Callable[[], None] | None = None,
    ) -> None:
        self.given = (size, rate, kind, widths, name, flag, old, hook)


def swallows(size: int = 1, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
    return size, args, kwargs


def node(**arguments: Any) -> dict[str, Any]:
    """A node of ``Thing``."""
    return {"_target_": f"{Thing.__module__}.{Thing.__qualname__}", **arguments}


def refuses(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(("typed", "meant"), [("siz", "size"), ("rates", "rate"), ("widht", "widths")])
def test_a_misspelt_key_fails_and_names_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=rf"There is no setting thing\.{typed}\. Did you mean '{meant}'\?"):
        instantiate(node(**{"size": 1, typed: 1}), "thing")


def test_what_the_program_gives_is_no_setting() -> None:
    assert "size" not in legal_keys(Thing, ["size"])
    with pytest.raises(ConfigError, match=r"no setting thing\.size"):
        instantiate(node(size=1), "thing", size=2)
    assert instantiate(node(), "thing", size=2).given[0] == 2


def test_a_constructor_that_takes_any_keyword_swallows_no_typo() -> None:
    assert legal_keys(swallows) == ["size"]
    with pytest.raises(ConfigError, match="Did you mean 'size'"):
        check_arguments({"sise": 1}, swallows, "thing")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", 3),
        ("rate", 1),
        ("rate", 0.25),
        ("kind", "b"),
        ("widths", []),
        ("widths", [4, 5]),
        ("widths", (4,)),
        ("name", None),
        ("name", "x"),
        ("flag", True),
        ("old", 1),
        ("old", "x"),
        ("old", None),
        ("hook", print),
    ],
)
def test_a_value_of_the_right_kind_is_taken(name: str, value: Any) -> None:
    check_types(Thing, {name: value})


@pytest.mark.parametrize(
    ("name", "value", "must_be"),
    [
        ("size", "3", "a whole number"),
        ("size", 3.0, "a whole number"),
        ("size", True, "a whole number"),
        ("size", None, "a whole number"),
        ("rate", "fast", "a number"),
        ("rate", False, "a number"),
        ("kind", "c", "one of a, b"),
        ("widths", 3, "a list, each item a whole number"),
        ("widths", "34", "a list, each item a whole number"),
        ("widths", [1, "2"], "a list, each item a whole number"),
        ("name", 1, "text or null"),
        ("flag", 1, "true or false"),
        ("flag", "yes", "true or false"),
        ("old", 0.5, "a whole number or text or null"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_in_words(name: str, value: Any, must_be: str) -> None:
    with pytest.raises(ConfigError) as error:
        instantiate(node(**{"size": 1, name: value}), "thing")
    assert str(error.value) == f"The '{name}' parameter of Thing must be {must_be}. Got {value!r} instead."


def test_annotations_that_cannot_be_read_check_nothing() -> None:
    def foreign(size: "NowhereDefined") -> None:  # type: ignore[name-defined]  # noqa: F821
        """Its annotation names what only a type checker sees."""

    check_types(foreign, {"size": "x"})


def test_a_target_is_imported() -> None:
    assert import_class({"_target_": "collections.OrderedDict"}, "thing").__name__ == "OrderedDict"
    assert instantiate({"_target_": "fractions.Fraction", "numerator": 3}, "thing").numerator == 3


@pytest.mark.parametrize("target", ["nowhere.Thing", "collections.Nothing", "word", "", ".", "collections."])
def test_an_unknown_target_is_refused(target: str) -> None:
    with pytest.raises(ConfigError, match=r"thing\._target_=.* names nothing that can be imported"):
        instantiate({"_target_": target}, "thing")


def test_a_node_that_names_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="it has no _target_"):
        instantiate({"size": 1}, "thing")


def test_with_defaults_is_a_record_that_later_defaults_cannot_change() -> None:
    record = with_defaults({"rate": 2}, Thing)
    assert record["rate"] == 2
    assert record["widths"] == [1, 2]
    assert record["kind"] == "a"
    assert record["name"] is None
    assert "size" not in record
    assert "rate" not in with_defaults({}, Thing, ["rate"])


def test_check_keys_accepts_exactly_the_legal() -> None:
    check_keys(["a"], iter(["a", "b"]), "thing")
    with pytest.raises(ConfigError, match=r"thing\.c"):
        check_keys(["a", "c"], iter(["a", "b"]), "thing")


MisconfigurationException = type("MisconfigurationException", (Exception,), {})


@pytest.mark.parametrize("error", [TypeError("no"), ValueError("no"), MisconfigurationException("no")])
def test_a_refusal_by_the_constructor_is_one_sentence(error: Exception) -> None:
    with pytest.raises(ConfigError, match=r"^thing cannot be built as configured: no$"):
        call(refuses, "thing", error)


@pytest.mark.parametrize("error", [KeyError("no"), RuntimeError("no")])
def test_a_crash_is_no_refusal(error: Exception) -> None:
    with pytest.raises(type(error)):
        call(refuses, "thing", error)


@pytest.mark.parametrize("error", [ConfigError("mine"), RunError("mine")])
def test_our_own_messages_are_not_wrapped(error: Exception) -> None:
    with pytest.raises(type(error), match=r"^mine$"):
        call(refuses, "thing", error)


def test_a_missing_argument_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="missing 1 required positional argument: 'size'"):
        instantiate(node(), "thing")


@pytest.mark.parametrize("value", [None, 1, "x", {"a": 1}])
def test_where_anything_is_legal_anything_is_taken(value: Any) -> None:
    """A search could train nothing: Any passes for a class, of which nothing can be an instance."""

    def build(options: Any) -> None: ...

    check_types(build, {"options": value})
