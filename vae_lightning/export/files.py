"""Graphs as files of ONNX and of torch.export, each held against the module that it was made from."""

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vae_lightning.data.checks import is_illegal
from vae_lightning.data.seeds import random_stream
from vae_lightning.errors import RunError
from vae_lightning.export.graphs import Graph
from vae_lightning.export.translations import translations

OPSET = 18
"""Of ONNX: what torch's translations are written in, and what runtimes since 2023 read."""
TOLERANCE = 1e-5
ROUNDINGS = 8
"""How many times the module's own loss to float32 a file may differ, where that is more than the tolerance."""
BATCHES = (1, 2, 97, 200)
"""Rows in each comparison; none has as many as the example that the exporters trace."""
EXAMPLE_ROWS = 3
EPS = float(np.finfo(np.float64).eps)

Runner = Callable[[np.ndarray], list[np.ndarray]]


class Agreement(NamedTuple):
    """How far a file is from its module, over all rows and outputs.

    Attributes:
        file: its name.
        largest: the largest difference, |file - module| / (unit + |module - origin|): unit 1 and origin 0, except for
            the decoder's outputs, whose columns are measured from their own origin in their own units.
        rounding: the same between the module and its copy in float64, where that is what allowed ``largest`` to exceed
            the tolerance; else 0.
        num_rows: rows compared.
    """

    file: str
    largest: float
    rounding: float
    num_rows: int

    def __str__(self) -> str:
        text = f"agrees with the module within {self.largest:.0e} on {self.num_rows} random rows"
        return f"{text} (its own rounding: {self.rounding:.0e})" if self.rounding else text


def write_onnx(graph: Graph, directory: Path, notes: Mapping[str, str]) -> Path:
    """``directory/NAME.onnx``: opset `OPSET`, one file, any number of rows; ``notes`` become its metadata.

    Raises:
        RunError: when the exporter cannot translate the graph.
        OSError: when the file cannot be written.
    """
    path = directory / f"{graph.name}.onnx"
    with _quiet(), _name_errors(path):
        program: Any = torch.onnx.export(
            graph,
            (example(graph),),
            dynamo=True,
            opset_version=OPSET,
            input_names=[graph.takes],
            output_names=list(graph.gives),
            dynamic_shapes=_dynamic(graph),
            custom_translation_table=translations(),
            verbose=False,
        )
        program.model.metadata_props.update(notes)
        program.save(path, external_data=False)
    return path


def run_onnx(path: Path) -> Runner:
    """What onnxruntime makes of a file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return lambda rows: session.run(None, {given.name: rows})


def write_torch(graph: Graph, directory: Path, notes: Mapping[str, str]) -> Path:
    """``directory/NAME.pt2``: an ``ExportedProgram`` for any number of rows, with ``notes`` as its extra files.

    Raises:
        RunError: when torch cannot trace the graph.
        OSError: when the file cannot be written.
    """
    path = directory / f"{graph.name}.pt2"
    with _quiet(), _name_errors(path):
        program = torch.export.export(graph, (example(graph),), dynamic_shapes=_dynamic(graph))
        torch.export.save(program, path, extra_files=dict(notes))
    return path


def run_torch(path: Path) -> Runner:
    """What torch makes of a file that was just written."""
    with _quiet():
        module = torch.export.load(path).module()
    return lambda rows: [output.detach().numpy() for output in module(torch.from_numpy(rows))]


def example(graph: Graph) -> Tensor:
    """What the exporters trace."""
    return probes(graph, EXAMPLE_ROWS, seed=0)


def probes(graph: Graph, num_rows: int, seed: int) -> Tensor:
    """Random input for a graph: z wider than the prior, or legal rows, among them some that are like no data.

    Rows are draws from p(x|z); in every second one the columns are taken from different draws and shifted by half a
    standard deviation, where the likelihood's support allows it.
    """
    vae = graph.vae
    with random_stream(seed), torch.no_grad():
        if graph.takes == "z":
            return (1.5 * torch.randn(num_rows, vae.latent_dim)).to(graph.takes_dtype)
        px = vae.decode(1.5 * vae.prior.sample(num_rows))
        u = px.sample()
        mixed = torch.stack([column[torch.randperm(num_rows)] for column in u.T], dim=1)
        shifted = mixed + 0.5 * px.stddev * torch.randn_like(u)
        mixed = torch.where(is_illegal(shifted, vae.likelihood.supports), mixed, shifted)
        odd = (torch.arange(num_rows) % 2 == 1)[:, None]
        return graph.scaling.inverse(torch.where(odd, mixed, u)).to(graph.takes_dtype)


def agreement(graph: Graph, path: Path, runner: Runner) -> Agreement:
    """Hold what ``runner`` computes against the module, for several numbers of rows.

    Every number must lie within ``TOLERANCE · (unit + |module - origin|)`` of the module's (see :class:`Agreement`), or
    within `ROUNDINGS` times what the module itself loses to float32 in that output: where a density is narrow, the
    module knows its own score no better.

    Raises:
        RunError: when one does not, naming the file, the output and the difference.
    """
    reference = copy.deepcopy(graph).double()
    origins_and_units = graph.comparison_scales()
    far, own = np.zeros(len(graph.gives)), np.zeros(len(graph.gives))
    for seed, num_rows in enumerate(BATCHES, start=1):
        rows = probes(graph, num_rows, seed)
        with torch.no_grad():
            expected, exact = graph(rows), reference(rows)
        found = _run(path, runner, rows.numpy())
        for i, (origin, unit) in enumerate(origins_and_units):
            module = expected[i].double().numpy()
            _check_output(graph, path, graph.gives[i], found[i], module)
            scale = (unit + (expected[i].double() - origin).abs()).numpy()
            far[i] = np.maximum(far[i], _distance(found[i], module, scale))  # keeps a nan
            own[i] = np.maximum(own[i], _distance(exact[i].numpy(), module, scale))
    num_rows = sum(BATCHES)
    for name, difference, allowed in zip(graph.gives, far, np.maximum(TOLERANCE, ROUNDINGS * own), strict=True):
        if not difference <= allowed:
            raise RunError(
                f"{path.name} does not compute what the module does, so nothing was exported: its output '{name}' "
                f"differs by up to {difference:.1e} on {num_rows} random rows, and {allowed:.0e} is allowed."
            )
    return Agreement(path.name, float(far.max()), float(own[far > TOLERANCE].max(initial=0.0)), num_rows)


def _run(path: Path, runner: Runner, rows: np.ndarray) -> list[np.ndarray]:
    try:
        return runner(rows)
    except Exception as error:
        # Whatever a runtime has against a file, the user can do nothing about it but know.
        raise RunError(f"{path.name} does not run, so nothing was exported: {_first_line(error)}") from error


def _check_output(graph: Graph, path: Path, name: str, found: np.ndarray, module: np.ndarray) -> None:
    if not np.isfinite(module).all():
        raise RunError(
            f"The output '{name}' of the model's {graph.name} is not finite on random rows, so nothing was exported. "
            "vae-lightning doctor RUN examines the model."
        )
    if found.shape != module.shape:
        raise RunError(
            f"{path.name} does not compute what the module does, so nothing was exported: its output '{name}' has "
            f"shape {found.shape}, the module's {module.shape}."
        )


def _distance(found: np.ndarray, module: np.ndarray, scale: np.ndarray) -> float:
    """The largest difference in units of ``scale``, less what float64 itself cannot hold; not finite counts as such."""
    difference = np.abs(found.astype(np.float64) - module) - 8 * EPS * np.abs(module)
    return float(np.max(np.maximum(difference, 0.0) / scale))


def _dynamic(graph: Graph) -> dict[str, Any]:
    return {graph.takes: {0: torch.export.Dim("rows")}}


@contextmanager
def _name_errors(path: Path) -> Iterator[None]:
    """The exporters' own errors, many pages long, in one line that names the file."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:  # the innermost says which operation is missing
            cause = cause.__cause__
        raise RunError(f"{path.name} cannot be made from this model: {_first_line(cause)}") from error


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporters say about packages that are not used here and about their own insides."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*LeafSpec", category=FutureWarning)
            yield
    finally:
        logger.setLevel(level)
