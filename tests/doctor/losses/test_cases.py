"""Every public case is found with its code, every "asker was wrong" case is silent."""

import random

import pytest

from vae_lightning.doctor import CODES, diagnose
from vae_lightning.doctor.losses.cases.generate import MUTATIONS, draw_correct_case, draw_wrong_case
from vae_lightning.doctor.losses.cases.question import FAULTS, write_version
from vae_lightning.doctor.losses.cases.silent import silent_cases
from vae_lightning.doctor.losses.cases.wrong import wrong_cases
from vae_lightning.doctor.losses.selftest import judge


def test_public_wrong_losses_are_found() -> None:
    # The question's versions have their own test, which asks for more.
    assert judge(case for case in wrong_cases() if not case.name.endswith((" in torch", " in numpy"))).missed == []


def test_correct_losses_are_not_accused() -> None:
    reports = {case.name: diagnose(**case.parts) for case in silent_cases()}
    assert not {name: str(report) for name, report in reports.items() if not (report.ok and report.measured)}


@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_the_question_is_answered_exactly(library) -> None:
    found = {version: set(diagnose(**write_version(version, library)).codes) for version in FAULTS}
    assert found == {version: set(codes) for version, codes in FAULTS.items()}


def test_every_kind_of_error_has_a_public_case() -> None:
    # What only a curve, only data, only a trained model or only a misbehaving function can show has its own tests.
    elsewhere = """
        BELOW-FLOOR RUNAWAY COLLAPSE DIVERGED SUPPORT COLUMNS DEGENERATE DATA BASELINE AT-FLOOR AT-BOUND RUN
        RAISES NOT-FINITE SHAPE UNSEEDED MUTATES SLOW NOTHING
        VARIANCE LINEAR UNDERTRAINED SENTINEL SEPARATOR OUTLIER DUPLICATES COUNTER HOLES
    """
    assert {case.code for case in wrong_cases()} == set(CODES) - set(elsewhere.split())


def test_random_correct_losses_are_silent() -> None:
    rng = random.Random(20)
    assert judge(draw_correct_case(rng) for _ in range(40)).missed == []


def test_random_wrong_losses_are_found() -> None:
    rng = random.Random(21)
    score = judge(draw_wrong_case(rng) for _ in range(40))
    assert len(score.missed) <= 0.05 * score.count, score.missed


def test_every_mutation_carries_a_known_code() -> None:
    assert {code for code, _ in MUTATIONS.values()} <= set(CODES)
