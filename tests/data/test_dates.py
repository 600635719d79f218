"""Dates split into what a model can use, and joined again."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from vae_lightning.data.columns import Column
from vae_lightning.data.dates import DAY, WEEKDAYS, join_columns, join_values, split_dates, split_values
from vae_lightning.data.frames import from_matrix, to_matrix
from vae_lightning.errors import DataError

WHEN = Column("when", "datetime64[s]")
ROWS = 3000


def days_of(dates: object) -> np.ndarray:
    """Dates as days since 1970, (N, 1)."""
    times = pd.DatetimeIndex(dates).as_unit("ms").to_numpy()  # type: ignore[arg-type]
    return (times.astype(np.int64) / DAY)[:, None]


def split(dates: object, column: Column = WHEN) -> tuple[tuple[Column, ...], np.ndarray]:
    columns, parts = split_dates([column], {"train": days_of(dates)})
    return columns, parts["train"]


def units(columns: tuple[Column, ...]) -> list[str]:
    return [column.part.unit for column in columns if column.part is not None]


@pytest.fixture
def draws() -> np.random.Generator:
    return np.random.default_rng(0)


STEPS: dict[str, Callable[[np.random.Generator], object]] = {
    "days from 1700 to 2200": lambda draws: draws.integers(-98_000, 84_000, ROWS).astype("M8[D]"),
    "seconds": lambda draws: draws.integers(-(2**32), 2**32, ROWS).astype("M8[s]"),
    "milliseconds": lambda draws: draws.integers(-(2**42), 2**42, ROWS).astype("M8[ms]"),
    "minutes of a day": lambda draws: draws.integers(0, 1440, ROWS).astype("M8[m]"),
    "hours of Mondays": lambda draws: (
        np.datetime64("1960-02-29") + 7 * draws.integers(0, 999, ROWS) + draws.integers(0, 24, ROWS).astype("m8[h]")
    ),
    "first days of a month": lambda draws: draws.integers(-900, 900, ROWS).astype("M8[M]").astype("M8[D]"),
    "last days of a month": lambda draws: draws.integers(-900, 900, ROWS).astype("M8[M]").astype("M8[D]") - 1,
    "noon of the 17th": lambda draws: draws.integers(0, 60, ROWS).astype("M8[M]").astype("M8[h]") + (16 * 24 + 12),
    "five days": lambda draws: draws.choice(np.array([3, 40, 44, 90, 7000]), ROWS).astype("M8[D]"),
    "leap days": lambda draws: draws.choice(np.array(["1896-02-29", "2000-02-29", "2024-02-29"], "M8[D]"), ROWS),
    "one moment": lambda draws: (
        draws.integers(1, 2, ROWS) * np.timedelta64(1614834367089, "ms") + np.datetime64(0, "ms")
    ),
    "seconds of one hour": lambda draws: np.datetime64("2024-02-29T23:00:00") + draws.integers(0, 3600, ROWS),
}


@pytest.mark.parametrize("dates", STEPS.values(), ids=STEPS)
def test_dates_come_back_to_the_millisecond(
    dates: Callable[[np.random.Generator], object], draws: np.random.Generator
) -> None:
    given = days_of(dates(draws))
    columns, parts = split_dates([WHEN], {"train": given})
    x = parts["train"]
    assert not np.isnan(x).any()
    assert join_columns(columns) == (WHEN,)
    np.testing.assert_array_equal(np.rint(join_values(x, columns) * DAY), np.rint(given * DAY))
    assert not split_values(given, columns)[1].any()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("days from 1700 to 2200", ["week", "weekday"]),
        ("seconds", ["week", "weekday", "hour", "minute", "second"]),
        ("minutes of a day", ["hour", "minute"]),
        ("hours of Mondays", ["week", "hour"]),
        ("first days of a month", ["month"]),
        ("last days of a month", ["month"]),
        ("noon of the 17th", ["month"]),
        ("five days", ["day"]),
        ("leap days", ["month"]),
        ("one moment", ["day"]),
        ("seconds of one hour", ["minute", "second"]),
    ],
)
def test_what_all_dates_share_is_no_column(name: str, expected: list[str], draws: np.random.Generator) -> None:
    assert units(split(STEPS[name](draws))[0]) == expected


def test_parts_are_those_of_the_calendar(draws: np.random.Generator) -> None:
    dates = pd.DatetimeIndex(STEPS["seconds"](draws))  # type: ignore[arg-type]
    columns, x = split(dates)
    assert [column.name for column in columns] == [f"when ({unit})" for unit in units(columns)]
    assert columns[1].levels == WEEKDAYS
    for place, expected in enumerate([dates.day_of_week, dates.hour, dates.minute, dates.second], 1):
        np.testing.assert_array_equal(x[:, place], expected)
    monday = (dates - pd.to_timedelta(dates.day_of_week, "D")).normalize()
    np.testing.assert_array_equal(x[:, 0], (monday - pd.Timestamp("1969-12-29")).days / 7)


def test_weekdays_that_never_occur_are_no_levels() -> None:
    dates = pd.bdate_range("2022-01-03", periods=500)
    columns, _ = split(dates)
    assert columns[1].levels == WEEKDAYS[:5]
    drawn = join_values(np.random.default_rng(0).uniform([2690, -9], [2710, 9], (ROWS, 2)), columns)
    assert (from_matrix(split_values(drawn, columns)[0], columns)["when"].dt.day_of_week < 5).all()


def test_numbers_beyond_what_there_is_are_the_nearest() -> None:
    columns, _ = split(np.datetime64("2020-01-01T00:00:00") + np.arange(ROWS) * 70_001)
    far = np.array([[2600.0, 99, 99, 99, 99], [2600.4, -9, -9, -9, -9], [1e9, 0, 0, 0, 0]])
    dates = from_matrix(far, columns)["when"]
    assert [str(one) for one in dates[:2]] == ["2019-11-03 23:59:59", "2019-10-28 00:00:00"]
    assert dates.dt.year[2] > 2200


def test_an_empty_cell_is_empty_in_every_part(draws: np.random.Generator) -> None:
    days = days_of(STEPS["seconds"](draws))
    days[::3] = np.nan
    columns, parts = split_dates([Column("a", "float64"), WHEN], {"train": np.hstack([days + 1, days])})
    x = parts["train"]
    assert np.isnan(x[::3]).all()
    assert not np.isnan(x[1::3]).any()
    np.testing.assert_allclose(join_values(x, columns), np.hstack([days + 1, days]), rtol=0, atol=1e-9)
    x[1, 3] = np.nan
    assert np.isnan(join_values(x, columns)[1, 1])


def test_dates_stay_whole_on_demand_and_where_a_name_is_taken() -> None:
    days = days_of(pd.bdate_range("2022-01-03", periods=500))
    assert split_dates([WHEN], {"train": days}, whole=["when"])[0] == (WHEN,)
    other = Column("when (weekday)", "float64")
    assert split_dates([WHEN, other], {"train": np.hstack([days, days])})[0] == (WHEN, other)


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_a_frame_of_dates_comes_back(zone: str | None, draws: np.random.Generator) -> None:
    frame = pd.DataFrame({"when": pd.DatetimeIndex(STEPS["seconds"](draws), tz=zone)})  # type: ignore[arg-type]
    columns, _ = split(frame["when"].dt.tz_convert(None) if zone else frame["when"])
    again = from_matrix(to_matrix(frame, columns), columns, dtypes=[frame["when"].dtype])
    pd.testing.assert_series_equal(again["when"].dt.as_unit("s"), frame["when"].dt.as_unit("s"))


@pytest.mark.parametrize(
    ("dates", "other", "words"),
    [
        (
            "hours of Mondays",
            "2024-02-29",
            "on the same day of the week with the same minute and the same second",
        ),
        ("first days of a month", "2024-02-29", "first days of a month"),
        ("days from 1700 to 2200", "2024-02-29 10:00", "with the same hour and the same minute and the same second"),
    ],
)
def test_a_date_without_a_word_is_told(dates: str, other: str, words: str, draws: np.random.Generator) -> None:
    columns, _ = split(STEPS[dates](draws))
    rows = pd.DataFrame({"when": [None, other]})
    with pytest.raises(DataError, match=rf"'when' must hold .*{words}.*1 of 2 are others, .*'{other}' in row 2"):
        to_matrix(rows, columns)
