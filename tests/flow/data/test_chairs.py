"""The ground truth of our FlyingChairs is true, and pair i is pair i."""

import math
import re

import pytest
import torch

from cvdl.data.textures import Bank, rows, stack
from cvdl.errors import InvalidInput
from cvdl.flow.data.chairs import FULL, Chairs, Scene, render
from cvdl.flow.warp import warp

SIZE = (48, 64)


@pytest.fixture(scope="module")
def chairs():
    return Chairs(SIZE, split="test", motion=2.0)


@pytest.fixture(scope="module")
def pairs(chairs):
    return chairs.batch(0, 16)


def test_shapes_types_and_ranges(pairs):
    assert pairs.image1.shape == pairs.image2.shape == (16, 3, *SIZE)
    assert pairs.flow.shape == pairs.backward.shape == (16, 2, *SIZE)
    assert pairs.valid.shape == pairs.occlusion.shape == (16, 1, *SIZE)
    assert all(part.dtype == torch.float32 for part in (pairs.image1, pairs.image2, pairs.flow, pairs.backward))
    assert pairs.valid.dtype == pairs.occlusion.dtype == torch.bool and pairs.valid.all()
    images = torch.stack([pairs.image1, pairs.image2])
    assert images.min() >= 0 and images.max() <= 1 and images.std() > 0.1
    assert 0.02 < pairs.occlusion.float().mean() < 0.4


def test_frame_2_brought_back_is_frame_1(pairs):
    seen = ~pairs.occlusion.expand_as(pairs.image1)
    error = (warp(pairs.image2, pairs.flow) - pairs.image1).abs()[seen]
    still = (pairs.image2 - pairs.image1).abs()[seen]
    # What is left is interpolation, and the rims of chairs, which are mixed with what is behind them.
    assert error.median() < 0.01 and error.mean() < 0.025
    assert error.mean() < still.mean() / 3


def test_on_a_smooth_photograph_the_flow_is_exact():
    chairs = Chairs(SIZE, split="test", chairs=(0, 0), motion=3.0)
    y, x = torch.meshgrid(torch.arange(576), torch.arange(768), indexing="ij")
    waves = [torch.sin(x / 40 + y / 90), torch.sin(y / 50 - x / 70), torch.cos(x / 60) * torch.cos(y / 60)]
    picture = torch.stack([*(128 + 120 * wave for wave in waves), torch.full(x.shape, 255.0)], -1)
    chairs.photos = stack(picture.round().byte()[None].numpy())
    pairs = chairs.batch(0, 8)
    seen = ~pairs.occlusion.expand_as(pairs.image1)
    error = (warp(pairs.image2, pairs.flow) - pairs.image1).abs()[seen]
    still = (pairs.image2 - pairs.image1).abs()[seen]
    assert error.quantile(0.999) < 0.02 and error.mean() < still.mean() / 10


def test_there_and_back(pairs):
    x = (torch.arange(SIZE[1]) + pairs.flow[:, 0]).round().long().clamp(0, SIZE[1] - 1)
    y = (torch.arange(SIZE[0])[:, None] + pairs.flow[:, 1]).round().long().clamp(0, SIZE[0] - 1)
    back = pairs.backward.flatten(2).gather(2, (y * SIZE[1] + x).flatten(1)[:, None].expand(-1, 2, -1))
    gap = (pairs.flow + back.view_as(pairs.flow)).norm(dim=1, keepdim=True)[~pairs.occlusion]
    assert gap.median() < 0.02
    assert gap.max() < 0.6  # half a pixel aside, in the strongest turn and zoom


def translation(x, y):
    return torch.tensor([[1, 0, x], [0, 1, y]], dtype=torch.float64)


def scene_of(moves):
    """A photograph and one chair, texel on pixel, each moved by whole pixels."""
    poses = [translation(100, 50), translation(60, 60)]
    return Scene(
        present=torch.ones(1, 2, dtype=torch.bool),
        texture=torch.zeros(1, 2, dtype=torch.long),
        level=torch.zeros(1, 2, dtype=torch.long),
        tint=torch.ones(1, 2, 3),
        pose=torch.stack(poses)[None],
        motion=torch.stack([translation(*move) for move in moves])[None],
        corner=torch.zeros(1, 2, dtype=torch.long),
    )


def test_whole_pixels_are_exact(chairs):
    pairs = render(chairs.photos, chairs.sprites, scene_of([(3, -2), (3, -2)]), SIZE)
    assert torch.equal(pairs.flow, torch.tensor([3.0, -2.0])[:, None, None].expand(1, 2, *SIZE))
    assert torch.equal(pairs.backward, -pairs.flow)
    seen = ~pairs.occlusion
    assert seen[0, 0, 2:, : SIZE[1] - 3].all() and not seen[0, 0, :2].any() and not seen[0, 0, :, SIZE[1] - 3 :].any()
    assert torch.equal(warp(pairs.image2, pairs.flow)[:, :, 2:, :-3], pairs.image1[:, :, 2:, :-3])


def test_each_layer_has_its_own_flow(chairs):
    pairs = render(chairs.photos, chairs.sprites, scene_of([(0, 0), (4, 1)]), SIZE)
    moving = pairs.flow[0, 0] == 4
    assert 50 < moving.sum() < 0.9 * math.prod(SIZE)
    assert torch.equal(pairs.flow[0], moving * torch.tensor([4.0, 1.0])[:, None, None])
    covered = pairs.occlusion[0, 0] & ~moving  # the photograph is hidden where the chair comes to
    assert torch.equal(covered, (pairs.backward[0, 0] == -4) & ~moving)


def test_a_window_is_a_part_of_the_frame():
    whole = Chairs(SIZE, split="test").batch(0, 4)
    part = Chairs(SIZE, split="test", window=(16, 24))
    corners = part.scene(range(4)).corner
    assert len(corners.unique(dim=0)) > 1
    for i, (x, y) in enumerate(corners.tolist()):
        for name in ("image1", "image2", "flow", "backward"):
            cut = getattr(whole, name)[i, :, y : y + 16, x : x + 24]
            torch.testing.assert_close(getattr(part.batch(0, 4), name)[i], cut, rtol=0, atol=1e-4)


@pytest.mark.parametrize("even", [None, 80.0])
def test_nothing_moves(even):
    pairs = Chairs(SIZE, split="test", motion=0, even=even).batch(0, 2)
    assert not pairs.flow.any() and torch.equal(pairs.image1, pairs.image2) and not pairs.occlusion.any()


def test_a_pair_is_the_same_in_any_batch(chairs, pairs):
    for some in (chairs.pairs([5, 11, 5]), chairs.batch(5, 1)):
        for part, whole in zip(some[:6], pairs[:6], strict=True):
            assert torch.equal(part[0], whole[5])
    again = Chairs(SIZE, split="test", motion=2.0).pairs([11])
    assert all(torch.equal(a[0], b[11]) for a, b in zip(again[:6], pairs[:6], strict=True))


def test_other_seeds_numbers_and_splits_give_other_pairs(pairs):
    assert not torch.equal(pairs.flow[0], pairs.flow[1])
    assert not torch.equal(Chairs(SIZE, split="test", motion=2.0, seed=1).batch(0, 1).flow[0], pairs.flow[0])
    first = Chairs(SIZE, split="test").scene([0])
    other = Chairs(SIZE, split="test", seed=1).scene([0])
    assert not torch.equal(first.pose, other.pose)


@pytest.mark.parametrize("kind, key", [("photos", "file"), ("chairs", "chair")])
def test_splits_share_nothing(kind, key):
    train, test, extra = ({row[key] for row in rows(kind, split)} for split in ("train", "test", "train-extra"))
    assert len(train) >= 20 and len(test) >= 6 and not train & test and not extra & (train | test)


def test_motion_shrinks_with_the_frame():
    small, large = (Chairs(size, split="test").batch(0, 4).flow for size in ((48, 64), (96, 128)))
    torch.testing.assert_close(small.abs().mean() * 2, large.abs().mean(), rtol=0.05, atol=0.05)


def test_displacements_are_like_those_of_flying_chairs():
    scale = FULL[0] / 24
    length = Chairs((24, 32), split="test").batch(0, 512).flow.norm(dim=1) * scale
    assert 6 < length.mean() < 13
    assert length.median() < 0.6 * length.mean()  # many small ones, some large
    assert length.max() > 50


def test_textures_are_sampled_where_they_should_be():
    pictures = torch.randint(0, 256, (2, 32, 48, 4), generator=torch.Generator().manual_seed(0)).byte()
    pictures[..., 3] = 255
    bank = stack(pictures.numpy())
    assert isinstance(bank, Bank) and bank.size == (32, 48)

    def at(texture, level, x, y):
        places = (torch.tensor([v]) for v in (texture, level))
        return bank.sample(*places, torch.tensor([float(x)]), torch.tensor([float(y)]))[0] * 255

    assert torch.equal(at(1, 0, 7, 20), pictures[1, 20, 7].float())
    torch.testing.assert_close(at(1, 0, 7.25, 20), torch.lerp(*pictures[1, 20, 7:9].float(), 0.25))
    torch.testing.assert_close(at(0, 0, -3, 33), pictures[0, 30, 2].float())  # in the mirror
    torch.testing.assert_close(at(0, 1, 6.5, 20.5), pictures[0, 20:22, 6:8].float().mean((0, 1)), rtol=0, atol=0.51)
    torch.testing.assert_close(at(0, 4, 7.5, 7.5), pictures[0, :16, :16].float().mean((0, 1)), rtol=0, atol=2.1)


@pytest.mark.parametrize(
    "arguments, told",
    [
        (dict(split="val"), """split is 'val'; it must be "train" or "test"."""),
        (dict(size=(8, 64)), "size is (8, 64); it must be (height, width)"),
        (dict(size=128), "size is 128; it must be (height, width)"),
        (dict(size=(48, 64, 3)), "size is (48, 64, 3); it must be (height, width)"),
        (dict(size=(48.5, 64)), "size is (48.5, 64); it must be (height, width)"),
        (dict(size="big"), "size is 'big'; it must be (height, width)"),
        (dict(window=32), "window is 32; it must be (height, width)"),
        (dict(window=(32,)), "window is (32,); it must be (height, width)"),
        (dict(window=()), "window is (); it must be (height, width)"),
        (dict(window=(32, 8)), "window is (32, 8); it must be (height, width)"),
        (dict(size=SIZE, window=(64, 64)), "window is (64, 64); it must be within size (48, 64)"),
        (dict(chairs=(16, 8)), "chairs is (16, 8); it must be (fewest, most)"),
        (dict(chairs=(-1, 8)), "chairs is (-1, 8); it must be (fewest, most)"),
        (dict(chairs=(1, 2.5)), "chairs is (1, 2.5); it must be (fewest, most)"),
        (dict(chairs=8), "chairs is 8; it must be (fewest, most)"),
        (dict(motion=-1), "motion is -1; it must be a finite number, 0 or more"),
        (dict(motion=math.nan), "motion is nan; it must be a finite number"),
        (dict(motion="slow"), "motion is 'slow'; it must be a finite number"),
        (dict(even=-1.0), "even is -1.0; it must be a finite number"),
        (dict(even=(2, 3)), "even is (2, 3); it must be a finite number"),
        (dict(seed=-1), "seed is -1; it must be a whole number, 0 or more"),
        (dict(seed=0.5), "seed is 0.5; it must be a whole number"),
    ],
)
def test_bad_input_says_what_to_do(arguments, told):
    with pytest.raises(InvalidInput, match=re.escape(told)):
        Chairs(**arguments)


@pytest.mark.parametrize("start, count", [(-1, 2), (0, 0)])
def test_pairs_are_numbered_from_0(chairs, start, count):
    with pytest.raises(InvalidInput, match="counted from 0"):
        chairs.batch(start, count)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_same_pair_on_the_gpu(pairs):
    there = Chairs(SIZE, split="test", motion=2.0, device="cuda").batch(0, 16)
    assert (there.image1.cpu() - pairs.image1).abs().mean() < 1e-4
    assert ((there.flow.cpu() - pairs.flow).abs().amax(1) > 1e-3).float().mean() < 1e-3


def test_even_motions_are_of_all_lengths_up_to_the_greatest():
    flow = Chairs((32, 40), chairs=(0, 0), even=40.0).batch(0, 200).flow
    lengths = flow[:, :, 16, 20].norm(dim=1)  # at the centre, where turning and zooming move nothing
    assert lengths.max() < 41
    shares = torch.histc(lengths, 4, 0, 40) / len(lengths)
    assert shares.min() > 0.15 and shares.max() < 0.35
    right, down = (flow[:, :, 16, 20] > 0).float().mean(0)
    assert 0.4 < right < 0.6 and 0.4 < down < 0.6


def at_centre(**options):
    """Flow where turning and zooming move nothing: (pairs, 2)."""
    return Chairs((64, 80), chairs=(0, 0), **options).batch(0, 50).flow[:, :, 32, 40]


def test_even_motions_of_length_0():
    flow = Chairs((64, 80), chairs=(0, 0), even=0.0).batch(0, 50).flow
    assert flow.abs().max() > 0.5  # it still turns and stretches …
    assert at_centre(even=0.0).norm(dim=1).max() < 0.3  # … about a point near this one


def test_motion_is_a_factor_on_even_motions():
    torch.testing.assert_close(at_centre(even=40.0, motion=0.25), at_centre(even=10.0), rtol=0, atol=0.5)
