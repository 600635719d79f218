"""What a trained model is, in plain values."""

from typing import TYPE_CHECKING, Any

from vae_lightning.inference.aggregate import describe_draws

if TYPE_CHECKING:
    from vae_lightning.inference.model import VAEModel


def describe_model(model: "VAEModel") -> dict[str, Any]:
    """What it is, and what it was trained on, by name."""
    data, options = model.record.get("data", {}), model.record.get("model", {})
    return {
        "data": data.get("name"),
        "source": data.get("source"),
        "columns": [column.name for column in model.columns],
        "condition": [] if model.conditions is None else model.conditions.names,
        "preprocess": model.scaling.name(),
        "likelihood": model.vae.likelihood.name(),
        "likelihood options": {k: v for k, v in model.record.get("likelihood", {}).items() if k != "name"},
        "network": {name: options[name] for name in ("hidden_dims", "activation", "dropout") if name in options},
        "latent dimensions": model.vae.latent_dim,
        "parameters": sum(p.numel() for p in model.vae.parameters()),
        "objective": model.record.get("objective"),
        "seed": model.record.get("seed"),
        "draws": describe_draws(model.aggregate_posterior),
        "reference measure": str(model.reference_measure),
        "least NELBO": model.loss_floor() + 0.0,
    }
