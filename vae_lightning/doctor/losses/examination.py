"""One examination: the order in which the parts of a loss are measured and compared."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from vae_lightning.doctor.losses.balance import Balance, compare_blocks, compare_terms
from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.blackbox.box import BlackBox, CallFailed
from vae_lightning.doctor.losses.blackbox.deadline import OutOfTimeError, run_within
from vae_lightning.doctor.losses.parts import (
    ORDERS,
    Order,
    arrange,
    count_arguments,
    exchange,
    extract_kl,
    extract_reconstruction,
    is_separable,
    names_are_exchanged,
)
from vae_lightning.doctor.losses.posterior.agreement import compare_with_kl
from vae_lightning.doctor.losses.posterior.divergence import KLReading, examine_kl
from vae_lightning.doctor.losses.posterior.noise import fill
from vae_lightning.doctor.losses.posterior.sampler import SamplerReading, examine_sampler
from vae_lightning.doctor.losses.posterior.verdict import KLVerdict, judge_kl
from vae_lightning.doctor.losses.reconstruction.family import examine_reconstruction
from vae_lightning.doctor.losses.reconstruction.layout import Block, ReconstructionReading, Term
from vae_lightning.doctor.losses.rows import as_rows, check_rows, count_surviving_latents
from vae_lightning.doctor.losses.transplant import find_models, transplant
from vae_lightning.doctor.losses.whole import examine_whole
from vae_lightning.doctor.report import Finding

COLUMNS = 11
LARGEST = 100_000  # columns that a function is tried with
_T = TypeVar("_T")


@dataclass
class Examination:
    """The parts of one loss, examined in turn; what is learnt of one serves the next."""

    beta: float
    seconds: float
    rows: Array | None = None
    findings: list[Finding] = field(default_factory=list)
    measured: dict[str, Any] = field(default_factory=dict)
    derived: dict[str, Callable[..., Any]] = field(default_factory=dict)
    known_columns: int | None = None
    own_columns: tuple[int, int] = (0, 1)
    latents_named: bool | None = None  # whether a whole loss names s before m

    @property
    def columns(self) -> int:
        """The number of columns to examine with: the user's, unless rows, heads or their doubles are as many."""
        known = self.known_columns
        return known if known is not None and known > 2 and known not in (5, 10) else COLUMNS

    def retry_with_columns(self, job: Callable[[], _T]) -> _T:
        """`job()`, and again with the number of columns that a complaint about sizes names (``view(-1, 784)``)."""
        try:
            return job()
        except CallFailed as failure:
            if self.rows is not None or failure.code != "RAISES":
                raise
            for size in dict.fromkeys(int(digits) for digits in re.findall(r"\d+", failure.message)):
                self.known_columns = size
                try:
                    if COLUMNS < size <= LARGEST:
                        return job()
                except CallFailed:
                    continue
            self.known_columns = None
            raise

    def read_rows(self, data: Any) -> None:
        """Take the user's data, if any."""
        if data is None:
            return
        try:
            self.rows = as_rows(data)
            self.known_columns = self.rows.shape[1]
        except CallFailed as failure:
            self.findings.append(_report_failure("data", failure))

    def run_timed(self, job: Callable[[], _T]) -> _T:
        """`job()`, which calls a function of the user, against the clock."""
        try:
            return run_within(job, self.seconds + 1.0)  # a second for our own arithmetic
        except OutOfTimeError:
            raise CallFailed(
                "SLOW", f"its calls take more than the {self.seconds:g} seconds that they may take together"
            ) from None
        except CallFailed:
            raise
        except (ArithmeticError, ValueError, IndexError) as error:  # LinAlgError is a ValueError
            # Values that no arithmetic of ours survives: the user gets an answer, not our traceback.
            message = f"its values make no sense to the examination ({type(error).__name__}: {error})"
            raise CallFailed("NOT-FINITE", message) from error

    def examine_whole_loss(self, loss: Callable[..., Any] | None, model: Any, likelihood: str | None) -> None:
        """Examine the whole loss; one of four arguments is taken apart for `examine_parts`."""
        if loss is None:
            return
        box = BlackBox("loss", loss, () if model is None else (model,))
        try:
            if model is None and count_arguments(loss) in (4, 5):
                self._take_apart(loss)
                return
            apart = self._take_model_apart(loss, model)
            if not apart or self.rows is not None:
                found = self.run_timed(lambda: examine_whole(box, self.rows, likelihood, model))
                self.findings += found[:-1] if apart else found  # the last says that the parts are unknown
        except CallFailed as failure:
            self.findings.append(_report_failure("loss", failure))
        self._report_mutation(box)

    def _take_model_apart(self, loss: Callable[..., Any], model: Any) -> bool:
        """Whether the layers of a model let its step be taken apart."""
        step = loss if model is None else partial(loss, model)
        graft = self.run_timed(lambda: transplant(step, find_models(loss, model), self.rows))
        if graft is None or not graft.is_loss:
            return False
        try:
            self._take_apart(graft.loss)
        except CallFailed:
            return False  # its glue expects other shapes: it is judged as a whole
        self.derived["sample"] = graft.sample
        return True

    def _take_apart(self, loss: Callable[..., Any]) -> None:
        """Find the order of its arguments with which the fewest laws are broken, then the reconstruction and the KL."""
        failures: list[CallFailed] = []
        found: list[tuple[int, Order, Term]] = []  # first how much is wrong, a doubt counting half
        for order in ORDERS:
            if order[0] > order[1] and names_are_exchanged(loss, order[1], order[0], latent=False) is False:
                continue  # x is named first
            whole = arrange(loss, order)
            try:
                readings = self.retry_with_columns(partial(self.run_timed, partial(self._separate, whole)))
            except CallFailed as failure:
                failures.append(failure)
                if failure.code == "SLOW":
                    break
                continue
            wrong = sum(2 - bool(one.ok is None) for each in readings for one in each.findings if one.ok is not True)
            found += [(wrong, order, reading.term) for reading in readings[:1]]
            if readings and not wrong:
                break
        if not found:
            if failures:
                raise failures[0]
            says = "The loss is no sum of a term of (x, out) and a term of (m, s); it cannot be taken apart."
            self.findings.append(Finding("SCALE", None, says, about="loss"))
            return
        _, order, term = min(found, key=lambda one: one[0])
        whole = arrange(loss, order)
        layout, rest = term.layout, term.pair[0]
        self.derived = {
            "reconstruction": extract_reconstruction(whole),
            "kl": extract_kl(whole, layout, self.columns, rest),
        }
        self.latents_named = names_are_exchanged(loss, order[2], order[3], latent=True)
        if order != ORDERS[0]:
            places = [name for _, name in sorted(zip(order, ("x", "out", "m", "s"), strict=True))]
            self.measured["loss: arguments"] = ", ".join(places)
        wider = extract_kl(whole, layout, 2 * self.columns, rest)
        self.own_columns = self.run_timed(lambda: self._read_column_power(self.derived["kl"], wider)), self.columns

    def _separate(self, loss: Callable[..., Any]) -> list[ReconstructionReading]:
        """The readings of its reconstruction; none where it is no sum of two terms."""
        box, full = BlackBox("loss", extract_reconstruction(loss)), BlackBox("loss", loss)
        term = Term(box, self.columns)
        full.framework = box.framework
        return examine_reconstruction(box, self.columns, None, True) if is_separable(full, term) else []

    def _read_column_power(self, kl: Callable[..., Any], wider: Callable[..., Any]) -> int:
        """By which power of the number of columns the KL's factor grows: −1 where it is divided by it."""
        values = []
        for function in (kl, wider):
            box = BlackBox("loss", function)
            try:
                box.find_framework(fill(2.5), fill(1.2))
                values.append(float(np.mean(box(fill(2.5), fill(1.2)))))
            except CallFailed:
                return 0  # sizes are typed into the code
        power = np.log2(values[1] / values[0]) if values[0] * values[1] > 0 else 0.0
        return round(power) if abs(power - round(power)) < 0.01 else 0

    def examine_parts(
        self,
        kl: Callable[..., Any] | None,
        sample: Callable[..., Any] | None,
        reconstruction: Callable[..., Any] | None,
    ) -> None:
        """Examine the three parts, each given or taken out of the whole loss, and compare them.

        Beside a whole loss, parts that are given are examined as they are; β is read off the whole.
        """
        sampler = self._examine_sampler(sample or self.derived.get("sample"))
        reading, verdict = self._examine_kl(kl, sampler, "kl", False)
        readings = self._examine_reconstruction(reconstruction, verdict, "reconstruction")
        if "kl" not in self.derived or (kl is not None and reconstruction is not None):
            self._compare(reading, verdict, readings, (0, 1))
        if "kl" in self.derived:
            whole, judged = self._examine_kl(self.derived["kl"], sampler, "kl" if kl is None else "loss", True)
            found = self._examine_reconstruction(
                self.derived["reconstruction"], judged, "reconstruction" if reconstruction is None else "loss"
            )
            self._compare(whole, judged, found, self.own_columns)
            reading, verdict = (whole, judged) if reading is None else (reading, verdict)
        if sampler is not None:
            self.findings += compare_with_kl(sampler, reading, verdict)

    def _compare(
        self,
        kl: KLReading | None,
        verdict: KLVerdict | None,
        readings: list[ReconstructionReading],
        own_columns: tuple[int, int],
    ) -> None:
        """Compare the KL with the reconstruction, block by block."""
        if kl is None and len(readings) > 1:
            self.findings += compare_blocks(readings)
        every: list[ReconstructionReading | None] = [*readings] or [None]
        for reading in every:
            block = None if reading is None else reading.block
            columns = self.known_columns
            if block is not None:
                others = self.columns - block.size
                columns = block.size if not block.open else None if columns is None else columns - others
            balance = compare_terms(kl, verdict, reading, columns, self.beta, own_columns)
            found = [_label(finding, block) for finding in balance.findings]
            self.findings += [finding for finding in found if finding not in self.findings]
            self._record_balance(balance, block)

    def _add(self, findings: Sequence[Finding], about: str) -> None:
        """Keep findings about one part."""
        self.findings += [replace(finding, about=finding.about or about) for finding in findings]

    def _examine_sampler(self, sample: Callable[..., Any] | None) -> SamplerReading | None:
        if sample is None:
            return None
        if names_are_exchanged(sample, 0, 1, latent=True):
            sample = exchange(sample)
        box = BlackBox("sample", sample)
        try:
            reading = self.run_timed(lambda: examine_sampler(box))
        except CallFailed as failure:
            self.findings.append(_report_failure("sample", failure))
            return None
        finally:
            self._report_mutation(box)
        self._add(reading.findings, "sample")
        if reading.sigma is not None:
            self.measured["sampler: σ(s)"] = "constant" if reading.constant else reading.text
        self._record_skipped_gradients(box, "sample")
        return reading

    def _examine_kl(
        self, kl: Callable[..., Any] | None, sampler: SamplerReading | None, name: str, free_constant: bool
    ) -> tuple[KLReading | None, KLVerdict | None]:
        if kl is None:
            return None, None
        box = BlackBox(name, kl)
        try:
            reading = self.run_timed(lambda: examine_kl(box, free_constant))
            verdict = None if reading.dead else judge_kl(reading, sampler, box.single_precision)
            if verdict is not None and not verdict.consistent and self._is_exchanged(kl, free_constant):
                taken_out = kl is self.derived.get("kl")
                if names_are_exchanged(kl, 0, 1, latent=True) or (taken_out and self.latents_named is not False):
                    return self._examine_kl(exchange(kl), sampler, name, free_constant)
                says = "With its two arguments exchanged, kl(s, m), it is the exact KL of a normal posterior."
                self.findings.append(Finding("ARG-SWAP", False, says, "Give the mean first: kl(m, s).", about=name))
                return None, None
        except CallFailed as failure:
            self.findings.append(_report_failure(name, failure))
            return None, None
        finally:
            self._report_mutation(box)
        self._add(reading.findings, "kl")
        self.measured["KL: reduction"] = reading.reduction.text("latent dimensions")
        if reading.errors is not None:
            self.measured["KL: random"] = "a Monte-Carlo estimate; its mean was judged, to a few per cent"
        if verdict is not None:
            self._add(verdict.findings, "kl")
            if verdict.reading is not None:
                self.measured["KL: σ(s)"] = verdict.reading.text
            if verdict.weight is not None:
                self.measured["KL: factor"] = verdict.weight
        if reading.errors is None:
            self._record_skipped_gradients(box, name)
        return reading, verdict

    def _is_exchanged(self, kl: Callable[..., Any], free_constant: bool) -> bool:
        box = BlackBox("kl", lambda m, s: kl(s, m))
        try:
            reading = self.run_timed(lambda: examine_kl(box, free_constant))
            return not reading.dead and judge_kl(reading, None, box.single_precision).consistent
        except CallFailed:
            return False

    def _examine_reconstruction(
        self, function: Callable[..., Any] | None, verdict: KLVerdict | None, name: str
    ) -> list[ReconstructionReading]:
        if function is None:
            return []
        taken_out = function is self.derived.get("reconstruction")
        if not taken_out and names_are_exchanged(function, 0, 1, latent=False):
            function = exchange(function)
        box = BlackBox(name, function)
        weight = verdict.weight if verdict is not None and verdict.consistent else None
        if weight is not None and taken_out:
            power, columns = self.own_columns
            weight /= columns**power
        try:
            readings, about_rows = self.retry_with_columns(
                lambda: self.run_timed(lambda: self._examine_reconstruction_and_rows(box, weight, taken_out))
            )
        except CallFailed as failure:
            self.findings.append(_report_failure(name, failure))
            return []
        finally:
            self._report_mutation(box)
        self.findings += about_rows
        for reading in readings:
            self._add(reading.findings, f"reconstruction{_name(reading.block)}")
            part = f"reconstruction{_name(reading.block)}"
            self.measured[f"{part}: family"] = reading.family or "unknown"
            self.measured[f"{part}: output"] = reading.term.layout.text
            if reading.family or reading.term.reduction.regular:
                self.measured[f"{part}: reduction"] = reading.term.reduction.text("columns")
            if reading.curvature is not None:
                self.measured[f"{part}: factor of the squared error"] = reading.curvature
        self._record_skipped_gradients(box, name)
        return readings

    def _examine_reconstruction_and_rows(
        self, box: BlackBox, weight: float | None, taken_out: bool
    ) -> tuple[list[ReconstructionReading], list[Finding]]:
        readings = examine_reconstruction(box, self.columns, weight, taken_out)
        if self.rows is None:
            return readings, []
        found = []
        for one in readings:
            rows = self.rows if one.block is None else self.rows[:, one.block.columns]
            found += [_label(finding, one.block) for finding in (check_rows(rows, one) if rows.size else [])]
        return readings, found

    def _record_balance(self, balance: Balance, block: Block | None) -> None:
        if balance.beta:
            self.measured[f"effective β{_name(block)}"] = balance.beta
        if balance.variance is None:
            return
        self.measured[f"implied σ (β = 1){_name(block)}"] = balance.variance**0.5
        if block is None and self.rows is not None and bool((abs(self.rows) < float("inf")).all()):
            alive, eigenvalues = count_surviving_latents(self.rows, balance.variance)
            self.measured["latents that can survive"] = f"{alive} (covariance eigenvalues above σ²)"
            self.measured["largest eigenvalues"] = [float(f"{value:.4g}") for value in eigenvalues[:5]]

    def _record_skipped_gradients(self, box: BlackBox, name: str) -> None:
        if not box.has_gradient:
            self.measured[f"{name}: gradients"] = f"not checked: a function of {box.language} gives none"

    def _report_mutation(self, box: BlackBox) -> None:
        if box.mutates:
            says = f"{box.name} changes the arrays that it is given."
            advice = "Work on copies: the caller's next use of m, s or x sees the change."
            self.findings.append(Finding("MUTATES", False, says, advice, about=box.name))


def _name(block: Block | None) -> str:
    return "" if block is None else f", {block.text}"


def _label(finding: Finding, block: Block | None) -> Finding:
    """The finding, and which columns it speaks of."""
    return finding if finding.about == "kl" else replace(finding, about=finding.about + _name(block))


def _report_failure(name: str, failure: CallFailed) -> Finding:
    advice = {
        "RAISES": "Nothing could be measured. "
        + (
            "Call it with a batch of its rows to see where."
            if name == "loss"
            else "Arrays are float64: (B, L) = (5, 7) for m and s, (5, 11) for x."
        ),
        "SLOW": "Hand over a smaller function, or raise seconds=.",
        "SHAPE": "Return an array of the shape of m."
        if name == "sample"
        else "Return a number, one per row or one per element.",
        "NOT-FINITE": "Look for the log or square root of something that can be zero or negative.",
    }.get(failure.code, "")
    says = f"{name}: {failure.message}."
    return Finding(failure.code, False if failure.code != "DATA" else None, says, advice, about=name)
