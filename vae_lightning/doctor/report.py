"""What an examination hands back: findings, and the report that holds them."""

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from vae_lightning.errors import Setting, advise
from vae_lightning.errors import check_parameter as check_parameter  # for losses/, which imports this file alone

CODES: Mapping[str, str] = {
    "SIGN-FLIP": "the KL, the reconstruction or the whole loss has the wrong sign",
    "LOG-SIGN": "the log term of the KL has the wrong sign",
    "LOG-SQUARED": "the log term of the KL is squared",
    "LOG-FACTOR": "the log term of the KL lacks its factor, or doubles it",
    "HALF": "a ½ is missing",
    "MIXED": "a term of one parameterisation stands inside another",
    "CONST": "the KL's constant is wrong",
    "VAR-AS-STD": "the sampler uses the variance as the standard deviation",
    "RAW-AS-STD": "the sampler uses the raw second head as the standard deviation",
    "MISMATCH": "sampler and KL disagree on the standard deviation or the mean",
    "KL-MEAN-L": "the KL is averaged over latent dimensions: β = 1/L",
    "KL-BATCH-SUM": "the KL is summed over the batch beside a reconstruction per row: β = B",
    "MEAN-SUM": "the reconstruction is averaged over columns, the KL is summed: β = D",
    "SCALE": "a hidden β",
    "KL-DEAD": "the KL is constant or passes no gradient",
    "NO-NOISE": "the draw contains no noise",
    "EPS-FROZEN": "the noise is never redrawn",
    "EPS-SHARED": "the noise is shared across rows or latent dimensions",
    "EPS-SCALE": "the noise has another scale than one",
    "NOISE-DIST": "the noise is not standard normal",
    "NO-GRAD": "no gradient passes where one must",
    "HEAD-ACT": "an activation on a head of the encoder cuts its range",
    "OUT-ACT": "the decoder's activation cannot reach the data",
    "BCE-RANGE": "cross-entropy on data outside [0, 1]",
    "DOUBLE-SIGMOID": "a sigmoid or softmax is applied twice",
    "ARG-SWAP": "two arguments are exchanged",
    "UNNORMALISED": "exp(−reconstruction) is no likelihood of the data",
    "OVERFLOW": "a value or a gradient is not finite",
    "ESTIMATOR": "exp(−loss) adds up to more than one: no bound on log p(x)",
    "EVAL": "evaluation uses another function than training",
    "Z-UNUSED": "parameters that the loss never reaches",
    # What a curve alone can show.
    "BELOW-FLOOR": "the loss is lower than the likelihood allows",
    "RUNAWAY": "the loss grows as only an unbounded term can",
    "COLLAPSE": "the posterior has collapsed onto the prior",
    "DIVERGED": "training diverged",
    # The data against the likelihood.
    "SUPPORT": "data outside the likelihood's support",
    "COLUMNS": "columns that no likelihood can take: without name or values, infinite values, texts among numbers",
    "HOLES": "cells that are empty",
    "DEGENERATE": "a density on columns that repeat values or follow from others has no honest lower end",
    "SENTINEL": "values that look like codes for what is missing",
    "SEPARATOR": "separators of thousands were read as decimal points",
    "OUTLIER": "a single cell has more than half of a column's variance",
    "DUPLICATES": "rows of measured numbers stand in the table more than once",
    "COUNTER": "columns that number the rows or tell the time of writing",
    "DATA": "the data cannot be used",
    # A trained run.
    "BASELINE": "the model is no better than independent columns",
    "LINEAR": "the model is worse than the control, factor analysis for real columns",
    "VARIANCE": "the likelihood's σ² is far from the mean squared residual",
    "UNDERTRAINED": "the validation loss still fell, or β still rose, when training ended",
    "AT-FLOOR": "variances of the likelihood sit at their floor",
    "AT-BOUND": "log-variances of the posterior sit at their bound",
    "RUN": "the run directory cannot be used",
    # A black box that does not behave as one.
    "RAISES": "the function raises",
    "NOT-FINITE": "the function returns NaN or infinity for ordinary arguments",
    "SHAPE": "the function returns something of the wrong shape or type",
    "UNSEEDED": "the function is random, and no seed governs it",
    "MUTATES": "the function changes its arguments",
    "SLOW": "the function takes too long to be examined",
    "NOTHING": "nothing was given to examine",
}
"""Every code a finding may carry, and what it means."""

FAILURES = frozenset({"RAISES", "NOT-FINITE", "SHAPE", "SLOW", "NOTHING", "DATA", "RUN"})
"""Codes that say that no judgement was possible, rather than which law is broken."""


@dataclass(frozen=True)
class Finding:
    """One law, and whether it holds.

    Args:
        code: One of `CODES`.
        ok: True: the law holds. False: it is broken. None: it cannot be judged from what was given.
        says: What was measured, in one or two sentences.
        advice: What to change, in words; empty where nothing must be.
        evidence: The numbers behind it.
        alternatives: Other readings that are algebraically the same, each as ``"CODE: reading"``.
        about: The function or column it speaks of.
        settings: Settings of a run that would help.
    """

    code: str
    ok: bool | None
    says: str
    advice: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    alternatives: tuple[str, ...] = ()
    about: str = ""
    settings: tuple[Setting, ...] = ()

    def __post_init__(self) -> None:
        check_parameter("Finding", "code", self.code in CODES, "one of CODES", self.code)

    @property
    def remedy(self) -> str:
        """The advice and the settings, these as they are typed."""
        return " ".join(filter(None, (self.advice, advise(self.settings))))

    def __str__(self) -> str:
        mark = {True: "ok", False: "WRONG", None: "cannot judge"}[self.ok]
        head = f"[{mark}] {self.code}" + (f" ({self.about})" if self.about else "")
        lines = [head, *_wrap(self.says)]
        if self.remedy:
            lines += _wrap(("Mend: " if self.ok is False else "Note: ") + self.remedy)
        lines += [line for other in self.alternatives for line in _wrap("The same in algebra: " + other)]
        return "\n".join(lines)


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, 80, initial_indent="    ", subsequent_indent="    ")


class Report(Sequence[Finding]):
    """All findings of one examination, in the order in which they were made.

    Args:
        findings: What was found.
        measured: What the examination read off: parameterisation, reductions, β, σ and so on.

    >>> report = Report([Finding("CONST", False, "The constant is -1, not -1/2.")])
    >>> report.ok, report.codes, report.exit_status
    (False, ('CONST',), 1)
    """

    def __init__(self, findings: Sequence[Finding], measured: Mapping[str, Any] | None = None) -> None:
        self.findings = tuple(findings)
        self.measured: dict[str, Any] = dict(measured or {})

    @overload
    def __getitem__(self, index: int) -> Finding: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Finding]: ...

    def __getitem__(self, index: int | slice) -> Finding | Sequence[Finding]:
        return self.findings[index]

    def __len__(self) -> int:
        return len(self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """The laws that are broken."""
        return tuple(finding for finding in self.findings if finding.ok is False)

    @property
    def unjudged(self) -> tuple[Finding, ...]:
        """What could not be decided."""
        return tuple(finding for finding in self.findings if finding.ok is None)

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the broken laws, each once."""
        return tuple(dict.fromkeys(finding.code for finding in self.wrong))

    @property
    def ok(self) -> bool:
        """Whether no law was found broken. What could not be judged is in `unjudged`."""
        return not self.wrong

    @property
    def exit_status(self) -> int:
        """0 clean, 1 findings, 2 cannot judge."""
        if any(finding.code not in FAILURES for finding in self.wrong):
            return 1
        return 2 if self.wrong or self.unjudged else 0

    def __str__(self) -> str:
        lines = ["Measured"] if self.measured else []
        width = max((len(key) for key in self.measured), default=0)
        for key, value in self.measured.items():
            first, *rest = _format(value).splitlines() or [""]
            lines += [f"    {key:<{width}}  {first}", *(f"    {line}" for line in rest)]
        ordered = [*self.wrong, *self.unjudged, *(finding for finding in self.findings if finding.ok)]
        lines += [str(finding) for finding in ordered]
        lines.append(self.verdict)
        return "\n".join(lines)

    @property
    def verdict(self) -> str:
        """One line."""
        if self.wrong:
            return f"{len(self.wrong)} finding(s): {', '.join(self.codes)}."
        if self.unjudged:
            return f"No law is broken as far as can be judged; {len(self.unjudged)} point(s) could not be decided."
        return "No law is broken."

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """The report that `to_json` has written."""
        content = json.loads(text)
        findings = [
            Finding(
                one["code"],
                one["ok"],
                one["says"],
                one["advice"],
                one["evidence"],
                tuple(one["alternatives"]),
                one["about"],
            )
            for one in content["findings"]
        ]
        return cls(findings, content["measured"])

    def to_json(self) -> str:
        """The report as a JSON object with the keys ``ok``, ``verdict``, ``measured`` and ``findings``."""
        findings = [
            {
                "code": finding.code,
                "ok": finding.ok,
                "about": finding.about,
                "says": finding.says,
                "advice": finding.remedy,
                "settings": [[setting.key, setting.value] for setting in finding.settings],
                "alternatives": list(finding.alternatives),
                "evidence": to_plain(finding.evidence),
            }
            for finding in self.findings
        ]
        content = {"ok": self.ok, "verdict": self.verdict, "measured": to_plain(self.measured), "findings": findings}
        return json.dumps(content, indent=2, ensure_ascii=False)


def _format(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def to_plain(value: Any) -> Any:
    """`value` as JSON can hold it; what is not finite becomes text, because JSON has no word for it."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, str | bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return number if abs(number) < float("inf") else str(number)
