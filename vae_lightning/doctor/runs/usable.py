"""The columns of a table that a run would train on, found by leaving out what is wrong with others."""

from collections.abc import Callable, Sequence

from vae_lightning.data.faults import Fault, find_empty, find_infinite, find_nameless, find_tiny
from vae_lightning.data.files.sheets import Sheet
from vae_lightning.doctor.losses.blackbox.arrays import Array


class Usable:
    """Columns that nothing is wrong with, so far: those that have names.

    Args:
        sheet: what they were read of.

    Attributes:
        names: of these columns.
        faults: what is wrong with those that were left out.
    """

    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet
        self.names = list(sheet.frame.columns)
        self.faults: list[Fault] = []
        self.leave_out(find_nameless(sheet, self.names))

    def leave_out(self, fault: Fault | None) -> None:
        """Leave out the columns of a fault, where there is one."""
        if fault is not None:
            self.faults.append(fault)
            self.names = [name for name in self.names if name not in fault.columns]

    def judge(self, numbers: Callable[[Sequence[str]], Array]) -> None:
        """Leave out columns whose numbers are missing, infinite or too near to one another.

        Args:
            numbers: of columns by name, (N, C).
        """
        for find in (find_empty, find_infinite, find_tiny):
            if self.names:
                self.leave_out(find(self.sheet, numbers(self.names), self.names))
