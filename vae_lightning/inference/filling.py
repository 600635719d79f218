"""Rows with holes as users hold them, filled."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lightning.data.batch import Batch
from vae_lightning.data.checks import is_illegal
from vae_lightning.data.dates import find_places, join_columns
from vae_lightning.data.frames import Data, check_not_empty, fill_holes, row_namer, to_matrix, wrap_like
from vae_lightning.data.scaled import mark_holes
from vae_lightning.data.seeds import random_stream, stream_seed
from vae_lightning.errors import check_parameter, is_count
from vae_lightning.inference.evaluating import evaluating
from vae_lightning.inference.imputation import NUM_SAMPLES, choose_modes, impute
from vae_lightning.inference.units import DataUnits


class FillingMixin(DataUnits):
    """The part of a model in data units that fills holes."""

    @evaluating
    def impute(
        self,
        rows: Data,
        draws: int | None = None,
        *,
        mean: bool = False,
        return_uncertainty: bool = False,
        num_samples: int = NUM_SAMPLES,
        seed: int = 0,
    ) -> Any:
        """``rows`` (N, C) with their empty cells filled; what is observed stays as it is.

        A number becomes its conditional mean given the row's observed cells, a text or one of two values the likeliest
        one. A number that no row of the training data could hold, such as a sixth class of five, is not looked at, and
        stays. The spread of such guesses is less than that of data: for that take ``draws``, of which each is a table
        that might have been (multiple imputation). Interval estimates are quantiles over draws.

        Args:
            rows: NaN, None and what pandas calls missing are empty cells.
            draws: instead of one table of guesses a list of this many tables of draws.
            mean: fill columns of whole numbers and truth values with fractions.
            return_uncertainty: also give a table of each filled cell's standard deviation, of dates in days, or of a
                category the probability that it is another; NaN at observed cells.
            num_samples: draws of each cell that a guess is made of.
            seed: the same seed fills the same rows alike.

        Raises:
            DataError: as :meth:`encode`.
            ConfigError: when ``draws`` or ``num_samples`` is below 1.
        """
        legal = draws is None or is_count(draws)
        check_parameter("impute", "draws", legal, "a whole number from 1 on, or None", draws)
        check_not_empty(rows)
        matrix = to_matrix(rows, self.input_columns)
        if self.conditions is not None:
            self.conditions.check(matrix[:, self.conditions.places], row_namer(rows))
        x, told = self.split_conditions(torch.from_numpy(matrix).to(self.vae.output.weight.device))
        batch = self._known_cells(x)._replace(condition=told)
        has_mode = choose_modes(self.columns, self.vae.likelihood.supports, mean)
        with random_stream(stream_seed(seed, "impute")):
            found = impute(self.vae, self.scaling, batch, has_mode, draws or 0, num_samples, self.columns)
        found = found.at(torch.isnan(x))
        tables = [
            fill_holes(rows, self._beside_conditions(t), self.input_columns, mean)
            for t in (found.draws if draws else [found.guess])
        ]
        filled = tables if draws else tables[0]
        if not return_uncertainty:
            return filled
        spread = found.uncertainty[:, [places[0] for places in find_places(self.columns)]]
        return filled, wrap_like(rows, spread, [column.name for column in join_columns(self.columns)])

    def _beside_conditions(self, values: Tensor) -> np.ndarray:
        """Modelled columns (N, C) as rows have them, (N, C + J): NaN, which fills nothing, for conditions."""
        cells: np.ndarray = values.cpu().numpy()
        if self.conditions is None:
            return cells
        return self.conditions.join(cells, np.full((len(cells), len(self.conditions.columns)), np.nan))

    def _known_cells(self, x: Tensor) -> Batch:
        """Rows (N, C) in model units, masked where a cell is empty or holds what the model has no word for."""
        batch = mark_holes(self.scaling.transform(x), x, True)
        assert batch.mask is not None
        return batch._replace(mask=batch.mask & ~is_illegal(batch.x, self.vae.likelihood.supports)).cast(
            self.vae.output.weight
        )
