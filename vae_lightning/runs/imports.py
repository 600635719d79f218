"""Imports that take seconds, of which Python would spend a fifth in search of garbage among what they make."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Collect no garbage meanwhile, nor look for any in new modules later: they stay until the process ends."""
    was_collecting, modules = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > modules:
            gc.freeze()
        if was_collecting:
            gc.enable()
