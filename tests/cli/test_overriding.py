"""Words of the command line as settings, and the command that is written into a report."""

import shlex
from pathlib import Path

import pytest

from hedgerow import Scenario
from hedgerow.cli.overriding import command, memory_bytes, scenario_of
from hedgerow.cli.simulating import Asked, Means
from hedgerow.errors import Misconfigured


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4GB", 4 * 10**9),
        ("4 gb", 4 * 10**9),
        ("500MB", 5 * 10**8),
        ("64kB", 64_000),
        ("2GiB", 2**31),
        ("1.5MiB", 3 * 2**19),
        ("1TB", 10**12),
        ("4096", 4096),
        ("", None),
    ],
)
def test_a_size_is_read_in_decimal_and_binary_units(text: str, size: int | None) -> None:
    assert memory_bytes(text) == size


@pytest.mark.parametrize("text", ["4XB", "GB", "-4GB", "0", "0.1B", "4GB4", "four", "1e9", "9" * 400, "nan"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        memory_bytes(text)
    assert (caught.value.code, caught.value.place) == ("E103", "--memory")


def test_sites_are_a_word_of_the_scenario() -> None:
    assert scenario_of(Scenario(), "", 30).sites == 30
    assert scenario_of(Scenario(), "sites=30", 30).sites == 30
    assert scenario_of(Scenario(sites=3), "attack=sign-flip attackers=20", 30).attackers == 20
    assert scenario_of(Scenario(sites=3), "", None).sites == 3


@pytest.mark.parametrize(
    ("words", "sites", "code", "place"),
    [
        ("sites=4", 3, "E105", "--sites"),
        ("", 0, "E103", "--sites"),
        ("attack=sign-flip attackers=9", 3, "E105", "-s and --sites, attackers"),
        ("site=4", None, "E101", "-s"),
    ],
)
def test_sites_that_cannot_be_are_refused(words: str, sites: int | None, code: str, place: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        scenario_of(Scenario(), words, sites)
    assert (caught.value.code, caught.value.place) == (code, place)


def test_the_command_is_the_one_that_was_given() -> None:
    asked = Asked(
        path=Path("my project"),
        engine="ray",
        sites=20,
        seeds=5,
        sweeps=("privacy.epsilon=1,3", 'latency="lognormal:1,1",none'),
        means=Means(workers=2, memory="4GB", address="head:6379"),
        config="rounds=5",
        scenario="attackers=0",
    )
    assert shlex.split(asked.command) == [
        *("hedgerow", "sim", "my project", "--engine", "ray", "--sites", "20", "--seeds", "5"),
        *("--sweep", "privacy.epsilon=1,3", "--sweep", 'latency="lognormal:1,1",none'),
        *("--workers", "2", "--memory", "4GB", "--address", "head:6379", "-c", "rounds=5", "-s", "attackers=0"),
    ]


def test_what_was_left_out_is_not_in_the_command() -> None:
    assert Asked().command == "hedgerow sim ."
    assert command("demo", "", "", "") == "hedgerow demo"
