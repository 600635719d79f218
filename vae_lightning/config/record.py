"""What a checkpoint says of its model, and the rows that it says it was trained on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vae_lightning.config.instantiate import TARGET, call, check_arguments
from vae_lightning.config.settings import Settings, source_arguments
from vae_lightning.data.conditions import Conditions
from vae_lightning.data.dataset import Dataset
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.data.sources.base import Source
from vae_lightning.errors import DataError
from vae_lightning.model.parts import BLOCKS, NAME


def make_record(
    settings: Settings,
    dataset: Dataset,
    scaling: Scaling,
    choices: Sequence[Sequence[str]] = (),
    conditions: Conditions | None = None,
) -> dict[str, Any]:
    """What the same model is made from again, and what it was trained on: names and plain values.

    Args:
        settings: with numbers for what was left to the rows.
        dataset: the rows.
        scaling: fitted.
        choices: what each column was taken for, and why, in words; empty where one family takes all.
        conditions: what is told beside the rows.
    """
    return {
        **settings.parts,
        "preprocess": {NAME: scaling.name(), **scaling.options()},
        **({} if conditions is None else {"condition": conditions.as_plain()}),
        "seed": settings.seed,
        "data": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "image_shape": dataset.image_shape,
            "source": settings.source,
            **({"choices": [list(one) for one in choices]} if choices else {}),
        },
    }


def recorded_dataset(record: Mapping[str, Any], names: Sequence[str]) -> Dataset:
    """The rows that a model was trained on, read again and split alike.

    Only sources of this package are built, by name: a stranger's record runs none of their code.

    Args:
        record: what the model's checkpoint says of it.
        names: of the model's columns.

    Raises:
        DataError: when they cannot be read, or have changed.
        ConfigError: when the record names a source that is none of this package's.
    """
    node = record.get("data", {}).get("source") or {}
    if not node:
        raise DataError("This model was trained on rows from memory, which are not recorded.")
    if NAME not in node:
        raise DataError(
            f"This model was trained on rows of {node.get(TARGET)}, which is none of this package's sources."
        )
    family, arguments = Source.named(str(node[NAME]), "data"), source_arguments(node)
    path = Path(str(node.get("path") or ".")).expanduser()
    if not path.exists() and not path.is_absolute():
        raise DataError(
            f"There is no file '{path}' here. The run names its rows relative to the directory it was started in: "
            "do this from there."
        )
    check_arguments(arguments, family, "data")
    source: Source = call(family, "data", **arguments)
    # Names of the columns of days that a model has had before dates were split, or was told to have.
    dataset = source.load_mixed(whole=names) if BLOCKS in record.get("preprocess", {}) else source.load()
    found = ([column.name for column in dataset.columns], dataset.fingerprint)
    if found != (list(names), record["data"]["fingerprint"]):
        raise DataError(
            f"The rows of {dataset.name} are not those that the run was trained on (fingerprint {dataset.fingerprint}, "
            f"was {record['data']['fingerprint']})."
        )
    return dataset
