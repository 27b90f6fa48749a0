import json
from typing import Any

import pytest

from hedgerow.errors import Tampered
from hedgerow.privacy.correlated import Kind, Plan, plan, read_plan, write_plan


def planned(kind: Kind = "blt", **changes: Any) -> Plan:
    settings = {"rounds": 30, "min_separation": 6, "max_participations": 3, "epsilon": 2.0, "delta": 1e-5, **changes}
    return plan(kind=kind, **settings)


@pytest.mark.parametrize(
    "chosen",
    [
        planned(),
        planned("banded"),
        planned("independent"),
        planned(momentum=0.9, rates=tuple(1.0 / t for t in range(1, 31))),
    ],
)
def test_a_plan_that_was_written_down_is_the_same_plan(chosen: Plan) -> None:
    again = read_plan(write_plan(chosen))
    assert again == chosen and again.digest == chosen.digest


def test_a_file_cannot_ask_for_less_noise_than_its_budget_needs() -> None:
    fields = json.loads(write_plan(planned()))
    fields["sensitivity"] = fields["noise_multiplier"] = 1e-9
    assert read_plan(json.dumps(fields)) == planned()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), 2),
        (("mechanism", "type"), "Dense"),
        (("mechanism", "weights"), [2.0, 2.0, 2.0, 2.0]),
        (("mechanism", "weights"), "abc"),
        (("mechanism", "extra"), [1.0]),
        (("participation", "rounds"), 31),
        (("participation", "min_separation"), 0),
        (("participation",), None),
        (("workload", "momentum"), "much"),
        (("epsilon",), None),
        (("delta",), 2.0),
    ],
)
def test_a_file_that_is_not_a_plan_is_refused(path: tuple[str, ...], value: Any) -> None:
    fields = json.loads(write_plan(planned()))
    inner = fields
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    with pytest.raises(Tampered) as caught:
        read_plan(json.dumps(fields))
    assert caught.value.code == "E401"


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"version": 1}'])
def test_a_text_that_is_no_plan_at_all_is_refused(text: str) -> None:
    with pytest.raises(Tampered):
        read_plan(text)


def test_bands_that_overlap_are_refused_on_reading_too() -> None:
    fields = json.loads(write_plan(planned("banded")))
    fields["mechanism"]["bands"] = [1.0, 0.1, 0.2, 0.1, 0.2, 0.1, 0.2, 0.1]
    with pytest.raises(Tampered, match="E105"):
        read_plan(json.dumps(fields))
