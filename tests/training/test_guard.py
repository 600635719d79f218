"""The guard: what no honest loss can do stops the run; what no honest model should do is said once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from vae_lightning.errors import RunError
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.elbo import ELBO
from vae_lightning.objectives.terms import Pass
from vae_lightning.priors.base import Prior
from vae_lightning.priors.mixture import Mixture
from vae_lightning.priors.standard_normal import StandardNormal
from vae_lightning.runs.checkup import examine_run
from vae_lightning.training.callbacks.guard import LossGuard

Train = Callable[..., Any]
Change = Callable[[Pass], Pass]


def changed(terms: Pass, log_px: Any = None, kl: Any = None) -> Pass:
    """The pass with other terms."""
    return replace(terms, log_px=terms.log_px if log_px is None else log_px, kl=terms.kl if kl is None else kl)


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Change the terms from the training step ``step`` on (counted from 1)."""

    def patch(change: Change, step: int) -> None:
        honest, steps = VAE.forward, []

        def forward(self: VAE, *args: Any) -> Pass:
            steps.extend([step] if self.training else [])
            result = honest(self, *args)
            return change(result) if self.training and len(steps) >= step else result

        monkeypatch.setattr(VAE, "forward", forward)

    return patch


def stopped(train: Train, run_dir: Path, *words: str) -> str:
    """The message with which the guard stops a run of five steps an epoch."""
    with pytest.raises(RunError) as error:
        train(run_dir, *words)
    message = str(error.value)
    for part in ("Norms of the parameters: encoder ", "heads ", "output ", "optimizer.lr=", "gradient_clip_val"):
        assert part in message
    assert not (run_dir / "summary.json").exists()
    assert not list(run_dir.rglob(".*.[0-9]*"))
    return message


@pytest.mark.parametrize("every_n_steps", [1, 2, 200])
@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda t: changed(t, t.log_px - 1e4, -t.kl - 3), "the KL is -"),
        (lambda t: changed(t, t.log_px + 1e4), "the NELBO is -3"),
    ],
    ids=["negative KL", "below the floor"],
)
def test_a_broken_law_is_named_with_its_epoch_and_step(
    train: Train,
    tmp_path: Path,
    spoil: Callable[..., None],
    change: Change,
    what: str,
    every_n_steps: int,
) -> None:
    spoil(change, step=8)
    message = stopped(train, tmp_path, f"callbacks.guard.every_n_steps={every_n_steps}")
    assert message.startswith(f"Stopped in epoch 2, step 3: {what}")


@pytest.mark.parametrize("every_n_steps", [1, 2])
@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda t: changed(t, t.log_px * torch.nan), "the reconstruction is nan"),
        (lambda t: changed(t, t.log_px - torch.inf), "the reconstruction is inf"),
        (lambda t: changed(t, kl=t.kl + torch.inf), "the KL is inf"),
        (lambda t: changed(t, kl=t.kl * torch.nan), "the KL is nan"),
    ],
    ids=["nan reconstruction", "inf reconstruction", "inf KL", "nan KL"],
)
def test_a_term_that_is_not_finite_is_named_with_its_epoch_and_step(
    train: Train,
    tmp_path: Path,
    spoil: Callable[..., None],
    change: Change,
    what: str,
    every_n_steps: int,
) -> None:
    spoil(change, step=8)
    message = stopped(train, tmp_path, f"callbacks.guard.every_n_steps={every_n_steps}")
    assert message.startswith(f"Stopped in epoch 2, step 3: {what}.")


def test_a_term_that_is_not_finite_is_named_with_its_step_by_default(
    train: Train, tmp_path: Path, spoil: Callable[..., None]
) -> None:
    spoil(lambda t: changed(t, t.log_px * torch.nan), step=8)
    assert stopped(train, tmp_path).startswith("Stopped in epoch 2, step 3: the reconstruction is nan.")


def test_the_loss_is_blamed_where_both_terms_are_sound(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ELBO, "__call__", lambda _, terms, weights: -terms.nelbo * (weights.beta * torch.nan))
    assert "step 1: the loss is nan." in stopped(train, tmp_path, "callbacks.guard.every_n_steps=1")


def test_a_negative_kl_of_a_wrong_prior_is_found(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StandardNormal, "kl", lambda _, q, z: -0.5 * (q.mean.square() + q.stddev.square()))  # noqa: ARG005
    assert "step 1: the KL is -" in stopped(train, tmp_path)


def test_a_likelihood_that_promises_too_little_is_found(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gaussian, "max_log_prob", lambda self: torch.full((self.num_columns,), -50.0))
    assert "below the floor 200." in stopped(train, tmp_path)


def test_a_rate_far_too_large_ends_in_one_message(train: Train, tmp_path: Path) -> None:
    message = stopped(train, tmp_path, "optimizer.lr=1e30", "scheduler=none")
    assert message.startswith("Stopped in epoch 1")
    assert "optimizer.lr=1e+29" in message


def test_a_model_that_breaks_in_validation_only_is_stopped_too(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = VAE.forward

    def forward(self: VAE, *args: Any) -> Pass:
        result = honest(self, *args)
        return result if self.training else changed(result, result.log_px * torch.nan)

    monkeypatch.setattr(VAE, "forward", forward)
    assert stopped(train, tmp_path).startswith("Stopped in epoch 1: the validation reconstruction is nan.")


def test_no_checkpoint_is_written_of_an_epoch_that_broke_a_law(
    train: Train, tmp_path: Path, spoil: Callable[..., None]
) -> None:
    spoil(lambda t: changed(t, t.log_px + 1e4), step=8)
    stopped(train, tmp_path)
    saved = [torch.load(path, weights_only=True)["epoch"] for path in tmp_path.rglob("*.ckpt")]
    assert saved == [0, 0]


def test_rounding_is_no_crime(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = VAE.forward
    # Each of two latent dimensions.
    monkeypatch.setattr(
        VAE, "forward", lambda *args, **options: changed(p := honest(*args, **options), kl=p.kl * 0 - 1e-5)
    )
    assert np.isfinite(train(tmp_path, "trainer.max_epochs=1").value)


# --- an estimated KL -------------------------------------------------------------------------------------------------


def test_an_estimated_kl_may_be_negative(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mixture, "kl", lambda self, q, z: Prior.kl(self, q, z) - 2.0)
    run = train(
        tmp_path,
        "model.linear_path=false",
        "prior=mixture",
        "prior.num_components=2",
        "callbacks.guard.every_n_steps=1",
    )
    assert (run.metrics["val/kl"] < -1).all()
    assert np.isfinite(run.value)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda t: changed(t, t.log_px + 1e4), "the reconstruction is -"),
        (lambda t: changed(t, kl=t.kl + torch.nan), "the KL is nan"),
    ],
    ids=["reconstruction below the floor", "nan KL"],
)
def test_but_neither_infinite_nor_hiding_a_reconstruction_below_the_floor(
    train: Train, tmp_path: Path, spoil: Callable[..., None], change: Change, what: str
) -> None:
    spoil(change, step=8)
    message = stopped(train, tmp_path, "prior=mixture", "prior.num_components=2")
    assert message.startswith(f"Stopped in epoch 2, step 3: {what}")


# --- warnings --------------------------------------------------------------------------------------------------------


def fake_model() -> Any:
    record = {
        "objective": {"name": "elbo", "beta": 1.0, "warmup": "none"},
        "likelihood": {"name": "gaussian", "min_scale": 0.0025},
        "posterior": {"name": "gaussian", "log_var_bound": 15.0},
        "optimizer": {"lr": 0.001},
    }
    return SimpleNamespace(vae=VAE(Gaussian(2, "fixed"), 3, []), loss_floor=lambda: -7.5, record=record)


HEALTHY = {
    "val/nelbo": 5.0,
    "val/reconstruction": 4.0,
    "val/kl": 1.0,
    "val/active_units": 2.0,
    "val/variance_at_floor": 0.0,
    "val/log_var_at_bound": 0.0,
}


def watched(*epochs: dict[str, float], max_epochs: int = 100, num_rows: int = 20, **options: Any) -> LossGuard:
    """A guard that has seen epochs which were healthy but for what is given."""
    guard = LossGuard(**options)
    for epoch, values in enumerate(epochs):
        trainer = SimpleNamespace(
            sanity_checking=False,
            callback_metrics={name: torch.tensor(value) for name, value in {**HEALTHY, **values}.items()},
            current_epoch=epoch,
            max_epochs=max_epochs,
        )
        model = fake_model()
        module = SimpleNamespace(model=model, vae=model.vae, steps=[], meter=SimpleNamespace(rows=num_rows))
        guard.on_validation_end(trainer, module)  # type: ignore[arg-type]
    return guard


SICK = [
    ({"val/active_units": 0.0, "val/kl": 0.25}, ["none of the 3 latent", "KL 0.25 nats", "objective.warmup=linear"]),
    ({"val/variance_at_floor": 0.5}, ["50.0% of the likelihood's variances", "likelihood.min_scale"]),
    ({"val/log_var_at_bound": 0.02}, ["2.0% of the posterior's log-variances", "posterior.log_var_bound"]),
]


@pytest.mark.parametrize(("sick", "says"), SICK)
def test_a_sick_model_is_told_of_once_with_numbers(sick: dict[str, float], says: list[str]) -> None:
    (warning,) = watched(*[sick] * 12, patience=3).warnings
    assert all(part in str(warning) for part in says)


@pytest.mark.parametrize(("sick", "says"), SICK)
def test_a_passing_sickness_is_not_worth_a_word(sick: dict[str, float], says: list[str]) -> None:
    assert says
    assert watched(sick, sick, {}, sick, sick, {}, patience=3).warnings == []


@pytest.mark.parametrize(("sick", "says"), SICK)
def test_a_run_too_short_for_patience_is_warned_of_at_its_end(sick: dict[str, float], says: list[str]) -> None:
    assert says
    assert len(watched({}, sick, max_epochs=2).warnings) == 1
    assert len(watched(sick, sick, sick, max_epochs=3, patience=3).warnings) == 1


def test_a_few_values_at_a_bound_are_tolerated() -> None:
    assert watched(*[{"val/variance_at_floor": 0.009, "val/log_var_at_bound": 0.01}] * 9).warnings == []


def test_the_sanity_check_is_not_watched() -> None:
    trainer = SimpleNamespace(sanity_checking=True)
    guard = LossGuard()
    guard.on_validation_end(trainer, SimpleNamespace())  # type: ignore[arg-type]
    assert guard.warnings == []


@pytest.mark.parametrize("lr", [0, 0.01])
def test_a_column_that_never_varies_raises_no_warning_in_a_real_run(train: Train, tmp_path: Path, lr: float) -> None:
    x = np.random.default_rng(0).normal(size=(60, 1)) @ [[1.0, 2.0]] + np.random.default_rng(1).normal(size=(60, 2))
    pd.DataFrame(x, columns=["a", "b"]).assign(same=3.0).to_csv(tmp_path / "t.csv", index=False)
    words = ["data=table", f"data.path={tmp_path / 't.csv'}", f"optimizer.lr={lr}", "trainer.max_epochs=2"]
    run = train(tmp_path / "run", *words)
    # Its σ is held well above the floor: of a column that never varied nobody knows how it would.
    assert run.metrics["val/variance_at_floor"].iloc[-1] == 0
    assert not [warning for warning in run.summary["warnings"] if "floor" in warning]


def test_a_collapsed_run_says_so_on_the_console_and_in_the_summary(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(tmp_path, "model.linear_path=false", "objective.beta=1000", "trainer.max_epochs=7")
    said = capsys.readouterr().out
    assert said.count("warning: Posterior collapse") == 1
    assert [warning.split(":")[0] for warning in run.summary["warnings"]] == ["Posterior collapse"]
    assert "WARNING Posterior collapse" in (tmp_path / "train.log").read_text()


def test_copied_columns_sit_at_the_floor_and_it_is_said(train: Train, tmp_path: Path) -> None:
    words = ["likelihood.min_scale=0.5", "data.noise_scale=0.001", "model.hidden_dims=[]", "optimizer.lr=0.05"]
    run = train(tmp_path, *words, "trainer.max_epochs=12")
    assert any("of the likelihood's variances sit at their floor" in text for text in run.summary["warnings"])


def test_a_negative_but_legal_loss_gets_one_calm_sentence(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draws = np.random.default_rng(0).normal(size=(60, 3)) / 1000
    pd.DataFrame(draws, columns=list("abc")).to_csv(tmp_path / "t.csv", index=False)
    train(tmp_path / "run", "data=table", f"data.path={tmp_path / 't.csv'}", "trainer.max_epochs=3")
    said = capsys.readouterr().out
    assert said.count("The loss is below 0 (") == 1
    assert "as a density may be" in said
    assert "warning: The loss" not in said


def test_a_collapse_needs_a_small_kl() -> None:
    """Without an active unit, a KL of hundreds of nats is no collapse: the posterior ran away (`optimizer.lr=5`)."""
    assert watched(*[{"val/active_units": 0.0, "val/kl": 272.0}] * 9).warnings == []
    assert len(watched(*[{"val/active_units": 0.0, "val/kl": 0.5}] * 9).warnings) == 1


def test_of_a_single_validation_row_no_collapse_is_told() -> None:
    assert watched(*[{"val/active_units": 0.0, "val/kl": 0.1}] * 9, num_rows=1).warnings == []


def test_a_collapse_that_passed_is_in_no_report(train: Train, tmp_path: Path) -> None:
    """Warned of in its epochs, withdrawn at the end: summary, report.html and `doctor RUN` speak of the best epoch."""
    words = ["model.linear_path=false", "objective.warmup=none", "optimizer.lr=0.003", "trainer.max_epochs=40"]
    waits = ["callbacks.guard.patience=1", "callbacks.early_stopping=null", "report=true", "scheduler=none"]
    run = train(tmp_path, *words, *waits)
    log = (tmp_path / "train.log").read_text()
    assert "WARNING Posterior collapse" in log
    assert "Withdrawn, as it does not hold of the best epoch: Posterior collapse" in log
    assert run.summary["test"]["active_units"] > 0
    assert run.summary["warnings"] == []
    assert "Posterior collapse" not in (tmp_path / "report.html").read_text()
    assert "COLLAPSE" not in examine_run(tmp_path).codes
