"""Recipes: learning rates as in the papers, losses as written down, stages that change only what they should."""

import json
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from cvdl import zoo
from cvdl.errors import CourseError
from cvdl.flow import FlowNetS, LikeNet, SPyNet, epe
from cvdl.flow.data.augment import Augment
from cvdl.flow.data.chairs import Chairs
from cvdl.flow.losses import multiscale_epe
from cvdl.flow.models.flownet2 import FlowNetStack
from cvdl.flow.unsupervised import census_loss, likelihood_loss
from cvdl.settings import PROFILES
from cvdl.train.recipes import RECIPES, find, listing
from cvdl.train.recipes import flow_losses as losses
from cvdl.train.recipes.flow import BASIC, FlowStage, add_level, stack_with_a_start, use_levels
from cvdl.train.stages import SCHEDULES, lr_factor, mean_and_error, override, settings

STAGES = [
    pytest.param(recipe, profile, stage, id=f"{name}-{profile}-{stage.name}")
    for name, recipe in RECIPES.items()
    for profile, stages in recipe.stages.items()
    for stage in stages
]
FLOW = [each for each in STAGES if isinstance(each.values[2], FlowStage)]


def stage(schedule="S_short", **options):
    return FlowStage(name="stage", steps=1000, loss=losses.multiscale_loss, schedule=schedule, **options)


def pairs_of(size, count=2, known=1.0):
    """Rendered pairs, of which a share of the pixels is valid."""
    pairs = Chairs(size, motion=3.0).batch(0, count)
    chosen = torch.rand(count, 1, *size, generator=torch.Generator().manual_seed(0)) < known
    return pairs._replace(valid=chosen)


# Learning rates.


@pytest.mark.parametrize(
    "schedule, thousands, halvings",
    [
        ("S_short", 600, (300, 400, 500)),
        ("S_long", 1200, (400, 600, 800, 1000)),
        ("S_fine", 500, (200, 300, 400)),
        ("constant", 100, ()),
    ],
)
@pytest.mark.parametrize("shrink", [1, 100])
def test_the_rate_is_halved_at_the_papers_steps(schedule, thousands, halvings, shrink):
    steps = thousands * 1000 // shrink
    kept = [lr_factor(stage(schedule), steps, step) for step in range(0, steps, 1000 // shrink)]
    assert kept == [0.5 ** sum(k >= h for h in halvings) for k in range(thousands)]
    for number, halving in enumerate(halvings):
        step = halving * 1000 // shrink
        before, after = (lr_factor(stage(schedule), steps, s) for s in (step - 1, step))
        assert (before, after) == (0.5**number, 0.5 ** (number + 1))


def test_cosine():
    factors = [lr_factor(stage("cosine"), 8, step) for step in range(8)]
    assert factors == pytest.approx([(1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)])
    assert factors[0] == 1 and factors[4] == pytest.approx(0.5) and factors[7] < 0.04


def test_warm_up():
    slow = stage("constant", warmup=4)
    assert [lr_factor(slow, 100, step) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert lr_factor(stage("S_short", warmup=400), 1200, 700) == 0.5
    assert lr_factor(stage("cosine", warmup=4), 8, 1) == pytest.approx(0.5 * (1 + math.cos(math.pi / 8)) / 2)
    # A stage that --scale made shorter than its warm-up comes to the full rate nevertheless.
    assert max(lr_factor(slow, 4, step) for step in range(4)) == 1


def test_one_cycle():
    """Up to the peak in a twentieth of the steps, and linearly down to zero."""
    factors = [lr_factor(stage("one-cycle"), 100, step) for step in range(100)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0]) and factors[5] == 1
    assert factors[5:] == pytest.approx([(100 - step) / 95 for step in range(5, 100)])
    assert all(0 < factor <= 1 for factor in factors)
    assert all(0 < lr_factor(stage("one-cycle"), steps, step) <= 1 for steps in (1, 2, 7) for step in range(steps))


# Losses.


def test_multiscale_loss_is_flownets_and_the_error_of_the_finest_flow():
    pairs = pairs_of((64, 64), known=0.7)
    net = FlowNetS(1 / 16)
    flows = losses.flows(net, pairs)
    loss, error = losses.multiscale_loss(flows, pairs)
    torch.testing.assert_close(loss, multiscale_epe(flows, pairs.flow, pairs.valid) / 16**2)
    cells = [
        part.unflatten(3, (16, 4)).unflatten(2, (16, 4)) for part in (pairs.flow * pairs.valid, pairs.valid.float())
    ]
    total, share = (cell.sum((3, 5)) for cell in cells)
    truth = total / share.clamp(min=1)
    wanted = ((flows[0] - truth).norm(dim=1, keepdim=True) * (share > 0)).sum() / (share > 0).sum()
    torch.testing.assert_close(error, wanted)
    assert loss.requires_grad and not error.requires_grad
    robust, _ = losses.multiscale_loss(flows, pairs, robust=(0.4, 0.01))
    torch.testing.assert_close(robust, multiscale_epe(flows, pairs.flow, pairs.valid, robust=(0.4, 0.01)) / 16**2)


def test_a_missing_mask_means_that_every_pixel_is_valid():
    """Pools keep no mask."""
    pairs = pairs_of((64, 64))
    flows = losses.flows(FlowNetS(1 / 16), pairs)
    for loss in (losses.multiscale_loss, losses.pyramid_loss):
        assert loss(flows, pairs._replace(valid=None)) == loss(flows, pairs)


def test_pyramid_loss_weighs_the_errors_of_the_levels():
    torch.manual_seed(0)
    pairs, net = pairs_of((32, 48), 3), SPyNet(3)
    flows = losses.flows(net, pairs)
    errors = [epe(flow, F.avg_pool2d(pairs.flow, 2**k)) for k, flow in enumerate(flows)]
    loss, error = losses.pyramid_loss(flows, pairs)
    assert loss == error == errors[0] and loss.requires_grad and not error.requires_grad
    loss, error = losses.pyramid_loss(flows, pairs, weights=(1.0, 0.5, 0.25, 0.125))  # those of fewer levels are enough
    torch.testing.assert_close(loss, errors[0] + errors[1] / 2 + errors[2] / 4)
    assert error == errors[0]


@pytest.fixture
def spynet():
    """Untrained, but with flows that are some pixels long."""
    torch.manual_seed(1)
    net = SPyNet(3)
    for level in net.levels:
        level[-1].weight.data *= 50
    return net


@pytest.mark.parametrize("active", [1, 2, 3])
def test_windows_as_large_as_the_frame_give_the_flow_of_the_frame(spynet, active):
    pairs = pairs_of((64, 96), known=0.7)
    add_level(spynet, active) if active > 1 else use_levels(spynet, 1)
    step = spynet.reduce
    flow, truth, known = losses.finest_level_on_windows(spynet, pairs, windows=1, size=(64, 96))
    torch.testing.assert_close(step * flow, spynet(pairs.image1, pairs.image2)[0], rtol=0, atol=1e-4)
    loss, error = losses.window_loss((flow, truth, known), pairs)
    wanted, shown = losses.pyramid_loss(losses.flows(spynet, pairs), pairs)
    torch.testing.assert_close(step * loss, wanted)  # the loss on windows is in pixels of the level
    torch.testing.assert_close(step * error, shown)
    assert not error.requires_grad
    loss.backward()
    learn = [any(p.grad is not None and p.grad.any() for p in level.parameters()) for level in spynet.levels]
    assert learn == [k == active - 1 for k in range(3)]


def test_windows_show_what_is_there_in_the_frame(spynet):
    """Each is a part of the frame; 15 px from its border the flow is that of the frame."""
    pairs = pairs_of((64, 96))
    torch.manual_seed(0)
    flow, truth, known = losses.finest_level_on_windows(spynet, pairs, windows=3, size=(48, 64))
    complete = spynet(pairs.image1, pairs.image2)[0]
    assert flow.shape == truth.shape == (6, 2, 48, 64) and known.shape == (6, 1, 48, 64)
    for number in range(6):  # three times the first and the second pair
        frame, inner = number % 2, (..., slice(15, -15), slice(15, -15))
        (y, x), *others = [
            (y, x)
            for y in range(64 - 48 + 1)
            for x in range(96 - 64 + 1)
            if torch.equal(pairs.flow[frame, :, y : y + 48, x : x + 64], truth[number])
        ]
        assert not others
        window = complete[frame, :, y : y + 48, x : x + 64]
        torch.testing.assert_close(flow[number][inner], window[inner], rtol=0, atol=1e-4)


def test_windows_are_no_larger_than_the_frame(spynet):
    maps = torch.arange(2 * 24 * 32).float().view(2, 1, 24, 32)
    assert torch.equal(losses.cut(maps, (96, 128)), maps)


@pytest.mark.parametrize("objective", [likelihood_loss, census_loss])
def test_without_ground_truth_images_are_reduced_once(objective):
    torch.manual_seed(0)
    net = LikeNet(1 / 16)
    net.active, net.reduce = 2, 8
    pairs = pairs_of((64, 96)).images_only()
    output = losses.without_ground_truth(net, pairs, objective)
    images = [F.avg_pool2d(image, 8) for image in (pairs.image1, pairs.image2)]
    torch.testing.assert_close(output[1], 8 * net.flows(*images)[0])
    loss, error = losses.given_loss(output, pairs)
    assert loss == output[0] and loss.requires_grad and error.isnan()


# Stages.


def pairs_for_learning(net, count):
    return pairs_of((16 * 2 ** (len(net.levels) - 1), 24 * 2 ** (len(net.levels) - 1)), count)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_only_the_new_level_learns(count):
    torch.manual_seed(0)
    net = SPyNet(3)
    at_first = {name: value.clone() for name, value in net.state_dict().items()}
    use_levels(net, 1) if count == 1 else add_level(net, count)
    begun = {name: value.clone() for name, value in net.state_dict().items()}
    for name in at_first:
        level, rest = int(name.split(".")[1]), name.split(".", 2)[2]
        source = f"levels.{level - 1}.{rest}" if level and level == count - 1 else name
        assert torch.equal(begun[name], at_first[source]), name
    pairs = pairs_for_learning(net, 2)
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=1e-3, weight_decay=0.1)
    losses.pyramid_loss(losses.flows(net, pairs), pairs)[0].backward()
    optimizer.step()
    for name, value in net.state_dict().items():
        assert torch.equal(value, begun[name]) != name.startswith(f"levels.{count - 1}."), name
    assert all((p.grad is not None) == name.startswith(f"levels.{count - 1}.") for name, p in net.named_parameters())


def test_several_levels_learn_together():
    net = SPyNet(3)
    use_levels(net, 3, first=1)
    pairs = pairs_for_learning(net, 1)
    losses.pyramid_loss(losses.flows(net, pairs), pairs)[0].backward()
    assert [any(p.grad is not None and p.grad.any() for p in level.parameters()) for level in net.levels] == [0, 1, 1]


def without_a_zoo(monkeypatch):
    """Whether the weights ship with which a stack begins is not asked here."""
    monkeypatch.setattr("cvdl.train.recipes.flow.begin", lambda stack: None)
    with torch.device("meta"):
        net = FlowNetS(1 / 4)
    monkeypatch.setattr("cvdl.train.recipes.flow.load", lambda name: net)


@pytest.mark.parametrize("recipe, profile, stage", FLOW)
def test_sizes_fit_the_network(recipe, profile, stage, monkeypatch):
    """What a stage sees, and a batch for two processes."""
    without_a_zoo(monkeypatch)
    with torch.device("meta"):
        net = recipe.build(profile)
    stage.prepare(net)
    assert any(p.requires_grad for p in net.parameters())
    assert type(net).__name__ in zoo.NETS
    crop = (stage.augment.crop if stage.augment else None) or stage.size
    assert all(c <= s for c, s in zip(crop, stage.size, strict=True))
    multiple = net.multiple * net.reduce
    assert all(side % multiple == 0 and side >= 16 for side in crop)
    assert stage.batch % 2 == 0 and stage.steps >= 4 and stage.warmup <= stage.steps // 2
    assert stage.schedule in SCHEDULES and 0 < lr_factor(stage, stage.steps, 0) <= 1
    assert min(stage.mixture.values()) > 0 and stage.pairs >= 4 and stage.held_out_per_row <= 64


@pytest.mark.parametrize("recipe, profile, stage", FLOW)
def test_networks_are_judged_at_the_size_of_the_pool(recipe, profile, stage):
    """But for the experiment on reach, whose frames are small."""
    assert stage.size == stage.yardstick_size or stage.name == "even"


def test_a_stage_draws_from_pools_in_its_mixture(tmp_path):
    few = stage(mixture=BASIC, pairs=5, size=(32, 48), yardstick_size=(32, 48), held_out=2, varied=False)
    mixture = few.dataset("train", 3, torch.device("cpu"), tmp_path)
    assert {kind: len(pool) for kind, pool in mixture.pools.items()} == {"chairs": 3, "even": 2, "small": 1}
    again, other = (few.dataset("train", seed, torch.device("cpu"), tmp_path) for seed in (3, 4))
    flow = mixture.pairs(range(40)).flow
    assert torch.equal(flow, again.pairs(range(40)).flow) and not torch.equal(flow, other.pairs(range(40)).flow)
    about = json.loads(json.dumps(few.describe_data(mixture)))
    assert about["mixture"] == BASIC and about["pairs"]["chairs"] == 3 and about["size"] == [32, 48]
    assert about["ground_truth"] and sum(about["speeds"].values()) == pytest.approx(1, abs=0.01)
    held_out = few.dataset("test", 3, torch.device("cpu"), tmp_path)
    assert len(held_out) == 2
    net = SPyNet(1)
    rows = few.evaluate(net, held_out, 2)
    assert [row["sample"] for row in rows] == ["chairs/00", "things/00"] and net.training
    assert few.summarise(rows)["epe"] == pytest.approx((rows[0]["epe"] + rows[1]["epe"]) / 2, abs=1e-4)


def test_without_ground_truth_a_stage_sees_images_only():
    pairs = pairs_of((32, 48))
    varied = stage(augment=Augment(geometric=False), ground_truth=False).augment_batch(pairs, range(2))
    assert varied[2:6] == (None,) * 4 and not torch.equal(varied.image1, pairs.image1)
    assert stage(augment=None).augment_batch(pairs, range(2)) is pairs


def test_of_a_stack_the_last_net_learns(monkeypatch):
    without_a_zoo(monkeypatch)
    for name in ("flownet-cs", "flownet-css"):
        for stage in find(name).stages_of("quick"):
            with torch.device("meta"):
                net = find(name).build("quick")
            stage.prepare(net)
            learns = {part for part, weight in net.named_parameters() if weight.requires_grad}
            assert learns == set(net.of_last(dict(net.named_parameters()))) and len(net.nets) == len(name) - 8


@pytest.mark.parametrize("nets, channels", [("cs", 6), ("css", 12)])
def test_the_last_net_of_a_stack_may_begin_with_trained_weights(monkeypatch, nets, channels):
    torch.manual_seed(0)
    shipped = FlowNetS(1 / 16)
    monkeypatch.setattr("cvdl.train.recipes.flow.begin", lambda stack: None)
    monkeypatch.setattr("cvdl.train.recipes.flow.load", lambda name: shipped)
    stack = FlowNetStack(nets, 1 / 16)
    before = shipped if channels == 6 else stack.nets[-2]
    stack_with_a_start(stack)
    x = torch.rand(1, 12, 64, 64)
    torch.testing.assert_close(stack.nets[-1].estimate(x)[0], before.estimate(x[:, :channels])[0])


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_have_three_sizes_and_a_list(name):
    recipe = find(name)
    assert tuple(recipe.stages) == PROFILES
    assert name in listing() and recipe.title in listing()
    for profile, stages in recipe.stages.items():
        assert stages == recipe.stages_of(profile) and len({stage.name for stage in stages}) == len(stages)
        assert all(f"{stage.name} {stage.steps:,}" in listing() for stage in stages)


@pytest.mark.parametrize("profile", PROFILES)
def test_spynet_goes_from_coarse_to_fine(profile):
    net, active = SPyNet(), []
    for each in find("spynet").stages_of(profile):
        each.prepare(net)
        learn = [any(p.requires_grad for p in level.parameters()) for level in net.levels]
        active.append((each.name, net.active, learn.index(True), sum(learn)))
    assert active == [("coarse", 3, 0, 3), ("level3", 4, 3, 1), ("level4", 5, 4, 1), ("joint", 5, 0, 5)]
    assert net.reduce == 1


def test_unknown_names_are_told_what_there_is():
    with pytest.raises(CourseError, match=r"no recipe 'spinet'\. Did you mean spynet"):
        find("spinet")
    with pytest.raises(CourseError, match="no profile 'huge'; it has: quick, laptop, gpu"):
        find("spynet").stages_of("huge")


# Overrides.


def overridden(*texts, name="spynet", profile="quick"):
    return find(name).stages_of(profile, texts)


def test_overrides():
    before = overridden()
    assert [each.lr for each in overridden("lr=1e-3")] == [1e-3] * 4
    joint = overridden("joint.batch=4", "joint.max_grad_norm=None", "joint.schedule=cosine")
    assert joint[:3] == before[:3]
    assert joint[3] == replace(before[3], batch=4, max_grad_norm=None, schedule="cosine")
    assert all(each.augment.noise == 0 for each in overridden("augment.noise=0"))
    crop = overridden("coarse.augment.crop=(32, 64)")
    assert crop[0].augment == replace(before[0].augment, crop=(32, 64)) and crop[1:] == before[1:]
    assert overridden("lr=1", "lr=2e-4")[0].lr == 2e-4  # the last one counts
    assert type(overridden("lr=1")[0].lr) is float
    assert overridden("mixture={'chairs': 1.0}")[0].mixture == {"chairs": 1.0}


@pytest.mark.parametrize(
    "text, told",
    [
        ("lr", "FIELD=VALUE"),
        ("=3", "FIELD=VALUE"),
        ("rate=3", "no field 'rate'; there are .*lr"),
        ("name=x", "no field 'name'"),
        ("loss=3", "no field 'loss'"),
        ("joint.rate=3", "no field 'rate'"),
        ("augment.dice=3", "no field 'dice'; there are .*noise"),
        ("lr.x=3", "lr is .* has no fields"),
        ("batch=2.5", "batch must be a whole number, such as batch=2"),
        ("batch=True", "batch must be a whole number"),
        ("batch=0", "batch must be 1 or more"),
        ("lr=fast", "lr must be a number"),
        ("lr=nan", "lr must be a number"),
        ("lr=-1.0", "finite number, 0 or more"),
        ("lr=1e999", "finite number, 0 or more"),
        ("schedule=linear", "no schedule 'linear'; there are S_short.*one-cycle"),
        ("max_grad_norm=[1]", "max_grad_norm must be a number or None"),
    ],
)
def test_overrides_that_do_not_fit(text, told):
    with pytest.raises(CourseError, match=told):
        overridden(text)


def test_settings_name_what_differs():
    ours, other = settings(stage()), settings(override([stage()], "augment.noise=0")[0])
    assert {name for name in ours if ours[name] != other[name]} == {"augment"}
    assert ours["loss"] == "multiscale_loss" and "0x" not in "".join(ours.values())
    nested = settings(stage(prepare=partial(use_levels, count=3)))
    assert nested["prepare"] == "use_levels(count=3)"


def test_mean_and_error():
    assert mean_and_error([1.0, 3.0, math.nan], "epe") == {"epe": 2.0, "standard_error": 1.0}
    assert mean_and_error([1.0], "epe") == {"epe": 1.0, "standard_error": None}
    assert mean_and_error([math.nan], "epe") == {"epe": None, "standard_error": None}
