"""Losses that strangers brought: what each of them is, and that the right ones are left alone."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from vae_lightning.doctor import Report, diagnose
from vae_lightning.doctor.losses.cases.wrong import bce, log_var_kl, log_var_sample

FUNCTIONS = Path(__file__).parents[4] / "shared" / "reports" / "functions"
GOOD = {"kl": log_var_kl, "sample": log_var_sample, "reconstruction": bce}
EXPECTED = {
    "a11_gnll_mean": {"MEAN-SUM"},
    "a11_gnll_raw": {"OVERFLOW"},
    "a11_gnll_right": set(),
    "a13_nb": set(),
    "a13_nb_mean": {"MEAN-SUM"},
    "a13_nb_wrong": {"UNNORMALISED"},
    "a14_mean_vs_sum_batch": {"KL-DEAD"},
    "a1_eps_std": {"EPS-SCALE"},
    "a1_eps_std_fixed": set(),
    "a2_softplus_var": set(),
    "a3_mse_mean_half": {"KL-BATCH-SUM", "MEAN-SUM"},
    "a3_noisy_output": {"UNNORMALISED"},
    "a3_relu_heads": {"HEAD-ACT"},
    "a5_mc_kl_scale": set(),
    "a7_two_parts": {"KL-MEAN-L", "SCALE", "MEAN-SUM"},
    "a8_multinomial": set(),
    "a8_multinomial_mean": {"MEAN-SUM"},
    "a9_tvae": {"SCALE"},
    "v_capacity": {"SCALE"},
    "v_ce_onehot_mean": {"MEAN-SUM"},
    "v_clamp": set(),
    "v_clamp_tight": set(),
    "v_eval_mean": {"NO-NOISE"},
    "v_freebits": set(),
    "v_freebits_batch": set(),
    "v_huber": set(),
    "v_kltol": set(),
    "v_masked_mean": {"MEAN-SUM"},
    "v_masked_sentinel": set(),
    "v_masked_sum": set(),
    "v_mixed_bce_mean_mse_sum": {"MEAN-SUM"},
    "v_mixed_bce_mse": set(),
    "v_mixed_means": {"MEAN-SUM"},
    "v_normal_rawscale": {"OVERFLOW"},
}


def examine(name: str) -> Report:
    spec = importlib.util.spec_from_file_location(name, FUNCTIONS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    roles = ("kl", "sample", "reconstruction", "loss")
    return diagnose(**{role: getattr(module, role) for role in roles if hasattr(module, role)})


@pytest.mark.skipif(not FUNCTIONS.is_dir(), reason="the shared reports are not here")
def test_reported_functions_get_the_right_answer() -> None:
    reports = {name: examine(name) for name in EXPECTED}
    assert {name: set(report.codes) for name, report in reports.items()} == EXPECTED
    assert not {name: report.unjudged for name, report in reports.items() if report.unjudged}


def test_posterior_of_one_sigma_is_no_fault() -> None:
    """½ Σ m² beside m + ε was accused: the KL has no s, and neither has the draw."""
    report = diagnose(kl=lambda m, _s: 0.5 * (m**2).sum(1), sample=lambda m, _s: m + torch.randn_like(m))
    assert report.ok
    assert not report.unjudged


@pytest.mark.parametrize(("bound", "words"), [(-1, "never above 1"), (1, "never below 1")])
def test_one_sided_head_is_found_by_the_range_of_its_sigma(bound: int, words: str) -> None:
    """−|s| and the like were missed: only the activations of a list were known."""

    def head(s):
        return bound * torch.log1p(s.abs())

    report = diagnose(kl=lambda m, s: log_var_kl(m, head(s)), sample=lambda m, s: log_var_sample(m, head(s)))
    assert report.codes == ("HEAD-ACT",)
    assert words in report.wrong[0].says


def test_blocks_of_columns_have_their_own_reductions() -> None:
    """Flags averaged beside numbers summed were "neither a sum nor a mean"."""

    def mixed(x, out):
        flags = F.binary_cross_entropy_with_logits(out[:, :3], x[:, :3], reduction="none").mean(1)
        return flags + 0.5 * ((x[:, 3:] - out[:, 3:]) ** 2).sum(1)

    report = diagnose(**{**GOOD, "reconstruction": mixed})
    assert [(one.code, one.about) for one in report.wrong] == [("MEAN-SUM", "kl and reconstruction, columns 1 to 3")]
    assert report.measured["effective β, columns 1 to 3"] == "D = 3"
    assert report.measured["effective β, columns 4 to 11"] == "1"


def test_raw_scale_is_said_to_be_one() -> None:
    """A raw second output used as the scale passed without a word."""

    def normal(x, out):
        return -torch.distributions.Normal(out[0], out[1], validate_args=False).log_prob(x).sum(1)

    report = diagnose(**{**GOOD, "reconstruction": normal})
    assert report.exit_status == 1
    assert "not finite for negative out[1]" in report.wrong[0].says


def test_weight_inside_the_whole_is_found_beside_a_plain_kl() -> None:
    """With kl and loss given, the weight 0.00025 of the loss was not seen."""
    report = diagnose(kl=log_var_kl, loss=lambda x, out, m, s: F.mse_loss(out, x) + 0.00025 * log_var_kl(m, s))
    assert report.measured["effective β"] == "0.00025 · D"
    assert "SCALE" in report.codes


def test_order_of_arguments_is_read_off() -> None:
    """(recon_x, x, mu, logvar) was accused of exchanged arguments; only what names contradict is."""

    def example(recon_x, x, mu, logvar):
        return F.binary_cross_entropy(recon_x, x, reduction="sum") / len(x) + log_var_kl(mu, logvar)

    def exchanged(x, recon_x, mu, logvar):
        return example(x, recon_x, mu, logvar)

    assert diagnose(loss=example).ok
    assert diagnose(loss=exchanged).codes == ("ARG-SWAP",)


class Unnamed(torch.nn.Module):
    """A VAE whose parts are called by letters, with a weight on its KL."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.a, self.b, self.c = torch.nn.Linear(9, 6), torch.nn.Linear(6, 4), torch.nn.Linear(2, 9)

    def forward(self, q: torch.Tensor) -> torch.Tensor:
        u, v = self.b(torch.tanh(self.a(q))).chunk(2, 1)
        w = u + torch.exp(v) * torch.randn_like(u)
        return bce(q, self.c(w)) + self.weight * log_var_kl(u, 2 * v)


@pytest.mark.parametrize(("weight", "codes"), [(1.0, ()), (0.1, ("SCALE",))])
def test_model_is_taken_apart_at_its_layers(weight: float, codes: tuple[str, ...]) -> None:
    """Of loss(model, x) neither the KL nor β could be told."""
    model = Unnamed(weight)
    report = diagnose(loss=lambda model, x: model(x), model=model)
    assert report.codes == codes
    assert report.measured["sampler: σ(s)"] == "exp(s)"
    assert "forward" not in vars(model.a)


def gaussian_of(transform):
    def reconstruction(x, out):
        return -torch.distributions.Normal(out[0], F.softplus(out[1]) + 1e-3).log_prob(transform(x)).sum(1).mean()

    return reconstruction


def log_normal(x, out):
    return -torch.distributions.LogNormal(out[0], F.softplus(out[1]) + 1e-3).log_prob(x).sum(1).mean()


@pytest.mark.parametrize(
    ("written", "family"),
    [
        (log_normal, "positive"),  # torch refuses an x of 0 with a ValueError
        (gaussian_of(torch.log), "log x"),
        (gaussian_of(torch.log1p), "log(1 + x)"),
    ],
)
def test_density_of_positive_numbers_or_of_their_logarithm_is_a_likelihood(written, family) -> None:
    """A log-normal of torch was said to raise, and a Gaussian of log x to be no likelihood: it lacks a term of x."""
    report = diagnose(reconstruction=written)
    assert report.codes == ()
    assert report.measured["reconstruction: family"] == family


def test_square_of_log_x_with_a_scale_that_lacks_its_logarithm_is_no_likelihood() -> None:
    squares = diagnose(reconstruction=lambda x, out: ((torch.log(x) - out[0]) ** 2 / (2 * out[1] ** 2)).sum(1).mean())
    assert squares.codes == ("UNNORMALISED",)


@pytest.mark.parametrize("shared", [1.0, 0.25])
def test_commitment_loss_is_said_to_be_no_kl(shared: float) -> None:
    """A distance between codes and their quantised selves was read as a KL whose log σ is missing."""

    def commitment(m: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        return ((m - s.detach()) ** 2).sum(1).mean() + shared * ((m.detach() - s) ** 2).sum(1).mean()

    for report in (diagnose(kl=commitment), diagnose(**{**GOOD, "kl": commitment})):
        assert report.codes == ()
        assert any("no KL" in finding.says for finding in report.unjudged)
        assert report.exit_status == 2


def nearest(m):
    book = torch.linspace(-2.3, 2.9, 5, dtype=m.dtype)
    return book[(m[..., None] - book).abs().argmin(-1)]


@pytest.mark.parametrize("quantise", [torch.round, torch.floor, torch.sign, nearest])
def test_commitment_loss_of_codes_is_said_to_be_no_kl(quantise) -> None:
    """A distance from rounded latents was called a KL that is dead; it is none."""

    def loss(x, out, m, _s):
        codes = quantise(m)
        commitment = ((codes.detach() - m) ** 2).sum(1) + 0.25 * ((codes - m.detach()) ** 2).sum(1)
        return (((x - out) ** 2).sum(1) + commitment).mean()

    report = diagnose(loss=loss)
    assert report.codes == ()
    assert any("no KL" in finding.says for finding in report.unjudged)


def beta_tcvae(m, s):
    """Mutual information, total correlation and the KL of each latent, estimated on the batch."""
    z = m + torch.exp(s / 2) * torch.randn_like(m)
    each = torch.distributions.Normal(m, (s / 2).exp()).log_prob(z[:, None])
    itself, joint = each.diagonal().sum(0), each.sum(2).logsumexp(1) - np.log(len(m))
    product = (each.logsumexp(1) - np.log(len(m))).sum(1)
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
    return (itself - joint + 6 * (joint - product) + product - prior).mean()


def mmd(m, s):
    """The squared maximum mean discrepancy of a batch of draws from the prior."""
    z, prior = m + torch.exp(s / 2) * torch.randn_like(m), torch.randn_like(m)

    def kernel(one, other):
        return torch.exp(-((one[:, None] - other) ** 2).mean(2)).mean()

    return kernel(z, z) + kernel(prior, prior) - 2 * kernel(z, prior)


@pytest.mark.parametrize("divergence", [beta_tcvae, mmd, lambda m, s: 0.5 * log_var_kl(m, s) + 9.5 * mmd(m, s)])
def test_divergence_of_the_whole_batch_is_said_to_be_one(divergence) -> None:
    """Of a β-TCVAE and an InfoVAE only SLOW was said, after a thousand rows had been compared with one another."""
    report = diagnose(loss=lambda x, out, m, s: bce(x, out) + divergence(m, s))
    assert report.codes == ()
    assert [finding.code for finding in report.unjudged] == ["SHAPE"]
    assert "coupled" in report.unjudged[0].says
