"""ELBOMeter against numpy over all rows at once."""

import numpy as np
import pytest
import torch

from vae_lightning.inference.metrics import ELBOMeter

BOUND = 4.0


def batches(sizes: list[int]) -> list[tuple[torch.Tensor, ...]]:
    """Uneven batches with an inactive latent, some log-variances at their bound and some variances at theirs."""
    return [
        (
            torch.randn(3, rows) - 50,
            torch.rand(rows, 4),
            torch.randn(rows, 4) * torch.tensor([0.0, 0.05, 0.3, 1.0]) + torch.tensor([9.0, 0.0, 2.0, 0.0]),
            (3 * torch.randn(rows, 4)).clamp(-BOUND, BOUND),
            torch.rand(()),
        )
        for rows in sizes
    ]


def truth(parts: list[tuple[torch.Tensor, ...]]) -> dict[str, float]:
    log_px, kl, loc, log_var = (
        np.concatenate([part[i].double().numpy() for part in parts], axis=axis)
        for i, axis in ((0, 1), (1, 0), (2, 0), (3, 0))
    )
    shares = np.concatenate([np.full(len(part[1]), part[4].item()) for part in parts])
    reconstruction, kl = -log_px.mean(), kl.sum(1).mean()
    return {
        "nelbo": reconstruction + kl,
        "reconstruction": reconstruction,
        "kl": kl,
        "active_units": (loc.var(0) > 0.01).sum(),
        "log_var_at_bound": (np.abs(log_var) > 0.95 * BOUND).mean(),
        "variance_at_floor": shares.mean(),
    }


@pytest.mark.parametrize("sizes", [[40], [16, 16, 7], [1, 30]])
def test_means_are_over_rows_however_they_are_batched(sizes: list[int]) -> None:
    meter, parts = ELBOMeter(4, BOUND), batches(sizes)
    for part in parts:
        meter.update(*part)
    result = {name: value.item() for name, value in meter.compute().items()}
    assert result == pytest.approx(truth(parts), rel=1e-6)
    assert 0 < result["log_var_at_bound"] < 1
    assert result["nelbo"] == pytest.approx(result["reconstruction"] + result["kl"], rel=1e-14)


def test_a_new_epoch_starts_afresh() -> None:
    meter, (first, second) = ELBOMeter(4, BOUND), batches([9, 5])
    meter.update(*first)
    meter.reset()
    meter.update(*second)
    assert {k: v.item() for k, v in meter.compute().items()} == pytest.approx(truth([second]), rel=1e-6)


def test_an_active_unit_is_one_whose_mean_varies_across_rows() -> None:
    """A large but constant mean is not activity, even a million times its own spread from zero."""
    rows = 1000
    sign = torch.ones(rows)
    sign[::2] = -1
    loc = torch.stack([0.09 * sign, 0.11 * sign, 100 + 0.09 * sign, 100 + 0.11 * sign], 1)
    meter = ELBOMeter(4, BOUND)
    meter.update(torch.zeros(1, rows), torch.zeros(rows, 4), loc, torch.zeros(rows, 4), torch.zeros(()))
    assert meter.compute()["active_units"].item() == 2
