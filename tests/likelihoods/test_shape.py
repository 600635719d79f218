"""The second parameter: its ways, its bounds, and the search for its greatest likelihood."""

import pytest
import torch

from vae_lightning.likelihoods.shape import SHAPE_KINDS, Shape, ShapeKind, maximise


@pytest.mark.parametrize("kind", SHAPE_KINDS)
def test_it_is_one_at_first_and_stays_within_its_bounds(kind: ShapeKind) -> None:
    shape = Shape(3, kind, 0.1, 1e4, "X", "shape")
    raw = torch.zeros(5, 3 + shape.raw_size)
    rest, value = shape.split(raw)
    assert rest.shape == (5, 3)
    assert (value == 1).all()
    for extreme, end in ((-1e8, 0.1), (1e8, 1e4)):
        for parameter in shape.parameters():
            parameter.data.fill_(extreme)
        _, value = shape.split(torch.full_like(raw, extreme))
        torch.testing.assert_close(value, torch.full_like(value, end))
        assert shape.share_near(value, shape.low) == (extreme < 0)


@pytest.mark.parametrize("kind", SHAPE_KINDS)
def test_it_starts_at_the_maximum(kind: ShapeKind) -> None:
    shape = Shape(3, kind, 0.1, 1e4, "X", "shape")
    best = torch.tensor([0.5, 1.0, 30.0], dtype=torch.float64)
    found = shape.maximise(lambda v: -(v.log() - best.log()).square())
    truth = best if kind != "shared" else best.log().mean().exp().expand(3)
    torch.testing.assert_close(found, truth, rtol=1e-3, atol=0)
    _, value = shape.split(torch.cat([torch.zeros(3), shape.start(found)]))
    torch.testing.assert_close(value.expand(3).double(), found, rtol=1e-5, atol=0)


def test_the_search_finds_maxima_within_and_at_the_ends() -> None:
    best = torch.tensor([-7.0, 0.3, 2.0, 9.0], dtype=torch.float64)
    low, high = torch.zeros(4).double(), torch.full((4,), 3.0).double()
    found = maximise(lambda v: -(v - best).abs(), low, high)
    torch.testing.assert_close(found, best.clamp(0, 3), rtol=0, atol=1e-4)
