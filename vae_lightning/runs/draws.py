"""Where new rows of a finished run are drawn from."""

from pathlib import Path
from typing import Any

from vae_lightning.config.build import Built
from vae_lightning.console import log
from vae_lightning.inference.aggregate import AggregatePosterior, describe_draws, fit_aggregate_posterior
from vae_lightning.inference.checkpoint import add_aggregate


def fit_draws(built: Built, checkpoint: Path) -> None:
    """Fit the density of the codes that new rows are drawn from, and keep it in ``checkpoint`` with the weights.

    It is no part of training: nothing but draws depends on it.

    Args:
        built: the finished run, with the weights that are kept.
        checkpoint: where they are kept.
    """
    model, data = built.module.model, built.datamodule
    train, valid = (data.on_device(part, built.module.device) for part in ("train", "valid"))
    model.aggregate_posterior = fit_aggregate_posterior(model.vae, train, valid, built.module.seed)
    add_aggregate(model, checkpoint)
    log.info(f"Draws: {describe_draws(model.aggregate_posterior)}.")


def state_draws(aggregate: AggregatePosterior | None) -> dict[str, Any]:
    """The same as plain values, for the summary."""
    if aggregate is None:
        return {"from": "prior"}
    return {"from": "aggregate_posterior", "num_components": aggregate.num_components, "gain": aggregate.gain}
