"""A gate opens only on evidence: whatever is missing, unresolved or not a number keeps it shut."""

from dataclasses import replace

import numpy as np
import pytest

from hedgerow.errors import Misconfigured
from hedgerow.privacy.leakage import Gate, Interval, Membership, TprAt, measure


def result(scope: str, *, auc_high: float = 0.52, tpr_high: float = 0.02, fpr: float = 0.01) -> Membership:
    return Membership(
        adversary="queries the final model",
        attack="loss threshold",
        scope=scope,
        members=100,
        nonmembers=5000,
        auc=Interval(value=0.5, low=0.48, high=auc_high, confidence=0.95),
        tpr=(
            TprAt(
                fpr=fpr,
                interval=Interval(value=0.01, low=0.0, high=tpr_high, confidence=0.95),
                claim=Interval(value=0.01, low=0.0, high=1.0, confidence=0.95),
                resolvable=True,
                note="",
            ),
        ),
        roc=((0.0, 0.0), (1.0, 1.0)),
    )


@pytest.mark.parametrize(
    ("sentence", "gate"),
    [
        ("tpr@0.01 <= 0.03", Gate(metric="tpr", fpr=0.01, limit=0.03)),
        ("  tpr@1e-3<=.1 ", Gate(metric="tpr", fpr=0.001, limit=0.1)),
        ("auc <= 0.55", Gate(metric="auc", limit=0.55)),
        ("auc <= 1", Gate(metric="auc", limit=1.0)),
    ],
)
def test_a_sentence_is_read_and_written_back(sentence: str, gate: Gate) -> None:
    assert Gate.parse(sentence) == gate
    assert Gate.parse(str(gate)) == gate


@pytest.mark.parametrize(
    "sentence",
    [
        "",
        "auc",
        "auc < 0.5",
        "auc >= 0.5",
        "auc@0.01 <= 0.5",
        "tpr <= 0.03",
        "tpr@0 <= 0.03",
        "tpr@1 <= 0.03",
        "tpr@1.5 <= 0.03",
        "tpr@0.01 <= 3",
        "tpr@0.01 <= -1",
        "tpr@0.01 <= nan",
        "auc <= inf",
        "auc <= 0.5, auc <= 0.6",
        "epsilon <= 3",
        "auc <= 0.5 or else",
    ],
)
def test_anything_else_is_refused_with_an_example(sentence: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        Gate.parse(sentence)
    assert caught.value.code == "E103"
    assert "tpr@0.01 <= 0.03" in caught.value.hint


def test_a_gate_built_by_hand_is_checked_too() -> None:
    for metric, fpr, limit in [("auc", 0.01, 0.5), ("tpr", None, 0.5), ("auc", None, float("nan")), ("f1", None, 0.5)]:
        with pytest.raises(Misconfigured, match="E103"):
            Gate(metric=metric, fpr=fpr, limit=limit)


def test_the_worst_upper_end_decides_not_the_value() -> None:
    verdict = Gate.parse("auc <= 0.55").check([result("north"), result("south", auc_high=0.56), result("west")])
    assert (verdict.passed, verdict.measured, verdict.limit) == (False, 0.56, 0.55)
    assert verdict.text == "auc <= 0.55: failed, at most 0.56 (south)"


def test_an_upper_end_on_the_limit_passes() -> None:
    verdict = Gate.parse("tpr@0.01 <= 0.03").check([result("north", tpr_high=0.03), result("south")])
    assert (verdict.passed, verdict.measured) == (True, 0.03)
    assert verdict.text == "tpr@0.01 <= 0.03: passed, at most 0.03 (north)"
    assert not Gate.parse("tpr@0.01 <= 0.03").check([result("north", tpr_high=np.nextafter(0.03, 1))]).passed


def test_nothing_measured_fails() -> None:
    for sentence in ("auc <= 1", "tpr@0.01 <= 1"):
        verdict = Gate.parse(sentence).check([])
        assert not verdict.passed and verdict.measured is None and "nothing was measured" in verdict.text


def test_one_result_without_the_rate_fails_all() -> None:
    verdict = Gate.parse("tpr@0.01 <= 1").check([result("north"), result("south", fpr=0.1)])
    assert not verdict.passed and verdict.measured is None
    assert "not measured for south" in verdict.text


def test_a_rate_that_cannot_be_resolved_fails() -> None:
    rng = np.random.default_rng(0)
    blurred = measure(rng.normal(0, 1, 500), rng.normal(0, 1, 99), scope="north", rng=rng)
    verdict = Gate.parse("tpr@0.01 <= 1").check([result("south"), blurred])
    assert not verdict.passed and verdict.measured is None
    assert "too few held-out records for north (99)" in verdict.text


def test_a_figure_that_is_not_a_number_fails() -> None:
    broken = replace(result("north"), auc=Interval(value=0.5, low=0.4, high=float("nan"), confidence=0.95))
    verdict = Gate.parse("auc <= 1").check([broken, result("south")])
    assert not verdict.passed and verdict.measured is None and "not a number" in verdict.text


def test_a_rough_interval_is_said_to_be_rough() -> None:
    rng = np.random.default_rng(0)
    rough = measure(rng.normal(0, 1, 500), rng.normal(0, 1, 360), scope="north", rng=rng)
    assert "rough" in Gate.parse("tpr@0.01 <= 0.5").check([rough]).text


def test_a_leak_is_stopped_and_a_well_measured_absence_of_one_is_not() -> None:
    rng = np.random.default_rng(0)
    heldout = rng.normal(0, 1, 5000)
    quiet = measure(rng.normal(0, 1, 5000), heldout, scope="north", rng=rng)
    leaky = measure(rng.normal(1, 1, 5000), heldout, scope="south", rng=rng)
    for sentence in ("auc <= 0.55", "tpr@0.01 <= 0.03"):
        assert Gate.parse(sentence).check([quiet]).passed
        assert not Gate.parse(sentence).check([quiet, leaky]).passed
