"""When figures are drawn, of which weights, and what they may cost."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import vae_lightning.reporting.figures.callback as module
from tests.conftest import Run
from vae_lightning.errors import ConfigError
from vae_lightning.reporting.dashboard import MAX_CURVES, curves
from vae_lightning.reporting.figures import latent
from vae_lightning.reporting.figures.callback import Figures
from vae_lightning.reporting.figures.plot import Plot
from vae_lightning.reporting.figures.subject import Subject

Train = Callable[..., Run]


class Clock:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def drawn_at(figures: Figures, clock: Clock, epochs: int, seconds: float, cost: float) -> list[int]:
    """The epochs, counted from 1, after which a set is drawn that costs so much."""
    found: list[int] = []

    def draw(trainer: Any, _: Any) -> None:
        found.append(trainer.current_epoch + 1)
        clock.now += cost
        figures._last_set = cost
        figures.seconds += cost

    figures.draw = draw  # type: ignore[assignment,method-assign]
    trainer: Any = SimpleNamespace(current_epoch=0, max_epochs=epochs, is_global_zero=True)
    figures.on_train_start(trainer, None)  # type: ignore[arg-type]
    for epoch in range(epochs):
        trainer.current_epoch = epoch
        clock.now += seconds
        figures.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
    return found


def test_every_n_epochs_where_time_allows_and_never_after_the_last(clock: Clock) -> None:
    figures = Figures("there", every_n_epochs=10)
    assert drawn_at(figures, clock, 40, seconds=100, cost=1) == [10, 20, 30]


@pytest.mark.parametrize("share", [0.05, 0.2])
@pytest.mark.parametrize("cost", [0.3, 1.0, 4.0])
def test_no_more_than_the_share_is_spent_the_final_set_included(clock: Clock, share: float, cost: float) -> None:
    figures = Figures("there", every_n_epochs=1, share=share)
    found = drawn_at(figures, clock, 200, seconds=1, cost=cost)
    assert found
    # The first set's cost is a guess; it may overdraw by what it is wrong by.
    allowed = max(share * clock.now, 2 * cost)
    assert figures.seconds + cost <= allowed + 1e-9
    assert figures.seconds + 2 * cost > 0.5 * share * 200 or len(found) > 1 or cost > 1


def test_a_short_training_has_its_final_set_only(clock: Clock) -> None:
    assert drawn_at(Figures("there", every_n_epochs=10), clock, 100, seconds=0.2, cost=0.7) == []


@pytest.mark.parametrize("every_n_epochs", [0, 1000])
def test_only_at_the_end(clock: Clock, every_n_epochs: int) -> None:
    assert drawn_at(Figures("there", every_n_epochs=every_n_epochs), clock, 100, seconds=100, cost=1) == []


def test_only_the_first_process_draws(clock: Clock) -> None:
    figures = Figures("there", every_n_epochs=1, share=1)
    trainer: Any = SimpleNamespace(current_epoch=0, max_epochs=9, is_global_zero=False)
    clock.now = 1000
    figures.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]  # would fail without a module
    assert figures.seconds == 0


@pytest.mark.parametrize(("name", "value"), [("every_n_epochs", -1), ("share", -0.1), ("share", 1.5)])
def test_settings_that_make_no_sense_are_named(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"The '{name}' parameter of Figures must be"):
        Figures("there", **{name: value})


def test_the_final_set_shows_the_best_weights(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subjects: list[Subject] = []
    plot = Plot("kl", "latent", "", "", lambda subject: subjects.append(subject) or latent.draw_kl(subject))
    monkeypatch.setattr("vae_lightning.reporting.figures.gallery.PLOTS", (plot,))
    # A rate at which the last epoch is not the best.
    run = train(tmp_path, "callbacks.figures=", "trainer.max_epochs=2", "optimizer.lr=0.3", "seed=4")
    (subject,) = subjects
    best, last = run.weights("best"), run.weights("last")
    now = {f"model.{name}": value for name, value in subject.model.state_dict().items()}
    assert all(torch.equal(now[name], value) for name, value in best.items())
    assert any(not torch.equal(now[name], value) for name, value in last.items())
    assert not subject.model.training
    np.testing.assert_array_equal(subject.history["val/nelbo"], run.metrics["val/nelbo"])
    assert run.summary["seconds"]["figures"] > 0


@pytest.mark.parametrize("logger", ["csv", "none"])
def test_without_tensorboard_the_files_are_there(train: Train, tmp_path: Path, logger: str) -> None:
    train(tmp_path, "callbacks.figures=", f"logger={logger}")
    names = {path.stem for path in (tmp_path / "figures").iterdir()}
    history = {"terms"} if logger == "csv" else set()
    assert names == {"marginals", "correlations", "worst_columns", "kl", "codes", "scatter"} | history
    assert not (tmp_path / "tensorboard").exists()


@pytest.mark.parametrize("words", [["callbacks.figures=null"], ["callbacks=none"]], ids=str)
def test_they_can_be_turned_off(
    train: Train, tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = train(tmp_path, *words, "logger=both")
    assert not (tmp_path / "figures").exists()
    assert run.summary["seconds"]["figures"] == 0


def test_figures_change_no_weight(train: Train, tmp_path: Path) -> None:
    words = ["trainer.max_epochs=3", "model.dropout=0.2", "model.normalization=batch"]
    plain = train(tmp_path / "plain", *words)
    shown = train(
        tmp_path / "shown",
        *words,
        "callbacks.figures=",
        "callbacks.figures.every_n_epochs=1",
        "callbacks.figures.share=1",
    )
    assert shown.value == plain.value
    assert shown.summary["seconds"]["figures"] > 0
    pairs = zip(shown.weights().values(), plain.weights().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture
def _failures_allowed(_no_figure_fails: Any) -> Iterator[None]:
    _no_figure_fails.setLevel(1000)
    yield
    _no_figure_fails.setLevel(0)


@pytest.mark.usefixtures("_failures_allowed")
def test_a_figure_that_fails_is_named_and_costs_nothing_else(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Subject) -> Any:
        raise ZeroDivisionError("no such luck")

    plots = (Plot("broken", "latent", "", "", broken), *latent.PLOTS)
    monkeypatch.setattr("vae_lightning.reporting.figures.gallery.PLOTS", plots)
    run = train(tmp_path, "callbacks.figures=")
    assert (
        "WARNING The figure broken could not be drawn: ZeroDivisionError: no such luck."
        in (tmp_path / "train.log").read_text()
    )
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"kl", "codes", "scatter"}
    assert np.isfinite(run.summary["val/nelbo"])


def test_a_figure_that_fails_fails_a_test(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Subject) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr("vae_lightning.reporting.figures.gallery.PLOTS", (Plot("broken", "latent", "", "", broken),))
    with pytest.raises(AssertionError, match="broken could not be drawn"):
        train(tmp_path, "callbacks.figures=")


def test_curves_carry_the_columns_names() -> None:
    few = curves("column_nll", ["a", "b"], np.array([1.0, 2.0]))
    assert few == {"column_nll/a": 1.0, "column_nll/b": 2.0}
    many = curves("column_nll", [str(i) for i in range(MAX_CURVES + 1)], np.arange(MAX_CURVES + 1.0))
    assert many == {"column_nll/least": 0, "column_nll/median": 10, "column_nll/greatest": 20}
