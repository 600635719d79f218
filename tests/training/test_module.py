"""One training step, as Lightning drives it."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from vae_lightning.data.batch import Batch
from vae_lightning.objectives.elbo import ELBO
from vae_lightning.training.module import VAEModule
from vae_lightning.training.step import Statistics

Make = Callable[..., VAEModule]
ROW = Statistics(torch.zeros(3), 1.0, None, None)


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[VAEModule, int], VAEModule]:
    """Let a module believe that it stands at a step of epochs with ten."""

    def place(made: VAEModule, step: int) -> VAEModule:
        trainer = SimpleNamespace(
            current_epoch=step // 10,
            train_dataloader=None,
            num_training_batches=10,
            strategy=SimpleNamespace(reduce=lambda value, reduce_op: value),  # noqa: ARG005
        )
        monkeypatch.setattr(VAEModule, "trainer", trainer)
        monkeypatch.setattr(VAEModule, "current_epoch", step // 10)
        made.steps[:] = [ROW] * (step % 10)
        return made

    return place


def loss(made: VAEModule, x: Tensor, **parts: Any) -> Tensor:
    return made.training_step(Batch(x, **parts), 0)


def test_beta_follows_the_warm_up_by_steps(make_module: Make, at_step: Any) -> None:
    warming = ELBO(beta=2.0, warmup="linear", warmup_epochs=4)
    betas = [at_step(make_module(objective=warming), step).weights().beta for step in (0, 10, 15, 20, 40, 99)]
    assert betas == [0.0, 0.5, 0.75, 1.0, 2.0, 2.0]


@pytest.mark.parametrize("beta", [1.0, 3.0])
def test_the_loss_is_the_objective_and_the_terms_are_its_terms(make_module: Make, at_step: Any, beta: float) -> None:
    made = at_step(make_module(objective=ELBO(beta=beta)), 0)
    value = loss(made, torch.randn(6, 3))
    (step,) = made.steps
    total, reconstruction, kl = step.terms
    assert value.requires_grad
    assert not step.terms.requires_grad
    assert step.weight == 6
    torch.testing.assert_close(total, value.detach())
    torch.testing.assert_close(total, reconstruction + beta * kl)


@pytest.mark.parametrize("weighted", [False, True])
def test_doubling_the_batch_moves_neither_loss_nor_gradient(make_module: Make, at_step: Any, weighted: bool) -> None:
    made, x, gradients, terms = at_step(make_module(), 0), torch.randn(6, 3), [], []
    for batch in (x, torch.cat([x, x])):
        made.zero_grad()
        # The untrained decoder ignores z, so the draws do not matter.
        loss(made, batch, weight=torch.full((len(batch),), 0.25) if weighted else None).backward()
        gradients.append(made.vae.output.bias.grad.clone())
        terms.append(made.steps[-1].terms)
    torch.testing.assert_close(*terms)
    torch.testing.assert_close(*gradients)


def test_a_row_of_weight_two_counts_as_two_rows(make_module: Make, at_step: Any) -> None:
    made, x = at_step(make_module(), 0), torch.randn(3, 3)
    values = [loss(made, x, weight=torch.tensor([1.0, 2.0, 1.0])), loss(made, x[[0, 1, 1, 2]])]
    torch.testing.assert_close(*values)
    assert [float(step.weight) for step in made.steps] == [4.0, 4.0]


def test_a_masked_cell_changes_nothing(make_module: Make, at_step: Any) -> None:
    made, x = at_step(make_module(), 0), torch.randn(4, 3)
    mask = torch.tensor([[True, True, False]] * 4)
    values = []
    for hidden in (0.0, 1e30, torch.nan):
        torch.manual_seed(1)
        values.append(loss(made, torch.where(mask, x, hidden), mask=mask))
    assert values[0] == values[1] == values[2]
    torch.testing.assert_close(made.steps[0].observed, torch.tensor([1.0, 1.0, 0.0]))


def test_more_draws_are_averaged(make_module: Make, at_step: Any) -> None:
    made = at_step(make_module(objective=ELBO(num_samples=5)), 0)
    loss(made, torch.zeros(6, 3))
    assert made.steps[0].terms.shape == (3,)


def test_the_optimal_variance_is_fitted_in_training_only(make_module: Make, at_step: Any) -> None:
    made = at_step(make_module(likelihood={"variance": "optimal", "momentum": 1.0}), 0)
    scale = made.vae.likelihood.scale.fitted
    x = torch.full((4, 3), 7.0)
    made.measure([Batch(x)])
    assert scale == 1.0
    loss(made, x)
    assert scale == pytest.approx(7.0)


def test_the_checkpoint_says_what_made_it(make_module: Make) -> None:
    made = make_module(seed=2)
    checkpoint: dict[str, Any] = {"hyper_parameters": dict(made.hparams)}
    made.on_save_checkpoint(checkpoint)
    record = json.loads(checkpoint["vae_lightning"])
    assert record["columns"] == [["a", "float64"], ["b", "float64"], ["c", "float64"]]
    assert set(record) == {"version", "config", "columns"}
    assert checkpoint["hyper_parameters"] == {"seed": 2}
