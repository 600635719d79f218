"""Settings → rows and an untrained model for them: all that needs no Lightning.

The one place where the sizes of data, likelihood and networks meet. A mistake in the data is told from here, before
the seconds that Lightning takes to import.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from vae_lightning.config.cautions import find_cautions
from vae_lightning.config.instantiate import call, with_defaults
from vae_lightning.config.recipe import fit_to_rows
from vae_lightning.config.record import make_record
from vae_lightning.config.settings import FAMILIES, Settings, source_arguments, source_class
from vae_lightning.console import log
from vae_lightning.data.checks import check_batch_size, check_support
from vae_lightning.data.choices import by_column, describe_choices, tabulate_choices
from vae_lightning.data.conditions import Conditions
from vae_lightning.data.dataset import Dataset
from vae_lightning.data.dates import find_places, join_values
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.data.preprocess.choice import fit_scaling
from vae_lightning.data.scaled import scale_rows
from vae_lightning.data.schema import infer_choices
from vae_lightning.data.sources.base import Source
from vae_lightning.data.store import RowStore
from vae_lightning.data.wording import count, shorten
from vae_lightning.errors import ConfigError, DataError, Notice, Setting
from vae_lightning.inference.model import VAEModel
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.model.parts import BLOCKS, NAME, build_part, build_vae
from vae_lightning.model.start import start_model
from vae_lightning.model.vae import VAE
from vae_lightning.training.trial import choose_start


@dataclass(frozen=True)
class Prepared:
    """Rows that the model accepts, and the model before its first step.

    Attributes:
        dataset: the rows in data units.
        rows: the rows in model units by part.
        model: untrained, its scaling fitted, started from the training rows.
        settings: with numbers for what was left to the rows.
    """

    dataset: Dataset
    rows: Mapping[str, RowStore]
    model: VAEModel
    settings: Settings


def load_dataset(settings: Settings) -> Dataset:
    """Read the rows from their source.

    Raises:
        DataError: when they cannot be read.
        ConfigError: when the source refuses its arguments, or there is none.
    """
    if not settings.source:
        raise ConfigError("data names no source of rows.", [Setting("data", "NAME")])
    source: Source = call(source_class(settings.source), "data", **source_arguments(settings.source))
    if not settings.is_mixed:
        return source.load()
    # Whoever names a family for dates as they are wants them as they are.
    return source.load_mixed(whole=settings.likelihood["columns"] or ())


def prepare(settings: Settings, dataset: Dataset) -> Prepared:
    """Fit the scaling, hold the rows against the likelihood's support, build the model.

    The weights are drawn from torch's global random stream.

    Raises:
        DataError: when the likelihood cannot accept the rows.
        ConfigError: for values that a part of the model refuses.
    """
    scaling, reason, choices = None, "as each column's family wants it", list[list[str]]()
    if settings.is_mixed:
        settings, scaling, choices = _choose_families(settings, dataset)
    settings = fit_to_rows(settings, len(dataset.train), len(dataset.columns))
    if dataset.has_holes:
        settings = replace(settings, model={**settings.model, "sees_mask": True})
    conditions = Conditions.of(dataset)
    if conditions is not None:
        told = {"condition_size": conditions.size} | ({"exposed": True} if dataset.exposure else {})
        settings = replace(settings, model={**settings.model, **told})
    options = settings.rows
    vae = build_vae(settings.parts, len(dataset.columns))
    _check_exposure(dataset, vae.likelihood)
    if scaling is None:
        supports = vae.likelihood.supports
        scaling, reason = fit_scaling(options.preprocess, supports, dataset, options.threshold, options.resample)
    check_batch_size(len(dataset.train), options.rows_per_step)
    rows = scale_rows(dataset, scaling, settings.seed, conditions)
    _describe(dataset, scaling, reason)
    _describe_conditions(conditions)
    _check_rows(dataset, rows, vae.likelihood, scaling)
    for notice in find_cautions(dataset, scaling, settings):
        log.warning(str(notice))
    _start(vae, rows, settings)
    record = make_record(settings, dataset, scaling, choices, conditions)
    model = VAEModel(vae, scaling, dataset.columns, record, conditions)
    return Prepared(dataset, rows, model, settings)


def _start(vae: VAE, rows: Mapping[str, RowStore], settings: Settings) -> None:
    """Give the model its first weights."""
    start = start_model(vae, rows["train"], rows["valid"])
    epochs = settings.trainer.get("max_epochs")
    if start is None or not isinstance(epochs, int):
        return
    batch_size = settings.rows.rows_per_step
    steps = epochs * math.ceil(rows["train"].num_rows / batch_size)
    told = choose_start(vae, start, rows["train"], rows["valid"], batch_size, steps, settings.seed)
    if told:
        log.info(f"Start: {told}.")


def _choose_families(settings: Settings, dataset: Dataset) -> tuple[Settings, Scaling, list[list[str]]]:
    """The settings with a family for each column in the place of ``auto``, each column's scaling, fitted, and why."""
    asked, bounded = settings.likelihood["columns"], settings.likelihood["bounded"]
    choices = infer_choices(dataset, asked or {}, settings.rows.preprocess)
    log.info(
        f"What each column is taken for (likelihood.columns.NAME=FAMILY for another):\n{describe_choices(choices)}"
    )
    dates = [places for places in find_places(dataset.columns) if len(places) > 1]
    node = {**by_column(choices, "scaling"), "bounded": bounded, "decimals": [choice.decimals for choice in choices]}
    node |= {"together": dates} if dates else {}
    scaling = build_part(Scaling, node, "data.preprocess", num_columns=len(dataset.columns))  # type: ignore[type-abstract]
    likelihood = by_column(choices, "family")
    if BLOCKS not in likelihood:  # one family: recorded with its defaults, as if it had been typed
        likelihood = with_defaults(
            likelihood, Likelihood.named(likelihood[NAME], "likelihood"), FAMILIES["likelihood"][1]
        )
    chosen = replace(settings, likelihood=likelihood)
    return chosen, scaling.fit(dataset.train), tabulate_choices(choices)


def _check_exposure(dataset: Dataset, likelihood: Likelihood) -> None:
    counts = likelihood.count_columns.numpy()
    if dataset.exposure is None:
        return
    if not counts.any():
        raise DataError(
            f"data.exposure: {dataset.exposure!r} multiplies the means of counts, and no column has a family of counts "
            f"({likelihood.words}).",
            [Setting("likelihood", "negative_binomial"), Setting("likelihood", "poisson")],
        )
    names = [column.name for column, is_count in zip(dataset.columns, counts, strict=True) if is_count]
    others = "" if counts.all() else " The other columns know nothing of it."
    log.info(f"Exposure: the mean of each count is proportional to {dataset.exposure!r} ({shorten(names)}).{others}")


def _describe(dataset: Dataset, scaling: Scaling, reason: str) -> None:
    sizes = " / ".join(f"{len(rows):,}" for rows in dataset.parts)
    log.info(f"Data: {dataset.name}, {len(dataset.columns):,} columns, {sizes} rows (train / validation / test).")
    log.info(f"Preprocessing: {scaling.words}, {reason}.")
    if dataset.has_holes:
        holes = sum(int(np.isnan(join_values(part.x, dataset.columns)).sum()) for part in dataset.parts)
        log.info(
            f"{count(holes, 'cell')} are empty: they count for nothing in the loss, and the encoder is told which."
        )
    constant = dataset.constant_columns
    if constant:
        names = ", ".join(constant[:5]) + (" ..." if len(constant) > 5 else "")
        log.info(f"{len(constant)} columns hold one value in all training rows and are kept: {names}.")
    for split in ("valid", "test"):
        clipped = int(scaling.count_clipped(torch.from_numpy(getattr(dataset, split).x)).sum())
        if clipped:
            log.warning(f"{clipped:,} values of the {split} rows lie beyond the training range and were clipped to it.")


def _describe_conditions(conditions: Conditions | None) -> None:
    if conditions is None:
        return
    told = [
        f"{name} ({'a number' if known is None else count(len(known), 'level')})"
        for j, (name, known) in enumerate(zip(conditions.names, conditions.known, strict=True))
        if j != conditions.exposure
    ]
    if told:
        log.info(f"Condition: encoder and decoder are told {shorten(told)} of each row.")
    for name, words in conditions.unseen().items():
        log.warning(f"No training row has {words} in {name!r}: of such rows the model is told nothing of {name!r}.")


def _check_rows(dataset: Dataset, rows: Mapping[str, RowStore], likelihood: Likelihood, scaling: Scaling) -> None:
    for part, store in rows.items():
        first = 1
        for batch in store.batches():
            check_support(
                batch.x,
                split=part,
                columns=dataset.columns,
                supports=likelihood.supports,
                likelihood=likelihood.column_names,
                preprocess=scaling.column_names,
                first_row=first,
                mask=batch.mask,
            )
            first += batch.num_rows
    test = rows["test"]
    floor = sum(float(likelihood.entropy_floor(batch.x).sum()) for batch in test.batches()) / test.num_rows
    if likelihood.is_probability and floor > 0.01 and not scaling.resample:
        says = (
            "The rows hold values between 0 and 1: the loss is a cross-entropy whose least value on the test rows is "
            f"{floor:.2f} nats."
        )
        log.info(str(Notice(says, (Setting("data.preprocess", "binarize", "makes it a likelihood"),))))
