"""Threads of a fit."""

import pytest
import torch
from torch import nn

from vae_lightning.training.threads import limit_threads


@pytest.fixture(autouse=True)
def _three_threads() -> object:
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(("batch_size", "threads"), [(16, 1), (4096, 3)])
def test_small_steps_take_one_thread_and_give_the_others_back(batch_size: int, threads: int) -> None:
    with limit_threads(nn.Linear(256, 256), batch_size):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 3


def test_they_are_given_back_after_a_failure() -> None:
    with pytest.raises(RuntimeError), limit_threads(nn.Linear(2, 2), 1):
        raise RuntimeError
    assert torch.get_num_threads() == 3
