"""LikeNet: its size, its scales, what learns and what is frozen."""

import copy

import pytest
import torch
import torch.nn.functional as F

from cvdl.errors import CourseError
from cvdl.flow import LikeNet, likelihood
from cvdl.flow.models import likenet
from cvdl.flow.models.base import count
from cvdl.flow.unsupervised import likelihood_loss


def images(*shape, seed=0):
    return torch.rand(2, *shape, generator=torch.Generator().manual_seed(seed)).unbind()


@pytest.fixture
def net():
    torch.manual_seed(0)
    return LikeNet(1 / 4)


def test_numbers_of_the_lecture():
    net = LikeNet()
    assert count(net) == 697_028 and all(p.requires_grad for p in net.parameters())
    assert count(net.features) == 104_128 and [count(b) for b in net.branches.values()] == [148_225] * 4
    assert [(2 * r + 1) ** 2 for r in likenet.REACHES] == [121, 169, 49, 9, 9]
    assert sum(r * 2**k for k, r in enumerate(reversed(likenet.REACHES))) == 143


def test_scales(net):
    scales = net.scales(*images(2, 3, 32, 48))
    for (flow, P, D), k, n in zip(scales, range(5), (9, 9, 49, 169, 121), strict=True):
        h, w = 32 // 2**k, 48 // 2**k
        assert flow.shape == (2, 2, h, w) and P.shape == D.shape == (2, n, h, w)
        assert P.requires_grad and not D.requires_grad and flow.isfinite().all()
        total = P.sum(1)
        torch.testing.assert_close(total, (total > 0.5).float())  # 1, or 0 where no candidate is allowed
        assert (D >= 0).all() and (D <= likelihood.LN2).all()
    coarsest = scales[-1]
    free = likelihood.allowed(torch.zeros(2, 2, 2, 3), 5)
    assert torch.equal(coarsest[1] > 0, free) and (coarsest[2][~free] == likelihood.LN2).all()
    torch.testing.assert_close(coarsest[0], 16 * likelihood.expected(coarsest[1]))
    for mine, theirs in zip(net(*images(2, 3, 32, 48)), scales, strict=True):
        torch.testing.assert_close(mine, theirs[0])


def test_fewer_scales_on_smaller_images_are_the_coarse_ones(net):
    first, second = images(2, 3, 64, 96)
    whole = net.scales(first, second)
    net.active = 3
    small = net.scales(F.avg_pool2d(first, 4), F.avg_pool2d(second, 4))
    for (flow, P, D), (all_flow, all_P, all_D) in zip(small, whole[2:], strict=True):
        torch.testing.assert_close(4 * flow, all_flow)
        torch.testing.assert_close(P, all_P)
        torch.testing.assert_close(D, all_D)
    assert net(*images(1, 3, 20, 24))[0].shape == (1, 2, 20, 24)
    with pytest.raises(CourseError, match="divisible by 4"):
        net(*images(1, 3, 22, 24))
    assert "active" not in net.options()


@pytest.mark.parametrize("size", [(16, 16), (17, 33), (31, 64), (47, 50)])
def test_any_size_in_eval_mode(net, size):
    with torch.no_grad():
        assert net.eval()(*images(1, 3, *size)).shape == (1, 2, *size)
        assert net.oracle(*images(1, 3, *size)).shape == (1, 2, *size)


def test_siamese(net):
    seen = []
    net.features.register_forward_hook(lambda module, given, out: seen.append(given[0]))
    first, second = images(1, 3, 32, 32)
    net(first, second)
    assert len(seen) == 2 * 5  # one extractor sees both frames at all scales
    torch.testing.assert_close(seen[-2], likelihood.contrast(likelihood.grey(first)))
    torch.testing.assert_close(seen[-1], likelihood.contrast(likelihood.grey(second)))


def test_every_parameter_learns_but_four_that_softmax_does_not_see(net):
    loss, _ = likelihood_loss(net, *images(2, 3, 32, 48))
    loss.backward()
    for name, weight in net.named_parameters():
        if name.endswith("score.bias"):
            assert weight.grad.abs() < 1e-6
        else:
            assert (weight.grad != 0).any(), name


def test_a_branch_is_the_shift_after_the_first_layer(net):
    """Shift the features first and join them, for each candidate alone: the same but for the edge."""
    branch, reach = net.branches["49"], 3
    first, second = images(2, 16, 20, 22)
    scores = branch(first, second, reach)
    assert scores.shape == (2, 49, 20, 22)
    views = likelihood.windows(second, reach).flatten(2, 3)
    for k in (0, 5, 24, 48):
        x = torch.cat([first, views[:, :, k]], 1)
        for layer in (branch.conv1, branch.conv2, branch.conv3):
            x = F.leaky_relu(layer(x), 0.1)
        inner = (..., slice(7, -7), slice(7, -7))
        torch.testing.assert_close(branch.score(x)[:, 0][inner], scores[:, k][inner])


def test_branches_in_parts_are_the_same(net, monkeypatch):
    first, second = images(2, 3, 32, 32)

    def run():
        net.zero_grad()
        loss, flow = likelihood_loss(net, first, second)
        loss.backward()
        return [loss.detach(), flow.detach(), *(p.grad for p in net.parameters())]

    whole = [part.clone() for part in run()]
    monkeypatch.setattr(likenet, "AT_ONCE", 1)
    for part, all_at_once in zip(run(), whole, strict=True):
        torch.testing.assert_close(part, all_at_once, rtol=1e-4, atol=1e-6)


def test_flow_that_leads_out_of_the_frame_makes_no_nan(net):
    free = likelihood.allowed(torch.full((1, 2, 16, 16), 300.0), 3)
    P = net.likelihood(*images(1, 1, 16, 16), torch.full((1, 2, 16, 16), 300.0), 3, free)
    D = net.distance(*images(1, 1, 16, 16), torch.full((1, 2, 16, 16), 300.0), 3, free, "features")
    assert not P.any() and D.isfinite().all()
    loss = likelihood.expected_distance(P, D)
    loss.backward()
    assert loss == 0 and all(p.grad.isfinite().all() for p in net.branches["49"].parameters())


def test_the_copy_in_d_follows_every_so_many_steps(net):
    net.refresh, kept = 3, []
    pair = images(1, 3, 16, 16)
    for _ in range(7):
        with torch.no_grad():
            net.features[0].bias += 1
        likelihood_loss(net, *pair)
        kept.append(net.frozen[0].bias[0].item())
    assert kept == [1, 1, 1, 4, 4, 4, 7]
    with torch.no_grad():  # measuring is no step
        likelihood_loss(net, *pair)
    assert net.age == 1
    assert (net.random[0].bias == 0).all()


def test_the_copy_survives_a_checkpoint(net):
    net.refresh = 2
    likelihood_loss(net, *images(1, 3, 16, 16))
    with torch.no_grad():
        net.features[0].bias += 1
    again = LikeNet(1 / 4, refresh=2)
    again.load_state_dict(copy.deepcopy(net.state_dict()))
    assert again.age == 1 and again.age.dtype == torch.long
    for each in (net, again):
        each.loss, _ = likelihood_loss(each, *images(1, 3, 16, 16, seed=1))
    assert net.loss == again.loss and not again.frozen[0].bias.any()


def test_views_and_d_outside_training(net):
    pair = images(1, 3, 32, 32)
    with torch.no_grad():
        net.features[2].weight *= 2
    D = {view: net.scales(*pair, view=view)[0][2] for view in likelihood.VIEWS}
    assert torch.equal(D["features"], D["random"])  # the copy has not followed yet
    assert not torch.equal(net.eval().scales(*pair)[0][2], D["random"])
    assert D["difference"].max() == 1 and len({d.sum().item() for d in D.values()}) == 4
    still = net.oracle(pair[0], pair[0])
    assert still.shape == (1, 2, 32, 32) and not still.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_p_d_and_flow_single(net, dtype):
    with torch.autocast("cpu", dtype):
        scales = net.scales(*images(1, 3, 32, 32))
    assert all(part.dtype == torch.float32 and part.isfinite().all() for scale in scales for part in scale)


def test_built_again_from_its_options(net):
    other = LikeNet(1 / 4, view="values", temperature=1.0, support=2, refresh=7)
    assert LikeNet(**other.options()).options() == other.options()
    assert net.options()["support"] == 0


def test_bad_input_says_what_to_do(net):
    with pytest.raises(CourseError, match="divisible by 16"):
        net.scales(*images(1, 3, 17, 32))
    with pytest.raises(CourseError, match="divisible by 16"):
        net(*images(1, 3, 32, 40))
    for options in ({"width": 0}, {"refresh": 0}, {"support": -1}, {"view": "taste"}):
        with pytest.raises(CourseError):
            LikeNet(**options)
    with pytest.raises(CourseError, match="gradients, values"):
        net.scales(*images(1, 3, 32, 32), view="taste")
