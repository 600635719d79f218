"""The commands in this process, as a person meets them: what is printed, and the status."""

from collections.abc import Sequence
from typing import NamedTuple

from click.testing import CliRunner

from tests.fuzz.fuzzing import in_time
from vae_lightning.cli.main import main

NOTES = ("Passed through, ", "Read ")
"""How what a command tells of the rows begins."""


class Outcome(NamedTuple):
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str


def command(*words: str) -> Outcome:
    """Run ``vae-lightning`` with these words; anything that it raises is a traceback to a user."""
    with in_time():
        done = CliRunner().invoke(main, list(words))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Outcome(done.exit_code, done.stdout, done.stderr)


def assert_told(outcome: Outcome, statuses: Sequence[int] = (2,)) -> None:
    """A refusal is one line and a status that is none of success.

    Notes on the rows may stand before it; of a usage error click tells how the command is used.
    """
    assert outcome.status in statuses, outcome
    assert outcome.out == "", f"printed in spite of an error: {outcome.out!r}"
    lines = outcome.err.strip().splitlines()
    if lines[0].startswith("Usage: "):
        assert lines[-1].startswith("Error: ")
    else:
        assert lines[-1].startswith("error: "), outcome.err
        assert all(line.startswith(NOTES) for line in lines[:-1]), outcome.err
