"""Folders are layers: a folder imports only from folders before it; `ls` shows the architecture."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "vae_lightning"

# In the order of DESIGN: each may import from those before it. A name is a folder, or a file at the package's top.
LAYERS = [
    ["version", "shell"],
    ["errors", "files"],
    ["console"],
    ["likelihoods"],
    ["posteriors"],
    ["priors"],
    ["networks"],
    ["objectives"],
    ["data"],
    ["comparison"],
    ["controls"],
    ["model"],
    ["inference"],
    ["export"],
    ["training"],
    ["doctor"],
    ["reporting"],
    ["config"],
    ["runs"],
    ["sweeps", "estimator"],
    ["cli"],
]
# The same inside the one folder that is two programs: somebody's functions know nothing of ours.
DOCTOR_LAYERS = [["report"], ["losses", "runs"]]
LOSSES_KNOW = {"vae_lightning.doctor.report", "vae_lightning.doctor.losses"}
LIGHTNING_FROM = "training"
HYDRA_FROM = "sweeps"
MAX_LOOSE_FILES = 6
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
FORBIDDEN_MODULES = {"pickle", "dill", "cloudpickle", "shelve", "marshal"}
MAX_LINES = 400

FILES = sorted(PACKAGE.rglob("*.py"))


def place(path: Path) -> str:
    """The folder, or the file at the top."""
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def module(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer(name: str) -> int:
    found = [number for number, names in enumerate(LAYERS) if name in names]
    assert found, f"{name} is in no layer: give it one in LAYERS"
    return found[0]


def imports(path: Path) -> list[str]:
    """Every module or name imported, dotted, wherever it stands in the file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def ours(path: Path) -> list[str]:
    return [name for name in imports(path) if name.split(".")[0] == "vae_lightning"]


def test_a_folder_imports_only_from_folders_before_it() -> None:
    offenders = []
    for path in FILES:
        here = place(path)
        if here == "__init__":
            continue  # it hands names on, lazily
        for name in ours(path):
            there = name.split(".")[1]
            if there != "__version__" and there != here and layer(there) >= layer(here):
                offenders.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert not offenders, "\n".join(offenders)


def test_no_two_files_import_each_other() -> None:
    """Inside a folder, too: whoever follows the imports never comes back to where they began."""
    names = {module(path): path for path in FILES}
    graph = {
        name: {next((m for m in (i, i.rpartition(".")[0]) if m in names), "") for i in ours(path)} - {"", name}
        for name, path in names.items()
        if path.name != "__init__.py"
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " → ".join([*trail[trail.index(name) :], name])
        if name in done:
            return
        for other in graph.get(name, ()):
            visit(other, (*trail, name))
        done.add(name)

    for name in graph:
        visit(name, ())


def test_somebodys_losses_are_examined_without_ours() -> None:
    known = tuple(f"{name}." for name in LOSSES_KNOW)
    offenders = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in (PACKAGE / "doctor" / "losses").rglob("*.py")
        for name in ours(path)
        if not f"{name}.".startswith(known)
    ]
    assert not offenders, "\n".join(offenders)


def test_frameworks_stay_in_their_layers() -> None:
    offenders = []
    for path in FILES:
        here = place(path)
        if here == "__init__":
            continue
        roots = {name.split(".")[0] for name in imports(path)}
        if roots & {"lightning", "pytorch_lightning"} and layer(here) < layer(LIGHTNING_FROM):
            offenders.append(f"{path.relative_to(PACKAGE)} imports Lightning")
        if roots & {"hydra", "omegaconf"} and layer(here) < layer(HYDRA_FROM):
            offenders.append(f"{path.relative_to(PACKAGE)} imports Hydra")
        if roots & FORBIDDEN_MODULES:
            offenders.append(f"{path.relative_to(PACKAGE)} unpickles")
    assert not offenders, "\n".join(offenders)


def test_every_layer_exists_and_few_files_are_loose() -> None:
    present = {place(path) for path in FILES} - {"__init__"}
    assert {name for names in LAYERS for name in names} == present
    assert len(list(PACKAGE.glob("*.py"))) <= MAX_LOOSE_FILES


def test_nothing_is_called_utils() -> None:
    assert not [path for path in FILES if path.stem in FORBIDDEN_NAMES or path.parent.name in FORBIDDEN_NAMES]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_public_names_have_docstrings_and_files_stay_readable(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    public = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]
    assert all(ast.get_docstring(node) for node in public)
    assert source.count("\n") <= MAX_LINES


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


def test_files_are_read_without_unpickling() -> None:
    offenders = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and not loads_safely(node)
    ]
    assert not offenders, "\n".join(offenders)
