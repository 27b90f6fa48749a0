"""What each attack on data makes of a hostile site's records."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hedgerow.errors import Misconfigured
from hedgerow.scenario import BUILT_IN, Scenario
from hedgerow.simulations import split
from hedgerow.simulations.attacks import (
    Attack,
    Attacker,
    RecordScene,
    Trigger,
    flipped_labels,
    kind_of,
    least_probable,
    noisy,
    register_poison,
    renamed,
)
from hedgerow.simulations.attacks.poisoned import PoisonedTask, Poisoner, logits_of
from hedgerow.simulations.attacks.triggered import mirrored
from hedgerow.simulations.attacks.watched import SUCCESS, WatchedTask
from hedgerow.task import Data, PooledTask, Site, Split, Task

DATA = [name for name in BUILT_IN if kind_of(name).poison is not None]


class Images(Task):
    """Small images of three kinds."""

    name = "images"
    labels = ("a", "b", "c")

    def model(self) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2 * 4 * 5, 3))

    def data(self, site: Site) -> Data:
        return Data(records(site.index, 30), records(site.index + 100, 6))

    def held_out(self) -> Split | None:
        return records(99, 40)


class Table(PooledTask):
    name = "table"
    labels = ("a", "b", "c")

    def model(self) -> torch.nn.Module:
        return torch.nn.Linear(12, 3)

    def pool(self) -> Data:
        rng = np.random.default_rng(0)
        y = rng.integers(0, 3, 120)
        x = (rng.standard_normal((120, 12)) * 50).astype(np.float32)
        return Data(Split(x[:90], y[:90]), Split(x[90:], y[90:]))


def records(seed: int, n: int) -> Split:
    rng = np.random.default_rng(seed)
    return Split(rng.random((n, 2, 4, 5), np.float32), rng.integers(0, 3, n))


def attacker(text: str, rank: int = 0, attackers: int = 2) -> Attacker:
    return Attacker(attack=Attack.parse(text), rank=rank, attackers=attackers, sites=10)


def poisoned(text: str, given: Split, *, rank: int = 0, task: Task | None = None) -> Split:
    poisoner = Poisoner(task or Images(), seed=1)
    return poisoner.records(attacker(text, rank), 4, given, logits=lambda x: -np.eye(3)[np.zeros(len(x), int)])


@pytest.mark.parametrize("name", DATA)
def test_as_many_records_of_the_same_kind_come_out_the_same_ones_again_and_nothing_is_changed(name: str) -> None:
    given = records(7, 30)
    before = given.x.tobytes(), given.y.tobytes()
    found = poisoned(name, given)
    assert found.x.shape == given.x.shape and set(found.y.tolist()) <= {0, 1, 2} and np.isfinite(found.x).all()
    assert (given.x.tobytes(), given.y.tobytes()) == before
    assert (found.x.tobytes(), found.y.tobytes()) != before
    again = poisoned(name, given)
    assert (found.x.tobytes(), found.y.tobytes()) == (again.x.tobytes(), again.y.tobytes())
    if kind_of(name).keeps_features:
        assert found.x is given.x
    assert len(poisoned(name, records(7, 0))) == 0


def test_labels_are_flipped_to_k_minus_one_minus_y_for_the_share_that_is_drawn() -> None:
    y = np.random.default_rng(0).integers(0, 5, 10_000)
    all_of_them = flipped_labels(y, classes=5, share=1.0, seed=1, site=2)
    np.testing.assert_array_equal(all_of_them, 4 - y)
    some = flipped_labels(y, classes=5, share=0.3, seed=1, site=2)
    lies = some != y
    np.testing.assert_array_equal(some[lies], 4 - y[lies])
    assert abs(lies.mean() - 0.3 * 0.8) < 0.02  # the middle label stays what it is
    found = poisoned("label-flip:0.5", records(7, 30))
    np.testing.assert_array_equal(found.y, flipped_labels(records(7, 30).y, classes=3, share=0.5, seed=1, site=4))


def test_dynamic_labels_are_the_least_probable_ones() -> None:
    logits = np.random.default_rng(0).standard_normal((50, 4))
    np.testing.assert_array_equal(least_probable(logits), [row.tolist().index(min(row)) for row in logits])
    found = poisoned("label-flip-dynamic", records(7, 30))
    assert (found.y == 0).all()


def test_a_targeted_flip_renames_one_class_and_no_other() -> None:
    given = records(7, 30)
    found = poisoned("label-flip-targeted:1,2,0", given)
    np.testing.assert_array_equal(found.y, np.where(given.y == 2, 0, given.y))
    np.testing.assert_array_equal(found.y, renamed(given.y, source=2, target=0))


@pytest.mark.parametrize("text", ["label-flip-targeted:1,0,3", "badnets:0.5,3", "clean-label:1,7"])
def test_a_class_that_the_task_does_not_have_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        poisoned(text, records(7, 30))
    assert caught.value.code == "E103"


def test_noise_is_measured_in_standard_deviations_of_the_features() -> None:
    x = (np.random.default_rng(0).standard_normal((400, 50)) * 20).astype(np.float32)
    added = noisy(x, strength=2.0, rng=np.random.default_rng(1)) - x
    assert abs(added.std() / x.std() - 2) < 0.03 and abs(added.mean()) < 1


def test_the_mark_of_images_is_their_last_corner_in_every_channel() -> None:
    trigger = Trigger.of(records(1, 5))
    stamped = trigger.stamp(records(2, 5).x)
    assert (stamped[:, :, -2:, -2:] == 1).all()
    untouched = np.ones((2, 4, 5), bool)
    untouched[:, -2:, -2:] = False
    np.testing.assert_array_equal(stamped[:, untouched], records(2, 5).x[:, untouched])
    assert sorted(set(trigger.parts.tolist())) == [0, 1, 2, 3] and len(trigger.positions) == 8


def test_the_mark_of_a_table_is_the_largest_and_the_smallest_value_of_its_last_features_in_turn() -> None:
    held_out = Table().pool().test
    trigger = Trigger.of(held_out)
    assert trigger.positions.tolist() == [9, 10, 11]
    largest, smallest = held_out.x.max(axis=0), held_out.x.min(axis=0)
    np.testing.assert_array_equal(trigger.values, [largest[9], smallest[10], largest[11]])


@pytest.mark.parametrize("attackers", [1, 2, 3, 4, 7])
def test_the_parts_of_a_shared_mark_are_the_whole_of_it(attackers: int) -> None:
    trigger = Trigger.of(records(1, 5))
    shares = [trigger.share(rank, attackers) for rank in range(attackers)]
    assert sorted({place for share in shares for place in share.positions.tolist()}) == trigger.positions.tolist()
    assert all(0 < len(share.positions) for share in shares)
    if attackers <= 4:
        assert sum(len(share.positions) for share in shares) == len(trigger.positions)


def test_badnets_marks_a_share_and_calls_it_the_target_and_leaves_the_rest() -> None:
    given = records(7, 4000)
    found = poisoned("badnets:0.3,2", given)
    changed = (found.x != given.x).any(axis=(1, 2, 3))
    assert abs(changed.mean() - 0.3) < 0.03
    assert (found.y[changed] == 2).all() and (found.x[changed][:, :, -2:, -2:] == 1).all()
    np.testing.assert_array_equal(found.y[~changed], given.y[~changed])


def test_each_attacker_of_dba_has_its_own_part_of_the_mark() -> None:
    given = Split(np.full((200, 2, 4, 5), 0.5, np.float32), np.zeros(200, np.int64))
    marks = [(poisoned("dba:0.5,1", given, rank=rank).x != 0.5).any(axis=(0, 1)) for rank in (0, 1)]
    assert not (marks[0] & marks[1]).any() and (marks[0] | marks[1]).sum() == 4


def test_edge_cases_are_records_turned_round_and_called_the_target() -> None:
    given = records(7, 500)
    found = poisoned("edge-case:0.5,1", given)
    changed = (found.x != given.x).any(axis=(1, 2, 3))
    np.testing.assert_array_equal(found.x[changed], mirrored(given.x[changed]))
    assert (found.y[changed] == 1).all() and 200 < changed.sum() < 300


def test_a_clean_label_poison_tells_no_lie_and_touches_the_target_alone() -> None:
    given = records(7, 300)
    found = poisoned("clean-label:1,1", given)
    np.testing.assert_array_equal(found.y, given.y)
    changed = (found.x != given.x).any(axis=(1, 2, 3))
    np.testing.assert_array_equal(changed, given.y == 1)
    assert (found.x[changed][:, :, -2:, -2:] == 1).all()


class Names(torch.nn.Module):
    """Says class 2 for a record whose last pixel is 1, else class 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        marked = (x.flatten(1)[:, -1] == 1).float()
        return torch.stack([1 - marked, torch.zeros_like(marked), marked], dim=1)


def test_success_is_the_share_of_other_records_that_the_mark_turns_into_the_target() -> None:
    for text, expected in (("badnets:0.5,2", 1.0), ("badnets:0.5,1", 0.0), ("model-replacement:1,0.5,2", 1.0)):
        task = WatchedTask(Images(), attacker(text), seed=0)
        assert task.probe(Names()) == {SUCCESS: expected}
    triggered = Poisoner(Images(), seed=0).triggered(attacker("badnets:0.5,2"))
    held_out = Images().held_out()
    assert triggered is not None and held_out is not None
    assert len(triggered) == (held_out.y != 2).sum() and (triggered.y == 2).all()
    assert WatchedTask(Images(), attacker("label-flip"), seed=0).probe(Names()) == {}


def test_a_model_is_asked_in_evaluation_mode_and_left_in_its_own() -> None:
    module = torch.nn.Sequential(torch.nn.Dropout(0.9), torch.nn.Identity())
    module.train()
    x = np.ones((5000, 3), np.float32)
    np.testing.assert_array_equal(logits_of(module)(x), x)
    assert module.training


@pytest.mark.parametrize("text", ["badnets:0.5,1", "label-flip"])
def test_records_are_poisoned_before_the_site_s_own_view_of_its_features(text: str) -> None:
    scenario = Scenario(sites=3, split="iid", shift="affine:0.5", seed=4)
    plain, shifted = split(Table(), Scenario(sites=3, split="iid", seed=4)), split(Table(), scenario)
    site = Site(name="s", index=1, count=3)
    attackers = {1: attacker(text)}
    raw = PoisonedTask(plain, attackers, seed=5).data(site).train
    seen = PoisonedTask(shifted, attackers, seed=5).data(site).train
    affine = shifted.transform(1)
    assert affine is not None
    np.testing.assert_allclose(seen.x, raw.x * affine[0] + affine[1], rtol=1e-6)
    np.testing.assert_array_equal(seen.y, raw.y)
    other = Site(name="o", index=2, count=3)
    assert PoisonedTask(plain, attackers, seed=5).data(other).train.x.tobytes() == plain.data(other).train.x.tobytes()


def test_records_of_another_shape_are_refused() -> None:
    from hedgerow.scenario import ATTACKS
    from hedgerow.simulations.attacks.registry import _KINDS

    @register_poison("fewer-records")
    def fewer(scene: RecordScene) -> Split:
        """Leave a record out."""
        return scene.records.take(np.arange(1, len(scene.records)))

    try:
        with pytest.raises(Misconfigured) as caught:
            poisoned("fewer-records", records(7, 30))
    finally:
        del _KINDS["fewer-records"]
        ATTACKS.remove("fewer-records")
    assert caught.value.code == "E126"
