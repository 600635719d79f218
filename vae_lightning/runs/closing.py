"""What a finished run shows of itself: figures, the doctor's findings, TensorBoard's texts and ``report.html``."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import yaml
from lightning.pytorch import Callback

from vae_lightning.config.build import Built
from vae_lightning.config.settings import Settings
from vae_lightning.doctor.report import Finding, Report
from vae_lightning.reporting.figures.callback import Figures
from vae_lightning.reporting.html import MARKS, Page
from vae_lightning.reporting.loggers import boards_of
from vae_lightning.reporting.table import explain
from vae_lightning.reporting.tensorboard import add_text
from vae_lightning.runs.conclusion import Conclusion
from vae_lightning.runs.outcome import PARTS, Outcome

PAGE = "report.html"


class Seconds(NamedTuple):
    """How long each part of it took."""

    figures: float
    doctor: float
    report: float


def present(built: Built, run_dir: Path, settings: Settings, conclusion: Conclusion) -> Seconds:
    """Draw the model as it is now, where the run has figures, and report on it, unless ``settings.report`` is false.

    Args:
        built: the finished run, with the weights that are kept.
        run_dir: where everything goes.
        settings: of the run.
        conclusion: what it came to.
    """
    callback = next((c for c in _callbacks(built) if isinstance(c, Figures)), None)
    figures = callback.draw(built.trainer, built.module, final=True, best=conclusion.best) if callback else None
    drawing = callback.seconds if callback else 0.0
    if not settings.report:
        return Seconds(drawing, 0.0, 0.0)
    started = time.perf_counter()
    data = built.datamodule
    rows = {part: data.on_device(part, torch.device("cpu")) for part in PARTS}
    epochs, objective = built.trainer.current_epoch, built.module.objective
    result, best, course, verdict, warnings = conclusion
    model, seed = built.module.model, settings.seed
    outcome = Outcome(model, rows, epochs, seed, objective, best, table=result, course=course, dataset=built.dataset)
    findings = outcome.examine()
    examined = time.perf_counter()
    # Every setting that was in force, defaults included.
    configuration = yaml.safe_dump(settings.in_full(), sort_keys=False, allow_unicode=True)
    for logger in boards_of(built.trainer):
        add_text(logger.experiment, "configuration", f"```yaml\n{configuration}```", built.trainer.global_step)
        add_text(logger.experiment, "doctor", _to_markdown(findings), built.trainer.global_step)
    page = Page(
        title=outcome.title,
        facts=outcome.state_facts(),
        choices=outcome.choices,
        table=explain(result, best),
        verdict=findings.verdict,
        findings=findings,
        warnings=list(map(str, warnings)),
        configuration=configuration,
        figures=figures,
        conclusion=verdict.words,
        comparison=outcome.compare(),
    )
    page.save(run_dir / PAGE)
    return Seconds(drawing, examined - started, time.perf_counter() - examined)


def _callbacks(built: Built) -> Sequence[Callback]:
    return built.trainer.callbacks  # type: ignore[attr-defined]  # Lightning sets it, but does not declare it


def _to_markdown(report: Report) -> str:
    return f"{report.verdict}\n\n" + "\n".join(map(_line, [*report.wrong, *report.unjudged, *_sound(report)]))


def _sound(report: Report) -> list[Finding]:
    return [finding for finding in report if finding.ok]


def _line(finding: Finding) -> str:
    about = f" ({finding.about})" if finding.about else ""
    return f"- **{MARKS[finding.ok]}** {finding.code}{about}: {finding.says} {finding.remedy}".rstrip()
