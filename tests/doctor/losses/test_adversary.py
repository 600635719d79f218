"""Losses written against the doctor rather than for it: the wrong ones are found, the right ones are not accused."""

import importlib.util
from pathlib import Path
from types import ModuleType

from vae_lightning.doctor.losses.cases.recipe import Case
from vae_lightning.doctor.losses.selftest import judge


def _neighbour(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LATER = [_neighbour(f"adversary_{name}") for name in ("second", "third", "fourth")]
RIGHT = {**_neighbour("adversary_right").right(), **{name: parts for one in LATER for name, parts in one.RIGHT.items()}}
WRONG = [*_neighbour("adversary_wrong").wrong(), *(case for one in LATER for case in one.WRONG)]


def test_no_false_alarm() -> None:
    assert judge(Case(name, "", parts) for name, parts in RIGHT.items()).missed == []


def test_the_fault_is_named() -> None:
    assert judge(Case(name, code, parts, tuple(others)) for name, (code, *others), parts in WRONG).missed == []
