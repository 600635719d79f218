"""Who may import whom: a file imports only from a lower floor, or from the ``base.py`` of its own folder."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "vae_lightning"

# From the ground up. Names are modules or folders of the package; a folder stands for all that is in it.
FLOORS = [
    {"version", "errors", "schedules", "files", "draws"},
    {"likelihoods", "priors", "networks", "objectives", "metrics", "data"},
    {"vae", "frames", "streams"},
    {"estimate"},
    {"evaluation", "scoring"},
    {"graphs", "translations"},
    {"graph_files", "cards"},
    {"exports"},
    {"model"},
    {"console", "doctor"},
    {"results", "figures", "boards"},
    {"datamodule", "module", "page"},
    {"callbacks", "checkpoints", "metrics_csv", "hparams"},
    {"settings"},
    {"build"},
    {"loading", "fitting"},
    {"closing"},
    {"run", "checkup", "estimator"},
    {"overrides"},
    {"sweeps"},
    {"commands"},
    {"cli"},
]
# The same inside the one folder that is a program of its own; a base.py lies under everything in its folder.
DOCTOR_FLOORS = [
    {"base", "blackbox.arrays", "blackbox.deadline", "cases.base"},
    {"blackbox.gradients", "curves"},
    {"blackbox.box"},
    {"blackbox.reductions", "posterior.noise", "posterior.sigma"},
    {"posterior.sampler", "posterior.terms", "posterior.divergence"},
    {"posterior.faults", "reconstruction.layout", "reconstruction.exponential"},
    {"posterior.verdict"},
    {"posterior.agreement", "reconstruction.supports", "reconstruction.classes"},
    {"reconstruction.reach"},
    {"reconstruction.measure", "rows", "balance", "parts", "whole"},
    {"examination", "fits"},
    {"functions", "history", "table", "trained"},
    {"file", "cases.question"},
    {"cases.recipe", "cases.wrong"},
    {"cases.generate", "cases.silent"},
    {"selftest"},
]
# The same in the folder of the sweeps.
SWEEP_FLOORS = [
    {"base", "configuration", "space"},
    {"work", "comparison", "study"},
    {"tables", "pruning"},
    {"scale"},
    {"figures"},
    {"report"},
    {"conclusion", "launch"},
    {"grid", "search"},
]
FIGURE_FLOORS = [{"base"}, {"latent", "images", "tables", "training"}, {"gallery"}]
INNER_FLOORS = {"doctor": DOCTOR_FLOORS, "sweeps": SWEEP_FLOORS, "figures": FIGURE_FLOORS}
LIGHTNING_FROM = "datamodule"
HYDRA_FROM = "sweeps"
FORBIDDEN_NAMES = {"utils", "util", "helpers", "common", "misc"}
FORBIDDEN_MODULES = {"pickle", "dill", "cloudpickle", "shelve", "marshal"}

FILES = sorted(PACKAGE.rglob("*.py"))


def place(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def floor(name: str, plan: list[set[str]] = FLOORS) -> int:
    floors = [number for number, names in enumerate(plan) if name in names]
    assert floors, f"{name} stands on no floor: give it one in FLOORS"
    return floors[0]


def room(folder: str, parts: tuple[str, ...]) -> str:
    """The name among the inner floors of the module that `vae_lightning.FOLDER.PARTS` names or takes a name from."""
    rooms = set().union(*INNER_FLOORS[folder])
    return next((name for name in (".".join(parts[:2]), parts[0]) if name in rooms), ".".join(parts))


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    here = place(path)
    if here == "__init__" or (here in INNER_FLOORS and path.name == "__init__.py"):
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "vae_lightning" or parts[1] == "__version__":
            continue
        there = parts[1]
        if here == there and here in INNER_FLOORS:
            plan = INNER_FLOORS[here]
            inner = room(here, path.relative_to(PACKAGE / here).with_suffix("").parts)
            assert floor(room(here, tuple(parts[2:])), plan) < floor(inner, plan), f"{path.name} may not import {name}"
            continue
        own_base = there == here and parts[2] == "base"
        assert own_base or floor(there) < floor(here), f"{path.name} may not import {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_frameworks_stay_on_their_floors(path: Path) -> None:
    here = place(path)
    if here == "__init__":
        return
    roots = {name.split(".")[0] for name in imports(path)}
    if roots & {"lightning", "pytorch_lightning"}:
        assert floor(here) >= floor(LIGHTNING_FROM), f"{path.name} may not import Lightning"
    if roots & {"hydra", "omegaconf"}:
        assert floor(here) >= floor(HYDRA_FROM), f"{path.name} may not import Hydra"
    assert not roots & FORBIDDEN_MODULES, f"{path.name} may not unpickle"


def test_every_name_on_a_floor_exists() -> None:
    present = {place(path) for path in FILES} - {"__init__"}
    assert set().union(*FLOORS) == present
    for folder, plan in INNER_FLOORS.items():
        rooms = {
            ".".join(path.relative_to(PACKAGE / folder).with_suffix("").parts)
            for path in FILES
            if place(path) == folder and path.name != "__init__.py"
        }
        assert set().union(*plan) == rooms


def test_nothing_is_called_utils() -> None:
    assert not [path for path in FILES if path.stem in FORBIDDEN_NAMES or path.parent.name in FORBIDDEN_NAMES]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_public_names_have_docstrings_and_files_stay_readable(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    public = [
        node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]
    assert all(ast.get_docstring(node) for node in public)
    assert source.count("\n") <= 400


def loads_safely(node: ast.Call) -> bool:
    keywords = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
    match ast.unparse(node.func):
        case "torch.load":
            return keywords.get("weights_only") is True
        case "np.load":
            return keywords.get("allow_pickle") is False
        case "eval" | "exec":
            return False
    return True


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_are_read_without_unpickling(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    assert all(loads_safely(node) for node in calls)
