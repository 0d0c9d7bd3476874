"""Augmented pairs have the flow that they show."""

import math

import pytest
import torch
import torch.nn.functional as F

from cvdl.errors import InvalidInput
from cvdl.flow.data.affine import about, similarity
from cvdl.flow.data.augment import BLUR, GEOMETRIC, PHOTOMETRIC, Augment, blurred, transform
from cvdl.flow.data.chairs import Chairs
from cvdl.flow.data.random_numbers import draw_uniform
from cvdl.flow.warp import warp

SIZE = (64, 96)
STILL = dict(translation=0.0, rotation=0.0, scale=(1.0, 1.0), relative=0.0, flip=(0.0, 0.0), photometric=False)
PLAIN = dict(noise=0.0, contrast=(0.0, 0.0), colour=(1.0, 1.0), gamma=(1.0, 1.0), brightness=0.0, grey=0.0, blur=0.0)


@pytest.fixture(scope="module")
def pairs():
    return Chairs(SIZE, split="test").batch(0, 8)


def random(count, kind, seed=0):
    return draw_uniform((seed,), range(count), kind)


def affine(scale=1.0, turn=0.0, shift=(0.0, 0.0), count=8):
    """The map about the centre of the frame that magnifies, rotates (degrees) and shifts."""
    centre = torch.tensor([SIZE[1] - 1, SIZE[0] - 1], dtype=torch.float64) / 2
    linear = similarity(torch.tensor(math.radians(turn), dtype=torch.float64), torch.tensor(1 / scale))
    return about(linear.double(), centre, centre + torch.tensor(shift, dtype=torch.float64)).expand(count, 2, 3)


# Geometric changes.


def test_identity_changes_nothing(pairs):
    same = transform(pairs, affine(), affine())
    for name, before, after in zip(pairs._fields[:6], pairs, same, strict=False):
        torch.testing.assert_close(after, before, rtol=0, atol=1e-4, msg=name)


def test_whole_pixels(pairs):
    moved = transform(pairs, affine(shift=(5, -3)), affine(shift=(5, -3)))
    torch.testing.assert_close(moved.image1[:, :, 3:, :-5], pairs.image1[:, :, :-3, 5:], rtol=0, atol=1e-5)
    torch.testing.assert_close(moved.flow[:, :, 3:, :-5], pairs.flow[:, :, :-3, 5:], rtol=0, atol=1e-4)
    assert moved.valid[:, :, 3:, :-5].all() and not moved.valid[:, :, :3].any() and not moved.valid[:, :, :, -5:].any()
    assert not moved.image1[:, :, :3].any()


def test_a_shift_between_the_frames_is_added(pairs):
    moved = transform(pairs, affine(), affine(shift=(2, 1)))
    torch.testing.assert_close(moved.flow, pairs.flow - torch.tensor([2.0, 1.0])[:, None, None], rtol=0, atol=1e-4)
    torch.testing.assert_close(moved.image1, pairs.image1, rtol=0, atol=1e-5)


def test_magnified_twice_the_flow_is_twice_as_long(pairs):
    moved = transform(pairs, affine(scale=2), affine(scale=2))
    ratio = moved.flow.norm(dim=1).mean((1, 2)) / pairs.flow[:, :, 16:-16, 24:-24].norm(dim=1).mean((1, 2))
    torch.testing.assert_close(ratio, torch.full((8,), 2.0), rtol=0.08, atol=0)


def test_a_rotation_of_both_frames_rotates_the_flow(pairs):
    still = pairs._replace(flow=torch.tensor([3.0, 0.0])[:, None, None].expand_as(pairs.flow))
    moved = transform(still, affine(turn=17), affine(turn=17))
    expected = 3 * torch.tensor([math.cos(math.radians(17)), -math.sin(math.radians(17))])
    inner = moved.flow[:, :, 24:-24, 32:-32]
    torch.testing.assert_close(inner, expected[:, None, None].expand_as(inner), rtol=0, atol=1e-4)


@pytest.mark.parametrize("crop", [None, (40, 56)])
@pytest.mark.parametrize("flip", [(0.0, 0.0), (1.0, 1.0)])
def test_warping_proves_the_flow(pairs, crop, flip):
    augment = Augment(crop=crop, flip=flip)
    moved = transform(pairs, *augment.maps(random(8, GEOMETRIC, 3), SIZE), crop)
    assert moved.flow.shape == (8, 2, *(crop or SIZE)) and moved.valid.shape == (8, 1, *(crop or SIZE))
    seen = (moved.valid & ~moved.occlusion).expand_as(moved.image1)
    error = (warp(moved.image2, moved.flow) - moved.image1).abs()[seen]
    still = (moved.image2 - moved.image1).abs()[seen]
    assert seen.float().mean() > 0.4
    assert error.mean() < 0.02 and error.mean() < still.mean() / 3
    back = (warp(moved.image1, moved.backward) - moved.image2).abs()
    assert back.median() < 0.02


@pytest.mark.parametrize("flip, axes, signs", [((1.0, 0.0), [3], (-1, 1)), ((0.0, 1.0), [2], (1, -1))])
def test_flips(pairs, flip, axes, signs):
    """Everything is mirrored, and the component of the flow along that axis changes its sign, too."""
    flipped = Augment(**STILL | {"flip": flip})(pairs, range(8))
    signs = torch.tensor(signs).view(2, 1, 1)
    for name, before, after in zip(pairs._fields[:6], pairs, flipped, strict=False):
        expected = signs * before.flip(axes) if name in ("flow", "backward") else before.flip(axes)
        torch.testing.assert_close(after, expected, rtol=0, atol=1e-4, msg=name)


def test_how_often_pairs_are_flipped():
    first, _ = Augment(**STILL | {"flip": (0.5, 0.1)}).maps(random(2000, GEOMETRIC), SIZE)
    across, down = (first[:, 0, 0] < 0).double().mean(), (first[:, 1, 1] < 0).double().mean()
    assert abs(across - 0.5) < 0.05 and abs(down - 0.1) < 0.03


def test_a_crop_is_a_part_of_the_frame(pairs):
    cropped = Augment(crop=(40, 56), **STILL)(pairs, range(8))
    part = type(pairs)(*(each[..., 12:52, 20:76] for each in pairs[:6]))
    for name in ("image1", "image2", "flow", "valid", "backward"):
        torch.testing.assert_close(getattr(cropped, name), getattr(part, name), rtol=0, atol=1e-4, msg=name)
    assert (cropped.occlusion >= part.occlusion).all()  # what leaves the smaller frame is occluded, too
    assert cropped.occlusion.sum() > part.occlusion.sum()
    shifted = Augment(crop=(40, 56), **STILL | {"translation": 0.1})(pairs, range(8))
    corners = {tuple(image[:, 0, 0].tolist()) for image in shifted.image1}
    assert shifted.image1.shape == (8, 3, 40, 56) and len(corners) == 8


def test_what_is_unknown_stays_unknown(pairs):
    """A pool keeps images and flow only."""
    augment = Augment(crop=(40, 56))
    bare = pairs._replace(valid=None, occlusion=None, backward=None)
    full, part = augment(pairs, range(8)), augment(bare, range(8))
    assert part.occlusion is None and part.backward is None
    for name in ("image1", "image2", "flow", "valid"):  # a valid of None means that everything is
        assert torch.equal(getattr(part, name), getattr(full, name)), name
    assert not part.valid.all()  # but the border that came in is not
    only_light = Augment(geometric=False)(bare, range(8))
    assert only_light.valid is None and torch.equal(only_light.flow, pairs.flow)


def test_ranges_of_the_geometric_changes():
    first, second = Augment(flip=(0.0, 0.0)).maps(random(4000, GEOMETRIC), SIZE)
    linear = first[:, :, :2]
    scale = 1 / torch.linalg.det(linear).sqrt()
    turn = torch.rad2deg(torch.atan2(linear[:, 1, 0], linear[:, 0, 0]))
    centre = torch.tensor([SIZE[1] - 1, SIZE[0] - 1], dtype=torch.float64) / 2
    shift = (first @ torch.cat([centre, torch.ones(1, dtype=torch.float64)]) - centre).abs() / SIZE[1]
    assert 0.9 <= scale.min() < 0.95 and 1.95 < scale.max() <= 2.0
    assert -17 <= turn.min() < -16 and 16 < turn.max() <= 17
    assert 0.19 < shift.max() <= 0.2
    assert 0 < (second - first)[:, :, 2].std() < 0.05 * SIZE[1]


# Photometric changes.


def light(augment, pairs):
    """The pairs with random photometric changes."""
    copies = pairs._replace(image1=pairs.image1.clone(), image2=pairs.image2.clone())  # they are changed in place
    return augment.change_light(copies, random(8, PHOTOMETRIC))


def test_photometric_changes_are_the_same_in_both_frames(pairs):
    still = pairs._replace(image2=pairs.image1)
    changed = light(Augment(noise=0, blur=0.5), still)
    assert torch.equal(changed.image1, changed.image2) and not torch.equal(changed.image1, pairs.image1)
    assert torch.equal(changed.flow, pairs.flow)
    assert changed.image1.min() >= 0 and changed.image1.max() <= 1


def test_noise_differs_between_the_frames(pairs):
    flat = pairs._replace(image1=torch.full_like(pairs.image1, 0.5), image2=torch.full_like(pairs.image1, 0.5))
    noisy = light(Augment(**PLAIN | {"noise": 0.04}), flat)
    assert not torch.equal(noisy.image1, noisy.image2)
    sigma = noisy.image1.std((1, 2, 3))
    assert sigma.max() <= 0.042 and sigma.std() > 0.005  # each pair has its own


def test_grey_pairs(pairs):
    def grey(share):
        image = light(Augment(grey=share), pairs).image1
        return (image == image[:, :1]).all(dim=1).flatten(1).all(dim=1)

    assert grey(1.0).all() and not grey(0.0).any()


@pytest.mark.parametrize("sigma", [0.5, 1.2])
def test_blur_is_a_gaussian(pairs, sigma):
    sharp = pairs.image1[0].clone()
    soft = blurred(pairs.image1[0], torch.tensor(sigma))
    assert torch.equal(pairs.image1[0], sharp)
    row = torch.exp(-torch.arange(-BLUR, BLUR + 1).square() / (2 * sigma * sigma))
    kernel = torch.outer(row, row)
    kernel = (kernel / kernel.sum()).expand(3, 1, 5, 5)
    padded = F.pad(sharp, (BLUR,) * 4, mode="replicate")
    torch.testing.assert_close(soft, F.conv2d(padded, kernel, groups=3), rtol=0, atol=1e-5)


def test_how_often_pairs_are_blurred(pairs):
    def share(blur):
        after = light(Augment(**PLAIN | {"blur": blur}), pairs).image1
        return ((after - pairs.image1).abs().amax((1, 2, 3)) > 1e-5).float().mean()

    assert share(0.0) == 0 and share(1.0) == 1 and 0 < share(0.5) < 1


# Both.


def test_a_pair_is_changed_alike_in_any_batch(pairs):
    augment = Augment(crop=(40, 56), blur=0.5, grey=0.5, flip=(0.5, 0.5))
    complete = augment(pairs, range(8))
    some = augment(type(pairs)(*(part[[5, 2]] for part in pairs[:6])), [5, 2])
    for name, a, b in zip(pairs._fields[:6], some, complete, strict=False):
        assert torch.equal(a, b[[5, 2]]), name
    other = Augment(crop=(40, 56), seed=1)(pairs, range(8))
    assert not torch.equal(complete.flow, other.flow) and not torch.equal(complete.image1, other.image1)


def test_switches(pairs):
    photometric = Augment(geometric=False)(pairs, range(8))
    assert torch.equal(photometric.flow, pairs.flow) and not torch.equal(photometric.image1, pairs.image1)
    geometric, both = Augment(photometric=False)(pairs, range(8)), Augment()(pairs, range(8))
    assert torch.equal(geometric.flow, both.flow) and not torch.equal(geometric.image1, both.image1)
    neither = Augment(geometric=False, photometric=False)(pairs, range(8))
    assert all(torch.equal(a, b) for a, b in zip(neither[:6], pairs[:6], strict=True))


def test_the_input_is_left_alone(pairs):
    before = type(pairs)(*(part.clone() for part in pairs[:6]))
    for augment in (Augment(), Augment(geometric=False, blur=1.0), Augment(photometric=False)):
        augment(pairs, range(8))
        assert all(torch.equal(a, b) for a, b in zip(pairs[:6], before[:6], strict=True))


@pytest.mark.parametrize("crop", [64, (64,), (0, 64), (64.0, 64.5)])
def test_a_size_that_cannot_be_cropped(crop):
    with pytest.raises(InvalidInput, match=r"crop is .*height, width"):
        Augment(crop=crop)


def test_a_crop_is_a_geometric_change():
    with pytest.raises(InvalidInput, match=r"crop=None"):
        Augment(crop=(64, 64), geometric=False)
