"""Tables of several kinds of columns: what ``likelihood=auto`` takes each for, and what that comes to."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vae_lightning.data.choices import Choice, describe_choices
from vae_lightning.data.dataset import Dataset
from vae_lightning.data.dates import join_values, split_values
from vae_lightning.data.faults import Fault, read_numbers
from vae_lightning.data.files.sheets import Sheet
from vae_lightning.data.mixed import Coded, code_column
from vae_lightning.data.schema import infer_choices
from vae_lightning.data.wording import count, shorten
from vae_lightning.doctor.report import Finding, Report
from vae_lightning.doctor.runs.cells import examine_cells
from vae_lightning.doctor.runs.columns import check_degenerate, find_holes, observed
from vae_lightning.doctor.runs.fits import Fit, fit_choices, to_matrix
from vae_lightning.doctor.runs.usable import Usable
from vae_lightning.errors import Setting, on_the_command_line
from vae_lightning.likelihoods.support import REAL, UNIT, narrowest

AUTO = "auto"
MOST_COLUMNS = 200
"""Of a wider table of numbers nobody asks whether each column should have a family of its own."""
MOST_TEXTS = 0.5
"""Share of a column's cells that are no numbers, up to which they are mistakes in a column of numbers."""


@dataclass(frozen=True)
class MixedTable:
    """The columns of a table as ``likelihood=auto`` reads them.

    Attributes:
        coded: those to train on.
        passed: why others are passed by: name → clause.
        faults: what is wrong with the rest.
    """

    coded: Sequence[Coded]
    passed: Mapping[str, str]
    faults: Sequence[Fault]


def read_mixed(sheets: Mapping[str, Sheet]) -> MixedTable:
    """The columns of ``sheets``, by part, each as what it holds; ``train`` is judged."""
    sheet = sheets["train"]
    usable = Usable(sheet)
    found = {name: code_column(sheets, name) for name in usable.names}
    unclear = [name for name, one in found.items() if one is None or _is_spoiled(sheet, name)]
    if unclear:
        usable.leave_out(read_numbers(sheet, unclear)[1])
    passed = {name: one for name in usable.names if isinstance(one := found[name], str)}
    usable.names = [name for name in usable.names if name not in passed]
    coded = {name: one for name in usable.names if isinstance(one := found[name], Coded)}
    usable.judge(lambda names: np.stack([coded[name].values["train"] for name in names], axis=1))
    return MixedTable([coded[name] for name in usable.names], passed, usable.faults)


def _is_spoiled(sheet: Sheet, name: str) -> bool:
    """Whether a column holds mostly numbers, and yet some texts."""
    numbers, wrong = sheet.numbers(sheet.frame[name])
    return bool(wrong.any()) and wrong.sum() <= MOST_TEXTS * (wrong | numbers.notna()).sum()


def has_kinds(mixed: MixedTable) -> bool:
    """Whether some columns are of texts or dates, which no single family takes."""
    return not all(one.column.is_number for one in mixed.coded)


def examine_mixed(
    mixed: MixedTable, load: Callable[[Sequence[Coded]], Dataset], sheet: Sheet, file: str | None
) -> Report:
    """What ``likelihood=auto`` makes of a table.

    Args:
        mixed: its columns.
        load: splits the rows of columns.
        sheet: what they were read of.
        file: as it was typed; None for rows from memory.

    Raises:
        UserError: The rows are too few for the three parts.
    """
    findings = [*state_faults(mixed.faults, sheet.frame.shape[1], bool(mixed.coded)), *_state_passed(mixed)]
    if not mixed.coded:
        return Report([*findings, Finding("DATA", None, "No column is left to judge.", about="data")])
    dataset = load(mixed.coded)
    columns, x = [one.column for one in mixed.coded], np.stack([one.values["train"] for one in mixed.coded], axis=1)
    names = [column.name for column in columns]
    numbers = [i for i, column in enumerate(columns) if column.is_number]
    rows = to_matrix(dataset)
    findings += [
        *examine_cells(x, names, sheet.place, numbers),
        *find_holes(join_values(rows, dataset.columns), names),
    ]
    choices = infer_choices(dataset, {})
    fit = fit_choices(choices, dataset)
    kinds = Counter(choice.kind for choice in choices)
    measured = {
        "rows": len(rows),
        "columns": f"{len(columns)}: {', '.join(f'{number} of {kind}' for kind, number in kinds.items())}",
        "suggested": AUTO,
        **_describe(choices, fit),
    }
    command = [Setting("data.path", file)] if file else []
    command += [setting for finding in findings for setting in finding.settings if setting.key == "data.drop"]
    findings.append(_state_choices(choices, fit, command))
    dense = fit.likelihood.density_columns.numpy()
    names = [column.name for column, one in zip(dataset.columns, dense, strict=True) if one]
    findings += check_degenerate(split_values(x, dataset.columns)[0][:, dense], names)
    return Report(findings, measured)


def compare_with_auto(
    dataset: Dataset, fit: Fit, measured: Mapping[str, Any], command: Sequence[Setting]
) -> tuple[dict[str, Any], list[Finding]]:
    """Of a table of numbers whose columns are of several kinds: what a family for each column makes of it.

    Args:
        dataset: the rows.
        fit: the single family that suits best.
        measured: what else was measured.
        command: settings that the table needs.

    Returns:
        What was measured, and a finding where a family for each column costs less.
    """
    x = to_matrix(dataset)
    kinds = {narrowest(torch.from_numpy(column)) for column in observed(x) if np.ptp(column) > 0}
    if len({REAL if kind == UNIT else kind for kind in kinds}) < 2 or x.shape[1] > MOST_COLUMNS:
        return dict(measured), []
    choices = infer_choices(dataset, {})
    auto = fit_choices(choices, dataset)
    told = {**measured, **_describe(choices, auto)}
    is_better = auto.accepts and auto.baseline < fit.baseline
    return told, [_state_choices(choices, auto, command, fit)] if is_better else []


def state_faults(faults: Sequence[Fault], num_columns: int, are_others: bool) -> list[Finding]:
    """What is wrong with columns that a run refuses, and how to train without them.

    Args:
        faults: what was found.
        num_columns: of the whole table.
        are_others: whether any column is left.
    """
    if not faults:
        return []
    out = [name for fault in faults for name in fault.columns]
    says = f"{len(out)} of {count(num_columns, 'column')} cannot be trained on. "
    says += " ".join(fault.says for fault in faults)
    advice = "The others were judged without them." if are_others else ""
    settings = (*(setting for fault in faults for setting in fault.settings), Setting("data.drop", out))
    return [Finding("COLUMNS", False, says, advice, about="data", settings=settings)]


def _state_passed(mixed: MixedTable) -> list[Finding]:
    if not mixed.passed:
        return []
    told = shorten(f"{name!r} ({why})" for name, why in mixed.passed.items())
    says = f"likelihood=auto passes {count(len(mixed.passed), 'column')} by, as nothing can be learned of it: {told}."
    return [Finding("COLUMNS", True, says, evidence=dict(mixed.passed), about="data")]


def _describe(choices: Sequence[Choice], fit: Fit) -> dict[str, str]:
    words = fit.describe().replace(f"preprocess={fit.preprocess}", "each column as below")
    return {f"likelihood={AUTO}": words, "each column": f"\n{describe_choices(choices)}"}


def _state_choices(
    choices: Sequence[Choice], fit: Fit, command: Sequence[Setting], single: Fit | None = None
) -> Finding:
    """What a family for each column costs; ``single``, the one family for all that suits best, where one does."""
    taken = {choice.column.name: choice.family["name"] for choice in choices}
    says = f"likelihood=auto gives each of {count(len(choices), 'column')} a family of its own, as listed above. "
    says += f"Independent columns cost {fit.baseline:.4f} nats per row: what a model has to beat. No model goes below "
    says += f"{fit.floor + 0.0:.4f}."
    if single is not None:
        says = f"The columns are of several kinds. {says} One family for all, {single.likelihood.name()}, costs "
        says += f"{single.baseline - fit.baseline:.2f} nats more."
    typed = " ".join(on_the_command_line(setting) for setting in (*command, Setting("likelihood", AUTO)))
    another = on_the_command_line(Setting("likelihood.columns", {choices[0].column.name: "FAMILY"}))
    advice = f"python train.py data=table {typed} trains so; {another} takes another family for one column."
    return Finding("SUPPORT", True, says, advice, {"families": taken}, about="data")
