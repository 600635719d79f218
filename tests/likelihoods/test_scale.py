"""The scale of a location-scale family, whatever the family."""

import math

import pytest
import torch

from vae_lightning.data.batch import Batch
from vae_lightning.errors import ConfigError
from vae_lightning.likelihoods.scale import SCALE_KINDS, Scale, ScaleKind

FLOOR = 0.01


def scale_of(kind: ScaleKind, power: int = 2, momentum: float = 0.1, value: float = 0.5) -> Scale:
    return Scale(3, kind, value, FLOOR, momentum, power, "Family", "kind", "value")


def learned(scale: Scale, raw: torch.Tensor) -> torch.Tensor:
    location, found = scale.split(raw)
    assert location.shape[-1] == 3
    return found.detach().expand(*raw.shape[:-1], 3)


@pytest.mark.parametrize("kind", SCALE_KINDS)
def test_what_it_is_started_from_is_what_it_says(kind: ScaleKind) -> None:
    for power in (1, 2):
        scale = scale_of(kind, power)
        error = torch.tensor([0.04, 1.0, 9.0], dtype=torch.float64)
        raw = scale.start(torch.tensor([1.0, 2.0, 3.0]), error, torch.zeros(3, dtype=torch.float64))
        assert raw.shape == (3 + scale.raw_size,)
        root = error ** (1 / power)
        tied = (error.mean() ** (1 / power)).expand(3)
        truth = {"fixed": torch.full((3,), 0.5), "shared": tied, "optimal": tied}.get(kind, root)
        torch.testing.assert_close(learned(scale, raw).double(), truth.double(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", ["per_column", "predicted"])
def test_what_is_held_of_a_variance_is_under_it_whatever_is_learned(kind: ScaleKind) -> None:
    """s² = exp(bound tanh(r / bound)) + held: it starts at the greater of error and held, and never falls below."""
    error, held = torch.tensor([[0.04, 1.0, 9.0], [0.0, 0.5, 20.0]], dtype=torch.float64)
    scale = scale_of(kind)
    raw = scale.start(torch.zeros(3), error, held)
    truth = torch.tensor([0.04, 1.0, 20.0], dtype=torch.float64)
    torch.testing.assert_close(learned(scale, raw).double().square(), truth, rtol=1e-4, atol=0)
    torch.testing.assert_close(scale.tie(error, held).square(), truth)
    torch.testing.assert_close(scale.least.double().square(), held + FLOOR**2)
    for parameter in scale.parameters():
        parameter.data.fill_(-1e8)
    raw[3:] = -1e8
    torch.testing.assert_close(learned(scale, raw).double().square(), held + FLOOR**2, rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", ["fixed", "shared", "optimal"])
def test_scales_that_are_tied_hold_nothing(kind: ScaleKind) -> None:
    scale = scale_of(kind)
    error, nothing = torch.ones(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    assert torch.equal(scale.tie(error, nothing), scale.tie(error, 1e6 * error))
    assert scale.least.item() == pytest.approx(0.5 if kind == "fixed" else FLOOR)


@pytest.mark.parametrize("kind", ["shared", "per_column", "predicted", "optimal"])
def test_a_spread_far_above_one_is_not_capped(kind: ScaleKind) -> None:
    error, nothing = torch.full((3,), 1e12, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    torch.testing.assert_close(scale_of(kind).tie(error, nothing).expand(3).double(), error.sqrt())


@pytest.mark.parametrize("min_scale", [1e-8, 1e-5, 0.0025, 0.5])
@pytest.mark.parametrize("kind", ["shared", "per_column", "predicted", "optimal"])
def test_a_scale_that_is_started_at_its_floor_counts_as_there(kind: ScaleKind, min_scale: float) -> None:
    scale = Scale(3, kind, 0.5, min_scale, 0.1, 2, "Family", "kind", "value")
    nothing = torch.zeros(3, dtype=torch.float64)
    assert scale.share_at_floor(learned(scale, scale.start(torch.zeros(3), nothing, nothing))) == 1
    assert scale.share_at_floor(learned(scale, scale.start(torch.zeros(3), nothing + 1, nothing))) == 0


@pytest.mark.parametrize("kind", [kind for kind in SCALE_KINDS if kind != "fixed"])
def test_no_scale_leaves_its_bounds_whatever_it_learned(kind: ScaleKind) -> None:
    for value in (-1e8, -5.0, 5.0, 1e8):
        scale = scale_of(kind)
        for parameter in scale.parameters():
            parameter.data.fill_(value)
        if scale.statistics_size:
            scale.update(torch.tensor([abs(value) if value > 0 else 0.0, 1e-9], dtype=torch.float64))
        found = learned(scale, torch.full((2, 3 + scale.raw_size), value))
        assert (found >= FLOOR * (1 - 1e-5)).all()
        assert (found <= 1 / FLOOR * (1 + 1e-5)).all()
        assert 0 <= scale.share_at_floor(found) <= 1


@pytest.mark.parametrize("power", [1, 2])
def test_the_closed_form_is_a_running_mean_of_the_weighted_error(power: int) -> None:
    scale = scale_of("optimal", power, momentum=0.5)
    location, x = torch.zeros(4, 2, 3), torch.tensor([[1.0, 2.0, math.nan], [3.0, math.inf, 1.0]])
    batch = Batch(x, torch.isfinite(x), None, torch.tensor([1.0, 3.0]))
    statistics = scale.statistics(location, batch)
    weighted = 1 + 2**power + 3 * (3**power + 1)
    assert statistics.tolist() == [4 * weighted, 4 * (2 + 3 * 2)]
    scale.update(statistics)
    assert scale.fitted.item() ** power == pytest.approx(0.5 * 1 + 0.5 * weighted / 8, rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"kind": "wide"}, "'kind' parameter of Family must be one of fixed, shared, per_column, predicted, optimal."),
        ({"value": 0.0}, "'value' parameter of Family must be positive and finite. Got 0.0 instead."),
        ({"value": math.inf}, "'value' parameter of Family must be positive and finite. Got inf instead."),
        ({"momentum": 0.0}, "'momentum' parameter of Family must be above 0 and at most 1. Got 0.0 instead."),
    ],
)
def test_its_family_is_named_where_it_is_refused(settings: dict, sentence: str) -> None:
    with pytest.raises(ConfigError) as error:
        scale_of(**{"kind": "shared", **settings})
    assert sentence in str(error.value)
