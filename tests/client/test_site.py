"""What a node's own configuration says about the site, and what it cannot say."""

from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, RecordDict

from hedgerow.client.site import SiteSetup, site_setup
from hedgerow.errors import Misconfigured
from hedgerow.privacy import OsRandomness, SimulatedRandomness


def setup(**config: Any) -> SiteSetup:
    node = {key.replace("_", "-"): value for key, value in config.items()}
    return site_setup(
        Context(run_id=1, node_id=3, node_config=node, state=RecordDict(), run_config={"site-name": "no"})
    )


def test_everything_can_be_stated() -> None:
    made = setup(
        partition_id=2,
        num_partitions=10,
        site_name="ward-7",
        site_store="/data/ledger",
        dataset="cohort",
        epsilon_limit=3,
        simulation_seed=4,
    )
    assert (made.site.name, made.site.index, made.site.count) == ("ward-7", 2, 10)
    assert (made.store, made.dataset, made.epsilon_limit, made.seed) == (Path("/data/ledger"), "cohort", 3.0, 4)
    assert made.site.config["dataset"] == "cohort"


def test_what_is_not_stated_protects(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HEDGEROW_STORE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    made = setup(partition_id=2, num_partitions=12)
    assert made.site.name == "site-03" and made.dataset == "site-03"
    assert made.store == tmp_path / ".hedgerow" / "sites" / "site-03"
    assert made.seed is None and isinstance(made.randomness(1), OsRandomness)
    monkeypatch.setenv("HEDGEROW_STORE", "/elsewhere")
    assert setup().store == Path("/elsewhere")


def test_numbers_may_come_as_text() -> None:
    made = setup(partition_id="1", num_partitions="2", epsilon_limit="0.5", simulation_seed="6")
    assert (made.site.index, made.site.count, made.epsilon_limit, made.seed) == (1, 2, 0.5, 6)


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"partition_id": "first"}, "E102"),
        ({"epsilon_limit": "lots"}, "E102"),
        ({"simulation_seed": "x"}, "E102"),
        ({"partition_id": -1, "num_partitions": 3}, "E103"),
        ({"partition_id": 3, "num_partitions": 3}, "E103"),
        ({"epsilon_limit": 0}, "E103"),
        ({"epsilon_limit": -2.0}, "E103"),
        ({"epsilon_limit": float("inf")}, "E103"),
        ({"epsilon_limit": float("nan")}, "E103"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(config: dict[str, Any], code: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        setup(**config)
    assert caught.value.code == code and caught.value.place == "node configuration"


def test_each_simulated_site_and_round_has_its_own_stream() -> None:
    draws = {
        (seed, site, number): setup(partition_id=site, num_partitions=3, simulation_seed=seed)
        .randomness(number)
        .shuffled(50)
        .tobytes()
        for seed in (0, 1)
        for site in (0, 1)
        for number in (1, 2)
    }
    assert len(set(draws.values())) == 8
    assert isinstance(setup(simulation_seed=0).randomness(1), SimulatedRandomness)
