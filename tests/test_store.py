from pathlib import Path

import pytest

from hedgerow.cli.ledgers import new_ledger
from hedgerow.client.site import _home
from hedgerow.store import STORE_VARIABLE, store_folder


def test_every_part_looks_for_ledgers_under_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(STORE_VARIABLE, raising=False)
    assert store_folder() == tmp_path / ".hedgerow"
    assert _home("a") / "ledger.sqlite" == new_ledger("", "a") == store_folder() / "sites" / "a" / "ledger.sqlite"
    monkeypatch.setenv(STORE_VARIABLE, str(tmp_path / "own"))
    assert store_folder() == tmp_path / "own" == _home("a") == new_ledger("", "a").parent
