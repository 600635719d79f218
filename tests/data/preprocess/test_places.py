"""Numbers that stand for categories, to their places."""

import pytest
import torch

from vae_lightning.data.preprocess.places import Places
from vae_lightning.errors import ConfigError


def test_each_known_value_has_its_place_and_comes_back() -> None:
    places = Places(2, [[1.0, 2.0, 5.0], [-1e9, 0.1, 1e9]])
    x = torch.tensor([[5.0, 0.1], [1.0, 1e9], [2.0, -1e9]], dtype=torch.float64)
    u = places.transform(x)
    assert u.tolist() == [[2, 1], [0, 2], [1, 0]]
    assert torch.equal(places.inverse(u), x)


def test_columns_may_know_different_numbers_of_values() -> None:
    places = Places(2, [[1.0, 2.0, 5.0], [0.5, 0.75]])
    u = places.transform(torch.tensor([[5.0, 0.5], [1.0, 0.75], [2.0, 5.0]]))
    assert u.tolist() == [[2, 0], [0, 1], [1, -1]]
    assert places.inverse(torch.tensor([[2.0, 2.0]])).tolist() == [[5.0, 0.75]]
    assert places.options() == {"known": [[1.0, 2.0, 5.0], [0.5, 0.75]], "nearest": False}


@pytest.mark.parametrize("known", [[1.0, 2.0, 5.0], [1.0, 2.0, 3.0, 5.0]], ids=len)
def test_of_levels_in_an_order_an_unknown_value_is_the_nearest(known: list[float]) -> None:
    x = torch.tensor([[-9.0], [1.4], [1.6], [4.9], [5.0], [7e9], [torch.nan]], dtype=torch.float64)
    places = Places(1, [known], nearest=True)
    near = [min(known, key=lambda value: abs(value - one)) for one in x[:-1, 0].tolist()]
    torch.testing.assert_close(places.inverse(places.transform(x))[:-1, 0], torch.tensor(near, dtype=torch.float64))
    assert places.transform(x)[-1].isnan()
    assert places.known_values == [None]
    assert places.count_clipped(x).tolist() == [5]
    assert Places(1, [known]).count_clipped(x).tolist() == [0]


def test_an_unknown_value_has_none_and_a_hole_stays_one() -> None:
    u = Places(1, [[1.0, 2.0]]).transform(torch.tensor([[1.5], [torch.nan], [9.0], [-3.0]]))
    assert u[[0, 2, 3]].flatten().tolist() == [-1, -1, -1]
    assert u[1].isnan()


@pytest.mark.parametrize("known", [[[1.0, 1.0]], [[2.0, 1.0]], [[]], [[1.0], [2.0]], []], ids=str)
def test_values_that_do_not_rise_are_refused(known: list[list[float]]) -> None:
    with pytest.raises(ConfigError, match="The 'known' parameter of Places must be a row of rising values for each"):
        Places(1, known)
