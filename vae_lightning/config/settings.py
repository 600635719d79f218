"""A run's settings: the configuration, held against the constructors once and completed with their defaults.

A configuration is plain values (dict, list, str, numbers): resolved, and without Hydra. Whoever builds, records,
fingerprints or reports reads :class:`Settings` and nothing else.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from vae_lightning.config.instantiate import (
    TARGET,
    Node,
    arguments_of,
    check_arguments,
    check_keys,
    check_types,
    import_class,
    legal_keys,
    with_defaults,
)
from vae_lightning.config.overrides import lacks_group
from vae_lightning.config.strangers import HOW_AND_WHERE, check_composed
from vae_lightning.data.sources.base import Source
from vae_lightning.errors import ConfigError, Setting, check_parameter, is_count, suggest
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.family import Family
from vae_lightning.model.parts import NAME
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.base import Objective
from vae_lightning.posteriors.base import PosteriorFamily
from vae_lightning.priors.base import Prior

FAMILIES: dict[str, tuple[type[Family], tuple[str, ...]]] = {
    "likelihood": (Likelihood, ("num_columns", "supports")),
    "posterior": (PosteriorFamily, ("latent_dim",)),
    "prior": (Prior, ("latent_dim",)),
    "objective": (Objective, ()),
}
"""The groups whose choices are families of this package, and the arguments that the program gives these itself."""
GIVEN = {
    "model": ("likelihood", "posterior", "prior", "condition_size", "exposed"),
    "optimizer": ("params",),
    "scheduler": ("optimizer",),
    "trainer": ("callbacks", "logger", "plugins"),
}
"""What the program gives to the classes of the other groups."""
PRECISIONS = ("highest", "high", "medium")
RUN_DIR = "${run_dir}"
AUTO: Literal["auto"] = "auto"
"""Instead of a number: as the rows want it (see `config/recipe.py`)."""
OURS: dict[str, Any] = {"fast": True, "compile": AUTO}
"""Settings of the group ``trainer`` that are not Lightning's, and their defaults."""
FROM_ROWS = {
    "model": ("latent_dim", "activation"),
    "optimizer": ("lr",),
    "scheduler": ("epochs", "T_max"),
    "trainer": ("max_epochs",),
    "callbacks": ("patience",),
}
"""The settings, beside data.batch_size, that may be left to the rows."""
MAX_SEED = 2**32 - 1
MAX_THREADS = 1024
"""More than any machine has cores; far more, and the process is ended for want of memory."""


@dataclass(frozen=True)
class RowOptions:
    """The settings of the group ``data`` that are not the source's own.

    Args:
        batch_size: rows a step
        preprocess: how columns are scaled: none, standardize, gaussianize, minmax or binarize; by default as the
            likelihood wants it
        threshold: what binarize takes for the border between 0 and 1
        resample: draw the bits of binarize anew whenever a row is read, each value being the share of ones
    """

    batch_size: int | Literal["auto"] = AUTO
    preprocess: str | None = None
    threshold: float | None = None
    resample: bool = False

    def __post_init__(self) -> None:
        legal = self.batch_size == AUTO or is_count(self.batch_size)
        check_parameter("data", "batch_size", legal, "a whole number from 1 on, or auto", self.batch_size)

    @property
    def rows_per_step(self) -> int:
        """The batch size as a number, which it is once the rows are known."""
        assert isinstance(self.batch_size, int)
        return self.batch_size


@dataclass(frozen=True)
class AutoOptions:
    """A family for each column, by what it holds.

    Args:
        columns: families by name of column or by pattern, where the choice is not left to the rows
        bounded: whether draws keep to the range that each column has in the training rows
    """

    columns: dict[str, str] | None = None
    bounded: bool = True

    def __post_init__(self) -> None:
        names = sorted(Likelihood.families())
        asked = {} if self.columns is None else self.columns
        legal = isinstance(asked, Mapping) and all(name in names for name in asked.values())
        check_parameter("likelihood", "columns", legal, f"columns with one of {', '.join(names)} each", self.columns)
        check_parameter("likelihood", "bounded", isinstance(self.bounded, bool), "true or false", self.bounded)


@dataclass(frozen=True)
class EvaluationOptions:
    """The settings of the group ``test``."""

    num_samples: int | Literal["auto"] = AUTO

    def __post_init__(self) -> None:
        legal = self.num_samples == AUTO or is_count(self.num_samples)
        check_parameter("test", "num_samples", legal, "a whole number from 1 on, or auto", self.num_samples)


@dataclass(frozen=True)
class TorchOptions:
    """The settings of the group ``torch``."""

    matmul_precision: str = "highest"
    threads: int | None = None

    def __post_init__(self) -> None:
        legal = self.threads is None or (is_count(self.threads) and self.threads <= MAX_THREADS)
        check_parameter("torch", "threads", legal, f"a whole number from 1 to {MAX_THREADS}, or null", self.threads)
        known = self.matmul_precision in PRECISIONS
        words = f"one of {', '.join(PRECISIONS)}"
        check_parameter("torch", "matmul_precision", known, words, self.matmul_precision)


@dataclass(frozen=True)
class Settings:
    """Everything that was set, defaults included, every key and plain value legal.

    The groups ``trainer``, ``callbacks`` and ``logger`` are as they were typed: their classes are Lightning's, and
    nobody should have to wait for its import who only reads rows. They are checked as they are instantiated.

    Attributes:
        seed: of every draw.
        source: name and arguments of the source of rows; empty where rows are given from memory.
        rows: how rows are scaled and served.
        model: arguments of :class:`VAE`.
        likelihood: name and options; as ``posterior``, ``prior`` and ``objective``.
        optimizer: class and arguments; as ``scheduler``, which may be empty.
        trainer: class and arguments.
        fast: whether several batches may go through Lightning's loop at once (``trainer.fast``).
        compile: whether the step becomes one program (``trainer.compile``): true, false or auto.
        callbacks: class and arguments by name; None for one that was taken away.
        logger: the same.
        report: whether the run ends with a page of its own.
        test: how the test table is computed.
        torch: of the process.
        run_dir: where the run writes.
        resume: whether it goes on with what is there.
        others: entries that a user's own configuration adds.
    """

    seed: int
    source: Node
    rows: RowOptions
    model: Node
    likelihood: Node
    posterior: Node
    prior: Node
    objective: Node
    optimizer: Node
    scheduler: Node
    trainer: Node
    callbacks: Mapping[str, Node | None]
    logger: Mapping[str, Node | None]
    fast: bool = True
    compile: bool | Literal["auto"] = AUTO
    report: bool = True
    test: EvaluationOptions = EvaluationOptions()
    torch: TorchOptions = TorchOptions()
    run_dir: str = ""
    resume: bool = False
    others: Node = field(default_factory=dict)

    @classmethod
    def parse(cls, config: Node) -> Self:
        """The settings of a configuration.

        Raises:
            ConfigError: for the first key or plain value that does not fit, naming the nearest legal one.
        """
        check_composed(config)
        seed = config.get("seed", 0)
        legal = is_count(seed, 0) and seed <= MAX_SEED
        check_parameter("train.py", "seed", legal, f"a whole number from 0 to {MAX_SEED}", seed)
        test, torch = (_options(config, *group) for group in (("test", EvaluationOptions), ("torch", TorchOptions)))
        for name in ("report", "debug"):
            given = config.get(name, True)
            check_parameter("train.py", name, isinstance(given, bool), "true or false", given)
        on_error = _group(config, "sweep").get("on_error", "continue")
        check_parameter("sweep", "on_error", on_error in ("continue", "stop"), "continue or stop", on_error)
        scheduler = _group(config, "scheduler")
        trainer, model = _needed(config, "trainer"), _needed(config, "model")
        fast, compile = (trainer.get(name, default) for name, default in OURS.items())
        check_parameter("trainer", "fast", isinstance(fast, bool), "true or false", fast)
        check_parameter(
            "trainer", "compile", isinstance(compile, bool) or compile == AUTO, "true, false or auto", compile
        )
        source, rows = _data(_group(config, "data"))
        check_arguments(_typed(model, "model"), VAE, "model", GIVEN["model"])
        # Before the scheduler's, which is often told the trainer's number of epochs.
        epochs = trainer.get("max_epochs")
        legal = epochs in (None, AUTO, -1) or is_count(epochs)
        check_parameter("trainer", "max_epochs", legal, "a whole number from 1 on, -1 for no end, or auto", epochs)
        known = {*cls.__dataclass_fields__, "data", *HOW_AND_WHERE}
        return cls(
            seed=seed,
            source=source,
            rows=rows,
            model=with_defaults(model, VAE, GIVEN["model"]),
            **{group: _family(_needed(config, group), group, *family) for group, family in FAMILIES.items()},
            optimizer=_completed(_needed(config, "optimizer"), "optimizer", GIVEN["optimizer"]),
            scheduler=_completed(scheduler, "scheduler", GIVEN["scheduler"]) if scheduler else {},
            trainer={key: value for key, value in trainer.items() if key not in OURS},
            callbacks=_named_nodes(config, "callbacks"),
            logger=_named_nodes(config, "logger"),
            fast=fast,
            compile=compile,
            report=config.get("report", True),
            test=test,
            torch=torch,
            run_dir=str(config.get("run_dir", "")),
            resume=bool(config.get("resume")),
            others={name: value for name, value in config.items() if name not in known},
        )

    @property
    def is_mixed(self) -> bool:
        """Whether columns may be of any kind."""
        return self.likelihood[NAME] == AUTO

    @property
    def parts(self) -> dict[str, Node]:
        """What a model and its training are made of, by group: what a checkpoint records of them."""
        return {name: getattr(self, name) for name in ("model", *FAMILIES, "optimizer", "scheduler")}

    def as_dict(self) -> dict[str, Any]:
        """The settings by group, as a configuration has them; paths in the run directory begin with ``${run_dir}``."""
        groups = {
            "seed": self.seed,
            "data": {**self.source, **asdict(self.rows)},
            **self.parts,
            "trainer": {**self.trainer, **{name: getattr(self, name) for name in OURS}},
            "callbacks": dict(self.callbacks),
            "logger": dict(self.logger),
            "report": self.report,
            "test": asdict(self.test),
            "torch": asdict(self.torch),
            **self.others,
        }
        return {name: _portable(value, self.run_dir) for name, value in groups.items()}

    def in_full(self) -> dict[str, Any]:
        """As :meth:`as_dict`, with the defaults of Lightning's classes, too."""
        groups = self.as_dict()
        for name in ("callbacks", "logger"):
            nodes = groups[name].items()
            groups[name] = {child: node and _completed(node, f"{name}.{child}") for child, node in nodes}
        groups["trainer"] = {**_completed(self.trainer, "trainer", GIVEN["trainer"]), **groups["trainer"]}
        return groups


def source_class(node: Node) -> Callable[..., Any]:
    """The class of a source of rows: one of this package by its name, or anybody's by its ``_target_``.

    Raises:
        ConfigError: when there is none, or the node names two.
    """
    if NAME not in node:
        return import_class(node, "data")
    if TARGET in node:
        raise ConfigError(f"data names two sources, {node[NAME]} and {node[TARGET]}. Take one away: ~data.{NAME}")
    return Source.named(str(node[NAME]), "data")


def source_arguments(node: Node) -> dict[str, Any]:
    """The arguments of a source of rows."""
    return {key: value for key, value in node.items() if key not in (NAME, TARGET)}


def _data(node: Node) -> tuple[dict[str, Any], RowOptions]:
    """Split the group into the source, completed, and the other options."""
    own = legal_keys(RowOptions)
    options = {key: value for key, value in node.items() if key in own}
    source = {key: value for key, value in node.items() if key not in own}
    if source:
        target, arguments = source_class(source), source_arguments(source)
        check_keys(arguments, [*legal_keys(target), *own], "data")
        check_types(target, arguments)
        source |= with_defaults(arguments, target)
    rows = RowOptions(**options)
    check_types(RowOptions, options, "data")
    return source, rows


def _group(config: Node, name: str) -> Node:
    """The settings of a group; none where it was taken away, as by ``logger=null`` or ``~logger``."""
    node = config.get(name)
    check_parameter("train.py", name, node is None or isinstance(node, Mapping), "a group of settings", node)
    return node or {}


def _needed(config: Node, name: str) -> Node:
    if config.get(name) is None:
        raise lacks_group(name)
    return _group(config, name)


def _options(config: Node, group: str, options: Callable[..., Any]) -> Any:
    node = _group(config, group)
    check_keys(node, legal_keys(options), group)
    found = options(**node)  # whose own words come first
    check_types(options, node, group)
    return found


def _family(node: Node, group: str, base: type[Family], given: tuple[str, ...]) -> dict[str, Any]:
    if NAME not in node:
        raise ConfigError(f"{group} names nothing to build: it has no {NAME}.", [Setting(group, "NAME")])
    if group == "likelihood" and node[NAME] == AUTO:
        return {
            NAME: AUTO,
            **asdict(_options({"likelihood": {k: v for k, v in node.items() if k != NAME}}, group, AutoOptions)),
        }
    family = base.named(str(node[NAME]), group)
    options = {key: value for key, value in node.items() if key != NAME}
    check_arguments(options, family, group, given)
    return {NAME: node[NAME], **with_defaults(options, family, given)}


def _completed(node: Node, path: str, given: tuple[str, ...] = ()) -> dict[str, Any]:
    target, arguments = import_class(node, path), arguments_of(node)
    check_arguments(_typed(arguments, path), target, path, given)
    return {TARGET: node[TARGET], **with_defaults(arguments, target, given)}


def _typed(node: Node, path: str) -> dict[str, Any]:
    """The settings that are not left to the rows, whose values have no type yet."""
    free = FROM_ROWS.get(path.partition(".")[0], ())
    return {key: value for key, value in node.items() if value != AUTO or key not in free}


def _named_nodes(config: Node, group: str) -> dict[str, Node | None]:
    nodes = dict(_group(config, group))
    for name, node in nodes.items():
        if node is not None and not (isinstance(node, Mapping) and TARGET in node):
            others = {other for other in nodes if nodes[other] is not None and other != name}
            raise ConfigError(f"There is no {group}.{name}: nothing says what to build. {suggest(name, others)}")
    return nodes


def _portable(value: Any, run_dir: str) -> Any:
    """Where a run lies on this machine is nothing that it depends on."""
    if isinstance(value, Mapping):
        return {key: _portable(item, run_dir) for key, item in value.items()}
    if isinstance(value, list):
        return [_portable(item, run_dir) for item in value]
    is_inside = isinstance(value, str) and run_dir != "" and f"{value}/".startswith(f"{run_dir}/")
    return RUN_DIR + value.removeprefix(run_dir) if is_inside else value
