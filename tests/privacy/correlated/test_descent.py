import numpy as np
from numpy.typing import NDArray

from hedgerow.privacy.correlated.descent import descend

Floats = NDArray[np.float64]


def rosenbrock(x: Floats) -> tuple[float, Floats]:
    bent = x[1:] - x[:-1] ** 2
    gradient = np.zeros_like(x)
    gradient[:-1] = -400 * x[:-1] * bent - 2 * (1 - x[:-1])
    gradient[1:] += 200 * bent
    return float((100 * bent**2 + (1 - x[:-1]) ** 2).sum()), gradient


def test_a_curved_valley_is_followed_to_its_end() -> None:
    np.testing.assert_allclose(descend(rosenbrock, np.array([0.3, 1.7, 0.8, 1.1])), 1.0, atol=1e-6)


def test_the_same_start_gives_the_same_bytes() -> None:
    start = np.array([-1.2, 1.0, 0.3])
    assert descend(rosenbrock, start).tobytes() == descend(rosenbrock, start).tobytes()


def test_a_wall_of_infinities_is_stepped_back_from() -> None:
    def barrier(x: Floats) -> tuple[float, Floats]:
        return float(x[0] - np.log(x[0])), 1 - 1 / x

    np.testing.assert_allclose(descend(barrier, np.array([1e-3])), 1.0, rtol=1e-6)


def test_the_result_is_never_worse_than_the_start() -> None:
    start = np.array([1.0, 1.0])
    assert descend(rosenbrock, start).tolist() == start.tolist()
    assert descend(lambda x: (0.0, np.zeros(0)), np.zeros(0)).size == 0
