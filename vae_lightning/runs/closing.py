"""What a finished run shows of itself: figures, the doctor's findings, TensorBoard's pages and ``report.html``."""

import copy
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import yaml

from vae_lightning.config.build import Built
from vae_lightning.config.settings import Settings
from vae_lightning.data.store import RowsInMemory
from vae_lightning.doctor.report import Finding, Report
from vae_lightning.doctor.runs.trained import Trained, examine_model
from vae_lightning.files import write_whole
from vae_lightning.reporting.figures.callback import Figures
from vae_lightning.reporting.html import MARKS, Page, render
from vae_lightning.reporting.loggers import boards_of
from vae_lightning.reporting.tensorboard import add_text
from vae_lightning.training.callbacks.guard import LossGuard
from vae_lightning.version import __version__

PAGE = "report.html"


class Seconds(NamedTuple):
    """How long it took."""

    doctor: float = 0.0
    figures: float = 0.0


def present(
    built: Built, run_dir: Path, settings: Settings, best: float, table: Sequence[tuple[str, str, str]]
) -> Seconds:
    """Examine and draw the model as it is now; without the ``figures`` callback, do nothing.

    Args:
        built: the finished run, with the weights that are kept.
        run_dir: where everything goes.
        settings: of the run.
        best: its best val/nelbo.
        table: the test table: name, value, comment.
    """
    callbacks = built.trainer.callbacks  # type: ignore[attr-defined]
    figures = next((callback for callback in callbacks if isinstance(callback, Figures)), None)
    if figures is None:
        return Seconds()
    started = time.perf_counter()
    report = _examined(built, best)
    examined = time.perf_counter()
    drawn = figures.draw(built.trainer, built.module, final=True)
    drawn_at = time.perf_counter()
    # Every setting that was in force, defaults included.
    configuration = yaml.safe_dump(settings.in_full(), sort_keys=False, allow_unicode=True)
    warnings = [
        str(notice) for callback in callbacks if isinstance(callback, LossGuard) for notice in callback.warnings
    ]
    for logger in boards_of(built.trainer):
        add_text(logger.experiment, "configuration", f"```yaml\n{configuration}```", built.trainer.global_step)
        add_text(logger.experiment, "doctor", _markdown(report), built.trainer.global_step)
    facts = _facts(built, settings.seed)
    title = f"VAE on {built.dataset.name}"
    page = Page(title, facts, table, report.verdict, report.findings, warnings, drawn, configuration)
    write_whole(run_dir / PAGE, render(page).encode())
    return Seconds(examined - started, figures.seconds + time.perf_counter() - drawn_at)


def _examined(built: Built, best: float) -> Report:
    """The doctor's findings, as ``vae-lightning doctor RUN`` has them."""
    model, data = built.module.model, built.datamodule
    if built.module.device.type != "cpu":
        model = copy.deepcopy(model).cpu()  # the doctor's quadratures are made of numbers there
    train, valid = (data.on_device(name, torch.device("cpu")) for name in ("train", "valid"))
    return examine_model(
        Trained(model, train, RowsInMemory.of(valid.batches()).rows, built.module.objective, best, built.module.seed)
    )


def _markdown(report: Report) -> str:
    return f"{report.verdict}\n\n" + "\n".join(map(_line, [*report.wrong, *report.unjudged, *_sound(report)]))


def _sound(report: Report) -> list[Finding]:
    return [finding for finding in report if finding.ok]


def _line(finding: Finding) -> str:
    about = f" ({finding.about})" if finding.about else ""
    return f"- **{MARKS[finding.ok]}** {finding.code}{about}: {finding.says} {finding.advice}".rstrip()


def _facts(built: Built, seed: int) -> dict[str, str]:
    dataset, vae = built.dataset, built.module.model.vae
    train, valid, test = (f"{len(rows):,}" for rows in (dataset.train, dataset.valid, dataset.test))
    parameters = sum(parameter.numel() for parameter in vae.parameters())
    return {
        "data": f"{dataset.name}, {len(dataset.columns):,} columns, {train} rows to train on, {valid} to validate, "
        f"{test} to test; fingerprint {dataset.fingerprint}",
        "preprocessing": built.module.model.scaling.name(),
        "model": f"{parameters:,} parameters, {vae.latent_dim} latent dimensions, {vae.likelihood.name()} likelihood",
        "training": f"{built.trainer.current_epoch} epochs, seed {seed}",
        "versions": f"vae_lightning {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
    }
