"""What ``auto`` stands for: the settings that follow from the rows, the same for command line and estimator.

`scripts/defaults.py` prints the table that these numbers were chosen by.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

from vae_lightning.config.instantiate import Node
from vae_lightning.config.settings import AUTO, FROM_ROWS, Settings
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.support import REAL
from vae_lightning.model.parts import NAME

MOST_LATENTS = 64
"""Latent dimensions of a wide table; a narrow one gets as many as it has columns. What is not needed stays unused."""
LEAST_BATCH, MOST_BATCH = 16, 256
LEAST_STEPS, MOST_STEPS = 4_000, 20_000
LEAST_EPOCHS, MOST_EPOCHS = 10, 400
PATIENCE, LEAST_PATIENCE = 0.4, 10
"""Share of the epochs, and least number, without a better validation NELBO after which training ends."""
FOR_REAL, FOR_OTHERS = "elu", "relu"
"""The activation where columns are real numbers, and where they are not."""


@dataclass(frozen=True)
class Recipe:
    """Numbers that follow from the size of the training rows.

    Attributes:
        latent_dim: latent dimensions L.
        batch_size: rows a step.
        max_epochs: passes over the rows.
        patience: epochs without improvement before training ends.
    """

    latent_dim: int
    batch_size: int
    max_epochs: int
    patience: int

    @classmethod
    def of(
        cls, num_rows: int, num_columns: int, batch_size: int | None = None, max_epochs: int | None = None
    ) -> "Recipe":
        """The numbers for N training rows of C columns; what is given stays, and the others follow it.

        A sixteenth of the rows a step, from 16 to 256. Steps: 4,000, growing as √N above 2,000 rows to 20,000 at most,
        in no fewer than 10 epochs and no more than 400.

        >>> Recipe.of(300, 6)
        Recipe(latent_dim=6, batch_size=16, max_epochs=211, patience=85)
        >>> Recipe.of(48_000, 784)
        Recipe(latent_dim=64, batch_size=256, max_epochs=105, patience=42)
        """
        if batch_size is None:
            wanted = 2 ** round(math.log2(max(num_rows / 16, 1)))
            batch_size = min(max(LEAST_BATCH, min(MOST_BATCH, wanted)), num_rows)
        if max_epochs is None:
            steps = min(MOST_STEPS, max(LEAST_STEPS, LEAST_STEPS * math.sqrt(num_rows / 2_000)))
            epochs = math.ceil(steps / math.ceil(num_rows / batch_size))
            max_epochs = min(MOST_EPOCHS, max(LEAST_EPOCHS, epochs))
        return cls(
            min(MOST_LATENTS, num_columns),
            batch_size,
            max_epochs,
            max(LEAST_PATIENCE, math.ceil(PATIENCE * max_epochs)),
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
    )
    is_real = Likelihood.named(settings.likelihood[NAME], "likelihood").support is REAL
    values: dict[str, Any] = {"latent_dim": recipe.latent_dim, "patience": recipe.patience}
    values |= {"activation": FOR_REAL if is_real else FOR_OTHERS}
    values |= dict.fromkeys(("max_epochs", "epochs", "T_max"), recipe.max_epochs)

    def fill(group: str, node: Node) -> dict[str, Any]:
        free = FROM_ROWS[group]
        return {key: values[key] if value == AUTO and key in free else value for key, value in node.items()}

    return replace(
        settings,
        rows=replace(settings.rows, batch_size=recipe.batch_size),
        model=fill("model", settings.model),
        scheduler=fill("scheduler", settings.scheduler),
        trainer=fill("trainer", settings.trainer),
        callbacks={name: node and fill("callbacks", node) for name, node in settings.callbacks.items()},
    )
