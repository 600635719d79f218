"""``python -m vae_lightning.doctor.losses.selftest``: how often the doctor is right, as a table of code × found.

Three sets: the public cases, random correct losses (no alarm may sound), and random wrong losses made by one change to
a correct one, which the checks were not written for.
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch

from vae_lightning.doctor.losses.cases.generate import draw_correct_case, draw_wrong_case
from vae_lightning.doctor.losses.cases.recipe import Case
from vae_lightning.doctor.losses.cases.silent import silent_cases
from vae_lightning.doctor.losses.cases.wrong import wrong_cases
from vae_lightning.doctor.losses.functions import diagnose


@dataclass
class Score:
    """What became of a set of cases: the seconds that each took, what was found how often, and what was missed."""

    seconds: list[float] = field(default_factory=list)
    table: Counter[tuple[str, str]] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """The number of cases."""
        return len(self.seconds)

    @property
    def right(self) -> int:
        """The number of those judged rightly."""
        return self.count - len(self.missed)


def judge(cases: Iterable[Case]) -> Score:
    """Examine every case and compare with what is known of it."""
    score = Score()
    for case in cases:
        start = time.perf_counter()
        report = diagnose(**case.parts)
        score.seconds.append(time.perf_counter() - start)
        found = report.codes or (("silent",) if not report.unjudged else ("cannot judge",))
        score.table.update((case.code or "right", code) for code in found)
        if not (not {case.code, *case.also}.isdisjoint(found) if case.code else report.ok):
            score.missed.append(f"{case.code or 'right'}, found {', '.join(found)}: {case.name}")
    return score


def format_confusion(score: Score) -> str:
    """The table code × found as text: what was expected, how often it was found, and what else was."""
    expected = list(dict.fromkeys(code for code, _ in score.table))
    lines = [f"{'expected':<16}{'found':>6}{'others, each beside or instead of it':>40}"]
    for code in expected:
        row = {found: count for (wanted, found), count in score.table.items() if wanted == code}
        own = row.pop(code, 0) if code != "right" else row.pop("silent", 0)
        rest = ", ".join(f"{found} {count}" for found, count in sorted(row.items(), key=lambda item: -item[1]))
        lines.append(f"{code:<16}{own:>6}    {rest}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; the exit status is 1 if a public case is missed, an alarm is false, or under 95 % are found."""
    parser = argparse.ArgumentParser(prog="python -m vae_lightning.doctor.losses.selftest", description=__doc__)
    parser.add_argument("--correct", type=int, default=1000, help="random correct losses")
    parser.add_argument("--wrong", type=int, default=300, help="random wrong losses")
    parser.add_argument("--seed", type=int, default=0, help="of both")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rng = random.Random(options.seed)
    sets = {
        "public cases": [*wrong_cases(), *silent_cases()],
        "random correct losses": [draw_correct_case(rng) for _ in range(options.correct)],
        "random wrong losses": [draw_wrong_case(rng) for _ in range(options.wrong)],
    }
    passed = True
    for name, cases in sets.items():
        score = judge(cases)
        needed = 0.95 if name.startswith("random wrong") else 1.0
        passed = passed and score.right >= needed * score.count
        time_taken = f"{sum(score.seconds):.0f} s, slowest {max(score.seconds, default=0.0):.2f} s"
        print(f"\n{name}: {score.right} of {score.count} right; {time_taken}")
        print(format_confusion(score))
        for missed in score.missed[:20]:
            print("  missed:", missed)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
