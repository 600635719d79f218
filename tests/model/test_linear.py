"""The linear path: what it computes, in which units, and where it is."""

import pytest
import torch

from tests.models import every_likelihood, mixed, rows_for, small_vae
from vae_lightning.data.batch import Batch
from vae_lightning.likelihoods.bernoulli import Bernoulli
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.model.linear import FEATURE_BOUND, LinearPath, bound_features
from vae_lightning.model.vae import VAE


def test_it_is_a_linear_map_and_a_correction_in_units_of_its_own() -> None:
    path = LinearPath(3, 2)
    v, correction = torch.randn(4, 5, 3), torch.randn(4, 5, 2)
    assert torch.equal(path(v, correction), correction)
    weight, unit = torch.randn(2, 3), torch.tensor([0.01, 4.0])
    path.start(weight, unit)
    torch.testing.assert_close(path(v, correction), v @ weight.T + unit * correction)


def test_its_weight_is_learned_and_its_unit_is_kept_in_the_checkpoint() -> None:
    path = LinearPath(3, 2)
    assert [name for name, _ in path.named_parameters()] == ["weight"]
    assert set(path.state_dict()) == {"weight", "unit"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_leaves_it_alone(dtype: torch.dtype) -> None:
    path = LinearPath(3, 2)
    path.start(torch.randn(2, 3), torch.tensor([0.01, 4.0]))
    v, correction = 1000 + torch.randn(5, 3), torch.randn(5, 2).to(dtype)
    with torch.autocast("cpu", dtype):
        found = path(v, correction)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, path(v, correction.float()))


def test_the_mlp_follows_a_feature_to_its_bound_only() -> None:
    assert FEATURE_BOUND == 10
    torch.testing.assert_close(bound_features(torch.tensor([0.1, -0.1])), torch.tensor([0.1, -0.1]), rtol=1e-4, atol=0)
    assert bound_features(torch.tensor([1e9, -1e9])).tolist() == [10, -10]


def test_it_is_beside_the_mlps_where_a_column_has_a_location() -> None:
    for name, likelihood in every_likelihood():
        vae = small_vae(likelihood)
        has_location = name.startswith(("gaussian", "laplace", "ordinal", "student_t", "by column"))
        assert (vae.linear_encoder is not None) == (vae.linear_decoder is not None) == has_location, name
        off = small_vae(likelihood, linear_path=False)
        assert off.linear_encoder is off.linear_decoder is None


def test_untrained_it_says_nothing() -> None:
    vae = small_vae(Gaussian(6))
    without = small_vae(Gaussian(6), linear_path=False)
    without.load_state_dict({k: v for k, v in vae.state_dict().items() if not k.startswith("linear")})
    x = torch.randn(9, 6) / 100  # so small that no feature is bounded
    torch.testing.assert_close(vae.encode(Batch(x)).mean, without.encode(Batch(x)).mean)
    z = torch.randn(4, 9, 3)
    assert torch.equal(vae.raw(z), without.raw(z))


@pytest.mark.parametrize(
    "options", [{"condition_size": 2}, {"sees_mask": True}, {"condition_size": 1, "sees_mask": True}]
)
def test_conditions_and_masks_have_weights_of_their_own(options: dict) -> None:
    vae = VAE(Gaussian(4), 3, [5], **options)
    condition = options.get("condition_size", 0)
    seen = 4 if "sees_mask" in options else 0
    assert vae.linear_encoder is not None
    assert vae.linear_decoder is not None
    assert vae.linear_encoder.weight.shape == (6, 4 + seen + condition)
    assert vae.linear_decoder.weight.shape == (4, 3 + condition)


@pytest.mark.parametrize("likelihood", [Gaussian(6, "predicted"), mixed(), Bernoulli(6)], ids=["g", "m", "b"])
def test_every_parameter_gets_a_gradient(likelihood: Gaussian) -> None:
    vae = small_vae(likelihood)
    for parameter in vae.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    x = rows_for(likelihood, 20).detach()
    vae(Batch(x), vae.noise(1, 20)).nelbo.mean().backward()
    assert [name for name, p in vae.named_parameters() if p.grad is None or not p.grad.any()] == []
