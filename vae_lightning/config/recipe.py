"""What ``auto`` stands for: the settings that follow from the rows, the same for command line and estimator.

`scripts/defaults.py` prints the table that these numbers were chosen by.
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from vae_lightning.config.instantiate import Node
from vae_lightning.config.settings import AUTO, FROM_ROWS, Settings
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.support import BINARY, REAL, UNIT, Support
from vae_lightning.model.parts import build_part

USUAL_LATENTS, MOST_LATENTS = 16, 64
"""Latent dimensions: real columns get as many as they are, up to the most, for factor analysis says which are needed;
others, which start without it, a quarter of that, but at least the usual number where there are as many columns."""
LEAST_BATCH, MOST_BATCH = 16, 256
WIDE = 1_000
"""Columns above which the step size falls as 1 / C: each of Adam's steps moves every weight by as much, and what they
move together, a code of a row, by C times that."""
LEAST_STEPS, MOST_STEPS = 4_000, 20_000
MOST_CELLS, MOST_OTHER_CELLS = 1e9, 2.5e9
"""Of a table of real columns and of others, whose steps have no linear path, a cell counting each time that a step sees
it: some 5,000 and 12,500 steps of 256 rows and 784 columns."""
LEAST_EPOCHS, MOST_EPOCHS = 10, 400
PATIENCE, LEAST_PATIENCE = 0.25, 10
"""Share of the epochs, and least number, without a better validation NELBO after which training ends."""


@dataclass(frozen=True)
class Recipe:
    """Numbers that follow from the size of the training rows.

    Attributes:
        latent_dim: latent dimensions L.
        activation: of the networks.
        lr: the greatest step size.
        batch_size: rows a step.
        max_epochs: passes over the rows.
        patience: epochs without improvement before training ends.
    """

    latent_dim: int
    activation: str
    lr: float
    batch_size: int
    max_epochs: int
    patience: int

    @classmethod
    def of(
        cls,
        num_rows: int,
        num_columns: int,
        batch_size: int | None = None,
        max_epochs: int | None = None,
        support: Support = REAL,
    ) -> "Recipe":
        """The numbers for N training rows of C columns; what is given stays, and the others follow it.

        ``support``: of the columns.

        A sixteenth of the rows a step, from 16 to 256. Steps: 4,000, growing as √N above 2,000 rows to 20,000 at most,
        in no fewer than 10 epochs and no more than 400, and no more than see 10⁹ cells, 2.5·10⁹ where columns are not
        real.

        >>> Recipe.of(300, 6)
        Recipe(latent_dim=6, activation='elu', lr=0.002, batch_size=16, max_epochs=211, patience=53)
        >>> Recipe.of(48_000, 784, support=BINARY)
        Recipe(latent_dim=64, activation='relu', lr=0.005, batch_size=256, max_epochs=67, patience=17)
        """
        if batch_size is None:
            wanted = 2 ** round(math.log2(max(num_rows / 16, 1)))
            batch_size = min(max(LEAST_BATCH, min(MOST_BATCH, wanted)), num_rows)
        if max_epochs is None:
            most_cells = MOST_CELLS if support == REAL else MOST_OTHER_CELLS
            most = min(MOST_STEPS, most_cells / (batch_size * num_columns))
            steps = min(most, max(LEAST_STEPS, LEAST_STEPS * math.sqrt(num_rows / 2_000)))
            epochs = math.ceil(steps / math.ceil(num_rows / batch_size))
            max_epochs = min(MOST_EPOCHS, max(LEAST_EPOCHS, epochs))
        latent_dim = num_columns if support == REAL else max(min(num_columns, USUAL_LATENTS), num_columns // 4)
        return cls(
            latent_dim=min(latent_dim, MOST_LATENTS),
            activation="elu" if support == REAL else "relu",
            lr=(5e-3 if support in (BINARY, UNIT) else 2e-3) * min(1.0, WIDE / num_columns),
            batch_size=batch_size,
            max_epochs=max_epochs,
            patience=max(LEAST_PATIENCE, math.ceil(PATIENCE * max_epochs)),
        )


def fit_to_rows(settings: Settings, num_rows: int, num_columns: int) -> Settings:
    """The settings with a value in the place of every ``auto``.

    Args:
        settings: as they were typed.
        num_rows: training rows.
        num_columns: columns.
    """
    typed_epochs = settings.trainer.get("max_epochs")
    recipe = Recipe.of(
        num_rows,
        num_columns,
        settings.rows.batch_size if isinstance(settings.rows.batch_size, int) else None,
        typed_epochs if isinstance(typed_epochs, int) and typed_epochs > 0 else None,
        _support(settings.likelihood, num_columns),
    )
    values = asdict(recipe) | dict.fromkeys(("epochs", "T_max"), recipe.max_epochs)

    def fill(group: str, node: Node) -> dict[str, Any]:
        free = FROM_ROWS[group]
        return {key: values[key] if value == AUTO and key in free else value for key, value in node.items()}

    return replace(
        settings,
        rows=replace(settings.rows, batch_size=recipe.batch_size),
        model=fill("model", settings.model),
        optimizer=fill("optimizer", settings.optimizer),
        scheduler=fill("scheduler", settings.scheduler),
        trainer=fill("trainer", settings.trainer),
        callbacks={name: node and fill("callbacks", node) for name, node in settings.callbacks.items()},
    )


def _support(node: Node, num_columns: int) -> Support:
    """Of the columns; of several families, that of the real columns where there are any."""
    likelihood: Likelihood = build_part(Likelihood, node, "likelihood", num_columns=num_columns)  # type: ignore[type-abstract]
    return REAL if REAL in likelihood.supports else likelihood.supports[0]
