"""Every public case is found with its code, every "asker was wrong" case is silent."""

import random

import pytest

from vae_lightning.doctor import CODES, diagnose
from vae_lightning.doctor.losses.cases.base import Case
from vae_lightning.doctor.losses.cases.generate import MUTATIONS, correct_case, wrong_case
from vae_lightning.doctor.losses.cases.question import FAULTS, VERSIONS, keras_version, numpy_version, torch_version
from vae_lightning.doctor.losses.cases.silent import silent_cases
from vae_lightning.doctor.losses.cases.wrong import wrong_cases


@pytest.mark.parametrize("case", wrong_cases(), ids=lambda case: case.name)
def test_public_wrong_loss_is_found(case: Case) -> None:
    assert case.code in diagnose(**case.parts).codes


@pytest.mark.parametrize("case", silent_cases(), ids=lambda case: case.name)
def test_correct_loss_is_not_accused(case: Case) -> None:
    report = diagnose(**case.parts)
    assert report.ok, str(report)
    assert report.measured


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("written", [torch_version, numpy_version, keras_version], ids=["torch", "numpy", "keras"])
def test_the_question_is_answered_exactly(version, written) -> None:
    if written is keras_version:
        pytest.importorskip("keras", reason="Keras is not installed")
    assert set(diagnose(**written(version)).codes) == set(FAULTS[version])


def test_every_kind_of_error_has_a_public_case() -> None:
    # What only a curve, only data or only a misbehaving function can show has its own tests.
    elsewhere = {
        "BELOW-FLOOR",
        "RUNAWAY",
        "COLLAPSE",
        "DIVERGED",
        "SUPPORT",
        "COLUMNS",
        "DEGENERATE",
        "DATA",
        "BASELINE",
        "AT-FLOOR",
        "AT-BOUND",
        "RUN",
        "RAISES",
        "NOT-FINITE",
        "SHAPE",
        "UNSEEDED",
        "MUTATES",
        "SLOW",
        "NOTHING",
    }
    assert {case.code for case in wrong_cases()} == set(CODES) - elsewhere


def test_random_correct_losses_are_silent() -> None:
    chance = random.Random(20)
    accused = [case.name for case in (correct_case(chance) for _ in range(40)) if not diagnose(**case.parts).ok]
    assert accused == []


def test_random_wrong_losses_are_found() -> None:
    chance = random.Random(21)
    cases = [wrong_case(chance) for _ in range(40)]
    missed = [case.name for case in cases if case.code not in diagnose(**case.parts).codes]
    assert len(missed) <= 0.05 * len(cases), missed


@pytest.mark.parametrize("name", MUTATIONS)
def test_every_mutation_carries_a_known_code(name: str) -> None:
    assert MUTATIONS[name][0] in CODES
