"""``vae-lightning info``: what a run directory holds."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vae_lightning.cli.base import SETTINGS, load_with_record, one_line_errors, run_argument

if TYPE_CHECKING:
    from vae_lightning.runs.loading import Loaded

EXAMPLES = """\b
Example:
  vae-lightning info outputs/mine"""


@click.command(epilog=EXAMPLES, context_settings=SETTINGS)
@run_argument
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def info(run: Path, as_json: bool) -> None:
    """What was trained, on what, how well.

    RUN is a run directory, finished or not.

    Exit status: 0, or 2 with one line that says why.
    """
    with one_line_errors():
        from vae_lightning.files import to_json

        loaded = load_with_record(run)
        found = {**loaded.model.info(), **_outcome(run, loaded)}
        if as_json:
            click.echo(to_json(found))
            return
        choices = found.pop("choices")
        width = max(map(len, found))
        for name, value in found.items():
            click.echo(f"{name:<{width}}  {_word(value)}")
        if choices:
            from vae_lightning.data.choices import align_choices

            click.echo(f"what each column was taken for\n{align_choices(choices)}")


def _outcome(run: Path, loaded: "Loaded") -> dict[str, Any]:
    """What came of the run, from summary.json: written last, so that a run without one has not finished."""
    from vae_lightning.errors import RunError
    from vae_lightning.files import parse_json

    best: dict[str, Any] = {"best epoch": loaded.epoch + 1}
    path = run / "summary.json"
    if not path.is_file():
        # A model of rows from memory was no run, and has nothing to finish.
        return {**best, "finished": False} if loaded.config.get("data", {}).get("source") else best
    try:
        summary = parse_json(path.read_bytes())
        test = summary["test"]
        return {
            **best,
            "finished": True,
            "verdict": summary["verdict"]["words"],
            "epochs": summary["epochs"],
            "ended": summary["ended"],
            "β": summary["beta"],
            "validation NELBO": summary["val/nelbo"],
            "test NLL": test["nll"],
            "baseline NLL": test["baseline"],
            "control NLL": test["control"],
            "active units": test["active_units"],
            "warnings": summary["warnings"],
            "overrides": summary["overrides"],
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read: it is damaged.") from error


def _word(value: Any) -> str:
    from vae_lightning.data.wording import shorten

    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return shorten(map(str, value), 10) or "none"
    if isinstance(value, dict):
        parts = {name: part for name, part in value.items() if part is not None and name != "_target_"}
        return ", ".join(f"{name}={part}" for name, part in parts.items()) or "none"
    return str(value)
