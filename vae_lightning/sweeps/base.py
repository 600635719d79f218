"""One job of a sweep as its directory records it, and the lock that says whether somebody is at work on it."""

import json
import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, get_args

from filelock import FileLock, Timeout

from vae_lightning.errors import UserError, is_count
from vae_lightning.files import parse_json, write_whole
from vae_lightning.runs.directory import JOB, LOCK
from vae_lightning.version import __version__

Status = Literal["planned", "running", "finished", "failed", "pruned"]
ENDED = ("finished", "failed", "pruned")
RECORD, COMPOSED = JOB, "multirun.yaml"
LOOKING_SECONDS = 2.0
"""A claim waits as long: whoever only looks whether a job is at work holds its lock for an instant."""


class PrunedError(Exception):
    """The search gave a job up, because others were better at the same epoch."""


@dataclass
class Job:
    """What ``job.json`` holds.

    Args:
        fingerprint: of the resolved configuration.
        overrides: as they would be typed to run it alone.
        swept: those of them that the sweep varies.
        settings: every setting by its dotted name, and the choice of every group.
        status: "running" with nobody holding the lock means that the process was killed.
        value: what the job returned, val/nelbo of the best epoch, nats per row in data units.
        error: one line that says why it failed.
        seconds: from its last start to its end.
        attempts: how often it was started.
        started: seconds since the epoch of its last start.
        version: of vae_lightning, at its last start.
    """

    fingerprint: str
    overrides: list[str]
    swept: list[str]
    settings: dict[str, Any]
    status: Status = "planned"
    value: float | None = None
    error: str = ""
    seconds: float = 0.0
    attempts: int = 0
    started: float = field(default_factory=time.time)
    version: str = __version__

    @property
    def name(self) -> str:
        """What the sweep varies, in one line and without Hydra's signs."""
        return " ".join(override.lstrip("+") for override in self.swept or self.overrides) or "no overrides"


def describe_error(error: Exception) -> str:
    """An error in words: a user's mistake as it stands, anything else with its kind."""
    return str(error).strip() if isinstance(error, UserError) else f"{type(error).__name__}: {error}".strip()


def write_job(run_dir: Path, job: Job) -> None:
    """Put the record into its directory, in one step."""
    run_dir.mkdir(parents=True, exist_ok=True)
    write_whole(run_dir / RECORD, (json.dumps(asdict(job), indent=2) + "\n").encode())


def read_job(run_dir: Path) -> Job | None:
    """The record of a directory; None where there is none that this version understands."""
    try:
        content = parse_json((run_dir / RECORD).read_bytes())
        job = Job(**{name: content[name] for name in Job.__dataclass_fields__})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return job if _is_sound(job) else None


def _is_sound(job: Job) -> bool:
    """Whether the values have the types that are written."""
    words = (job.fingerprint, job.error, job.version, *_items(job.overrides), *_items(job.swept))
    numbers = (job.seconds, job.started, 0.0 if job.value is None else job.value)
    return (
        all(isinstance(word, str) for word in words)
        and isinstance(job.overrides, list)
        and isinstance(job.swept, list)
        and isinstance(job.settings, dict)
        and job.status in get_args(Status)
        and all(isinstance(number, int | float) and math.isfinite(number) for number in numbers)
        and is_count(job.attempts, 0)
    )


def _items(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else ()


def jobs_of(sweep_dir: Path) -> dict[int, Job]:
    """The recorded jobs of a sweep by number."""
    numbers = (
        sorted(int(path.name) for path in sweep_dir.iterdir() if path.name.isdecimal()) if sweep_dir.is_dir() else []
    )
    found = {number: read_job(sweep_dir / str(number)) for number in numbers}
    return {number: job for number, job in found.items() if job is not None}


def began(sweep_dir: Path) -> float:
    """When the sweep was last begun, in seconds since the epoch; 0 where that is not known."""
    path = sweep_dir / COMPOSED
    return path.stat().st_mtime if path.exists() else 0.0


def describe_progress(sweep_dir: Path, total: int | None = None) -> str:
    """How many jobs have ended, and how long the others may take at the pace of those that ended since it was begun.

    Args:
        sweep_dir: the sweep's directory.
        total: how many there will be; None: those that are recorded.
    """
    jobs, since, now = jobs_of(sweep_dir).values(), began(sweep_dir), time.time()
    ended = [job for job in jobs if job.status in ENDED]
    left = (total or len(jobs)) - len(ended)
    recent = sum(job.started >= since for job in ended)
    if left <= 0 or not recent or not since:
        return ""
    seconds = round((now - since) / recent * left)
    return f"{len(ended)} of {left + len(ended)} done, about {timedelta(seconds=seconds)} left."


def has_failed_since(sweep_dir: Path, began: float) -> bool:
    """Whether a job that was started after ``began``, in seconds since the epoch, has failed."""
    return any(job.status == "failed" and job.started >= began for job in jobs_of(sweep_dir).values())


def next_number(sweep_dir: Path) -> int:
    """The first number above every directory that is there, whoever made it."""
    return max((int(path.name) for path in sweep_dir.iterdir() if path.name.isdecimal()), default=-1) + 1


@contextmanager
def claim(run_dir: Path) -> Iterator[bool]:
    """Whether this process alone works on the job while the context lasts.

    The lock ends with the process, however that ends, so a killed job is free at once; on a disk that several machines
    share, it holds for all of them where the disk supports locks.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run_dir / LOCK, preserve_lock_file=True)
    try:
        lock.acquire(timeout=LOOKING_SECONDS)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def at_work(run_dir: Path) -> bool:
    """Whether a process holds the job's lock now."""
    if not (run_dir / LOCK).exists():
        return False
    lock = FileLock(run_dir / LOCK, preserve_lock_file=True)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    return False


@contextmanager
def planning(sweep_dir: Path) -> Iterator[None]:
    """One process at a time gives out numbers or trials in a sweep."""
    sweep_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(sweep_dir / ".planning.lock", preserve_lock_file=True):
        yield
