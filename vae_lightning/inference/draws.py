"""Whether drawn rows could be rows of the table at all."""

import numpy as np

from vae_lightning.data.dataset import Rows
from vae_lightning.data.frames import to_matrix
from vae_lightning.data.wording import shorten
from vae_lightning.errors import Notice
from vae_lightning.inference.model import VAEModel

DRAWS = 4000
CELLS = 4_000_000  # most that are drawn: fewer rows of wide tables
SHARE = 0.01  # of a column's draws that have the wrong sign: less is not worth a line


def find_impossible_draws(model: VAEModel, train: Rows, seed: int = 0) -> Notice | None:
    """Say which columns are drawn with a sign that no training value has, and how often; None where none is.

    Args:
        model: trained.
        train: the rows it was trained on, data units.
        seed: of the draws.
    """
    drawn = to_matrix(model.sample(max(1, min(DRAWS, CELLS // train.x.shape[1])), seed=seed), model.columns)
    low, high = np.fmin.reduce(train.x), np.fmax.reduce(train.x)
    # Of a column that never varies every draw is off, by next to nothing.
    wrong = ((drawn < 0) & (low >= 0) | (drawn > 0) & (high <= 0)) & (low < high)
    shares = wrong.mean(axis=0)
    where = np.flatnonzero(shares > SHARE)
    if not len(where):
        return None
    names = [f"'{model.columns[i].name}' ({shares[i]:.0%})" for i in where[np.argsort(-shares[where])]]
    return Notice(
        f"{wrong[:, where].any(axis=1).mean():.0%} of {len(drawn):,} drawn rows are impossible: they hold values of "
        f"a sign that no training row has, in {shorten(names)}. The likelihood takes all real numbers: take logarithms "
        "of such columns before training, take likelihood=auto, or do not use drawn rows as they are."
    )
