"""What a run does once its rows are there: train, evaluate the best checkpoint, write the summary."""

import importlib.metadata
import platform
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from vae_lightning.config.build import Built, assemble
from vae_lightning.config.instantiate import TARGET
from vae_lightning.config.prepare import Prepared
from vae_lightning.config.settings import Settings
from vae_lightning.console import display_path, log, say
from vae_lightning.errors import InterruptedRun, RunError, UserError
from vae_lightning.files import to_json, write_whole
from vae_lightning.inference.checkpoint import MisfitError
from vae_lightning.inference.draws import find_impossible_draws
from vae_lightning.inference.evaluation import Evaluation
from vae_lightning.inference.verdict import judge
from vae_lightning.model.parts import NAME
from vae_lightning.reporting.hparams import log_hparams
from vae_lightning.reporting.table import evaluate_with_bar, plain_zero, print_results
from vae_lightning.runs.closing import PAGE, present
from vae_lightning.runs.conclusion import Conclusion
from vae_lightning.runs.directory import LAST
from vae_lightning.runs.draws import fit_draws, state_draws
from vae_lightning.runs.loading import (
    CHECKPOINTS,
    VALID_SCORES,
    epochs_of,
    find_checkpoint,
    load_weights,
    read_checkpoint,
    read_record,
    report_advice,
    resume_advice,
    write_valid_scores,
)
from vae_lightning.shell import type_command
from vae_lightning.training.callbacks.course import CourseRecorder, describe_beta
from vae_lightning.training.callbacks.guard import LossGuard
from vae_lightning.training.datamodule import EVALUATION_BATCH
from vae_lightning.training.module import MONITOR
from vae_lightning.training.schedules import COSINE
from vae_lightning.training.threads import limit_threads
from vae_lightning.version import __version__

PARTS = ("summary.json", "report.html", "figures", "metrics.csv", VALID_SCORES, "train.log")
KEPT = ("seed", "likelihood", "objective", "posterior", "prior", "model", "preprocess", "optimizer", "scheduler")
"""Settings that a run keeps when it is resumed."""
PACKAGES = ("torch", "lightning", "torchmetrics", "hydra-core", "numpy", "pandas")


def train(
    prepared: Prepared,
    started: float,
    overrides: Sequence[str] = (),
    hparams: Mapping[str, Any] | None = None,
    begin: Callable[[], None] | None = None,
) -> float:
    """Train and evaluate in the run's directory; ``summary.json`` is written last.

    Args:
        prepared: the rows, the untrained model and the settings.
        started: when it began, as ``time.perf_counter`` tells it.
        overrides: as for :func:`run`; as ``hparams`` and ``begin``.

    Returns:
        ``val/nelbo`` of the best epoch, nats per row in data units.

    Raises:
        UserError: for everything that one message can explain.
    """
    settings = prepared.settings
    run_dir = Path(settings.run_dir)
    built = assemble(prepared)
    resume_from = _resume_point(built, run_dir) if settings.resume else None
    if begin is not None:
        begin()
    # A summary means a finished run; while this one is under way there is none.
    stale = [] if resume_from else [f"checkpoints/{name}" for name in CHECKPOINTS]
    for name in ("summary.json", PAGE, VALID_SCORES, *stale):
        (run_dir / name).unlink(missing_ok=True)
    with nullcontext() if settings.torch.threads else limit_threads(built.module, built.datamodule.batch_size):
        _fit(built, run_dir, resume_from)
    best, epoch, checkpoint = _load_best(built, run_dir)
    trained = time.perf_counter() - started
    result, seconds = _evaluate(built, settings)
    if built.trainer.is_global_zero:
        if checkpoint is not None:
            fit_draws(built, checkpoint)
        conclusion = _conclude(built, result, best, epoch)
        write_valid_scores(built.module.model.calibrate(built.dataset.as_given("valid")), run_dir)
        spent = present(built, run_dir, settings, conclusion)
        _log_end(built, result, best, hparams)
        took = {"training": trained, "evaluation": seconds, **spent._asdict()}
        _summarise(built, run_dir, conclusion, took, overrides)
    return best


def _fit(built: Built, run_dir: Path, resume_from: Path | None) -> None:
    vae = built.module.model.vae
    parameters = sum(p.numel() for p in vae.parameters())
    log.info(
        f"Model: {parameters:,} parameters, {vae.latent_dim} latent dimensions, likelihood {vae.likelihood.words}. "
        f"No loss below {plain_zero(built.module.model.loss_floor()):.2f} nats per row is possible."
    )
    if (epochs := built.trainer.max_epochs or 0) > 0 and (told := describe_beta(built.module, epochs)):
        log.warning(f"{told[0].upper()}{told[1:]}.")
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        built.trainer.fit(built.module, built.datamodule, ckpt_path=resume_from, weights_only=True)
    except SystemExit:  # Lightning's answer to Ctrl-C
        advice = f"{resume_advice(run_dir)} {report_advice(run_dir)}".rstrip()
        raise InterruptedRun(f"Interrupted. {advice}") from None
    except Exception as error:
        recorder = next(one for one in _callbacks(built) if isinstance(one, CourseRecorder))
        if resume_from is None or recorder.began or isinstance(error, UserError | OSError):
            raise
        # What a stranger may have written there is beyond listing; none of it is worth a traceback.
        why = (str(error).splitlines() or [""])[0][:200]
        raise RunError(
            f"{resume_from} cannot be gone on with: it is damaged ({type(error).__name__}: {why})."
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, on_interrupt)  # Lightning leaves it ignored
    if profile := built.trainer.profiler.summary():  # type: ignore[attr-defined]
        say(profile)


def _resume_point(built: Built, run_dir: Path) -> Path | None:
    path = run_dir / LAST
    if not path.exists():
        log.info(f"{run_dir} holds no checkpoint yet: starting from the beginning.")
        return None
    checkpoint = read_checkpoint(path)
    recorded = read_record(checkpoint, path)["config"]
    fingerprint = recorded.get("data", {}).get("fingerprint")
    if fingerprint != built.dataset.fingerprint:
        raise RunError(
            f"The rows are not those {run_dir} was trained on (fingerprint {built.dataset.fingerprint}, was "
            f"{fingerprint}). Restore the data, or start a new run."
        )
    try:
        load_weights(built.module.model, checkpoint, path)
    except MisfitError as error:
        raise RunError(
            f"{path} holds a model of another shape than the one configured. Resume without model.*, likelihood.* and "
            "data.preprocess overrides, or start a new run."
        ) from error
    typed = built.module.model.record
    for group in KEPT:
        if _differ(recorded.get(group), typed[group]):
            # The optimiser's state comes back and would override what was typed; of the others two would mix in one.
            raise RunError(
                f"{run_dir} was trained with {group} {recorded.get(group)}, and a resumed run keeps it. Got "
                f"{typed[group]} instead: resume without it, or start a new run."
            )
    log.info(f"Resuming after epoch {checkpoint['epoch'] + 1} from {path}.")
    return path


def _differ(recorded: Any, typed: Any) -> bool:
    """Whether a group was set otherwise; of our schedule the curve may be, and an older version may lack a setting."""
    if not (isinstance(recorded, Mapping) and isinstance(typed, Mapping)):
        return bool(recorded != typed)
    if recorded.get(TARGET) == typed.get(TARGET) == COSINE:
        return False
    identity = (recorded.get(TARGET), recorded.get(NAME)) != (typed.get(TARGET), typed.get(NAME))
    return identity or any(recorded[name] != typed[name] for name in recorded.keys() & typed.keys())


def _load_best(built: Built, run_dir: Path) -> tuple[float, int, Path | None]:
    """Put the best weights kept into the module, else leave the last; val/nelbo, epoch from 1, and file of these."""
    monitored = [c for c in _callbacks(built) if isinstance(c, ModelCheckpoint) and c.monitor == MONITOR]
    path = find_checkpoint(run_dir)
    model = built.module.model.float().eval()  # as `load` will have it, whatever precision it was trained in
    if monitored and path is not None and monitored[0].best_model_score is not None:
        checkpoint = read_checkpoint(path)
        load_weights(model, checkpoint, path)
        return float(monitored[0].best_model_score), epochs_of(checkpoint), path
    rows = built.datamodule.on_device("valid", built.module.device)
    return built.module.measure(rows.batches(EVALUATION_BATCH))["nelbo"], built.trainer.current_epoch, None


def _conclude(built: Built, result: Evaluation, best: float, epoch: int) -> Conclusion:
    recorder = next(one for one in _callbacks(built) if isinstance(one, CourseRecorder))
    course = recorder.course(built.trainer, built.module, epoch, len(built.dataset.valid))
    warnings = [notice for one in _callbacks(built) if isinstance(one, LossGuard) for notice in one.warnings]
    if impossible := find_impossible_draws(built.module.model, built.dataset.train, built.module.seed):
        log.warning(str(impossible))
        warnings.append(impossible)
    conclusion = Conclusion(result, best, course, judge(result, course), warnings)
    log.info(f"Training: {conclusion.course.words}.")
    return conclusion


def _callbacks(built: Built) -> list[Callback]:
    return built.trainer.callbacks  # type: ignore[attr-defined]  # Lightning sets it, but does not declare it


def _evaluate(built: Built, settings: Settings) -> tuple[Evaluation, float]:
    """The test table's numbers, and the seconds they took."""
    device = built.module.device
    train, valid, test = (built.datamodule.on_device(name, device) for name in ("train", "valid", "test"))
    started = time.perf_counter()
    typed = settings.test.num_samples
    num_samples = typed if isinstance(typed, int) else None
    result = evaluate_with_bar(built.module.model, list(test.batches()), train, valid, num_samples, settings.seed)
    return result, time.perf_counter() - started


def _log_end(built: Built, result: Evaluation, best: float, hparams: Mapping[str, Any] | None) -> None:
    step = built.trainer.global_step
    numbers = {f"test/{name}": value for name, value in result.as_dict().items() if not isinstance(value, str)}
    for logger in built.trainer.loggers:
        logger.log_metrics(numbers, step=step)
        if isinstance(logger, TensorBoardLogger) and hparams is not None:
            log_hparams(logger, hparams, best, step)
        logger.finalize("success")


def _summarise(
    built: Built,
    run_dir: Path,
    conclusion: Conclusion,
    seconds: Mapping[str, float],
    overrides: Sequence[str],
) -> None:
    result, course = conclusion.result, conclusion.course
    summary = {
        "verdict": conclusion.verdict._asdict(),
        "val/nelbo": conclusion.best,
        "reference_measure": asdict(built.module.model.reference_measure),
        "test": result.as_dict(),
        "draws": state_draws(built.module.model.aggregate_posterior),
        "epochs": built.trainer.current_epoch,
        "best_epoch": course.best_epoch,
        "ended": course.ended,
        "stopped_early": course.stopped_early,
        "beta": course.beta,
        "parameters": sum(p.numel() for p in built.module.model.vae.parameters()),
        "seconds": dict(seconds),
        "warnings": [str(notice) for notice in conclusion.warnings],
        "data": {
            "name": built.dataset.name,
            "fingerprint": built.dataset.fingerprint,
            "rows_fingerprint": built.dataset.rows_fingerprint,
            "columns": len(built.dataset.columns),
            "rows": {s: len(getattr(built.dataset, s)) for s in ("train", "valid", "test")},
            "preprocess": built.module.model.scaling.words,
        },
        "versions": {"python": platform.python_version(), "vae-lightning": __version__, **_versions()},
        "overrides": list(overrides),
    }
    write_whole(run_dir / "summary.json", (to_json(summary) + "\n").encode())
    print_results(result, conclusion.best, verdict=conclusion.verdict.words)
    parts = [part for part in (*PARTS, f"checkpoints/{CHECKPOINTS[0]}") if (run_dir / part).exists()]
    say(f"Everything is in {display_path(run_dir)}: {', '.join(parts)}.")
    if (run_dir / "tensorboard").exists():
        say(type_command("tensorboard", "--logdir", run_dir))


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in PACKAGES}
