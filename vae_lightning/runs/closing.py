"""What a finished run shows of itself: figures, the doctor's findings, TensorBoard's texts and ``report.html``."""

import copy
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import yaml
from lightning.pytorch import Callback

from vae_lightning.config.build import Built
from vae_lightning.config.settings import Settings
from vae_lightning.data.store import RowsInMemory
from vae_lightning.doctor.report import Finding, Report
from vae_lightning.doctor.runs.trained import Record, Trained, examine_model
from vae_lightning.errors import Notice
from vae_lightning.inference.evaluation import Evaluation
from vae_lightning.inference.verdict import Course, Verdict
from vae_lightning.reporting.figures.callback import Figures
from vae_lightning.reporting.html import MARKS, Page, write_page
from vae_lightning.reporting.loggers import boards_of
from vae_lightning.reporting.table import explain
from vae_lightning.reporting.tensorboard import add_text
from vae_lightning.version import __version__

PAGE = "report.html"


class Outcome(NamedTuple):
    """What came of a run.

    Attributes:
        result: the test table's numbers.
        best: the val/nelbo of the weights that are kept.
        course: how training went.
        verdict: what that comes to.
        warnings: what holds of the weights that are kept and a user should know.
    """

    result: Evaluation
    best: float
    course: Course
    verdict: Verdict
    warnings: Sequence[Notice]

    @property
    def training(self) -> str:
        """How training ended, in words."""
        course = self.course
        kept = f"the weights of epoch {course.best_epoch}" if course.best_epoch else "the weights of the start"
        reached = f"; β ended at {course.beta:.2g} instead of {course.final_beta:g}"
        return f"{course.ended}; kept are {kept}{reached if course.beta < course.final_beta else ''}"


class Seconds(NamedTuple):
    """How long each part of it took."""

    figures: float
    doctor: float
    report: float


def present(built: Built, run_dir: Path, settings: Settings, outcome: Outcome) -> Seconds:
    """Draw the model as it is now, where the run has figures, and report on it, unless ``settings.report`` is false.

    Args:
        built: the finished run, with the weights that are kept.
        run_dir: where everything goes.
        settings: of the run.
        outcome: what came of it.
    """
    callback = next((c for c in _callbacks(built) if isinstance(c, Figures)), None)
    figures = callback.draw(built.trainer, built.module, final=True) if callback else None
    drawing = callback.seconds if callback else 0.0
    if not settings.report:
        return Seconds(drawing, 0.0, 0.0)
    started = time.perf_counter()
    findings = _examine(built, outcome)
    examined = time.perf_counter()
    # Every setting that was in force, defaults included.
    configuration = yaml.safe_dump(settings.in_full(), sort_keys=False, allow_unicode=True)
    for logger in boards_of(built.trainer):
        add_text(logger.experiment, "configuration", f"```yaml\n{configuration}```", built.trainer.global_step)
        add_text(logger.experiment, "doctor", _to_markdown(findings), built.trainer.global_step)
    page = Page(
        title=f"VAE on {built.dataset.name}",
        conclusion=outcome.verdict.words,
        facts=_state_facts(built, outcome, settings.seed),
        table=explain(outcome.result, outcome.best),
        verdict=findings.verdict,
        findings=findings,
        warnings=[str(notice) for notice in outcome.warnings],
        configuration=configuration,
        figures=figures,
    )
    write_page(page, run_dir / PAGE)
    return Seconds(drawing, examined - started, time.perf_counter() - examined)


def _callbacks(built: Built) -> Sequence[Callback]:
    return built.trainer.callbacks  # type: ignore[attr-defined]  # Lightning sets it, but does not declare it


def _examine(built: Built, outcome: Outcome) -> Report:
    """The doctor's findings, as ``vae-lightning doctor RUN`` has them."""
    model, data = built.module.model, built.datamodule
    if built.module.device.type != "cpu":
        model = copy.deepcopy(model).cpu()  # the doctor's quadratures are made of numbers there
    stores = [data.on_device(name, torch.device("cpu")) for name in ("train", "valid", "test")]
    valid, test = (RowsInMemory.of(rows.batches()).rows for rows in stores[1:])
    record = Record(outcome.best, valid, built.module.seed)
    known = (built.module.objective, record, outcome.result, outcome.course)
    return examine_model(Trained(model, stores[0], test, *known))


def _to_markdown(report: Report) -> str:
    return f"{report.verdict}\n\n" + "\n".join(map(_line, [*report.wrong, *report.unjudged, *_sound(report)]))


def _sound(report: Report) -> list[Finding]:
    return [finding for finding in report if finding.ok]


def _line(finding: Finding) -> str:
    about = f" ({finding.about})" if finding.about else ""
    return f"- **{MARKS[finding.ok]}** {finding.code}{about}: {finding.says} {finding.remedy}".rstrip()


def _state_facts(built: Built, outcome: Outcome, seed: int) -> dict[str, str]:
    dataset, vae = built.dataset, built.module.model.vae
    train, valid, test = (f"{len(rows):,}" for rows in (dataset.train, dataset.valid, dataset.test))
    parameters = sum(parameter.numel() for parameter in vae.parameters())
    return {
        "data": f"{dataset.name}, {len(dataset.columns):,} columns, {train} rows to train on, {valid} to validate, "
        f"{test} to test; fingerprint {dataset.fingerprint}",
        "preprocessing": built.module.model.scaling.name(),
        "model": f"{parameters:,} parameters, {vae.latent_dim} latent dimensions, {vae.likelihood.name()} likelihood",
        "training": f"{outcome.training}; seed {seed}",
        "versions": f"vae_lightning {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
    }
