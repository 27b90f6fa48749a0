"""A hostile site runs the app's own ClientApp, wrapped, under Flower's own command."""

import importlib
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from hedgerow import flowercompat
from hedgerow.simulations.local.hostile_clientapp import hostile_command, main


def test_the_command_is_executable_and_passes_every_word_on(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    command = hostile_command(folder, attack="sign-flip:4.0", seed=7)
    assert command.name == "flwr-clientapp"
    shown = command.read_text(encoding="utf-8").replace(sys.executable, "printf '%s|'").replace("exec ", "")
    command.write_text(shown, encoding="utf-8")
    words = ["--token", "a b", "--insecure"]
    printed = subprocess.run([command, *words], capture_output=True, text=True, check=True).stdout
    assert printed.split("|")[:-1] == [
        "-m", "hedgerow.simulations.local.hostile_clientapp", "--attack", "sign-flip:4.0", "--seed", "7", "--", *words
    ]  # fmt: skip


def test_the_app_is_wrapped_in_the_attack_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    attacks = types.ModuleType("hedgerow.simulations.attacks")

    def hostile(app: Any, attack: str, *, seed: int) -> str:
        seen.append((app, attack, seed))
        return "wrapped"

    attacks.__dict__["hostile"] = hostile
    monkeypatch.setitem(sys.modules, "hedgerow.simulations.attacks", attacks)

    def command(words: list[str], *, wrap: Any) -> None:
        seen.append((words, wrap("the app")))

    monkeypatch.setattr(flowercompat, "run_clientapp_command", command)
    main(["--attack", "gaussian:2", "--seed", "5", "--", "--token", "t", "--", "x"])
    assert seen == [("the app", "gaussian:2", 5), (["--token", "t", "--", "x"], "wrapped")]


def test_flowers_command_loads_through_the_wrapper_and_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = importlib.import_module("flwr.supernode.runtime.run_clientapp")
    cli = importlib.import_module("flwr.supernode.cli.flwr_clientapp")
    before = runtime.__dict__["get_load_client_app_fn"]
    seen: list[Any] = []

    def fake_command() -> None:
        load = runtime.__dict__["get_load_client_app_fn"](default_app_ref="", app_path=None, multi_app=True)
        seen.append((sys.argv[1:], load("id", "1", "hash")))

    def fake_load(**options: object) -> Any:
        return lambda *words: ("loaded", words, options)

    monkeypatch.setattr(runtime, "get_load_client_app_fn", fake_load)
    monkeypatch.setattr(cli, "flwr_clientapp", fake_command)
    words = list(sys.argv)
    flowercompat.run_clientapp_command(["--token", "t"], wrap=lambda app: ("wrapped", app))  # type: ignore[arg-type, return-value]
    options = {"default_app_ref": "", "app_path": None, "multi_app": True}
    assert seen == [(["--token", "t"], ("wrapped", ("loaded", ("id", "1", "hash"), options)))]
    assert sys.argv == words and runtime.__dict__["get_load_client_app_fn"] is fake_load is not before
