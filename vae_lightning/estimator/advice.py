"""What messages advise, in the words of the estimator."""

from vae_lightning.errors import Setting

PARAMETERS = {
    "likelihood": "likelihood",
    "data.condition": "condition",
    "data.preprocess": "preprocess",
    "data.batch_size": "batch_size",
    "objective.beta": "beta",
    "optimizer.lr": "learning_rate",
}
"""The estimator's parameters by the settings that they stand for."""


def as_parameter(setting: Setting) -> str | None:
    """A setting as a parameter of the estimator; None where it has none.

    >>> as_parameter(Setting("optimizer.lr", 0.001)), as_parameter(Setting("likelihood.min_scale", 0.001))
    ('learning_rate=0.001', "likelihood_options={'min_scale': 0.001}")
    """
    group, _, name = setting.key.partition(".")
    if group == "likelihood" and name:
        options = {name: setting.value}
        return f"likelihood_options={options}"
    name = PARAMETERS.get(setting.key, "")
    return f"{name}={setting.value!r}" if name else None
