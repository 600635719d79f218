"""``vae-lightning export``: a trained model as files for other programs, checked before it says so."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vae_lightning.cli.base import SETTINGS, load_model, one_line_errors, run_argument

if TYPE_CHECKING:
    from vae_lightning.export.export import Export

EXAMPLES = """\b
Examples:
  vae-lightning export outputs/first -o exported
  vae-lightning export outputs/first --kind nll -o exported
  vae-lightning export outputs/first --format safetensors -o exported"""


@click.command(epilog=EXAMPLES, context_settings=SETTINGS)
@run_argument
@click.option(
    "--format",
    "written",
    type=click.Choice(["onnx", "safetensors", "torch"]),
    default="onnx",
    show_default=True,
    help="Graphs for onnxruntime, the module itself, or graphs for torch.export.load.",
)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="A new or empty directory.")
@click.option(
    "--kind",
    type=click.Choice(["elbo", "nll", "reconstruction"]),
    default="elbo",
    show_default=True,
    help="What the score graph computes.",
)
def export(run: Path, written: Any, output: Path, kind: Any) -> None:
    """Write a trained model for other programs.

    RUN is a run directory. onnx and torch write encoder, decoder and score as graphs from and to data units, each run
    on random rows and held against the model before this command says so; safetensors writes weights and a card that
    vae_lightning.load builds the model from again. An earlier export in the directory is replaced.

    Exit status: 0, or 2 where nothing was written.
    """
    with one_line_errors():
        from vae_lightning.export.export import export as write

        _say(write(load_model(run), output, written, kind))


def _say(done: "Export") -> None:
    from vae_lightning.console import display_path

    for one in done.agreements:
        print(f"{one.file} {one}.")
    print(f"The export is in {display_path(done.directory)}: {', '.join(done.files)}.")
