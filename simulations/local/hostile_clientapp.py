"""Flower's `flwr-clientapp` command for a site that attacks: the app's own ClientApp, wrapped.

A SuperNode starts `flwr-clientapp` by name for each message. `hostile_command` writes a command of that name that runs
this module; put first on a site's PATH, it makes that one site hostile, and no deployed code knows of any attack.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flwr.app import Context, Message
    from flwr.clientapp import ClientApp

__all__ = ["hostile_command", "main"]


def hostile_command(folder: Path, *, attack: str, seed: int) -> Path:
    """Write `folder/flwr-clientapp`, which runs the real command with every ClientApp wrapped in `attack`."""
    words = [sys.executable, "-m", "hedgerow.simulations.local.hostile_clientapp"]
    words += ["--attack", attack, "--seed", str(seed)]
    command = folder / "flwr-clientapp"
    folder.mkdir(parents=True, exist_ok=True)
    command.write_text(f'#!/bin/sh\nexec {shlex.join(words)} -- "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    return command


def main(words: Sequence[str]) -> None:
    """Run Flower's command with the words after `--`, and the attack given by those before it."""
    parser = argparse.ArgumentParser(prog="flwr-clientapp")
    parser.add_argument("--attack", required=True)
    parser.add_argument("--seed", type=int, required=True)
    split = list(words).index("--")
    own = parser.parse_args(words[:split])

    from hedgerow.flowercompat import run_clientapp_command

    run_clientapp_command(words[split + 1 :], wrap=partial(_wrap, attack=own.attack, seed=own.seed))


def _wrap(client_app: "ClientApp", *, attack: str, seed: int) -> "Callable[[Message, Context], Message]":
    from hedgerow.simulations.attacks import hostile

    return hostile(client_app, attack, seed=seed)


if __name__ == "__main__":
    main(sys.argv[1:])
