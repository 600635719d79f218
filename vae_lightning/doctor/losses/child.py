"""The process in which a user's file runs: it writes what it is doing, and then its report, into a folder."""

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from vae_lightning.doctor.losses.discover import find_functions, list_definitions, list_unexamined, resolve
from vae_lightning.doctor.losses.functions import diagnose
from vae_lightning.doctor.report import Finding, Report

MEMORY = 4 * 2**30  # bytes beyond what Python and torch have mapped
WRITTEN = 2**28  # bytes of one file, what is printed among them
ROLES = ("kl", "sample", "reconstruction", "loss")


def main() -> None:
    """Do the job of the folder that the command line names, and end at once: threads of the file do not count."""
    folder = Path(sys.argv[1])
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    torch.set_num_threads(1)  # thousands of calls on a handful of numbers: threads would only wait for one another
    rows = np.load(folder / "rows.npy", allow_pickle=False) if (folder / "rows.npy").is_file() else None
    _limit()
    doing = folder / "doing"
    try:
        doing.write_text(f"importing {job['path']}", encoding="utf-8")
        module = _load(Path(job["path"]))
        doing.write_text(f"examining the functions of {job['path']}", encoding="utf-8")
        report = _examine(module, job["path"], job["named"], rows, job["options"])
    except MemoryError:
        report = Report([Finding("RAISES", False, f"{job['path']} takes more than {MEMORY // 2**30} GB of memory.")])
    except BaseException as error:  # SystemExit too
        report = Report([_report_import(job["path"], error)])
    partial = folder / "partial.json"
    partial.write_text(report.to_json(), encoding="utf-8")
    os.replace(partial, folder / "report.json")
    sys.stdout.flush()
    os._exit(0)


def _limit() -> None:
    try:
        import resource  # not on Windows
    except ImportError:
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    mapped = pages * resource.getpagesize()
    for kind, limit in ((resource.RLIMIT_AS, mapped + MEMORY), (resource.RLIMIT_FSIZE, WRITTEN)):
        _, most = resource.getrlimit(kind)
        resource.setrlimit(kind, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"_examined_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))  # its neighbours are importable, as they are when it is run
    sys.modules[module.__name__] = module  # dataclasses and pickles look their module up
    spec.loader.exec_module(module)
    return module


def _report_import(path: str, error: BaseException) -> Finding:
    advice = "Put training under `if __name__ == '__main__':`."
    if isinstance(error, ModuleNotFoundError):
        advice = f"Install it beside vae_lightning: pip install {error.name}." if error.name else ""
    return Finding("RAISES", False, f"Importing {path} raises {type(error).__name__}: {error}", advice, about=path)


def _examine(module: ModuleType, path: str, named: dict[str, str | None], rows: Any, options: dict[str, Any]) -> Report:
    wanted = {role: name for role, name in named.items() if name is not None}
    definitions = [] if wanted else list_definitions(module)
    if not wanted:
        wanted = {role: role for role in ROLES if callable(getattr(module, role, None))}
    functions = {role: resolve(module, name) for role, name in wanted.items()}
    found = {} if wanted else find_functions(definitions, rows)
    parts: dict[str, Any] = functions or {role: function for role, (_, function) in found.items()}
    examined = [*wanted.values(), *(name for name, _ in found.values())]
    others = [] if "loss" in parts else list_unexamined(definitions, examined)
    unexamined = [_report_unexamined(name) for name in others]
    missing = [wanted[role] for role, function in functions.items() if function is None]
    if missing or not parts:
        have = ", ".join(name for name, value in vars(module).items() if callable(value) and not name.startswith("_"))
        says = f"{path} has no function {' or '.join(missing or ROLES)}. It has: {have or 'none'}."
        advice = "Say which function is which: --kl NAME, --sample NAME, --reconstruction NAME or --loss NAME."
        return Report([Finding("NOTHING", None, says, advice, about=path), *unexamined])
    report = diagnose(**parts, data=rows, **options)
    names = {f"examined as {role}": name for role, (name, _) in found.items()}
    return Report([*report.findings, *unexamined], {**names, **report.measured})


def _report_unexamined(name: str) -> Finding:
    says = f"{name} was not examined: it looks like a loss, but no arguments were found with which it can be judged."
    advice = "Hand over rows that it takes (--data FILE), or a function of (x, out, m, s) that it calls (--loss NAME)."
    return Finding("NOTHING", None, says, advice, about=name)
