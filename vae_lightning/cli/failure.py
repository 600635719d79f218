"""How a training command ends that cannot go on."""

import os
import sys
import traceback
from typing import NoReturn

from vae_lightning.errors import UserError

USER_WANTS_TRACEBACKS = os.environ.get("HYDRA_FULL_ERROR") == "1"


def fail(error: Exception, wants_traceback: bool) -> NoReturn:
    """One line on the standard error, or all that Python knows, and status 1."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    if wants_traceback:
        traceback.print_exception(error)
    elif isinstance(error, UserError):
        print(f"error: {error}", file=sys.stderr)
    else:
        lines = [line for line in str(error).splitlines() if line.strip() and "HYDRA_FULL_ERROR" not in line]
        words = lines[0] if lines else "no word"
        own_words = isinstance(error, (HydraException, OmegaConfBaseException))  # of which some are an OSError
        if isinstance(error, OSError) and not own_words:
            words = f"{error.filename}: {error.strerror}." if error.filename else f"{error}."
        elif not own_words:
            words = f"{type(error).__name__}: {words}. debug=true shows where."
        print(f"error: {words}", file=sys.stderr)
    raise SystemExit(1)
