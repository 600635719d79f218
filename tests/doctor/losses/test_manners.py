"""Functions that misbehave are findings, never crashes."""

import threading
import time

import numpy as np
import pytest
import torch

from vae_lightning.doctor import diagnose
from vae_lightning.doctor.losses.blackbox.deadline import OutOfTimeError, run_within
from vae_lightning.doctor.losses.functions import SECONDS
from vae_lightning.errors import ConfigError


def kl(m, s):
    return 0.5 * (m**2 + s.exp() - 1 - s).sum(1).mean()


def _raise(*_):
    raise RuntimeError("no such thing")


def _exit(*_):
    raise SystemExit(3)


FAILING = {
    "raises": (_raise, "RAISES"),
    "exits": (_exit, "RAISES"),
    "attribute": (lambda m, _s: m.no_such_method(), "RAISES"),
    "none": (lambda _m, _s: None, "SHAPE"),
    "text": (lambda _m, _s: "a word", "SHAPE"),
    "tuple": (lambda m, s: (m, s), "SHAPE"),
    "shape": (lambda _m, _s: torch.full((3, 4), 1.0), "SHAPE"),
    "nan": (lambda m, _s: (m if m.shape[1] == 7 else m[:, 0]) * float("nan"), "NOT-FINITE"),
}


@pytest.mark.parametrize("part", ["kl", "sample", "reconstruction", "loss"])
def test_failure_is_named(part: str) -> None:
    rows, unnamed = np.random.default_rng(0).normal(size=(20, 11)), []
    for name, (function, code) in FAILING.items():
        given = function if part != "loss" else (lambda x, function=function: function(x, x))
        report = diagnose(**{part: given}, data=rows)
        if code not in report.codes or report.exit_status != 2 or not report.to_json():
            unnamed.append(f"{name}: {code} expected, found {report.codes}, exit status {report.exit_status}")
    assert unnamed == []


def test_a_failing_part_does_not_stop_the_others() -> None:
    report = diagnose(kl=lambda m, s: -kl(m, s), sample=_raise)
    assert set(report.codes) == {"RAISES", "SIGN-FLIP"}
    assert report.exit_status == 1


def _forever(*_):
    while True:
        pass


def _asleep(*_):
    time.sleep(60)


@pytest.mark.parametrize("function", [_forever, _asleep])
def test_slow_function_is_given_up(function) -> None:
    start = time.perf_counter()
    report = diagnose(kl=function, seconds=0.1)
    assert report.codes == ("SLOW",)
    assert time.perf_counter() - start < 40  # the sleeper sleeps for 60; a busy machine may be slow itself


def test_endless_loop_is_ended_not_left_running() -> None:
    counter = [0]

    def loop():
        while True:
            counter[0] += 1

    with pytest.raises(OutOfTimeError):
        run_within(loop, 0.2)
    seen, give_up = -1, time.monotonic() + 30
    while counter[0] != seen and time.monotonic() < give_up:  # the machine may be busy with other work
        seen = counter[0]
        time.sleep(0.2)
    assert counter[0] == seen


def test_worker_ends_with_the_examination() -> None:
    before = threading.active_count()
    diagnose(kl=kl)
    time.sleep(0.1)
    assert threading.active_count() <= before


@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_changed_arguments_are_noticed(library: str) -> None:
    def in_place(m, s):
        s *= 0.5
        return 0.5 * (m**2 + (torch.exp(2 * s) if library == "torch" else np.exp(2 * s)) - 1 - 2 * s).sum(1).mean()

    report = diagnose(kl=in_place)
    assert report.codes == ("MUTATES",)
    assert report.measured["KL: σ(s)"] == "exp(s/2)"


def test_noise_that_no_seed_governs_is_said_and_still_judged() -> None:
    generator = np.random.default_rng()

    def right(m, s):
        return m + np.exp(s / 2) * generator.standard_normal(m.shape)

    def wrong(m, s):
        return m + np.exp(s) * generator.standard_normal(m.shape)

    def numpy_kl(m, s):
        return 0.5 * (m**2 + np.exp(s) - 1 - s).sum()

    assert "UNSEEDED" in {finding.code for finding in diagnose(sample=right)}
    assert diagnose(sample=right, kl=numpy_kl).ok
    assert "VAR-AS-STD" in diagnose(sample=wrong, kl=numpy_kl).codes


def test_random_reconstruction_is_not_judged() -> None:
    report = diagnose(reconstruction=lambda x, out: ((x - out) ** 2).sum() + torch.randn(()))
    assert report.ok
    assert [finding.code for finding in report.unjudged] == ["UNSEEDED"]
    assert report.exit_status == 2


def test_random_states_of_the_caller_survive() -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    expected = torch.randn(3), np.random.standard_normal(3)
    torch.manual_seed(5)
    np.random.seed(5)
    diagnose(sample=lambda m, s: m + s * torch.randn_like(m))
    assert torch.equal(torch.randn(3), expected[0])
    assert np.array_equal(np.random.standard_normal(3), expected[1])


def test_the_same_examination_gives_the_same_report() -> None:
    parts = {"kl": kl, "sample": lambda m, s: m + torch.randn_like(m) * s.exp()}
    assert diagnose(**parts).to_json() == diagnose(**parts).to_json()


def test_nothing_given_is_no_verdict() -> None:
    report = diagnose()
    assert report.exit_status == 2
    assert report.ok


@pytest.mark.parametrize(("name", "value"), [("beta", 0.0), ("seconds", -1.0)])
def test_illegal_parameter(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"The '{name}' parameter of diagnose must be positive. Got {value} instead."):
        diagnose(kl=kl, **{name: value})


def test_the_usual_examination_takes_less_than_five_seconds() -> None:
    start = time.process_time()
    report = diagnose(
        kl=kl,
        sample=lambda m, s: m + torch.randn_like(m) * (s / 2).exp(),
        reconstruction=lambda x, out: torch.nn.functional.mse_loss(out, x, reduction="none").sum(1).mean(),
        data=torch.randn(200, 30),
    )
    assert time.process_time() - start < 5 < SECONDS
    assert report.ok


def test_gradient_cut_behind_noise_that_no_seed_governs() -> None:
    generator = torch.Generator().manual_seed(0)

    def cut(m, s):
        return m + (s / 2).exp().detach() * torch.randn(m.shape, generator=generator, dtype=m.dtype)

    assert "NO-GRAD" in diagnose(sample=cut).codes
    whole = diagnose(sample=lambda m, s: m + (s / 2).exp() * torch.randn(m.shape, generator=generator, dtype=m.dtype))
    assert whole.ok


def test_model_is_left_as_it_was() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.5))
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    report = diagnose(loss=lambda model, x: (model(x) ** 2).mean(), model=model, data=np.eye(4)[[0, 1, 2, 3] * 9])
    assert report.measured is not None
    assert [part.training for part in model] == [True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_sleeper_stops_at_its_next_call() -> None:
    calls = [0]

    def sleepy(m, s):
        calls[0] += 1
        time.sleep(0.2)
        return kl(m, s)

    assert diagnose(kl=sleepy, seconds=0.1).codes == ("SLOW",)
    seen = calls[0]
    time.sleep(0.6)
    assert calls[0] == seen
