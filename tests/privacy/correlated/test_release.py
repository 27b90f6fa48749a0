from typing import Any

import numpy as np
import pytest

from hedgerow.errors import HedgerowError
from hedgerow.privacy import SimulatedRandomness
from hedgerow.privacy.correlated import (
    Attendance,
    NoiseStream,
    Participation,
    plan,
    record_level_release,
    site_level_release,
)

PATTERN = Participation(rounds=12, min_separation=3, max_participations=4)


def stream(rounds: int = 12) -> NoiseStream:
    chosen = plan(rounds=rounds, min_separation=3, max_participations=4, epsilon=4.0, delta=1e-5, kind="banded")
    return NoiseStream(chosen, 4, lambda t: SimulatedRandomness(1, t), clip=2.0)


def site_sum(updates: Any, sites: list[int]) -> np.ndarray:
    """What is released less its noise, times the denominator."""
    released, _ = site_level_release(
        stream(), np.asarray(updates), sites, Attendance.start(PATTERN, 9), denominator=5.0
    )
    return released * 5.0 - stream().next()


def test_each_site_counts_at_most_the_clip_and_short_updates_count_in_full() -> None:
    updates = [[30.0, 40.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1e150]]
    np.testing.assert_allclose(site_sum(updates, [0, 1, 2]), [1.2, 1.6, 1.0, 2.0], atol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_an_update_that_is_not_finite_counts_as_nothing_and_as_taken_part(bad: float) -> None:
    updates = np.array([[bad, 0, 0, 0], [0, 1.0, 0, 0]])
    total = site_sum(updates, [3, 4])
    np.testing.assert_allclose(total[1:], [1.0, 0, 0], atol=1e-12)
    assert abs(total[0]) <= 2.0 + 1e-12
    _, after = site_level_release(stream(), updates, [3, 4], Attendance.start(PATTERN, 9), denominator=5.0)
    assert after.times[3] == 1


def test_a_round_without_sites_releases_noise_and_uses_up_a_round() -> None:
    noises = stream()
    released, after = site_level_release(noises, np.zeros((0, 4)), [], Attendance.start(PATTERN, 9), denominator=5.0)
    np.testing.assert_allclose(released * 5.0, stream().next())
    assert noises.released == 1 and not after.times.any()


def test_the_denominator_does_not_follow_who_answers() -> None:
    two = site_sum([[1.0, 0, 0, 0], [1.0, 0, 0, 0]], [0, 1])
    one = site_sum([[1.0, 0, 0, 0]], [0])
    np.testing.assert_allclose(two, 2 * one, atol=1e-12)


def test_a_site_that_comes_back_too_soon_stops_the_round_before_any_noise() -> None:
    noises, attendance, update = stream(), Attendance.start(PATTERN, 2), np.ones((1, 4))
    _, attendance = site_level_release(noises, update, [0], attendance, denominator=1.0)
    with pytest.raises(HedgerowError) as caught:
        site_level_release(noises, update, [0], attendance, denominator=1.0)
    assert caught.value.code == "E201" and noises.released == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"updates": np.ones((2, 4))}, "E301"),
        ({"updates": np.ones((1, 5))}, "E301"),
        ({"denominator": 0.0}, "E103"),
        ({"denominator": float("nan")}, "E103"),
        ({"sites": [2]}, "E103"),
        (
            {"attendance": Attendance.start(Participation(rounds=12, min_separation=1, max_participations=4), 2)},
            "E105",
        ),
    ],
)
def test_a_bad_round_of_sites_is_refused_before_any_noise(change: dict[str, Any], code: str) -> None:
    noises = stream()
    usual = {"updates": np.ones((1, 4)), "sites": [0], "attendance": Attendance.start(PATTERN, 2), "denominator": 1.0}
    with pytest.raises(HedgerowError) as caught:
        site_level_release(noises, **{**usual, **change})
    assert caught.value.code == code and noises.released == 0


def test_a_step_over_records_adds_noise_and_divides_by_a_constant() -> None:
    total = np.arange(4.0)
    released = record_level_release(stream(), total, records=10, batches=4)
    np.testing.assert_allclose(released, (total + stream().next()) / 2.5)


@pytest.mark.parametrize(("batches", "fine"), [(2, False), (3, True), (4, True), (12, True)])
def test_an_order_that_the_plan_does_not_cover_is_refused(batches: int, fine: bool) -> None:
    noises = stream()
    if fine:
        record_level_release(noises, np.zeros(4), records=20, batches=batches)
        return
    with pytest.raises(HedgerowError) as caught:
        record_level_release(noises, np.zeros(4), records=20, batches=batches)
    assert caught.value.code == "E105" and noises.released == 0


def test_an_order_that_comes_round_too_soon_is_refused_however_often_is_allowed() -> None:
    often = plan(rounds=12, min_separation=3, max_participations=99, epsilon=4.0, delta=1e-5, kind="banded")
    noises = NoiseStream(often, 4, lambda t: SimulatedRandomness(1, t), clip=2.0)
    with pytest.raises(HedgerowError) as caught:
        record_level_release(noises, np.zeros(4), records=20, batches=2)
    assert caught.value.code == "E105"


def test_an_order_that_comes_round_too_often_is_refused() -> None:
    with pytest.raises(HedgerowError) as caught:
        record_level_release(stream(rounds=20), np.zeros(4), records=20, batches=3)
    assert caught.value.code == "E105"


@pytest.mark.parametrize(
    ("total", "records", "code"),
    [(np.zeros(3), 10, "E301"), (np.full(4, np.nan), 10, "E303"), (np.zeros(4), 2, "E103")],
)
def test_a_bad_step_over_records_is_refused_before_any_noise(total: Any, records: int, code: str) -> None:
    noises = stream()
    with pytest.raises(HedgerowError) as caught:
        record_level_release(noises, total, records=records, batches=4)
    assert caught.value.code == code and noises.released == 0
