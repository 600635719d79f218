"""One training step, as Lightning drives it."""

import json
from typing import Any

import pytest
import torch

from vae_lightning.data.columns import Column
from vae_lightning.data.preprocess.base import Identity
from vae_lightning.inference.model import VAEModel
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.elbo import ELBO
from vae_lightning.training.module import VAEModule


def module(objective: ELBO | None = None, scheduler: Any = None, **options: Any) -> VAEModule:
    torch.manual_seed(0)
    vae = VAE(Gaussian(3, **options), 2, [4])
    model = VAEModel(vae, Identity(3), [Column(name, "float64") for name in "abc"])
    return VAEModule(model, objective or ELBO(), torch.optim.Adam, scheduler)


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let a module believe that it stands at a step of epochs with ten."""

    def place(made: VAEModule, step: int) -> VAEModule:
        monkeypatch.setattr(VAEModule, "current_epoch", step // 10)
        made._steps_per_epoch = 10
        made.steps[:] = [torch.zeros(3)] * (step % 10)
        monkeypatch.setattr(VAEModule, "optimizers", lambda self: torch.optim.SGD(self.parameters(), lr=0.0))
        monkeypatch.setattr(VAEModule, "manual_backward", lambda _, loss: loss.backward())
        return made

    return place


def test_beta_follows_the_warm_up_by_steps(at_step: Any) -> None:
    warming = ELBO(beta=2.0, warmup="linear", warmup_epochs=4)
    assert [at_step(module(warming), step).beta() for step in (0, 10, 15, 20, 40, 99)] == [
        0.0,
        0.5,
        0.75,
        1.0,
        2.0,
        2.0,
    ]


@pytest.mark.parametrize("beta", [1.0, 3.0])
def test_the_loss_is_the_objective_and_the_terms_are_its_terms(at_step: Any, beta: float) -> None:
    made = at_step(module(ELBO(beta=beta)), 0)
    made.training_step((torch.zeros(6, 3),), 0)
    loss, reconstruction, kl = made.steps[0]
    assert not made.steps[0].requires_grad
    torch.testing.assert_close(loss, reconstruction + beta * kl)


def test_doubling_the_batch_moves_neither_loss_nor_gradient(at_step: Any) -> None:
    made, x, gradients = at_step(module(), 0), torch.randn(6, 3), []
    for batch in (x, torch.cat([x, x])):
        made.zero_grad()
        made.training_step((batch,), 0)
        gradients.append(made.model.vae.output.bias.grad.clone())
    # The untrained decoder ignores z, so the draws do not matter.
    torch.testing.assert_close(*made.steps)
    torch.testing.assert_close(*gradients)


def test_more_draws_are_averaged(at_step: Any) -> None:
    made = at_step(module(ELBO(num_samples=5)), 0)
    made.training_step((torch.zeros(6, 3),), 0)
    assert made.steps[0].shape == (3,)


def test_the_optimal_variance_is_observed_in_training_only(at_step: Any) -> None:
    made = at_step(module(variance="optimal", momentum=1.0), 0)
    scale = made.model.vae.likelihood.fitted_scale
    made.meter.reset()
    made.validation_step(torch.full((4, 3), 7.0), 0)
    assert scale == 1.0
    made.training_step(torch.full((4, 3), 7.0), 0)
    assert scale == pytest.approx(7.0)


def test_the_checkpoint_says_what_made_it() -> None:
    checkpoint: dict[str, Any] = {}
    module().on_save_checkpoint(checkpoint)
    record = json.loads(checkpoint["vae_lightning"])
    assert record["columns"] == [["a", "float64"], ["b", "float64"], ["c", "float64"]]
    assert set(record) == {"version", "config", "columns"}
