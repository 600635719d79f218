"""``vae-lightning score``: how unusual rows are."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vae_lightning.cli.base import (
    SETTINGS,
    data_argument,
    key_option,
    load_model,
    note,
    one_line_errors,
    others,
    output_option,
    pass_through,
    run_argument,
    settings_argument,
)

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = """\b
Examples:
  vae-lightning score outputs/mine my.csv -o scores.csv --threshold 0.99
  vae-lightning score outputs/mine my.csv --by-column --kind nll | head"""
MEANINGS = {"elbo": "-ELBO", "nll": "-log p(x)", "reconstruction": "-E_q[log p(x|z)]"}


@click.command(epilog=EXAMPLES, context_settings=SETTINGS)
@run_argument
@data_argument
@settings_argument
@output_option
@click.option("--kind", type=click.Choice(list(MEANINGS)), default="elbo", show_default=True, help="Which score.")
@click.option("--by-column", is_flag=True, help="Also what each column adds: kl + the sum of nats_NAME is the score.")
@click.option("--threshold", type=float, help="Also is_anomaly: above this quantile of the validation rows' scores.")
@key_option
def score(
    run: Path,
    data: str,
    output: str,
    kind: Any,
    by_column: bool,
    threshold: float | None,
    key: str | None,
    settings: tuple[str, ...],
) -> None:
    """How unusual rows are.

    Column anomaly_score, nats per row in data units: HIGHER IS MORE ANOMALOUS, always.

    RUN is a run directory, DATA a file (CSV, TSV, Parquet, Feather, NPY, NPZ) or - for CSV from a pipe; settings
    such as data.decimal=comma say how a text is written. Scores are
    -ELBO, -log p(x) (nll) or -E_q[log p(x|z)] (reconstruction).

    Exit status: 0, or 2 with one line that says why.
    """
    with one_line_errors():
        import pandas as pd

        from vae_lightning.inference.model import SCORE

        model = load_model(run)
        flag = "is_anomaly"
        limit = None if threshold is None else model.threshold(threshold, kind)

        def score_rows(rows: "pd.DataFrame") -> "pd.DataFrame":
            found = model.score_by_column(rows, kind) if by_column else pd.DataFrame({SCORE: model.score(rows, kind)})
            nonlocal flag
            if limit is not None:
                if flag in rows.columns:  # what these rows say themselves stays
                    flag = "is_anomaly_found"
                found.insert(1, flag, found[SCORE] > limit)
            return others(model, rows, found)

        pass_through(model, data, output, key, settings, score_rows, "scored")
        note(f"anomaly_score is {MEANINGS[kind]}, nats per row in data units: higher is more anomalous.")
        if limit is not None:
            note(f"{flag}: above {limit:.6g}, the {threshold:g} quantile of the validation rows.")
