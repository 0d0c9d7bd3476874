"""Augmented pairs have the flow that they show."""

import math

import pytest
import torch

from cvdl.errors import InvalidInput
from cvdl.flow.data.affine import about, similarity
from cvdl.flow.data.augment import LIGHT, PLACE, Augment, move
from cvdl.flow.data.chairs import Chairs
from cvdl.flow.data.dice import throw
from cvdl.flow.warp import warp

SIZE = (64, 96)


@pytest.fixture(scope="module")
def pairs():
    return Chairs(SIZE, split="test").batch(0, 8)


def dice(count, kind, seed=0):
    return throw((seed,), range(count), kind)


def cut(scale=1.0, turn=0.0, shift=(0.0, 0.0), count=8):
    """The map about the middle of the frame that magnifies, turns (degrees) and shifts."""
    centre = torch.tensor([SIZE[1] - 1, SIZE[0] - 1], dtype=torch.float64) / 2
    linear = similarity(torch.tensor(math.radians(turn), dtype=torch.float64), torch.tensor(1 / scale))
    return about(linear.double(), centre, centre + torch.tensor(shift, dtype=torch.float64)).expand(count, 2, 3)


def test_identity_changes_nothing(pairs):
    same = move(pairs, cut(), cut())
    for name, before, after in zip(pairs._fields, pairs, same, strict=True):
        torch.testing.assert_close(after, before, rtol=0, atol=2e-5, msg=name)


def test_whole_pixels(pairs):
    moved = move(pairs, cut(shift=(5, -3)), cut(shift=(5, -3)))
    torch.testing.assert_close(moved.image1[:, :, 3:, :-5], pairs.image1[:, :, :-3, 5:])
    torch.testing.assert_close(moved.flow[:, :, 3:, :-5], pairs.flow[:, :, :-3, 5:], rtol=0, atol=2e-5)
    assert moved.valid[:, :, 3:, :-5].all() and not moved.valid[:, :, :3].any() and not moved.valid[:, :, :, -5:].any()
    assert not moved.image1[:, :, :3].any()


def test_a_shift_between_the_frames_is_added(pairs):
    moved = move(pairs, cut(), cut(shift=(2, 1)))
    torch.testing.assert_close(moved.flow, pairs.flow - torch.tensor([2.0, 1.0])[:, None, None], rtol=0, atol=2e-5)
    torch.testing.assert_close(moved.image1, pairs.image1, rtol=0, atol=1e-5)


def test_magnified_twice_the_flow_is_twice_as_long(pairs):
    moved = move(pairs, cut(scale=2), cut(scale=2))
    ratio = moved.flow.norm(dim=1).mean((1, 2)) / pairs.flow[:, :, 16:-16, 24:-24].norm(dim=1).mean((1, 2))
    torch.testing.assert_close(ratio, torch.full((8,), 2.0), rtol=0.08, atol=0)


def test_a_turn_of_both_frames_turns_the_flow(pairs):
    still = pairs._replace(flow=torch.tensor([3.0, 0.0])[:, None, None].expand_as(pairs.flow))
    moved = move(still, cut(turn=17), cut(turn=17))
    expected = 3 * torch.tensor([math.cos(math.radians(17)), -math.sin(math.radians(17))])
    inner = moved.flow[:, :, 24:-24, 32:-32]
    torch.testing.assert_close(inner, expected[:, None, None].expand_as(inner), rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [None, (40, 56)])
def test_warping_proves_the_flow(pairs, size):
    augment = Augment(size=size)
    moved = move(pairs, *augment.cuts(dice(8, PLACE, 3), SIZE), size)
    assert moved.flow.shape == (8, 2, *(size or SIZE)) and moved.valid.shape == (8, 1, *(size or SIZE))
    seen = (moved.valid & ~moved.occlusion).expand_as(moved.image1)
    error = (warp(moved.image2, moved.flow) - moved.image1).abs()[seen]
    still = (moved.image2 - moved.image1).abs()[seen]
    assert seen.float().mean() > 0.4
    assert error.mean() < 0.02 and error.mean() < still.mean() / 3
    back = (warp(moved.image1, moved.backward) - moved.image2).abs()
    assert back.median() < 0.02


def test_ranges_of_the_places():
    first, second = Augment().cuts(dice(4000, PLACE), SIZE)
    linear = first[:, :, :2]
    scale = 1 / torch.linalg.det(linear).sqrt()
    turn = torch.rad2deg(torch.atan2(linear[:, 1, 0], linear[:, 0, 0]))
    centre = torch.tensor([SIZE[1] - 1, SIZE[0] - 1], dtype=torch.float64) / 2
    shift = (first @ torch.cat([centre, torch.ones(1, dtype=torch.float64)]) - centre).abs() / SIZE[1]
    assert 0.9 <= scale.min() < 0.95 and 1.95 < scale.max() <= 2.0
    assert -17 <= turn.min() < -16 and 16 < turn.max() <= 17
    assert 0.19 < shift.max() <= 0.2
    assert 0 < (second - first)[:, :, 2].std() < 0.05 * SIZE[1]


def test_light_is_the_same_in_both_frames(pairs):
    still = pairs._replace(image2=pairs.image1)
    lit = Augment(noise=0).light(still, dice(8, LIGHT))
    assert torch.equal(lit.image1, lit.image2) and not torch.equal(lit.image1, pairs.image1)
    assert torch.equal(lit.flow, pairs.flow)
    assert lit.image1.min() >= 0 and lit.image1.max() <= 1


def test_noise_is_another_in_each_frame(pairs):
    flat = pairs._replace(image1=torch.full_like(pairs.image1, 0.5), image2=torch.full_like(pairs.image1, 0.5))
    lit = Augment(brightness=0, colour=(1, 1), contrast=(0, 0), gamma=(1, 1), grey=0).light(flat, dice(8, LIGHT))
    assert not torch.equal(lit.image1, lit.image2)
    sigma = lit.image1.std((1, 2, 3))
    assert sigma.max() <= 0.042 and sigma.std() > 0.005  # each pair has its own


def test_grey_pairs(pairs):
    def grey(share):
        image = Augment(grey=share).light(pairs, dice(8, LIGHT)).image1
        return (image == image[:, :1]).all(dim=1).flatten(1).all(dim=1)

    assert grey(1.0).all() and not grey(0.0).any()


def test_a_pair_is_changed_alike_in_any_batch(pairs):
    whole = Augment()(pairs, range(8))
    some = Augment()(type(pairs)(*(part[[5, 2]] for part in pairs)), [5, 2])
    assert all(torch.equal(a, b[[5, 2]]) for a, b in zip(some, whole, strict=True))
    other = Augment(seed=1)(pairs, range(8))
    assert not torch.equal(whole.flow, other.flow) and not torch.equal(whole.image1, other.image1)


def test_only_the_light(pairs):
    lit = Augment(places=False)(pairs, range(8))
    assert torch.equal(lit.flow, pairs.flow) and not torch.equal(lit.image1, pairs.image1)


@pytest.mark.parametrize("size", [64, (64,), (0, 64), (64.0, 64.5)])
def test_a_size_that_cannot_be_cut(size):
    with pytest.raises(InvalidInput, match=r"size is .*height, width"):
        Augment(size=size)
