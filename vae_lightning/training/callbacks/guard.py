"""Watches training for what an honest loss cannot do, and for what an honest model should not."""

import math
from collections.abc import Mapping
from typing import Any, NoReturn

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from vae_lightning.console import log
from vae_lightning.errors import Notice, RunError, Setting
from vae_lightning.inference.verdict import SMALL_KL
from vae_lightning.training.module import VAEModule

TERMS = ("loss", "reconstruction", "KL")
Conditions = dict[str, tuple[bool, Notice]]
TOLERANCE = 1e-3
"""Nats: float32 rounding may put a zero KL or a loss at its floor this far on the wrong side."""


class LossGuard(Callback):
    """Stops a run whose loss breaks a law; warns, once each, of a model that has stopped learning something.

    What :attr:`warnings` holds in the end is true of the best epoch, or of the start, whose weights are kept.

    Laws: every term is finite; KL >= 0; NELBO >= -sum(max_log_prob). The terms stay on the device and are read every
    ``every_n_steps`` steps and at the end of an epoch, so the guard costs no step anything.

    Args:
        every_n_steps: steps between looks within an epoch.
        patience: epochs in a row that collapse, or a share at a bound, must last before it is worth a warning.
        share: share of variances at the floor, or of log-variances at the bound, worth a warning.

    Raises:
        RunError: when a law is broken; the message names the term, epoch, step, the norms and what to try.
    """

    takes_blocks = True

    def __init__(self, every_n_steps: int = 200, patience: int = 5, share: float = 0.01) -> None:
        self.every_n_steps = every_n_steps
        self.patience = patience
        self.share = share
        self._checked = 0
        self._epochs: dict[str, int] = {}
        #: What was warned of, and what holds of the best epoch or the start, by name.
        self._warned: dict[str, Notice] = {}
        self._at_best: dict[str, Notice] = {}
        self._best = math.inf
        self._said_negative = False

    @property
    def warnings(self) -> list[Notice]:
        """The warnings that hold of the weights that are kept."""
        return [notice for name, notice in self._at_best.items() if name in self._warned]

    def on_train_start(self, trainer: Trainer, pl_module: VAEModule) -> None:
        if values := pl_module.terms_at_start():
            self._keep_best(values, _conditions(values, pl_module, self.share))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: VAEModule) -> None:
        self._checked = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: VAEModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if len(pl_module.steps) - self._checked >= self.every_n_steps:
            self._check_steps(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: VAEModule) -> None:
        self._check_steps(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: VAEModule) -> None:
        if trainer.sanity_checking:
            return
        # Validation comes before the epoch's end: look at the steps first, they know where it began.
        self._check_steps(trainer, pl_module)
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self._check_validation(trainer, pl_module, values)
        self._watch(trainer, values, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: VAEModule) -> None:
        for name, notice in self._warned.items():
            if name not in self._at_best:
                log.info(f"Withdrawn, as it does not hold of the best epoch: {notice.message}")

    def _check_steps(self, trainer: Trainer, module: VAEModule) -> None:
        new = module.steps[self._checked :]
        if not new:
            return
        steps = torch.stack([step.terms for step in new]).cpu().double()
        first = self._checked
        self._checked = len(module.steps)
        floor = -float(module.model.vae.likelihood.max_log_prob().sum())
        step_of = lambda bad: first + int(bad.nonzero()[0])  # noqa: E731
        if (bad := ~torch.isfinite(steps)).any():
            step = step_of(bad.any(1))
            # The loss is made of the other two: blame it only where they are both sound.
            columns = bad[step - first].nonzero().flatten().tolist()
            name = TERMS[columns[-1]]
            self._stop(trainer, module, f"the {name} is {steps[step - first, columns[-1]]:g}", step)
        # An estimated KL may fall below 0 by chance, and the NELBO with it; what reconstructs may not even then.
        exact = module.vae.kl_is_exact
        if exact and (bad := steps[:, 2] < -TOLERANCE).any():
            step = step_of(bad)
            self._stop(trainer, module, f"the KL is {steps[step - first, 2]:g} nats, and no KL is below 0", step)
        term, nelbo = ("NELBO", steps[:, 1] + steps[:, 2]) if exact else ("reconstruction", steps[:, 1])
        if (bad := nelbo < floor - TOLERANCE * (1 + abs(floor))).any():
            step = step_of(bad)
            value = f"{nelbo[step - first]:g}"
            self._stop(trainer, module, f"the {term} is {value} nats in model units, below the floor {floor:g}", step)

    def _check_validation(self, trainer: Trainer, module: VAEModule, values: dict[str, float]) -> None:
        for name, shown in (("reconstruction", "reconstruction"), ("kl", "KL")):
            if not math.isfinite(values[f"val/{name}"]):
                self._stop(trainer, module, f"the validation {shown} is {values[f'val/{name}']:g}", None)
        exact = module.vae.kl_is_exact
        if exact and values["val/kl"] < -TOLERANCE:
            self._stop(trainer, module, f"the validation KL is {values['val/kl']:g} nats, and no KL is below 0", None)
        term, name = ("NELBO", "nelbo") if exact else ("reconstruction", "reconstruction")
        floor, value = module.model.loss_floor(), values[f"val/{name}"]
        if value < floor - TOLERANCE * (1 + abs(floor)):
            self._stop(trainer, module, f"the validation {term} is {value:g} nats, below the floor {floor:g}", None)

    def _stop(self, trainer: Trainer, module: VAEModule, what: str, step: int | None) -> NoReturn:
        where = f"epoch {trainer.current_epoch + 1}" + ("" if step is None else f", step {step + 1}")
        norms = "; ".join(
            f"{name} {_norm(list(part.parameters())):.3g}"
            for name, part in module.model.vae.named_children()
            if any(True for _ in part.parameters())
        )
        rate = module.lr_of_epoch
        raise RunError(
            f"Stopped in {where}: {what}.\nNorms of the parameters: {norms}.",
            [
                Setting("optimizer.lr", _rounded(rate / 10), "a smaller step"),
                Setting("trainer.gradient_clip_val", 1, "clipped gradients"),
                Setting("data.preprocess", "standardize", "scaled data"),
            ],
        )

    def _watch(self, trainer: Trainer, values: dict[str, float], module: VAEModule) -> None:
        if values["val/nelbo"] < 0 and not self._said_negative:
            self._said_negative = True
            log.info(
                f"The loss is below 0 ({values['val/nelbo']:.1f} nats), as a density may be: it exceeds 1 where data "
                f"are dense. The floor for these columns is {module.model.loss_floor():.1f}."
            )
        conditions = _conditions(values, module, self.share)
        self._keep_best(values, conditions)
        is_last = trainer.current_epoch + 1 == trainer.max_epochs
        for name, (holds, notice) in conditions.items():
            self._epochs[name] = self._epochs.get(name, 0) + 1 if holds else 0
            if name not in self._warned and (self._epochs[name] == self.patience or (is_last and holds)):
                self._warned[name] = notice
                log.warning(str(notice))

    def _keep_best(self, values: dict[str, float], conditions: Conditions) -> None:
        if values["val/nelbo"] <= self._best:
            self._best = values["val/nelbo"]
            self._at_best = {name: notice for name, (holds, notice) in conditions.items() if holds}


def _conditions(values: dict[str, float], module: VAEModule, share: float) -> Conditions:
    """What is worth a warning: name → whether it holds of the last validation, and what is said then."""
    latent_dim = module.model.vae.latent_dim
    record = module.model.record
    is_warmed_up = record.get("objective", {}).get("warmup") != "none"
    return {
        "collapse": (
            # Of a single row nothing can vary; and a great KL without an active unit is no collapse.
            values["val/active_units"] == 0 and values["val/kl"] < SMALL_KL and float(module.meter.rows) > 1,
            Notice(
                f"Posterior collapse: none of the {latent_dim} latent dimensions is active (KL "
                f"{values['val/kl']:.3g} nats).",
                (
                    *([] if is_warmed_up else [Setting("objective.warmup", "linear")]),
                    *_times(record, "objective.beta", 0.5, "a smaller weight of the KL"),
                ),
            ),
        ),
        "floor": (
            values["val/variance_at_floor"] > share,
            Notice(
                f"{values['val/variance_at_floor']:.1%} of the likelihood's variances sit at their floor: the "
                "model wants to be surer than that lets it. Look for copied columns.",
                _times(record, "likelihood.min_scale", 0.1, "a lower floor"),
            ),
        ),
        "bound": (
            values.get("val/log_var_at_bound", 0.0) > share,
            Notice(
                f"{values.get('val/log_var_at_bound', 0.0):.1%} of the posterior's log-variances sit at their bound.",
                (
                    *_times(record, "posterior.log_var_bound", 2, "a wider bound"),
                    *_times(record, "optimizer.lr", 0.1, "a smaller step"),
                ),
            ),
        ),
    }


def _times(record: Mapping[str, Any], key: str, factor: float, effect: str) -> tuple[Setting, ...]:
    """A setting that the model was made with, at ``factor`` times its value; nothing where there is none such."""
    group, _, name = key.partition(".")
    value = record.get(group, {}).get(name)
    return (Setting(key, _rounded(value * factor), effect),) if value else ()


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _norm(parameters: list[Tensor]) -> float:
    return float(torch.linalg.vector_norm(torch.stack([p.detach().norm() for p in parameters])))
