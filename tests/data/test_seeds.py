"""Random streams: what they repeat, and what they leave alone; that no two are alike is a law (test_training_laws)."""

import numpy as np
import pytest
import torch

from vae_lightning.data.seeds import generator, random_stream, stream_seed


@pytest.mark.parametrize(
    ("seed", "purpose", "derived"),
    [
        (0, (), 5254295370254170289),
        (0, ("order", 0), 1864822792221289227),
        (7, ("noise", 3, 1), 2421348394968819524),
    ],
)
def test_golden_seeds(seed: int, purpose: tuple[int | str, ...], derived: int) -> None:
    """Whoever changes these changes every run, and what a resumed one draws."""
    assert stream_seed(seed, *purpose) == derived


def test_whole_numbers_of_any_type_are_the_same_purpose() -> None:
    assert stream_seed(np.int64(3), "order", np.int32(4)) == stream_seed(3, "order", 4)
    assert stream_seed(3, "order", 4) != stream_seed(3, "order", "4")


def test_no_purpose_is_the_beginning_of_another_and_no_words_run_together() -> None:
    """Zeros at the end, numbers of several machine words, and texts that would be one when written side by side."""
    seeds = [
        stream_seed(5),
        stream_seed(5, 0),
        stream_seed(5, 0, 0),
        stream_seed(5 + 2**32),
        stream_seed(5, 1),
        stream_seed(0, 5),
        stream_seed(5, "a", "b"),
        stream_seed(5, "ab"),
        stream_seed(5, "a, 'b'"),
    ]
    assert len(set(seeds)) == len(seeds)


def test_a_generator_repeats_for_its_purpose() -> None:
    draws = [torch.randn(5, generator=generator("cpu", *words)) for words in ((1, "a"), (1, "a"), (1, "b"), (2, "a"))]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[3])


def test_a_stream_repeats_and_leaves_the_global_one_alone() -> None:
    before = torch.get_rng_state()
    found = []
    for _ in range(2):
        with random_stream(3):
            found.append(torch.randn(4))
    assert torch.equal(*found)
    assert torch.equal(torch.get_rng_state(), before)
    with random_stream(None):
        torch.randn(1)
    assert not torch.equal(torch.get_rng_state(), before), "without a seed the global stream goes on"
