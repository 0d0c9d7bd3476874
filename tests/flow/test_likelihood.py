"""LikeNet's loss against SciPy, loops and cases whose answer is known; and that no true flow gets into it."""

import math
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.distance import jensenshannon

from cvdl.errors import CourseError
from cvdl.flow import likelihood, unsupervised, warp
from cvdl.flow.models.likenet import LikeNet


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def shifted(image, u, v):
    """The frame 2 in which every pixel of `image` has moved by (u, v); what comes in is noise."""
    H, W = image.shape[-2:]
    moved = noise(*image.shape, seed=99)
    moved[..., max(v, 0) : H + min(v, 0), max(u, 0) : W + min(u, 0)] = image[
        ..., max(-v, 0) : H + min(-v, 0), max(-u, 0) : W + min(-u, 0)
    ]
    return moved


# Jensen-Shannon divergence.


@pytest.mark.parametrize("size", [2, 9, 64])
def test_jsd_is_the_square_of_scipys(size):
    p, q = noise(2, 20, size).double().pow(4)
    p[0, : size // 2], q[1, size // 2 :] = 0, 0  # zeros of p, of q, of both
    q[0, 0] = 0
    p, q = p / p.sum(1, keepdim=True), q / q.sum(1, keepdim=True)
    for dtype, exact in ((torch.float64, 1e-14), (torch.float32, 1e-6)):
        ours = likelihood.jsd(p.to(dtype), q.to(dtype))
        np.testing.assert_allclose(ours, jensenshannon(p.numpy(), q.numpy(), axis=1) ** 2, atol=exact)
        torch.testing.assert_close(ours, likelihood.jsd(q.to(dtype), p.to(dtype)))


def test_jsd_has_its_bounds_and_finite_gradients():
    one, other = torch.eye(3)[None, :2].unbind(1)
    assert likelihood.jsd(one, one) == 0 and likelihood.jsd(one, other).item() == pytest.approx(math.log(2))
    many = noise(1000, 5).softmax(1)
    assert (likelihood.jsd(many, many) == 0).all()
    assert ((likelihood.jsd(many, many.roll(1, 0)) >= 0) & (likelihood.jsd(many, many.roll(1, 0)) <= math.log(2))).all()
    p, q = (x.clone().requires_grad_() for x in (one, other))
    likelihood.jsd(p, q).sum().backward()
    assert p.grad.isfinite().all() and q.grad.isfinite().all()


# Candidates.


def test_candidates_and_windows_agree_with_a_loop():
    square = likelihood.candidates(2)
    assert square.tolist() == [[dx, dy] for dy, dx in product(range(-2, 3), repeat=2)]
    maps = noise(2, 3, 5, 7)
    views = likelihood.windows(maps, 2).flatten(2, 3)
    for k, (dx, dy) in enumerate(square.tolist()):
        for y, x in product(range(5), range(7)):
            inside = 0 <= y + dy < 5 and 0 <= x + dx < 7
            expected = maps[..., y + dy, x + dx] if inside else torch.zeros(2, 3)
            assert torch.equal(views[:, :, k, y, x], expected)


def test_what_leaves_the_frame_is_not_allowed():
    flow = torch.zeros(1, 2, 5, 7)
    free = likelihood.allowed(flow, 2)
    for k, (dx, dy) in enumerate(likelihood.candidates(2).tolist()):
        for y, x in product(range(5), range(7)):
            assert free[0, k, y, x] == (0 <= y + dy < 5 and 0 <= x + dx < 7)
    # Once warped, the last column is fetched from outside, and nothing may be matched with it.
    flow[:, 0] = 1
    assert torch.equal(likelihood.allowed(flow, 1)[0, 5, 2], torch.tensor([True] * 5 + [False] * 2))
    flow[:, 0] = 100
    assert not likelihood.allowed(flow, 2).any()


def test_probabilities_sum_to_one_over_what_is_allowed():
    free = noise(2, 9, 4, 6) > 0.3
    free[0, :, 1, 1] = False
    scores = 50 * noise(2, 9, 4, 6, seed=1)
    scores.requires_grad_()
    P = likelihood.probabilities(scores, free)
    assert not P[~free].any()
    torch.testing.assert_close(P.sum(1), free.any(1).float())
    assert not P[0, :, 1, 1].any()
    P.square().sum().backward()
    assert scores.grad.isfinite().all() and not scores.grad[~free].any()
    assert likelihood.probabilities(scores.bfloat16(), free).dtype == torch.float32


def test_expected_motion():
    P = torch.zeros(1, 25, 2, 2)
    P[0, 3, 0, 0] = 1  # dy -2, dx 1
    P[0, 12, 0, 1] = 1
    P[0, [11, 13], 1, 0] = 0.5
    P[0, [13, 14], 1, 1] = 0.5
    assert likelihood.expected(P)[0].permute(1, 2, 0).tolist() == [[[1, -2], [0, 0]], [[0, 0], [1.5, 0]]]


def test_of_equals_the_shortest_is_best():
    free = torch.ones(1, 9, 1, 3, dtype=torch.bool)
    free[0, 4, 0, 1] = False
    free[0, :, 0, 2] = False
    P = likelihood.best(torch.zeros(1, 9, 1, 3), free)
    assert P[0, 4, 0, 0] == 1 and P[0, [1, 3, 5, 7], 0, 1].sum() == 1 and not P[..., 2].any()


def test_contrast_does_not_see_light_but_texture():
    image = images_of_noise()
    normal = likelihood.contrast(image)
    inner = normal[..., 3:-3, 3:-3]
    assert inner.std() == pytest.approx(1, abs=0.1) and inner.mean().abs() < 0.1
    torch.testing.assert_close(likelihood.contrast(0.5 * image + 0.3, floor=0), likelihood.contrast(image, floor=0))
    faint = likelihood.contrast(0.1 * image)
    assert faint.std() > 0.5 * normal.std()  # a tenth of the contrast, more than half of the answer
    assert not likelihood.contrast(torch.full((1, 1, 8, 8), 0.5)).any()  # and nothing comes from nothing
    around = image[0, 0, 4:11, 5:12]
    wanted = likelihood.contrast(image, floor=0)[0, 0, 7, 8]
    means = F.avg_pool2d(F.pad(image, [3] * 4, mode="replicate"), 7, 1)
    spread = (image - means)[0, 0, 4:11, 5:12].square().mean().sqrt()
    torch.testing.assert_close(wanted, (image[0, 0, 7, 8] - around.mean()) / spread)


def images_of_noise():
    return torch.rand(1, 1, 24, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


# The oracle: D is least where the truth is.


def random_features(grey):
    torch.manual_seed(0)  # the same for both frames: Siamese
    return LikeNet(1 / 4).random(grey)


VIEWS = {
    "random": random_features,
    "values": likelihood.patches,
    "gradients": likelihood.gradients,
    "itself": lambda grey: grey,
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("u, v", [(0, 0), (3, -2), (-5, 5), (1, 4)])
def test_whole_shifts_are_recovered_exactly(view, u, v):
    first = 2 * noise(1, 1, 24, 30)
    maps = [VIEWS[view](each) for each in (first, shifted(first, u, v))]
    if view == "itself":
        D = likelihood.distances(*maps, 5, likelihood.difference)
    else:
        D = likelihood.distances(*(likelihood.distributions(each, 0.5) for each in maps), 5)
    free = likelihood.allowed(torch.zeros(1, 2, 24, 30), 5)
    flow = likelihood.expected(likelihood.best(D, free))
    margin = 4 + 5  # features reach 4 pixels far
    inner = flow[..., margin:-margin, margin:-margin]
    assert torch.equal(inner, torch.tensor([u, v]).view(1, 2, 1, 1).expand_as(inner).float())


@pytest.mark.parametrize("view", ["values", "random"])
def test_the_five_scales_together_recover_a_shift(view):
    H, W = 128, 160
    octaves = [F.interpolate(noise(1, 3, H // s, W // s, seed=s), (H, W)) for s in (1, 2, 4, 8, 16)]
    first, truth = sum(octaves) / 5, torch.tensor([16.0, -16.0]).view(1, 2, 1, 1)
    torch.manual_seed(0)
    flow = LikeNet(1 / 4, support=1).oracle(first, shifted(first, 16, -16), view)
    inner = flow[..., 64:-32, 32:-64]
    assert torch.equal(inner, truth.expand_as(inner))


def test_c_is_linear_in_p_and_least_where_d_is():
    D, free = noise(2, 25, 6, 8), likelihood.allowed(torch.zeros(2, 2, 6, 8), 2)
    D = D.masked_fill(~free, likelihood.LN2)
    P, Q = (likelihood.probabilities(4 * noise(2, 25, 6, 8, seed=s), free) for s in (1, 2))
    C = likelihood.expected_distance
    torch.testing.assert_close(C(0.3 * P + 0.7 * Q, D), 0.3 * C(P, D) + 0.7 * C(Q, D))
    least = C(likelihood.best(D, free), D)
    torch.testing.assert_close(least, D.masked_fill(~free, 9).amin(1).mean())
    assert least < min(C(P, D), C(Q, D))
    # Following the gradient of C leads there.
    scores = torch.zeros_like(D, requires_grad=True)
    optimizer = torch.optim.Adam([scores], lr=1.0)
    for _ in range(300):
        loss = C(likelihood.probabilities(scores, free), D)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < least + 1e-3


def test_c_counts_visible_pixels_that_have_a_candidate():
    P, D = torch.zeros(1, 9, 1, 4), torch.ones(1, 9, 1, 4)
    P[0, 0, 0, 1:] = 1
    D[0, 0, 0] = torch.tensor([5.0, 1.0, 2.0, 3.0])
    assert likelihood.expected_distance(P, D) == 2
    visible = torch.tensor([True, False, True, True]).view(1, 1, 1, 4)
    assert likelihood.expected_distance(P, D, visible) == 2.5
    assert likelihood.expected_distance(P, D, ~visible.new_ones(1, 1, 1, 4)) == 0
    assert likelihood.cost([(None, P, D), (None, P, D)], [visible, None]) == 4.5


def test_support_averages_allowed_candidates_only():
    D, free = noise(1, 9, 5, 6), likelihood.allowed(torch.zeros(1, 2, 5, 6), 1)
    averaged = likelihood.supported(D, free, 1, 7.0)
    for k, y, x in product(range(9), range(5), range(6)):
        near = np.s_[0, k, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        expected = D[near][free[near]].mean() if free[0, k, y, x] else torch.tensor(7.0)
        torch.testing.assert_close(averaged[0, k, y, x], expected)
    assert torch.equal(likelihood.supported(D, free, 0, 7.0)[free], D[free])


def test_views():
    grey = noise(2, 1, 6, 7)
    patches = likelihood.patches(grey)
    assert patches.shape == (2, 9, 6, 7) and torch.equal(patches[:, 4:5], grey)
    assert torch.equal(patches[:, 0, 1:, 1:], grey[:, 0, :-1, :-1]) and torch.equal(
        patches[:, 0, 0, 0], grey[:, 0, 0, 0]
    )
    slope = likelihood.gradients(torch.arange(7.0).expand(1, 1, 6, 7))
    assert slope[0, :, 2, 3].tolist() == [1, -1, 0, 0, 0]
    torch.testing.assert_close(likelihood.distributions(patches, 0.1).sum(1), torch.ones(2, 6, 7))
    with pytest.raises(CourseError, match="above 0"):
        likelihood.distributions(patches, 0)
    with pytest.raises(CourseError, match="one shape"):
        likelihood.expected_distance(torch.zeros(1, 9, 4, 4), torch.zeros(1, 25, 4, 4))


# Losses of two images.


def test_the_losses_take_images_only():
    """No true flow can get in by an argument, and there is no other way: the network holds none."""
    images = noise(2, 2, 3, 32, 48)
    for loss in (unsupervised.likelihood_loss, unsupervised.census_loss):
        for options in ({}, {"occlusion": True, "smoothness": 0.1}):
            net = LikeNet(1 / 4)
            value, flow = loss(net, *images, **options)
            value.backward()
            assert value.ndim == 0 and value.isfinite() and flow.shape == (2, 2, 32, 48)
            assert all(p.grad.isfinite().all() for p in net.parameters())


def test_census_is_blind_to_light_and_least_at_the_truth():
    first = noise(1, 3, 24, 32)
    brighter = first + 0.2
    torch.testing.assert_close(unsupervised.census(first, brighter), unsupervised.census(first, first))
    second = shifted(first, 2, 1)
    at = [
        unsupervised.census(first, warp(second, torch.tensor([float(u), 1.0]).view(1, 2, 1, 1).expand(1, 2, 24, 32)))
        for u in (1, 2, 3)
    ]
    assert at[1] < at[0] / 3 and at[1] < at[2] / 3
    nothing = torch.zeros(1, 1, 24, 32, dtype=torch.bool)
    assert unsupervised.census(first, second, nothing) == 0
    assert unsupervised.census(first[..., :2, :2], second[..., :2, :2]) == 0


def test_smoothness_spares_edges():
    flow, image = torch.zeros(1, 2, 6, 8), torch.zeros(1, 3, 6, 8)
    assert unsupervised.edge_aware(flow, image) == 0
    flow[..., 4:] = 1
    flat = unsupervised.edge_aware(flow, image)
    torch.testing.assert_close(flat, torch.tensor(1 / 7))
    image[..., 4:] = 1
    assert unsupervised.edge_aware(flow, image) < flat / 1000
    assert unsupervised.edge_aware(flow[..., :1, :1], image[..., :1, :1]) == 0
    with pytest.raises(CourseError, match="one size"):
        unsupervised.edge_aware(flow, image[..., :-1])


def test_what_is_covered_is_not_visible():
    class Known(torch.nn.Module):
        """A square of 8 pixels moves 4 to the right over a background at rest."""

        def flows(self, image1, image2):
            flow = torch.zeros(1, 2, 32, 48)
            flow[:, 0, 8:16, 12:20] = -4
            return [flow]

    flow = torch.zeros(1, 2, 32, 48)
    flow[:, 0, 8:16, 8:16] = 4
    (seen,) = unsupervised.visible(Known(), torch.zeros(1, 3, 32, 48), torch.zeros(1, 3, 32, 48), [flow])
    assert not seen[0, 0, 8:16, 16:20].any() and seen.sum() == 32 * 48 - 8 * 4
