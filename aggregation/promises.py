"""What a rule may promise about its vector, whatever it computes; the property tests hold every rule to it."""

from enum import Enum

__all__ = ["COORDINATES", "DISTANCES", "Promise"]


class Promise(Enum):
    """A property of a rule.

    `ORDER`: the order of the rows does not matter. `SHIFT`: adding one vector to every row adds it to the result.
    `SCALE`: multiplying every row by a positive number multiplies the result. `TURN`: rotating every row rotates the
    result. `HULL`: the result is a weighted mean of the rows. `BOX`: each coordinate lies between the smallest and the
    largest of the rows. `SAFE`: `f` rows of whatever size move the result no farther than the others are spread.

    A rule that does not promise `SHIFT` is tied to the zero update, which then counts as a row for `HULL` and `BOX`.
    """

    ORDER = "order"
    SHIFT = "shift"
    SCALE = "scale"
    TURN = "turn"
    HULL = "hull"
    BOX = "box"
    SAFE = "safe"


COORDINATES = frozenset({Promise.ORDER, Promise.SHIFT, Promise.SCALE, Promise.BOX, Promise.SAFE})
"""What a rule that judges every coordinate by itself promises."""

DISTANCES = COORDINATES | {Promise.TURN, Promise.HULL}
"""What a rule that weighs rows by their distances promises."""
