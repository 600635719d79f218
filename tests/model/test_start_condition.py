"""With a condition, training begins at factor analysis of what the condition leaves of the rows."""

import pytest
import torch
from torch import Tensor

from tests.model.test_start import C, L, synthetic
from vae_lightning.controls.independent import IndependentColumns
from vae_lightning.data.batch import Batch
from vae_lightning.data.store import RowsInMemory
from vae_lightning.errors import ConfigError
from vae_lightning.likelihoods.by_column import ByColumn
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.likelihoods.negative_binomial import NegativeBinomial
from vae_lightning.likelihoods.ordinal import Ordinal
from vae_lightning.model.start import fit_slopes, start_model
from vae_lightning.model.vae import VAE

pytestmark = pytest.mark.usefixtures("one_thread")


def told(x: Tensor, holes: float = 0.0) -> tuple[RowsInMemory, Tensor, Tensor]:
    """Rows to which a condition has added something, the condition, and what it adds, (C, 2)."""
    slopes = torch.tensor([[4.0, -1.0], [-6.0, 0.5]] * C)[:C]
    condition = torch.stack([(torch.rand(len(x)) < 0.3).float() - 0.3, torch.randn(len(x))], 1)
    mask = torch.rand_like(x) >= holes if holes else None
    return RowsInMemory(Batch(x + condition @ slopes.T, mask, condition)), condition, slopes


@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_a_condition_that_says_something_is_regressed_on(holes: float) -> None:
    train, valid, test = synthetic()
    vae = VAE(Gaussian(C), L, [8], condition_size=2, sees_mask=holes > 0)
    (rows, _, slopes), (others, _, _), (judged, condition, _) = (told(x, holes) for x in (train, valid, test))
    start = start_model(vae, rows, others)
    assert start is not None
    factors = start.factors
    found = fit_slopes(rows, others, list(range(C)), torch.zeros(C))
    assert found is not None
    torch.testing.assert_close(found, slopes.double(), rtol=0.1, atol=0.3)
    assert vae.linear_decoder is not None
    weight = vae.linear_decoder.unit[:, None] * vae.linear_decoder.weight
    torch.testing.assert_close(weight[:C, L:].double(), found, rtol=1e-4, atol=1e-5)
    if not holes:  # its ELBO is log p(x|c) of the linear model, exactly, as without a condition
        with torch.no_grad():
            terms = vae(judged.rows, vae.noise(200, len(test)), densities=True)
            assert terms.log_pz is not None
            assert terms.log_qz is not None
            log_weights = terms.log_px.sum(-1) + terms.log_pz - terms.log_qz
        expected = factors.log_prob(Batch(judged.rows.x.double() - condition.double() @ found.T))
        torch.testing.assert_close(log_weights.mean(0).double(), expected, rtol=1e-3, atol=1e-2)
        assert log_weights.std(0).max() < 0.01, "the posterior is exact, so that every draw weighs the same"


def test_a_condition_moves_levels_in_an_order_as_it_moves_real_numbers() -> None:
    """Levels less what a condition says of them are no levels: their frequencies were asked of such, and refused."""
    draws = torch.Generator().manual_seed(0)
    z, condition = torch.randn(2000, 1, generator=draws), torch.randint(2, (2000, 1), generator=draws).float()
    noise = 0.5 * torch.randn(2000, 3, generator=draws)
    x = z * torch.tensor([1.0, -1.0, 2.0]) + condition * torch.tensor([1.0, 0.0, 3.0]) + noise
    x[:, 2] = (5 + x[:, 2]).round().clamp(0, 11)
    likelihood = ByColumn(3, [(Gaussian(2), [0, 1]), (Ordinal(1, 12), [2])])
    vae = VAE(likelihood, 1, [8], condition_size=1).eval()
    parts = [RowsInMemory(Batch(x[at], None, condition[at])) for at in (slice(1600), slice(1600, None))]
    start, slopes = start_model(vae, *parts), fit_slopes(*parts, [0, 1, 2], torch.zeros(3))
    assert start is not None
    assert slopes is not None
    factors = start.factors
    with torch.no_grad():
        found, raw = vae.encode(parts[1].rows), vae.raw(z[1600:], condition[1600:])
    middle = factors.mean + condition[1600:].double() @ slopes.T
    weight = (factors.loadings / factors.noise[:, None]) / (1 + factors.signal)
    tolerance = {"rtol": 1e-3, "atol": 1e-3}
    torch.testing.assert_close(found.mean.double(), (x[1600:].double() - middle) @ weight, **tolerance)
    located = raw[:, likelihood.column_of_raw >= 0].double()
    torch.testing.assert_close(located, middle + z[1600:].double() @ factors.loadings.T, **tolerance)
    with torch.no_grad():
        shares = vae.likelihood(raw).log_prob(torch.full_like(x[1600:], 5.0)).exp()[:, 2]
    for level in (0, 1):  # among rows of either condition a level is about as frequent as it is
        told = condition[1600:, 0] == level
        assert shares[told].mean() == pytest.approx((x[1600:, 2] == 5)[told].float().mean().item(), abs=0.06)


def test_counts_with_exposures_start_as_independent_columns_of_their_rates() -> None:
    """The encoder is told the exposure, the decoder is not: twice of it is twice the mean, whatever z is."""
    draws = torch.Generator().manual_seed(0)
    log_exposure = torch.randn(2000, 1, generator=draws) - 0.5
    x = torch.poisson(log_exposure.exp() * torch.tensor([0.3, 2.0, 30.0]), generator=draws)
    rows = RowsInMemory(Batch(x, None, torch.cat([torch.rand(2000, 1, generator=draws), log_exposure], 1)))
    vae = VAE(NegativeBinomial(3), 2, [8], condition_size=2, exposed=True).eval()
    start_model(vae, rows, rows)
    baseline = IndependentColumns(vae.likelihood, rows, exposed=True)
    with torch.no_grad():
        terms = vae(rows.rows, vae.noise(1, 2000))
    torch.testing.assert_close(terms.log_px[0], baseline.log_prob(rows.rows), rtol=1e-3, atol=1e-3)
    torch.nn.init.normal_(vae.output.weight)
    z, condition = torch.randn(4, 2), torch.tensor([[0.2, 0.1]]).expand(4, -1)
    longer = condition + torch.tensor([0.0, 2.0]).log().nan_to_num(neginf=0.0)
    torch.testing.assert_close(vae.decode(z, longer).mean, 2 * vae.decode(z, condition).mean)
    assert not torch.allclose(
        vae.encode(Batch(x[:4], None, longer)).mean, vae.encode(Batch(x[:4], None, condition)).mean
    )
    with pytest.raises(ValueError, match=r"must have 2 numbers a row\. Got 0 instead"):
        vae.decode(z)
    with pytest.raises(ConfigError, match="The 'exposed' parameter of VAE must be false without a condition"):
        VAE(NegativeBinomial(3), 2, exposed=True)
