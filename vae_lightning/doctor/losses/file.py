"""`examine_file`: the functions of a user's file, which is run in a process of its own because its path was given."""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from vae_lightning.doctor.losses.functions import SECONDS
from vae_lightning.doctor.losses.rows import as_rows
from vae_lightning.doctor.report import Finding, Report, check_parameter

START_SECONDS = 60.0  # for importing the file; TensorFlow alone takes ten
PRINTED = 100_000  # bytes of what the file prints that are passed on
_CODE = "from vae_lightning.doctor.losses.child import main; main()"


def examine_file(
    path: "str | PathLike[str]",
    *,
    kl: str | None = None,
    sample: str | None = None,
    reconstruction: str | None = None,
    loss: str | None = None,
    data: Any = None,
    likelihood: str | None = None,
    beta: float = 1.0,
    seconds: float = SECONDS,
) -> Report:
    """Examine the functions that a Python file defines; see `diagnose`.

    The file runs in a process of its own, with a deadline and a limit of its memory. That keeps an accident from doing
    harm here; it is no sandbox, and the file may do whatever its user may.

    Args:
        path: The file.
        kl, sample, reconstruction, loss: The names of the functions in it, or ``Class.method``. Without any, functions
            of just these names are taken; where there are none, what the functions, methods and models of the file do
            tells which is which.
        data, likelihood, beta, seconds: As for `diagnose`.

    Returns:
        The report; its ``exit_status`` is 0 clean, 1 findings, 2 cannot judge.
    """
    check_parameter("diagnose", "beta", beta > 0, "positive", beta)
    check_parameter("diagnose", "seconds", seconds > 0, "positive", seconds)
    path = Path(path).resolve()
    if not path.is_file():
        return Report([Finding("NOTHING", None, f"There is no file {path}.", about=str(path))])
    named = {"kl": kl, "sample": sample, "reconstruction": reconstruction, "loss": loss}
    options = {"likelihood": likelihood, "beta": beta, "seconds": seconds}
    with tempfile.TemporaryDirectory() as folder:
        job = {"path": str(path), "named": named, "options": options}
        if data is not None:
            np.save(Path(folder) / "rows.npy", as_rows(data))
        Path(folder, "job.json").write_text(json.dumps(job), encoding="utf-8")
        outcome = _run(Path(folder), 6 * (seconds + 1))
        try:
            return Report.from_json(Path(folder, "report.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError):
            doing = _read(Path(folder, "doing"))
            code, says = outcome
            advice = "Put training under `if __name__ == '__main__':`." if doing.startswith("importing") else ""
            return Report([Finding(code, False, f"While {doing or 'starting'}: {says}.", advice, about=str(path))])


def _run(folder: Path, seconds: float) -> tuple[str, str]:
    """Run the child, and say how it ended; `seconds` are for the examination once the file is imported."""
    left = 0.0
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", _CODE, str(folder)]
    with tempfile.TemporaryFile() as printed:
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": printed, "stderr": printed}
        child = subprocess.Popen(command, **streams, env=environment, start_new_session=True)
        try:
            with suppress(subprocess.TimeoutExpired):  # then it may be examining already
                child.wait(START_SECONDS)
            left = seconds if _read(folder / "doing").startswith("examining") else 0.0
            status = child.wait(left)
            outcome = "RAISES", f"the process ended with status {status} and without a report"
        except subprocess.TimeoutExpired:
            outcome = "SLOW", f"no answer within {START_SECONDS + left:g} seconds; the process was ended"
        finally:
            _end(child)
        printed.seek(0)
        sys.stderr.write(printed.read(PRINTED).decode(errors="replace"))
    return outcome


def _end(child: "subprocess.Popen[bytes]") -> None:
    """End the process and what it has started."""
    with suppress(OSError):  # it may have ended by itself
        if hasattr(os, "killpg"):
            os.killpg(child.pid, 9)
        else:
            child.kill()
    child.wait()


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
