"""Which control a likelihood's columns are held against."""

from vae_lightning.controls.base import Control
from vae_lightning.controls.chow_liu import MAX_COLUMNS, ChowLiuTree
from vae_lightning.controls.factor_analysis import fit_factor_analysis
from vae_lightning.controls.mixture import fit_mixture
from vae_lightning.data.batch import Batches
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.support import BINARY, REAL


def fit_control(
    likelihood: Likelihood, train: Batches, valid: Batches | None, latent_dim: int, exposed: bool = False
) -> Control:
    """The simple model of the same rows that a VAE has to beat.

    Factor analysis where every column is real; a Chow-Liu tree where every column is binary and the rows really hold 0
    and 1; else, for grey levels, counts and columns of several kinds, a mixture of independent columns.

    Args:
        likelihood: the VAE's.
        train: the training rows, in model units.
        valid: the validation rows; None where there are none.
        latent_dim: the VAE's latent dimensions, of which the control has as many.
        exposed: whether the rows' counts have exposures.
    """
    if all(support == REAL for support in likelihood.supports):
        return fit_factor_analysis(train, valid, latent_dim)
    # Where bits are drawn anew in every epoch the training rows are the levels they are drawn from; others are drawn.
    is_binary = all(support == BINARY for support in likelihood.supports)
    if is_binary and likelihood.num_columns <= MAX_COLUMNS and _are_bits(train if valid is None else valid):
        return ChowLiuTree(train)
    return fit_mixture(likelihood, train, valid, latent_dim, exposed)


def _are_bits(rows: Batches) -> bool:
    fits = (
        BINARY.suits(batch.x) if batch.mask is None else BINARY.suits(batch.x) | ~batch.mask for batch in rows.batches()
    )
    return all(bool(fit.all()) for fit in fits)
