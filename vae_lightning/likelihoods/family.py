"""A folder is a closed set of families: one file, one class, one name."""

import importlib
import inspect
import pkgutil
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Self

from vae_lightning.errors import ConfigError, suggest


class Family:
    """A class that is chosen by the name of its file: ``likelihood=gaussian`` is the class in ``gaussian.py``."""

    @classmethod
    def name(cls) -> str:
        """The file's name, and the word that is typed."""
        return cls.__module__.rpartition(".")[-1]

    @classmethod
    def families(cls, recorded: bool = False) -> dict[str, type[Self]]:
        """The classes of this kind by name: those that the other files of the folder of ``cls`` define.

        Args:
            recorded: also those that nobody types, which a checkpoint's record may name.

        >>> from vae_lightning.likelihoods.base import Likelihood
        >>> sorted(Likelihood.families())[:2]
        ['bernoulli', 'beta']
        """
        package = cls.__module__.rpartition(".")[0]
        found = {}
        for entry in pkgutil.iter_modules(sys.modules[package].__path__):
            module = importlib.import_module(f"{package}.{entry.name}")
            for value in vars(module).values():
                own = inspect.isclass(value) and value.__module__ == module.__name__ and issubclass(value, cls)
                if own and (value.CHOOSABLE or recorded) and not inspect.isabstract(value):
                    found[entry.name] = value
        return dict(sorted(found.items()))

    @property
    def words(self) -> str:
        """What a reader is told of it: its name, or of families side by side which and how many columns have them.

        >>> from vae_lightning.likelihoods.gaussian import Gaussian
        >>> Gaussian(3).words
        'gaussian'
        """
        return self.name()

    #: Whether a configuration may name it; False for what the program puts together.
    CHOOSABLE = True

    @classmethod
    def named(cls, name: str, group: str, recorded: bool = False) -> type[Self]:
        """The family called ``name``; ``group`` is what the message calls the choice, ``recorded`` as for `families`.

        Raises:
            ConfigError: when there is none, naming the nearest.
        """
        known = cls.families(recorded)
        if name not in known:
            raise ConfigError(f"There is no {group}={name}. {suggest(name, known)}")
        return known[name]


def count_names(names: Sequence[str]) -> str:
    """How many columns have which family.

    >>> count_names(["gaussian", "categorical", "gaussian"])
    'gaussian 2, categorical 1 columns'
    """
    return ", ".join(f"{name} {number}" for name, number in Counter(names).most_common()) + " columns"
