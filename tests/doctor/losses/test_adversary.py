"""Losses written against the doctor rather than for it: the wrong ones are found, the right ones are not accused."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from vae_lightning.doctor import diagnose


def _neighbour(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SECOND, THIRD = _neighbour("adversary_second"), _neighbour("adversary_third")
RIGHT = {**_neighbour("adversary_right").right(), **SECOND.RIGHT, **THIRD.RIGHT}
WRONG = [*_neighbour("adversary_wrong").wrong(), *SECOND.WRONG, *THIRD.WRONG]


@pytest.mark.parametrize("name", RIGHT)
def test_no_false_alarm(name: str) -> None:
    report = diagnose(**RIGHT[name])
    assert report.ok, str(report)


@pytest.mark.parametrize(("name", "codes", "parts"), WRONG, ids=[name for name, _, _ in WRONG])
def test_the_fault_is_named(name: str, codes: set[str], parts: dict) -> None:
    assert codes & set(diagnose(**parts).codes), name
