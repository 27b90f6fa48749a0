"""A planted leak is found, a model that never saw the data is not accused, and the model is left untouched."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from hedgerow.errors import Misconfigured
from hedgerow.privacy.leakage import ALL_SITES, Membership, loss_scores, loss_threshold, measure
from hedgerow.privacy.leakage import membership as module
from hedgerow.privacy.leakage.membership import same_mix

CLASSES, FEATURES = 5, 64


def per_record(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return cross_entropy(logits, targets, reduction="none")


def records(seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(seed)
    return torch.randn(count, FEATURES, generator=source), torch.randint(CLASSES, (count,), generator=source)


def linear(seed: int) -> torch.nn.Linear:
    model = torch.nn.Linear(FEATURES, CLASSES)
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=source) / 8)
    return model


def memorised(x: torch.Tensor, y: torch.Tensor) -> torch.nn.Linear:
    model = linear(0)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(200):
        optimiser.zero_grad()
        torch.autograd.backward(cross_entropy(model(x), y))
        optimiser.step()
    return model


def test_labels_learned_by_heart_are_found_and_the_site_that_was_not_trained_on_is_not() -> None:
    north, south, heldout = records(1, 80), records(2, 80), records(3, 200)
    model = memorised(*north)
    together, first, second = loss_threshold(
        model, {"south": south, "north": north}, heldout, loss=per_record, rng=np.random.default_rng(0), fprs=(0.25,)
    )
    assert [result.scope for result in (together, first, second)] == [ALL_SITES, "north", "south"]
    assert [result.members for result in (together, first, second)] == [160, 80, 80]
    assert together.nonmembers == 200 and first.nonmembers <= 200 and second.nonmembers <= 200
    assert first.auc.low > 0.9
    assert first.tpr[0].interval.low > 0.9
    assert second.auc.low < 0.5 < second.auc.high
    assert together.auc.low > 0.5
    assert second.auc.value < together.auc.value < first.auc.value


def test_held_out_against_held_out_is_accused_no_more_often_than_stated() -> None:
    # 95 % intervals miss 0.5 in 5 of 100 trials; 12 or more happen in one of 250 seeds. None at all would mean
    # intervals far too wide (one of 170).
    model = linear(4)
    results = [
        loss_threshold(
            model,
            {"north": records(2 * k, 60)},
            records(2 * k + 1, 60),
            loss=per_record,
            rng=np.random.default_rng(k),
            resamples=200,
        )[0]
        for k in range(100, 200)
    ]
    assert 1 <= sum(not result.auc.low <= 0.5 <= result.auc.high for result in results) <= 11


def test_a_site_with_one_easy_label_is_not_accused_and_a_site_with_one_hard_label_is_not_acquitted() -> None:
    """The model knows label 0 well and nothing else, and was trained on neither site."""
    model = torch.nn.Linear(FEATURES, CLASSES)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.copy_(torch.tensor([3.0, 0.0, 0.0, 0.0, 0.0]))
        model.weight[:, 0] = torch.randn(CLASSES, generator=torch.Generator().manual_seed(1)) / 2
    x, y = records(7, 2000)
    members = {
        "easy": (x[:1000][y[:1000] == 0], y[:1000][y[:1000] == 0]),
        "hard": (x[:1000][y[:1000] == 1], y[:1000][y[:1000] == 1]),
    }
    _, easy, hard = loss_threshold(model, members, (x[1000:], y[1000:]), loss=per_record, rng=np.random.default_rng(0))
    assert easy.auc.low < 0.5 < easy.auc.high
    assert hard.auc.low < 0.5 < hard.auc.high
    assert easy.nonmembers == int((y[1000:] == 0).sum())


def test_the_matched_mix_is_the_wanted_mix_and_uses_no_row_twice() -> None:
    rng = np.random.default_rng(0)
    pool = np.repeat([0, 1, 2], [50, 20, 30])
    rows = same_mix(np.array([0, 0, 0, 1, 9]), pool, rng=rng)
    assert np.bincount(pool[rows], minlength=3).tolist() == [50, 16, 0]
    assert len(set(rows.tolist())) == len(rows)
    assert len(same_mix(np.array([9]), pool, rng=rng)) == 0


def test_scores_are_the_negated_losses_whatever_the_batch() -> None:
    model, (x, y) = linear(1), records(5, 37)
    expected = [-cross_entropy(model(x[k : k + 1]), y[k : k + 1]).item() for k in range(37)]
    for batch in (1, 10, 37, 4096):
        scores = loss_scores(model, x, y, per_record, batch)
        assert scores.dtype == np.float64 and scores.shape == (37,)
        assert scores == pytest.approx(expected, rel=1e-5)


def test_no_records_give_no_scores() -> None:
    assert loss_scores(linear(1), *records(5, 0), per_record).shape == (0,)


def test_the_model_is_left_as_it_was_found() -> None:
    model = torch.nn.Sequential(
        torch.nn.Linear(FEATURES, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.5), torch.nn.Linear(8, CLASSES)
    )
    model.train()
    model[1].eval()  # one layer frozen by its user
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = loss_scores(model, *records(6, 50), per_record)
    again = loss_scores(model, *records(6, 50), per_record, batch=7)
    assert first == pytest.approx(again, rel=1e-5)  # dropout is off
    assert [module.training for module in model.modules()] == [True, True, False, True, True]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.is_grad_enabled()


def test_the_modes_are_restored_even_when_the_loss_raises() -> None:
    def broken(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no loss today")

    model = linear(1).train()
    with pytest.raises(RuntimeError, match="no loss today"):
        loss_scores(model, *records(5, 3), broken)
    assert model.training and torch.is_grad_enabled()


@pytest.mark.parametrize("count", [1, 5])
def test_a_mean_loss_is_refused(count: int) -> None:
    with pytest.raises(Misconfigured, match="E102.*reduction='none'"):
        loss_scores(linear(1), *records(5, count), cross_entropy)


def test_records_without_labels_and_empty_batches_are_refused() -> None:
    x, y = records(5, 4)
    with pytest.raises(Misconfigured, match="E126 4 records but 3 labels"):
        loss_scores(linear(1), x, y[:3], per_record)
    with pytest.raises(Misconfigured, match="E103"):
        loss_scores(linear(1), x, y, per_record, batch=0)


def test_a_diverged_model_is_refused_and_the_scope_is_named() -> None:
    model = linear(1)
    with torch.no_grad():
        model.bias.fill_(float("nan"))
    with pytest.raises(Misconfigured, match="E123.*all sites: members.*diverged"):
        loss_threshold(model, {"north": records(1, 5)}, records(2, 5), loss=per_record, rng=np.random.default_rng(0))


def test_a_site_with_one_record_is_measured_and_a_site_with_none_is_left_out() -> None:
    results = loss_threshold(
        linear(1),
        {"empty": records(1, 0), "lone": records(2, 1), "north": records(3, 30)},
        records(4, 50),
        loss=per_record,
        rng=np.random.default_rng(0),
    )
    assert [(result.scope, result.members) for result in results] == [(ALL_SITES, 31), ("lone", 1), ("north", 30)]
    assert (results[1].auc.low, results[1].auc.high) == (0.0, 1.0)


def test_nothing_to_compare_is_refused() -> None:
    for members, heldout in [
        ({}, records(1, 5)),
        ({"north": records(1, 0)}, records(1, 5)),
        ({"north": records(1, 5)}, records(1, 0)),
    ]:
        with pytest.raises(Misconfigured, match="E125"):
            loss_threshold(linear(1), members, heldout, loss=per_record, rng=np.random.default_rng(0))


def test_a_site_may_not_take_the_name_of_all_sites() -> None:
    with pytest.raises(Misconfigured, match="E105"):
        loss_threshold(
            linear(1), {ALL_SITES: records(1, 5)}, records(2, 5), loss=per_record, rng=np.random.default_rng(0)
        )


def test_a_result_survives_json_unchanged() -> None:
    rng = np.random.default_rng(0)
    result = measure(rng.normal(1, 1, 300), rng.normal(0, 1, 300), scope="north", rng=rng, fprs=(0.001, 0.01))
    plain = result.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert [plain[key] for key in ("scope", "members", "nonmembers")] == ["north", 300, 300]
    assert [plain[key] for key in ("adversary", "attack")] == ["queries the final model", "loss threshold"]


def federation(sizes: dict[str, int]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    return {site: records(sum(site.encode()), count) for site, count in sizes.items()}


def measured(sizes: dict[str, int], **changes: Any) -> dict[str, Membership]:
    results = loss_threshold(
        linear(1), federation(sizes), records(2, 90), loss=per_record, rng=np.random.default_rng(4), **changes
    )
    return {result.scope: result for result in results}


def test_a_sites_result_does_not_depend_on_the_other_sites_nor_on_how_many_are_measured() -> None:
    sizes = {"ash": 20, "birch": 15, "cedar": 12, "elm": 30}
    everybody, few = measured(sizes), measured({"birch": 15, "elm": 30})
    assert few["elm"] == everybody["elm"] and few["birch"] == everybody["birch"]
    assert max(len(few[site].roc) for site in ("elm", "birch")) <= 40
    limited = measured(sizes, most=2)
    assert list(limited) == [ALL_SITES, "ash", "elm"]
    assert limited["elm"] == everybody["elm"]
    assert limited[ALL_SITES] == replace(everybody[ALL_SITES], note=limited[ALL_SITES].note)


def test_of_too_many_sites_those_with_most_records_are_measured_and_the_result_says_so() -> None:
    sizes = {"ash": 9, "birch": 10, "cedar": 12, "elm": 9, "fir": 0, "oak": 10}
    results = measured(sizes, most=3)
    assert list(results) == [ALL_SITES, "birch", "cedar", "oak"]
    assert results[ALL_SITES].members == 50  # all together are everybody
    assert results[ALL_SITES].note == "3 of 6 sites are measured by name: those with most records, at least 10."
    assert results[ALL_SITES].to_dict()["note"] == results[ALL_SITES].note
    assert list(measured(sizes, most=5)) == [ALL_SITES, "birch", "cedar", "oak"]  # with nine nothing could be said
    everybody = measured(sizes, most=6)
    assert list(everybody) == [ALL_SITES, "ash", "birch", "cedar", "elm", "oak"]
    assert {result.note for result in everybody.values()} == {""}


@pytest.mark.parametrize("counts", [[3, 4, 5], [4096, 1, 4095, 2], [5000, 7, 0, 9000]])
def test_small_sites_that_share_a_pass_get_the_scores_that_they_would_get_alone(counts: list[int]) -> None:
    members = federation({f"site-{n}": count for n, count in enumerate(counts)})
    model = linear(3)
    together = module._scores_by_site(model, members, per_record)
    assert list(together) == sorted(members)
    for site, (x, y) in members.items():
        assert together[site] == pytest.approx(loss_scores(model, x, y, per_record), rel=1e-5)


def test_sites_whose_records_have_other_shapes_are_scored_apart() -> None:
    """A model may take texts of any length: they cannot be put side by side."""
    members = {f"site-{n}": (torch.rand(3, n + 1, generator=torch.Generator()), torch.zeros(3)) for n in range(3)}

    class Sums(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.sum(1)

    scores = module._scores_by_site(Sums(), members, lambda total, y: total - y)
    assert {site: found.tolist() for site, found in scores.items()} == {
        site: pytest.approx((-x.sum(1)).tolist()) for site, (x, _) in members.items()
    }


def test_labels_that_are_missing_at_one_site_and_too_many_at_another_are_refused_all_the_same() -> None:
    (x, y), (a, b) = records(5, 4), records(6, 4)
    with pytest.raises(Misconfigured, match="E126 4 records but 3 labels"):
        loss_threshold(
            linear(1), {"north": (x, y[:3]), "south": (a[:3], b)}, records(2, 9), loss=per_record,
            rng=np.random.default_rng(0),
        )  # fmt: skip
