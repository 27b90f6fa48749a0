"""Tests of hedgerow.privacy.accounting.kept: nothing is computed twice while there is room, and room is bytes."""

from hedgerow.privacy.accounting.kept import Kept


def test_a_value_is_made_once_and_the_one_unused_the_longest_is_forgotten_first() -> None:
    made: list[str] = []
    kept = Kept[str](bytes=6, size=len)

    def get(key: str) -> str:
        return kept.get(key, lambda: made.append(key) or 3 * key)  # type: ignore[func-returns-value]  # None is falsy

    assert [get("a"), get("b"), get("a")] == ["aaa", "bbb", "aaa"]
    assert get("c") == "ccc" and made == ["a", "b", "c"]  # b made way, a was used since
    assert get("a") == "aaa" and made == ["a", "b", "c"]
    assert get("b") == "bbb" and made == ["a", "b", "c", "b"]


def test_a_value_that_is_too_large_is_still_given() -> None:
    kept = Kept[str](bytes=2, size=len)
    assert kept.get("x", lambda: "long") == "long"
