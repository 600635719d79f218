"""JSON that every program reads."""

import json
import math

import numpy as np

from vae_lightning.files import to_json


def test_numbers_that_are_none_are_null() -> None:
    content = {"a": math.nan, "b": [math.inf, 1, (-math.inf,)], "c": {"d": np.float64("nan"), "e": "nan"}, "f": True}
    found = json.loads(to_json(content), parse_constant=lambda name: (_ for _ in ()).throw(ValueError(name)))
    assert found == {"a": None, "b": [None, 1, [None]], "c": {"d": None, "e": "nan"}, "f": True}
