"""`examine_file`: the functions of a user's file. The file is run, and only here, because its path was given."""

import importlib.util
import sys
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any

from vae_lightning.doctor.losses.blackbox.box import keep_random_states
from vae_lightning.doctor.losses.blackbox.deadline import OutOfTimeError, Worker
from vae_lightning.doctor.losses.functions import SECONDS, diagnose
from vae_lightning.doctor.report import Finding, Report

ROLES = ("kl", "sample", "reconstruction", "loss")
IMPORT_SECONDS = 60.0  # TensorFlow alone takes ten


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

    Args:
        path: The file.
        kl, sample, reconstruction, loss: The names of the functions in it. A function called ``kl``, ``sample``,
            ``reconstruction`` or ``loss`` is taken without being named, if no name at all was given.
        data: As for `diagnose`.
        likelihood: As for `diagnose`.
        beta: As for `diagnose`.
        seconds: As for `diagnose`.

    Returns:
        The report; its ``exit_status`` is 0 clean, 1 findings, 2 cannot judge.
    """
    named = dict(zip(ROLES, (kl, sample, reconstruction, loss), strict=True))
    module = _load(Path(path))
    if isinstance(module, Finding):
        return Report([module])
    wanted = {role: name for role, name in named.items() if name is not None}
    if not wanted:
        wanted = {role: role for role in ROLES if callable(getattr(module, role, None))}
    missing = [name for name in wanted.values() if not callable(getattr(module, name, None))]
    if missing or not wanted:
        have = ", ".join(name for name, value in vars(module).items() if callable(value) and not name.startswith("_"))
        says = f"{path} has no function {' or '.join(missing or ROLES)}. It has: {have or 'none'}."
        advice = "Say which function is which: --kl NAME, --sample NAME, --reconstruction NAME or --loss NAME."
        return Report([Finding("NOTHING", None, says, advice, about=str(path))])
    functions: dict[str, Callable[..., Any]] = {role: getattr(module, name) for role, name in wanted.items()}
    return diagnose(**functions, data=data, likelihood=likelihood, beta=beta, seconds=seconds)


def _load(path: Path) -> ModuleType | Finding:
    if not path.is_file():
        return Finding("NOTHING", None, f"There is no file {path}.", about=str(path))
    name = f"_examined_{abs(hash(path.resolve()))}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        return Finding("NOTHING", None, f"{path} is no Python file.", about=str(path))
    module = importlib.util.module_from_spec(spec)
    loader = spec.loader
    worker = Worker()
    # The file's neighbours are importable from it, as they are when it is run; only while it is imported.
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules[name] = module  # dataclasses and pickles look their module up
    try:
        with keep_random_states():
            worker.run(lambda: loader.exec_module(module), IMPORT_SECONDS)
    except OutOfTimeError:
        return Finding("SLOW", False, f"Importing {path} takes more than {IMPORT_SECONDS:g} seconds.", about=str(path))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too
        says = f"Importing {path} raises {type(error).__name__}: {error}"
        return Finding("RAISES", False, says, "Put training under `if __name__ == '__main__':`.", about=str(path))
    finally:
        sys.path.remove(str(path.resolve().parent))
        sys.modules.pop(name, None)
        worker.close()
    return module
