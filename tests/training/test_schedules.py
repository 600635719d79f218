"""The learning-rate schedule that ends."""

import math

import pytest
import torch
from torch.optim import SGD, Adam

from vae_lightning import Cosine
from vae_lightning.errors import ConfigError
from vae_lightning.training import schedules


def rates(epochs: int, lasting: int, warmup: float = 0.1, lr: float = 0.3) -> list[float]:
    """The step size of each epoch."""
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    schedule, found = Cosine(optimizer, epochs, warmup), []
    for _ in range(lasting):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_without_a_warm_up_it_is_half_a_cosine() -> None:
    truth = [0.3 * 0.5 * (1 + math.cos(math.pi * t / 8)) for t in range(8)]
    assert rates(8, 8, warmup=0) == pytest.approx(truth)


@pytest.mark.parametrize("epochs", [20, 100, 105])
def test_a_tenth_of_the_epochs_grows_in_even_steps(epochs: int) -> None:
    found, plain = rates(epochs, epochs), rates(epochs, epochs, warmup=0)
    share = [one / other for one, other in zip(found, plain, strict=True)]
    assert share == pytest.approx([min(1, 10 * (t + 1) / epochs) for t in range(epochs)])
    assert share[math.ceil(epochs / 10) - 1] == pytest.approx(1)
    assert min(found[:-1]) > 0


@pytest.mark.parametrize("epochs", [1, 3, 9])
def test_of_few_epochs_the_first_is_taken_in_full(epochs: int) -> None:
    assert rates(epochs, 1) == [0.3]


def test_after_the_last_epoch_nothing_moves() -> None:
    assert rates(3, 8)[3:] == pytest.approx([0] * 5, abs=1e-12)


def test_groups_keep_their_own_rates() -> None:
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in (1.0, 0.1)]
    optimizer = Adam(groups)
    schedule = Cosine(optimizer, 4, warmup=0)
    for _ in range(2):
        optimizer.step()
        schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.5, 0.05])


@pytest.mark.parametrize("length", [6, 20])
def test_restored_into_another_length_it_follows_the_curve_of_that_length(length: int) -> None:
    first = SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    schedule = Cosine(first, 6)
    for _ in range(4):
        first.step()
        schedule.step()
    second = SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    longer = Cosine(second, length)
    second.load_state_dict(first.state_dict())
    longer.load_state_dict(schedule.state_dict())
    found = []
    for _ in range(length - 4):
        found.append(second.param_groups[0]["lr"])
        second.step()
        longer.step()
    assert found == rates(length, length)[4:]  # to the last bit
    assert longer.get_last_lr() == [second.param_groups[0]["lr"]]


def test_its_state_is_plain_and_says_nothing_of_the_curve() -> None:
    state = Cosine(SGD([torch.zeros(1, requires_grad=True)], lr=0.3), 6).state_dict()
    assert state["last_epoch"] == 0
    assert not {"epochs", "warmup", "optimizer"} & set(state)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"epochs": 0}, "The 'epochs' parameter of Cosine must be a whole number from 1 on. Got 0 instead."),
        ({"epochs": 2.5}, "The 'epochs' parameter of Cosine must be a whole number from 1 on. Got 2.5 instead."),
        ({"epochs": 3, "warmup": 1.0}, "The 'warmup' parameter of Cosine must be at least 0 and below 1. Got 1.0"),
        ({"epochs": 3, "warmup": -0.1}, "The 'warmup' parameter of Cosine must be at least 0 and below 1. Got -0.1"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Cosine(SGD([torch.zeros(1, requires_grad=True)], lr=0.3), **options)
    assert sentence in str(refused.value)


def test_a_configuration_finds_it_by_the_name_that_lasts() -> None:
    assert schedules.COSINE == "vae_lightning.Cosine"
    assert Cosine is schedules.Cosine
