"""What other libraries answer under each convention that goes by the same name, as numbers that they gave.

Recorded with ByzFL 0.0.11 and Flower 1.41 on these tables, in November 2026.
"""

import numpy as np
import numpy.typing as npt
import pytest

from hedgerow.aggregation import (
    arc,
    bulyan,
    centered_clipping,
    clip_norms,
    geometric_median,
    krum,
    mda,
    meamed,
    mean,
    median,
    monna,
    multi_krum,
    nnm,
    spectral,
    trimmed_mean,
)

Floats = npt.NDArray[np.float64]

ELEVEN = np.array(
    [
        [1.39, 1.58, 0.03, 1.54],
        [-1.04, -1.45, -0.72, 1.36],
        [0.63, 0.26, 2.23, 0.03],
        [-0.32, -0.32, -0.02, 1.81],
        [-2.01, 1.27, 0.11, 1.73],
        [0.61, -1.4, -0.97, -0.16],
        [-0.51, -0.77, 0.39, 1.26],
        [0.62, 1.95, -2.87, -0.4],
        [-0.6, -1.84, 0.66, -0.93],
        [-0.72, -0.29, -0.69, 1.02],
        [1.72, 0.2, -1.25, -0.14],
    ]
)
THREE = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        pytest.param(mean(ELEVEN), [-0.020909, -0.073636, -0.281818, 0.647273], id="ByzFL Average"),
        pytest.param(median(ELEVEN), [-0.32, -0.29, -0.02, 1.02], id="ByzFL Median, Flower FedMedian"),
        pytest.param(trimmed_mean(ELEVEN, f=2), [-0.041429, -0.15, -0.267143, 0.701429], id="ByzFL TrMean(2)"),
        pytest.param(
            trimmed_mean(ELEVEN, f=0.2), [-0.041429, -0.15, -0.267143, 0.701429], id="Flower FedTrimmedAvg(0.2)"
        ),
        pytest.param(meamed(ELEVEN, f=2), [-0.371111, -0.482222, -0.273333, 0.938889], id="ByzFL Meamed(2)"),
        pytest.param(krum(ELEVEN, f=2, neighbours="n-f-1"), [-0.72, -0.29, -0.69, 1.02], id="ByzFL Krum(2)"),
        pytest.param(krum(ELEVEN, f=2), [-0.51, -0.77, 0.39, 1.26], id="Flower aggregate_krum(2)"),
        pytest.param(
            multi_krum(ELEVEN, f=2, neighbours="n-f-1"),
            [0.128889, -0.447778, -0.037778, 0.643333],
            id="ByzFL MultiKrum(2)",
        ),
        pytest.param(
            multi_krum(ELEVEN, f=2, m=9),
            [-0.164444, -0.335556, -0.273333, 0.832222],
            id="Flower aggregate_krum(2), 9 kept",
        ),
        pytest.param(
            bulyan(ELEVEN, f=2), [-0.516667, -0.46, -0.793333, 1.213333], id="Flower aggregate_bulyan (iterated)"
        ),
        pytest.param(
            bulyan(ELEVEN, f=2, select="one-shot"),
            [-0.476667, -0.46, -0.793333, 1.213333],
            id="Flower Bulyan strategy (one-shot)",
        ),
        pytest.param(mda(ELEVEN, f=2), [-0.027778, -0.102222, -0.098889, 0.938889], id="ByzFL MDA(2), by brute force"),
        pytest.param(monna(ELEVEN, f=2), [0.156667, 0.275556, -0.337778, 0.743333], id="ByzFL MoNNA(2, 0)"),
        pytest.param(
            centered_clipping(ELEVEN, tau=2.0, iterations=3),
            [-0.046772, -0.21127, -0.252279, 0.705641],
            id="ByzFL CenteredClipping(L=3, tau=2.0)",
        ),
        pytest.param(
            geometric_median(ELEVEN),
            [-0.254941, -0.318963, -0.252193, 0.916522],
            id="ByzFL GeometricMedian(nu=1e-9, T=3000)",
        ),
        pytest.param(
            spectral(ELEVEN, f=2),
            [-0.131308, -0.262378, -0.030485, 0.80127],
            id="ByzFL CAF(2) with 3000 power iterations in place of one",
        ),
    ],
)
def test_a_rule_agrees_with_the_library_that_has_the_same_convention(ours: Floats, theirs: list[float]) -> None:
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_rows_of_the_steps_agree_too() -> None:
    mixed = nnm(ELEVEN, f=2)  # ByzFL NNM(2)
    np.testing.assert_allclose(mixed[3], [-0.027778, -0.102222, -0.098889, 0.938889], atol=1e-6)
    np.testing.assert_allclose(mixed[7], [-0.028889, 0.085556, -0.665556, 0.891111], atol=1e-6)
    np.testing.assert_allclose(mixed[8], [-0.248889, -0.482222, -0.028889, 0.664444], atol=1e-6)
    clipped = arc(ELEVEN, f=2)  # ByzFL ARC(2): three rows are shortened
    np.testing.assert_allclose(clipped[0], [1.255906, 1.427576, 0.027106, 1.391435], atol=1e-6)
    np.testing.assert_allclose(clipped[4], [-1.609592, 1.017006, 0.088087, 1.385371], atol=1e-6)
    np.testing.assert_allclose(clipped[7], [0.411827, 1.295261, -1.906359, -0.265695], atol=1e-6)
    np.testing.assert_allclose(np.delete(clipped, [0, 4, 7], 0), np.delete(ELEVEN, [0, 4, 7], 0), atol=1e-12)
    static = clip_norms(ELEVEN, tau=2.0)  # ByzFL Clipping(2.0)
    np.testing.assert_allclose(static[8], [-0.534199, -1.638211, 0.587619, -0.828009], atol=1e-6)
    np.testing.assert_allclose(arc(THREE, f=1)[2], [4.41004, 5.040046, 5.670052], atol=1e-6)  # ByzFL ARC(1)


def test_the_middle_row_of_three_has_two_neighbours_equally_near_and_takes_the_first() -> None:
    assert nnm(THREE, f=1).tolist() == [[2.5, 3.5, 4.5], [2.5, 3.5, 4.5], [5.5, 6.5, 7.5]]
    assert nnm(THREE[::-1].copy(), f=1)[1].tolist() == [5.5, 6.5, 7.5]  # and in another order the other one


def test_conventions_of_one_name_give_different_answers() -> None:
    assert not np.allclose(krum(ELEVEN, f=2), krum(ELEVEN, f=2, neighbours="n-f-1"))
    assert not np.allclose(multi_krum(ELEVEN, f=2), multi_krum(ELEVEN, f=2, neighbours="n-f-1"))
    assert not np.allclose(bulyan(ELEVEN, f=2), bulyan(ELEVEN, f=2, select="one-shot"))
    assert median(ELEVEN[:4])[0] == pytest.approx(0.155)  # the midpoint of -0.32 and 0.63, not the lower one
