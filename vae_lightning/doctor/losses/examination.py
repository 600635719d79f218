"""One examination: the order in which the parts of a loss are measured and compared."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from vae_lightning.doctor.losses.balance import Balance, compare_blocks, compare_terms
from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.blackbox.box import BlackBox, CallFailed
from vae_lightning.doctor.losses.blackbox.deadline import OutOfTimeError, run_within
from vae_lightning.doctor.losses.parts import (
    COLUMNS,
    ORDERS,
    Apart,
    Order,
    count_arguments,
    exchange,
    find_order,
    names_are_exchanged,
    separate,
    take_apart,
    try_columns,
)
from vae_lightning.doctor.losses.posterior.agreement import compare_with_kl
from vae_lightning.doctor.losses.posterior.divergence import KLReading, examine_kl
from vae_lightning.doctor.losses.posterior.noise import SamplerReading
from vae_lightning.doctor.losses.posterior.sampler import examine_sampler
from vae_lightning.doctor.losses.posterior.verdict import judge_kl
from vae_lightning.doctor.losses.reconstruction.family import examine_reconstruction
from vae_lightning.doctor.losses.reconstruction.layout import ReconstructionReading, Term
from vae_lightning.doctor.losses.rows import as_rows, check_rows, count_surviving_latents
from vae_lightning.doctor.losses.transplant import find_models, transplant
from vae_lightning.doctor.losses.whole import examine_whole
from vae_lightning.doctor.report import Finding

_T = TypeVar("_T")
_Latents = TypeVar("_Latents", KLReading, SamplerReading)
_ADVICE = {
    "RAISES": "Nothing could be measured. Arrays are float64: (B, L) = (5, 7) for m and s, (5, 11) for x, or the data.",
    "MUTATES": "Work on copies: its caller sees the change.",
    "SLOW": "Hand over a smaller function, or raise seconds=.",
    "SHAPE": "Return a number, one per row or one per element; of a draw an array of the shape of m.",
    "NOT-FINITE": "Look for the log or square root of something that can be zero or negative.",
}


@dataclass
class Examination:
    """The parts of one loss, examined in turn; what is learnt of one serves the next."""

    beta: float
    seconds: float
    rows: Array | None = None
    findings: list[Finding] = field(default_factory=list)
    measured: dict[str, Any] = field(default_factory=dict)
    apart: Apart = field(default_factory=Apart)
    known_columns: int | None = None

    @property
    def columns(self) -> int:
        """The number of columns to examine with: the user's, unless rows, heads or their doubles are as many."""
        known = self.known_columns
        return known if known is not None and known > 2 and known not in (5, 10) else COLUMNS

    def read_rows(self, data: Any) -> None:
        """Take the user's data, if any."""
        if data is not None:
            self.rows = self._note(BlackBox("data", as_rows), lambda _: as_rows(data))
            self.known_columns = None if self.rows is None else self.rows.shape[1]

    def _note(self, box: BlackBox, job: Callable[[BlackBox], _T]) -> _T | None:
        """`job` of a function; how it fails, what it changes and that it has no gradients are noted."""
        try:
            found = job(box)
        except CallFailed as failure:
            self._report_failure(box.name, failure)
            return None
        finally:
            if box.mutates:
                says = f"{box.name} changes the arrays that it is given."
                self.findings.append(Finding("MUTATES", False, says, _ADVICE["MUTATES"], about=box.name))
        if box.framework and not box.has_gradient and box.name != "loss":
            self.measured[f"{box.name}: gradients"] = f"not checked: a function of {box.framework} gives none"
        return found

    def _report_failure(self, name: str, failure: CallFailed) -> None:
        ok, says = (None if failure.code == "DATA" else False), f"{name}: {failure.message}."
        self.findings.append(Finding(failure.code, ok, says, _ADVICE.get(failure.code, ""), about=name))

    def _add(self, findings: Sequence[Finding], about: str) -> None:
        """Keep findings about one part."""
        self.findings += [replace(finding, about=finding.about or about) for finding in findings]

    def run_timed(self, job: Callable[[], _T]) -> _T:
        """`job()`, which calls a function of the user, against the clock."""
        try:
            return run_within(job, self.seconds + 1.0)  # a second for our own arithmetic
        except OutOfTimeError:
            says = f"its calls take more than the {self.seconds:g} seconds that they may take together"
            raise CallFailed("SLOW", says) from None
        except (ArithmeticError, ValueError, IndexError) as error:  # LinAlgError is a ValueError
            # Values that no arithmetic of ours survives: the user gets an answer, not our traceback.
            message = f"its values make no sense to the examination ({type(error).__name__}: {error})"
            raise CallFailed("NOT-FINITE", message) from error

    def run_with_columns(self, job: Callable[[int], _T]) -> _T:
        """`job` of a number of columns, another than the usual one where only that is accepted."""

        def attempt(columns: int) -> _T:
            done = self.run_timed(lambda: job(columns))
            self.known_columns = self.known_columns if columns == self.columns else columns
            return done

        return attempt(self.columns) if self.known_columns is not None else try_columns(attempt)

    def examine_whole_loss(self, loss: Callable[..., Any] | None, model: Any, likelihood: str | None) -> None:
        """Examine the whole loss; one of four arguments, or with layers, is taken apart for `examine_parts`."""
        if loss is None:
            return
        if model is None and count_arguments(loss) in (4, 5):
            self._note(BlackBox("loss", loss), lambda _: self._take_apart(loss, ORDERS))
            return
        box = BlackBox("loss", loss if model is None else partial(loss, model))
        models, rows = find_models(loss, model), self.rows
        graft = self._note(box, lambda _: self.run_timed(lambda: transplant(box.function, models, rows)))
        if graft is not None and graft.is_loss:
            self.known_columns = graft.columns
            try:
                self._take_apart(graft.loss, ORDERS[:1])
            except CallFailed as failure:  # its glue may expect other shapes; with rows it is judged as a whole
                if rows is None or failure.code == "SLOW":
                    self._report_failure("loss", failure)
            self.apart.sample = graft.sample
            if rows is None:
                return
        examine = partial(examine_whole, box, rows, likelihood, model)
        if self.apart.kl is None:
            self._add(self._note(box, lambda _: self.run_timed(examine)) or [], "loss")
        else:
            with suppress(CallFailed):
                self._add(self.run_timed(examine)[:-1], "loss")  # the last says that the parts are unknown

    def _take_apart(self, loss: Callable[..., Any], orders: Sequence[Order]) -> None:
        def read(whole: Callable[..., Any]) -> tuple[Term, list[ReconstructionReading]]:
            return self.run_with_columns(lambda columns: separate(whole, columns))

        found = find_order(loss, read, orders)
        if found is None:
            says = "The loss is no sum of a term of (x, out) and a term of (m, s); it cannot be taken apart."
            self.findings.append(Finding("SCALE", None, says, about="loss"))
            return
        order, term = found
        if order != ORDERS[0]:
            places = [name for _, name in sorted(zip(order, ("x", "out", "m", "s"), strict=True))]
            self.measured["loss: arguments"] = ", ".join(places)
        self.apart = self.run_timed(lambda: take_apart(loss, order, term))

    def examine_parts(
        self,
        kl: Callable[..., Any] | None,
        sample: Callable[..., Any] | None,
        reconstruction: Callable[..., Any] | None,
    ) -> None:
        """Examine the three parts, each given or taken out of the whole loss, and compare them.

        Beside a whole loss, parts that are given are examined as they are; β is read off the whole.
        """
        apart = self.apart
        sampler = self._examine_sampler(sample or apart.sample)
        reading = self._examine_kl(kl, sampler, "kl", False)
        readings = self._examine_reconstruction(reconstruction, reading, "reconstruction")
        if apart.kl is None or (kl is not None and reconstruction is not None):
            self._compare(reading, readings)
        if apart.kl is not None:
            whole = self._examine_kl(apart.kl, sampler, "kl" if kl is None else "loss", True)
            name = "reconstruction" if reconstruction is None else "loss"
            self._compare(whole, self._examine_reconstruction(None, whole, name, apart.term))
            reading = reading or whole
        if sampler is not None:
            self._add(compare_with_kl(sampler, reading), "sample and kl")

    def _compare(self, kl: KLReading | None, readings: list[ReconstructionReading]) -> None:
        """Compare the KL with the reconstruction, block by block."""
        if kl is None and len(readings) > 1:
            self.findings += compare_blocks(readings)
        every: list[ReconstructionReading | None] = [*readings] or [None]
        for reading in every:
            block, columns = None if reading is None else reading.block, self.known_columns
            where = "" if reading is None else reading.where
            if block is not None:
                others = self.columns - block.size
                columns = block.size if not block.open else None if columns is None else columns - others
            balance = compare_terms(kl, reading, columns, self.beta)
            for finding in balance.findings:
                labelled = replace(finding, about=finding.about + where * (finding.about != "kl"))
                if labelled not in self.findings:
                    self.findings.append(labelled)
            self._record_balance(balance, where)

    def _examine_latents(
        self, name: str, function: Callable[..., Any] | None, read: Callable[[BlackBox], _Latents], taken_out: bool
    ) -> _Latents | None:
        """`read` of a function of (m, s); or of (s, m), if only that is right: a mistake, unless names mean it."""
        if function is None:
            return None
        meant = self.apart.latents_named if taken_out else names_are_exchanged(function, 0, 1, latent=True)
        function = exchange(function) if meant else function
        reading = self._note(BlackBox(name, function), lambda box: self.run_timed(lambda: read(box)))
        if reading is not None and not reading.right:
            with suppress(CallFailed):
                other = self.run_timed(lambda: read(BlackBox(name, exchange(function))))
                if other.right and not meant and (meant is False or not taken_out):
                    says = f"It is right with its two arguments exchanged: {name}(s, m)."
                    self.findings.append(Finding("ARG-SWAP", False, says, "Give the mean first.", about=name))
                    return None
                return other if other.right else reading
        return reading

    def _examine_sampler(self, sample: Callable[..., Any] | None) -> SamplerReading | None:
        reading = self._examine_latents("sample", sample, examine_sampler, taken_out=False)
        if reading is not None:
            self._add(reading.findings, "sample")
            if reading.sigma is not None:
                self.measured["sampler: σ(s)"] = "constant" if reading.constant else reading.text
        return reading

    def _examine_kl(
        self, kl: Callable[..., Any] | None, sampler: SamplerReading | None, name: str, taken_out: bool
    ) -> KLReading | None:
        def read(box: BlackBox) -> KLReading:
            return judge_kl(examine_kl(box, taken_out), sampler, box.single_precision)

        reading = self._examine_latents(name, kl, read, taken_out)
        if reading is None:
            return None
        reading.power = self.apart.power if taken_out else reading.power
        self._add(reading.findings, "kl")
        self.measured["KL: reduction"] = reading.reduction.text("latent dimensions")
        if reading.errors is not None:
            self.measured["KL: random"] = "a Monte-Carlo estimate; its mean was judged, to a few per cent"
        if reading.terms is not None:
            self.measured["KL: σ(s)"] = reading.terms.text
        if reading.weight is not None:
            self.measured["KL: factor"] = reading.weight
        return reading

    def _examine_reconstruction(
        self, function: Callable[..., Any] | None, kl: KLReading | None, name: str, term: Term | None = None
    ) -> list[ReconstructionReading]:
        """The readings of a function, or of the `term` that was taken out of a whole loss."""
        if term is not None:
            box = term.box
            box.name = name
        elif function is not None:
            box = BlackBox(name, exchange(function) if names_are_exchanged(function, 0, 1, latent=False) else function)
        else:
            return []
        weight = kl.weight if kl is not None and kl.consistent else None
        data = self.rows

        def read(columns: int) -> tuple[list[ReconstructionReading], list[Finding]]:
            readings = examine_reconstruction(term or Term(box, columns), weight, term is not None)
            if data is None:
                return readings, []
            about_rows = []
            for one in readings:
                rows = data[:, slice(None) if one.block is None else one.block.columns]
                found = check_rows(rows, one) if rows.size else []
                about_rows += [replace(finding, about=f"data{one.where}") for finding in found]
            return readings, about_rows

        found = self._note(box, lambda _: self.run_with_columns(read))
        readings, about_rows = found or ([], [])
        self.findings += about_rows
        for reading in readings:
            part = f"reconstruction{reading.where}"
            self._add(reading.findings, part)
            self.measured[f"{part}: family"] = reading.family or "unknown"
            self.measured[f"{part}: output"] = reading.term.layout.text
            if reading.family or reading.term.reduction.regular:
                self.measured[f"{part}: reduction"] = reading.term.reduction.text("columns")
            if reading.curvature is not None:
                self.measured[f"{part}: factor of the squared error"] = reading.curvature
        return readings

    def _record_balance(self, balance: Balance, where: str) -> None:
        if balance.beta:
            self.measured[f"effective β{where}"] = balance.beta
        if balance.variance is None:
            return
        self.measured[f"implied σ (β = 1){where}"] = balance.variance**0.5
        if not where and self.rows is not None and bool((abs(self.rows) < float("inf")).all()):
            alive, eigenvalues = count_surviving_latents(self.rows, balance.variance)
            self.measured["latents that can survive"] = f"{alive} (covariance eigenvalues above σ²)"
            self.measured["largest eigenvalues"] = [float(f"{value:.4g}") for value in eigenvalues[:5]]
