"""What a price costs in time and how near it is: our accountants beside Opacus's and dp_accounting's recorded numbers.

    python bench/accounting.py               # half a minute
    python bench/accounting.py --sites 1000  # a federation's ledger: one price for each of so many settings

Times are of one run on one core, in ms: the first price of a setting, the price of the same setting one round later
(other steps, nothing kept but the transforms), and a calibration. Imports are done before. dp-accounting asks for an
older attrs than Flower, so its prices and seconds were recorded once, with version 0.6.0 on two cores.
"""

import argparse
import time
import warnings
from collections.abc import Callable

from opacus.accountants import PRVAccountant, RDPAccountant  # type: ignore[import-untyped]  # Opacus ships no types

from hedgerow.privacy import Accountant, SampledGaussian, calibrate, epsilon

# Rate, noise, steps, delta; dp-accounting's PLD prices for add/remove and replace-one, and its seconds.
JOBS = (
    (0.01, 1.0, 1000, 1e-5, 1.828, 2.843, 0.31),
    (0.004, 1.1, 15_000, 1e-5, 2.295, 4.068, 0.21),
    (0.1, 2.0, 300, 1e-4, 3.597, 7.352, 0.17),
    (0.02, 0.6, 2000, 1e-5, 19.982, 26.492, 0.78),
    (0.5, 4.0, 200, 1e-5, 8.819, 20.465, 0.18),
    (1.0, 5.0, 50, 1e-5, 6.573, 15.456, 0.18),
    (0.001, 0.5, 10_000, 1e-6, 6.346, 6.852, 0.72),
    (0.2, 8.0, 1000, 1e-4, 2.910, 6.610, 0.07),
)

NAMES: tuple[Accountant, ...] = ("pld", "rdp")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=300)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # Opacus warns of orders and overflows
    epsilon([SampledGaussian(q=0.37, noise_multiplier=3.0, steps=3)], delta=1e-3)
    _prices()
    _times()
    _federation(arguments.sites)


def _prices() -> None:
    print("epsilon, add or remove one record; then replacing one")
    print(f"{'q, noise, steps, delta':<26}{'pld':>9}{'dpa':>9}{'rdp':>9}{'Opacus':>9}{'prv':>9}{'Opacus':>9}", end="")
    print(f"{'pld':>9}{'dpa':>9}")
    for q, noise, steps, delta, added, replaced, _ in JOBS:
        events = [SampledGaussian(q=q, noise_multiplier=noise, steps=steps)]
        ours = (
            epsilon(events, delta=delta),
            added,
            epsilon(events, delta=delta, accountant="rdp"),
            _opacus(RDPAccountant(), noise, q, steps, delta),
            epsilon(events, delta=delta, accountant="prv"),
            _opacus(PRVAccountant(), noise, q, steps, delta),
            epsilon(events, delta=delta, relation="replace_one"),
            replaced,
        )
        print(f"{_named(q, noise, steps, delta):<26}" + "".join(f"{price:9.3f}" for price in ours))


def _times() -> None:
    columns = ("first", "later", "Opacus rdp", "Opacus prv", "dpa", "calibrate", "cal. rdp")
    print("\nms, one price" + " " * 13 + "".join(f"{column:>12}" for column in columns))
    for q, noise, steps, delta, _, _, seconds in JOBS:
        noise *= 1.0001  # not the one that was just priced

        def price(more: int, q: float = q, noise: float = noise, steps: int = steps, delta: float = delta) -> float:
            return epsilon([SampledGaussian(q=q, noise_multiplier=noise, steps=steps + more)], delta=delta)

        limit = price(1000)
        noise *= 1.0001
        times = [
            _ms(lambda: price(0, noise=noise)),  # noqa: B023  # called at once
            min(_ms(lambda more=more: price(more, noise=noise)) for more in (2, 4, 6)),  # type: ignore[misc]  # noqa: B023
            _ms(lambda: _opacus(RDPAccountant(), noise, q, steps, delta)),  # noqa: B023
            _ms(lambda: _opacus(PRVAccountant(), noise, q, steps, delta)),  # noqa: B023
            1000 * seconds,
            _ms(lambda: calibrate(epsilon=limit, delta=delta, q=q, steps=steps)),  # noqa: B023
            _ms(lambda: calibrate(epsilon=limit, delta=delta, q=q, steps=steps, accountant="rdp")),  # noqa: B023
        ]
        print(f"{_named(q, noise, steps, delta):<26}" + "".join(f"{time:12.1f}" for time in times))


def _federation(sites: int) -> None:
    """So many sites of different sizes: one calibration each, then a price each in every round."""
    print(f"\n{sites} sites of 100 to {99 + sites} records, batch 32, 50 rounds, epsilon 3 at 1e-5: ms for all of them")
    rates = [(32 / records, round(records / 32)) for records in range(100, 100 + sites)]
    for name in NAMES:
        start = time.perf_counter()
        noises = [calibrate(epsilon=3.0, delta=1e-5, q=q, steps=50 * n, accountant=name) for q, n in rates]
        rounds = [time.perf_counter()]
        for done in range(1, 5):
            for (q, n), noise in zip(rates, noises, strict=True):
                events = [SampledGaussian(q=q, noise_multiplier=noise, steps=done * n)]
                epsilon(events, delta=1e-5, accountant=name)
            rounds.append(time.perf_counter())
        ms = [1000 * (after - before) for before, after in zip(rounds, rounds[1:], strict=False)]
        print(f"{name}: plans {1000 * (rounds[0] - start):.0f}, first rounds {', '.join(f'{one:.0f}' for one in ms)}")


def _opacus(accountant: PRVAccountant | RDPAccountant, noise: float, q: float, steps: int, delta: float) -> float:
    accountant.history = [(noise, q, steps)]
    return float(accountant.get_epsilon(delta=delta))


def _ms(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - start)


def _named(q: float, noise: float, steps: int, delta: float) -> str:
    return f"{q:g}, {noise:.3g}, {steps}, {delta:g}"


if __name__ == "__main__":
    main()
