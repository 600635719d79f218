"""The stacked step beside torch's own: the same numbers, member by member."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer

from vae_lightning.data.batch import Batch
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.base import Objective, Weights
from vae_lightning.objectives.elbo import ELBO
from vae_lightning.objectives.iwae import IWAE
from vae_lightning.priors.mixture import Mixture
from vae_lightning.training.stack import Stack
from vae_lightning.training.step import loss_and_statistics
from vae_lightning.training.work import Work

MakeOptimizer = Callable[[Iterable[Tensor]], Optimizer]
SIZES = (8, 8, 3, 8)
"""Rows of the batches of an epoch."""


def make_vae(seed: int, condition_size: int) -> VAE:
    torch.manual_seed(seed)
    return VAE(Gaussian(5), 2, [7], activation="tanh", condition_size=condition_size, sees_mask=True)


def work_of(vae: VAE, make: MakeOptimizer, objective: Objective, batches: list[Batch]) -> Work:
    """Of a network that is given."""
    noise = [vae.noise(objective.num_samples, batch.num_rows) for batch in batches]
    return Work(vae, objective, make(vae.parameters()), {}, batches, noise, [0.7] * len(batches), 0.0, 8, 4)


def make_work(seed: int, make: MakeOptimizer, parts: set[str], clip: float = 0.0) -> Work:
    """A member with rows, draws and weights of its own."""
    vae = make_vae(seed, 2 if "condition" in parts else 0)

    def batch(rows: int) -> Batch:
        mask = torch.rand(rows, 5) > 0.3 if "mask" in parts else None
        condition = torch.randn(rows, 2) if "condition" in parts else None
        return Batch(3 * torch.randn(rows, 5), mask, condition, torch.rand(rows) if "weight" in parts else None)

    batches = [batch(rows) for rows in SIZES]
    noise = [vae.noise(2, rows) for rows in SIZES]
    betas = torch.rand(len(SIZES)).tolist()
    return Work(vae, ELBO(num_samples=2), make(vae.parameters()), {}, batches, noise, betas, clip, max(SIZES), 4)


def take_alone(work: Work) -> list[Any]:
    """The same steps, one after the other, by torch's own optimiser."""
    said = []
    for batch, noise, beta in zip(work.batches, work.noise, work.betas, strict=True):
        loss, statistics = loss_and_statistics(work.vae, work.objective, batch, noise, Weights(beta))
        work.optimizer.zero_grad()
        loss.backward()
        if work.clip:
            torch.nn.utils.clip_grad_norm_(work.vae.parameters(), work.clip)
        work.optimizer.step()
        said.append(statistics)
    return said


@pytest.mark.parametrize("kind", [Adam, partial(Adam, fused=True), AdamW, partial(Adam, betas=(0.5, 0.9), eps=1e-4)])
@pytest.mark.parametrize(
    ("parts", "clip"),
    [(set(), 0.0), ({"mask"}, 0.0), ({"condition", "weight"}, 0.1), ({"mask", "condition", "weight"}, 1.0)],
)
def test_steps_of_a_stack_are_those_of_each_member(
    kind: Callable[..., Optimizer], parts: set[str], clip: float
) -> None:
    options = [{"lr": 0.01, "weight_decay": 0.0}, {"lr": 0.003, "weight_decay": 0.1}, {"lr": 0.1, "weight_decay": 0.01}]
    makes = [partial(kind, **one) for one in options]
    alone = [make_work(seed, make, parts, clip) for seed, make in enumerate(makes)]
    works = [make_work(seed, make, parts, clip) for seed, make in enumerate(makes)]
    assert len({work.kind for work in works}) == 1
    stack = Stack(works[0], 4)
    for _ in range(3):
        for work in works:
            work.taken = 0
            work.terms.clear()
            work.observed.clear()
        assert stack.take(works, 0) == len(SIZES)
        for one, other in zip(works, alone, strict=True):
            for ours, theirs in zip(one.statistics, take_alone(other), strict=True):
                for name, value in theirs._asdict().items():
                    torch.testing.assert_close(getattr(ours, name), value, rtol=1e-4, atol=1e-5, msg=name)
    for one, other in zip(works, alone, strict=True):
        for ours, theirs in zip(one.vae.parameters(), other.vae.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
            for name in ("step", "exp_avg", "exp_avg_sq"):
                state = (
                    optimizer.state[p][name] for optimizer, p in ((one.optimizer, ours), (other.optimizer, theirs))
                )
                torch.testing.assert_close(*state, rtol=1e-4, atol=1e-5)


def test_works_of_other_lengths_stop_together() -> None:
    works = [make_work(seed, partial(Adam, lr=0.01), set()) for seed in range(2)]
    works[1].batches, works[1].noise, works[1].betas = works[1].batches[:2], works[1].noise[:2], works[1].betas[:2]
    alone = [make_work(seed, partial(Adam, lr=0.01), set()) for seed in range(2)]
    alone[1].batches = alone[1].batches[:2]
    alone[1].noise, alone[1].betas = alone[1].noise[:2], alone[1].betas[:2]
    stack = Stack(works[0], 2)
    assert stack.take(works, 0) == 2
    assert [work.left for work in works] == [2, 0]
    assert stack.take(works[:1], 0) == 2
    for one, other in zip(works, alone, strict=True):
        take_alone(other)
        for ours, theirs in zip(one.vae.parameters(), other.vae.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_only_what_a_member_may_have_of_its_own_leaves_its_kind_the_same() -> None:
    def kind(**changes: Any) -> str:
        work = make_work(changes.pop("seed", 0), partial(Adam, **{"lr": 0.1, **changes.pop("adam", {})}), set())
        for name, value in changes.items():
            setattr(work, name, value)
        return work.kind

    usual = kind()
    own: list[dict[str, Any]] = [
        {"seed": 1},
        {"adam": {"lr": 0.2, "weight_decay": 0.1}},
        {"objective": ELBO(2, beta=0.5, warmup="linear", warmup_epochs=3)},
        {"record": {"seed": 3, "scheduler": {"gamma": 1}, "preprocess": {"name": "none"}}},
    ]
    assert {kind(**changes) for changes in own} == {usual}
    others: list[dict[str, Any]] = [
        {"adam": {"eps": 1e-3}},
        {"adam": {"betas": (0.8, 0.9)}},
        {"width": 9},
        {"clip": 1.0},
        {"record": {"model": {"activation": "relu"}}},
    ]
    assert len({usual, *(kind(**changes) for changes in others)}) == 1 + len(others)


def check_alike(make: Callable[[int], VAE], objective: Objective, draw: Callable[[int], Batch]) -> None:
    """Two members, stacked and alone."""

    def works() -> list[Work]:
        found = []
        for seed in range(2):
            vae = make(seed)
            found.append(work_of(vae, partial(Adam, lr=0.01), objective, [draw(8), draw(8), draw(5)]))
        return found

    ours, theirs = works(), works()
    Stack(ours[0], 2).take(ours, 0)
    for one, other in zip(ours, theirs, strict=True):
        take_alone(other)
        for name, value in one.vae.state_dict().items():
            torch.testing.assert_close(value, other.vae.state_dict()[name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("name", Likelihood.families())
@pytest.mark.parametrize("objective", [ELBO(), IWAE(3)], ids=str)
def test_every_likelihood_can_be_stacked(name: str, objective: Objective) -> None:
    def make(seed: int) -> VAE:
        torch.manual_seed(seed)
        likelihood = Likelihood.families()[name](num_columns=5)
        return VAE(likelihood, 2, [7], activation="tanh", normalization="layer", residual=True, prior=Mixture(2, 3))

    def draw(rows: int) -> Batch:
        likelihood = Likelihood.families()[name](num_columns=5)
        return Batch(likelihood(torch.randn(rows, likelihood.raw_size)).sample())

    check_alike(make, objective, draw)


def test_what_cannot_be_mapped_over_is_trained_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A family of somebody's own may look at its numbers; the others' state is as it was then."""
    look = VAE.log_px

    def looking(self: VAE, px: Any, batch: Batch) -> Tensor:
        assert bool((batch.x == batch.x).all())
        return look(self, px, batch)

    monkeypatch.setattr(VAE, "log_px", looking)
    works, alone = ([make_work(seed, partial(Adam, lr=0.01), set()) for seed in range(2)] for _ in range(2))
    stack = Stack(works[0], 2)
    assert stack.take(works, 0) == len(SIZES)
    assert stack.take([make_work(3, partial(Adam, lr=0.01), set())], 0) == len(SIZES)
    for one, other in zip(works, alone, strict=True):
        said = take_alone(other)
        assert [float(a.terms[0]) for a in one.statistics] == [float(b.terms[0]) for b in said]
        for ours, theirs in zip(one.vae.parameters(), other.vae.parameters(), strict=True):
            assert torch.equal(ours, theirs)
