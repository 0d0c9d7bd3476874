"""Recipes: rates as in the papers, stages that change only what they should."""

import math

import pytest
import torch

from cvdl.errors import CourseError
from cvdl.flow import FlowNetS, SPyNet, epe
from cvdl.flow.data.chairs import Chairs
from cvdl.flow.losses import multiscale_epe
from cvdl.flow.nets.flownet2 import FlowNetStack
from cvdl.settings import PROFILES
from cvdl.train import zoo
from cvdl.train.flow import FlowStage, every, free_levels, free_new_level, stand_on_with_a_start, up_to_level
from cvdl.train.recipes import RECIPES, find, listing
from cvdl.train.stages import rate_factor

STAGES = [
    pytest.param(recipe, profile, stage, id=f"{name}-{profile}-{stage.name}")
    for name, recipe in RECIPES.items()
    for profile, stages in recipe.stages.items()
    for stage in stages
]
FLOW = [each for each in STAGES if isinstance(each.values[2], FlowStage)]


def stage(schedule, **options):
    return FlowStage("stage", 1000, every, schedule=schedule, **options)


@pytest.fixture(scope="module")
def pairs():
    return Chairs((32, 48), motion=3.0).batch(0, 3)


# Rates.


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
    kept = [rate_factor(stage(schedule), steps, step) for step in range(0, steps, 1000 // shrink)]
    assert kept == [0.5 ** sum(k >= h for h in halvings) for k in range(thousands)]
    for number, halving in enumerate(halvings):
        step = halving * 1000 // shrink
        before, after = (rate_factor(stage(schedule), steps, s) for s in (step - 1, step))
        assert (before, after) == (0.5**number, 0.5 ** (number + 1))


def test_cosine():
    factors = [rate_factor(stage("cosine"), 8, step) for step in range(8)]
    assert factors == pytest.approx([(1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)])
    assert factors[0] == 1 and factors[4] == pytest.approx(0.5) and factors[7] < 0.04


def test_warm_up():
    slow = stage("constant", warmup=4)
    assert [rate_factor(slow, 100, step) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert rate_factor(stage("S_short", warmup=400), 1200, 700) == 0.5
    assert rate_factor(stage("cosine", warmup=4), 8, 1) == pytest.approx(0.5 * (1 + math.cos(math.pi / 8)) / 2)
    # A stage that --scale made shorter than its warm-up comes to the full rate nevertheless.
    assert max(rate_factor(slow, 4, step) for step in range(4)) == 1


# Losses.


def test_up_to_level_is_the_error_of_that_level(pairs):
    torch.manual_seed(0)
    net = SPyNet(2)
    loss, error = up_to_level(net, pairs, 1)
    wanted = epe(net.eval()(pairs.image1, pairs.image2), pairs.flow)
    torch.testing.assert_close(loss, wanted)
    assert loss.item() == error.item() and loss.requires_grad and not error.requires_grad
    small = pairs._replace(
        image1=pairs.image1[..., ::2, ::2], image2=pairs.image2[..., ::2, ::2], flow=pairs.flow[..., ::2, ::2]
    )
    net.levels = net.levels[:1]
    net.multiple = 1
    wanted = epe(net(small.image1, small.image2), small.flow)
    torch.testing.assert_close(up_to_level(net, small._replace(valid=small.valid[..., ::2, ::2]), 0)[0], wanted)


def test_every_is_flownets_loss_and_the_error_of_the_finest_flow():
    pairs = Chairs((64, 64), motion=3.0).batch(0, 2)
    pairs = pairs._replace(valid=pairs.image1[:, :1] > 0.3)
    net = FlowNetS(1 / 16)
    loss, error = every(net, pairs)
    flows = net(pairs.image1, pairs.image2)
    torch.testing.assert_close(loss, multiscale_epe(flows, pairs.flow, pairs.valid))
    wanted = epe(flows[0], pairs.flow[..., ::4, ::4], pairs.valid[..., ::4, ::4])
    torch.testing.assert_close(error, wanted)
    assert loss.requires_grad and not error.requires_grad


# Stages.


@pytest.mark.parametrize("k", range(3))
def test_only_one_level_learns(k):
    torch.manual_seed(0)
    net = SPyNet(3)
    at_first = {name: value.clone() for name, value in net.state_dict().items()}
    free_new_level(net, k)
    begun = {name: value.clone() for name, value in net.state_dict().items()}
    for name in at_first:
        level, rest = int(name.split(".")[1]), name.split(".", 2)[2]
        source = f"levels.{k - 1}.{rest}" if k and level == k else name
        assert torch.equal(begun[name], at_first[source]), name

    pairs = Chairs((16 * 2**k, 24 * 2**k), motion=3.0).batch(0, 2)
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=1e-3, weight_decay=0.1)
    up_to_level(net, pairs, k)[0].backward()
    optimizer.step()
    for name, value in net.state_dict().items():
        assert torch.equal(value, begun[name]) != name.startswith(f"levels.{k}."), name
    assert all((p.grad is not None) == name.startswith(f"levels.{k}.") for name, p in net.named_parameters())


@pytest.mark.parametrize("recipe, profile, stage", FLOW)
def test_sizes_fit_the_network(recipe, profile, stage, monkeypatch):
    """What a stage renders, sees and cuts, and a batch for two processes."""
    monkeypatch.setattr("cvdl.train.flow.begin", lambda stack: None)  # whether its first nets ship is not asked here
    with torch.device("meta"):
        net = recipe.build(profile)
    stage.prepare(net)
    assert any(p.requires_grad for p in net.parameters())
    assert type(net).__name__ in zoo.NETS
    window = stage.window or stage.size
    assert all(w <= s for w, s in zip(window, stage.size, strict=True))
    seen = (stage.augment.size if stage.augment else None) or window
    multiple = 2 ** stage.loss.keywords["k"] if getattr(stage.loss, "func", None) is up_to_level else net.multiple
    assert all(side % multiple == 0 and side >= 16 for side in seen)
    assert stage.batch % 2 == 0 and stage.steps >= 4 and stage.warmup <= stage.steps // 2
    assert 0 < rate_factor(stage, stage.steps, 0) <= 1


def test_of_a_stack_the_last_net_learns(monkeypatch):
    monkeypatch.setattr("cvdl.train.flow.begin", lambda stack: None)
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
    monkeypatch.setattr("cvdl.train.flow.begin", lambda stack: None)
    monkeypatch.setattr("cvdl.train.flow.load", lambda name: shipped)
    stack = FlowNetStack(nets, 1 / 16)
    before = shipped if channels == 6 else stack.nets[-2]
    stand_on_with_a_start(stack)
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


def test_several_levels_learn_together():
    net = SPyNet(3)
    net.requires_grad_(False)
    free_levels(net, 1, 2)
    up_to_level(net, Chairs((64, 96), motion=3.0).batch(0, 1), 2)[0].backward()
    assert [any(p.grad is not None and p.grad.any() for p in level.parameters()) for level in net.levels] == [0, 1, 1]


def test_spynet_goes_from_coarse_to_fine():
    names = ["level0", "level1", "level2", "coarse", "level3", "level4", "joint"]
    stages = find("spynet").stages_of("gpu")
    assert [stage.name for stage in stages] == names
    assert [stage.loss.keywords["k"] for stage in stages] == [0, 1, 2, 2, 3, 4, 4]
    assert all(stage.size == (24 * 2**k, 32 * 2**k) for stage in stages for k in [stage.loss.keywords["k"]])


def test_unknown_names_are_told_what_there_is():
    with pytest.raises(CourseError, match="no recipe 'spinet'; there are: spynet, "):
        find("spinet")
    with pytest.raises(CourseError, match="no profile 'huge'; it has: quick, laptop, gpu"):
        find("spynet").stages_of("huge")
