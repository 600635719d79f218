"""From rows to the weights that training begins with."""

import torch
from torch import Tensor

from vae_lightning.controls.factor_analysis import FactorAnalysis, fit_factor_analysis
from vae_lightning.likelihoods.moments import RowBatches, SomeColumns, Together, held_variances
from vae_lightning.model.vae import VAE


def start_model(vae: VAE, train: RowBatches, valid: RowBatches) -> FactorAnalysis | None:
    """Start an untrained model from its rows: from factor analysis where it wants that, else knowing nothing of z.

    Args:
        vae: untrained.
        train: the training rows, model units.
        valid: the validation rows: how far to trust the training rows is decided on them.

    Returns:
        The linear model that it started from.
    """
    if vae.linear_decoder is None:
        vae.start_from(train)
        return None
    of_raw = vae.likelihood.column_of_raw
    columns = of_raw[of_raw >= 0].sort().values.tolist()
    # Of a column without a location, such as one of codes, no variance is learned.
    held = torch.zeros(vae.likelihood.num_columns, dtype=torch.float64)
    held[columns] = held_variances(Together(train, valid))[columns].cpu()
    if vae.start != "linear":
        vae.start_from(train, held=held)
        return None
    everything = columns == list(range(vae.likelihood.num_columns))
    rows = (train, valid) if everything else (SomeColumns(train, columns), SomeColumns(valid, columns))

    def fit_variances(residual: Tensor, held: Tensor) -> Tensor:
        whole = torch.ones(2, vae.likelihood.num_columns, dtype=torch.float64)
        whole[:, columns] = torch.stack((residual, held))
        return vae.likelihood.fit_variances(*whole)[columns]

    factors = fit_factor_analysis(*rows, vae.latent_dim, fit_variances, held[columns])
    vae.start_from(train, factors, held)
    return factors
