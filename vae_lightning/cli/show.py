"""``--cfg job``: a look at the settings, without a run."""

from typing import TYPE_CHECKING, Any

from vae_lightning.cli.failure import USER_WANTS_TRACEBACKS, fail

if TYPE_CHECKING:
    from omegaconf import DictConfig

LOOKING = ("run_dir='<run_dir>'", "hydra.mode=RUN", "hydra.run.dir=.")
"""Overrides with which Hydra composes a job and leaves no trace of it."""


def show_settings(config: "DictConfig") -> None:
    """``--cfg job``: every setting that would be in force, defaults included."""
    import yaml
    from omegaconf import OmegaConf

    from vae_lightning.config.settings import Settings

    try:
        plain: Any = OmegaConf.to_container(config, resolve=True)
        settings = Settings.parse(plain).in_full()
    except Exception as error:  # ended here, or Hydra prints a line of its own before ours
        fail(error, config.get("debug") is True or USER_WANTS_TRACEBACKS)
    print(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), end="")
