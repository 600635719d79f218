"""Every variant of the network with every likelihood: sizes, what may not depend on what, and torch.func."""

import copy

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, vmap

from tests.models import VARIANTS, every_likelihood, randomise, rows_for, small_vae
from vae_lightning.data.batch import Batch
from vae_lightning.data.checks import is_illegal
from vae_lightning.likelihoods.bernoulli import Bernoulli
from vae_lightning.model.vae import VAE
from vae_lightning.posteriors.gaussian import Gaussian as GaussianPosterior
from vae_lightning.priors.standard_normal import StandardNormal

pytestmark = pytest.mark.usefixtures("one_thread")


def test_every_variant_has_the_shapes_of_the_design() -> None:
    offenders = []
    for name, likelihood in every_likelihood():
        for options in VARIANTS:
            for training in (True, False):
                vae, batch = small_vae(likelihood, **options).train(training), Batch(rows_for(likelihood, 10))
                terms = vae(batch, vae.noise(4, 10), densities=True)
                shapes = {
                    "mean": (terms.posterior.mean, (10, 3)),
                    "stddev": (terms.posterior.stddev, (10, 3)),
                    "z": (terms.z, (4, 10, 3)),
                    "px": (terms.px.mean, (4, 10, 6)),
                    "log_px": (terms.log_px, (4, 10, 6)),
                    "kl": (terms.kl, (10, 3)),
                    "log_pz": (terms.log_pz, (4, 10)),
                    "log_qz": (terms.log_qz, (4, 10)),
                    "reconstruction": (terms.reconstruction, (10,)),
                    "nelbo": (terms.nelbo, (10,)),
                    "reconstruct": (vae.reconstruct(batch), (10, 6)),
                    "sample": (vae.sample(9), (9, 6)),
                    "sample means": (vae.sample(9, mean=True), (9, 6)),
                }
                wrong = [part for part, (value, shape) in shapes.items() if value.shape != shape]
                if is_illegal(vae.sample(9), likelihood.supports).any():
                    wrong.append("draws outside the support")
                offenders += [f"{name} {options}: {part}" for part in wrong]
    assert not offenders


def test_decoding_draws_together_is_decoding_them_row_by_row() -> None:
    for name, likelihood in every_likelihood():
        for options in VARIANTS:
            vae = randomise(small_vae(likelihood, **options), 0.4).eval()
            x, z = rows_for(likelihood, 5), torch.randn(4, 5, 3)
            together = vae.decode(z).log_prob(x)
            for s, b in ((0, 0), (1, 4), (3, 2)):
                alone = vae.decode(z[s, b]).log_prob(x[b])
                assert torch.allclose(together[s, b], alone, rtol=1e-4, atol=1e-4), (name, options)


def test_a_reconstruction_is_the_decoded_posterior_mean() -> None:
    for name, likelihood in every_likelihood():
        vae, batch = randomise(small_vae(likelihood), 0.4), Batch(rows_for(likelihood, 5))
        assert torch.equal(vae.reconstruct(batch), vae.decode(vae.encode(batch).mean).point), name


def test_torch_func_maps_over_models() -> None:
    """An ensemble in one call: forward has no state of its own and no branch that depends on the data."""
    for name, likelihood in every_likelihood():
        models = [randomise(small_vae(copy.deepcopy(likelihood)), 0.3) for _ in range(3)]
        states = [{**dict(m.named_parameters()), **dict(m.named_buffers())} for m in models]
        stacked = {part: torch.stack([s[part].detach() for s in states]) for part in states[0]}
        batch, noise = Batch(rows_for(likelihood, 8)), torch.randn(2, 8, 3)

        def terms_of(state: dict[str, Tensor], shell=models[0], batch=batch, noise=noise) -> tuple[Tensor, ...]:
            terms = functional_call(shell, state, (batch, noise, True))
            return terms.z, terms.log_px, terms.kl, terms.log_pz, terms.log_qz, terms.nelbo

        mapped = vmap(terms_of)(stacked)
        for index, model in enumerate(models):
            terms = model(batch, noise, True)
            alone = (terms.z, terms.log_px, terms.kl, terms.log_pz, terms.log_qz, terms.nelbo)
            for ours, truth in zip(mapped, alone, strict=True):
                assert torch.allclose(ours[index], truth, rtol=1e-4, atol=1e-4), name


def test_a_forward_pass_draws_nothing_and_leaves_the_model_as_it_was() -> None:
    for name, likelihood in every_likelihood():
        vae, batch = small_vae(likelihood), Batch(rows_for(likelihood, 8))
        before, noise, stream = copy.deepcopy(vae.state_dict()), vae.noise(2, 8), torch.get_rng_state()
        first = vae(batch, noise).nelbo
        first.mean().backward()
        assert torch.equal(vae(batch, noise).nelbo, first), name
        assert torch.equal(torch.get_rng_state(), stream), name
        assert all(torch.equal(value, before[part]) for part, value in vae.state_dict().items()), name


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: VAE(Bernoulli(3), 0), "The 'latent_dim' parameter of VAE must be at least 1. Got 0 instead."),
        (
            lambda: GaussianPosterior(2, log_var_bound=0.0),
            "The 'log_var_bound' parameter of the Gaussian posterior must be positive and finite. Got 0.0 instead.",
        ),
        (
            lambda: VAE(Bernoulli(3), 2, prior=StandardNormal(3)),
            "The 'prior' parameter of VAE must be one of 2 latent dimensions. Got 3 instead.",
        ),
        (
            lambda: VAE(Bernoulli(3), 2, posterior=GaussianPosterior(1)),
            "The 'posterior' parameter of VAE must be one of 2 latent dimensions. Got 1 instead.",
        ),
    ],
)
def test_bad_parameters_get_the_one_sentence(make, sentence: str) -> None:
    with pytest.raises(ValueError, match="must be") as error:
        make()
    assert str(error.value) == sentence
