"""A network between data units and model units, and where its new rows come from."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from vae_lightning.data.batch import Batch
from vae_lightning.data.checks import check_known, check_support
from vae_lightning.data.columns import Column
from vae_lightning.data.conditions import Conditions
from vae_lightning.data.dates import join_columns
from vae_lightning.data.frames import Data, row_namer, to_matrix
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.data.scaled import mark_holes
from vae_lightning.inference.aggregate import AggregatePosterior
from vae_lightning.model.vae import VAE


class DataUnits(nn.Module):
    """A VAE with its columns, its scaling and its conditions.

    Args:
        vae: the network, in model units.
        scaling: the map between data units and model units, fitted on the training rows.
        columns: names and dtypes of the modelled columns.
        conditions: what encoder and decoder are told beside a row; None where it is nothing.
    """

    def __init__(
        self, vae: VAE, scaling: Scaling, columns: Sequence[Column], conditions: Conditions | None = None
    ) -> None:
        super().__init__()
        self.vae = vae
        self.scaling = scaling
        self.columns = tuple(columns)
        self.conditions = conditions
        #: Where :meth:`draw_codes` draws z from, fitted when a run ends; None for the prior.
        self.aggregate_posterior: AggregatePosterior | None = None

    @property
    def input_columns(self) -> tuple[Column, ...]:
        """The columns of rows as matrices have them: modelled ones and conditions; of dates their parts."""
        return self.columns if self.conditions is None else self.conditions.join_columns(self.columns)

    @property
    def table_columns(self) -> tuple[Column, ...]:
        """The columns of rows as users have them: those of the training file, modelled ones and conditions."""
        return join_columns(self.input_columns)

    def count_clipped(self, rows: Data) -> dict[str, int]:
        """How many cells of each modelled column are taken for another number, the nearest that has a place.

        Numbers that are levels in an order have places for those of the training rows, and values of ``minmax`` and
        grey levels for those between their ends. Columns without such a cell are left out.
        """
        x, _ = self.split_conditions(torch.from_numpy(to_matrix(rows, self.input_columns)))
        clipped = self.scaling.count_clipped(x.to(self.vae.output.weight.device)).tolist()
        return {column.name: number for column, number in zip(self.columns, clipped, strict=True) if number}

    def model_units(self, rows: Data) -> Batch:
        """``rows`` (N, C) as the network sees them, on its device.

        Raises:
            DataError: when columns are missing, values are not finite numbers or lie outside the support, or a row has
                no condition that is known.
        """
        weight, likelihood = self.vae.output.weight, self.vae.likelihood
        matrix = to_matrix(rows, self.input_columns)
        if self.conditions is not None:
            self.conditions.check(matrix[:, self.conditions.places], row_namer(rows))
        x, told = self.split_conditions(torch.from_numpy(matrix).to(weight.device))
        check_known(x, self.columns, self.scaling.known_values, row_namer(rows))
        batch = mark_holes(self.scaling.transform(x), x, bool(torch.isnan(x).any()))._replace(condition=told)
        check_support(
            batch.x,
            split="given",
            columns=self.columns,
            supports=likelihood.supports,
            likelihood=likelihood.column_names,
            preprocess=self.scaling.column_names,
            place=row_namer(rows),
            mask=batch.mask,
        )
        return batch.cast(weight)

    def split_conditions(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Rows (B, C + J) as users have them → modelled columns (B, C) in data units, and what is told of them."""
        if self.conditions is None:
            return rows, None
        x, values = self.conditions.split(rows)
        return x, self.tell(values)

    def draw_conditions(self, num_rows: int, fixed: Mapping[int, float] | None = None) -> Tensor | None:
        """Conditions (num_rows, J) as the training rows have them, data units; None where the model has none."""
        return None if self.conditions is None else self.conditions.draw(num_rows, fixed or {})

    def tell(self, values: Tensor | None) -> Tensor | None:
        """Conditions (B, J) in data units as the network is told them, (B, K)."""
        if values is None or self.conditions is None:
            return None
        return self.conditions(values.to(self.conditions.center.device)).to(self.vae.output.weight)

    def draw_codes(self, num_rows: int, temperature: float = 1.0, prior: bool = False) -> Tensor:
        """The latent points (num_rows, L) of new rows, from torch's global random stream."""
        fitted = None if prior else self.aggregate_posterior
        density = self.vae.prior if fitted is None else fitted
        return density.sample(num_rows, temperature).to(self.vae.output.weight)
