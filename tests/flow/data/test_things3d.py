"""The ground truth of our FlyingThings3D is true, and pair i is pair i."""

import math
import re

import pytest
import torch

from cvdl.data.textures import stack
from cvdl.errors import CourseError, InvalidInput
from cvdl.flow.data.chairs import FULL, FlowBatch
from cvdl.flow.data.scene3d import Scene, rotation
from cvdl.flow.data.things3d import FRAMES, Things, render
from cvdl.flow.warp import occluded, warp

SIZE = (48, 64)


@pytest.fixture(scope="module")
def things():
    return Things(SIZE, split="test")


@pytest.fixture(scope="module")
def views(things):
    return things.views(range(16))


def errors(views):
    """By how much frame 2, brought back or as it is, differs from frame 1 where its points are to be seen."""
    seen = ~views.occlusion.expand_as(views.image1)
    return [(image - views.image1).abs()[seen] for image in (warp(views.image2, views.flow), views.image2)]


def test_shapes_types_and_ranges(things, views):
    assert views.image1.shape == views.image2.shape == (16, 3, *SIZE)
    assert views.flow.shape == views.backward.shape == (16, 2, *SIZE)
    masks = (views.valid, views.occlusion, views.occlusion_back)
    assert all(mask.shape == (16, 1, *SIZE) and mask.dtype == torch.bool for mask in masks)
    assert views.depth1.shape == views.depth2.shape == (16, 1, *SIZE)
    floats = (views.image1, views.image2, views.flow, views.backward, views.depth1, views.depth2)
    assert all(part.dtype == torch.float32 and part.isfinite().all() for part in floats)
    images = torch.stack([views.image1, views.image2])
    assert images.min() >= 0 and images.max() <= 1 and images.std() > 0.15 and 0.25 < images.mean() < 0.6
    assert views.valid.all() and 0.03 < views.occlusion.float().mean() < 0.3
    pairs = things.batch(0, 16)
    assert isinstance(pairs, FlowBatch) and all(
        torch.equal(part, getattr(views, k)) for k, part in zip(pairs._fields[:6], pairs, strict=False)
    )


def test_frame_2_brought_back_is_frame_1(views):
    error, still = errors(views)
    # What is left is interpolation, and rims, which are mixed with what is behind them.
    assert error.median() < 0.008 and error.mean() < 0.03
    assert error.mean() < still.mean() / 3


def test_in_a_large_frame_still_less_is_left():
    error, still = errors(Things((192, 256), split="test").views(range(2)))
    assert error.median() < 0.003 and error.mean() < 0.012 and error.mean() < still.mean() / 6


def test_on_smooth_textures_the_flow_is_exact():
    things = Things(SIZE, split="test", things=(0, 0))
    y, x = torch.meshgrid(torch.arange(576), torch.arange(768), indexing="ij")
    waves = [torch.cos(x * math.pi / 96 * k) * torch.cos(y * math.pi / 96 * j) for k, j in ((1, 0), (0, 1), (1, 1))]
    picture = torch.stack([*(128 + 100 * wave for wave in waves), torch.full(x.shape, 255.0)], -1)
    things.photos = stack(picture.round().byte()[None].repeat(things.photos.count, 1, 1, 1).numpy())
    error, still = errors(things.views(range(8)))
    # Two walls meet in a corner, with textures that do not: there a few pixels are mixed.
    assert error.quantile(0.95) < 0.02 and error.mean() < still.mean() / 10


def nearest(field, flow):
    """field (B, C, H, W) at the pixel next to where the flow leads."""
    x = (torch.arange(flow.shape[3]) + flow[:, 0]).round().long().clamp(0, flow.shape[3] - 1)
    y = (torch.arange(flow.shape[2])[:, None] + flow[:, 1]).round().long().clamp(0, flow.shape[2] - 1)
    index = (y * flow.shape[3] + x).flatten(1)[:, None]
    return field.flatten(2).gather(2, index.expand(-1, field.shape[1], -1)).view_as(field)


def test_there_and_back(views):
    for flow, backward, hidden in (
        (views.flow, views.backward, views.occlusion),
        (views.backward, views.flow, views.occlusion_back),
    ):
        gap = (flow + nearest(backward, flow)).norm(dim=1, keepdim=True)[~hidden]
        assert gap.median() < 0.03
        assert (gap < 0.6).float().mean() > 0.97  # the rest is next to rims, where the nearest pixel shows another body


def test_occlusion_is_where_there_and_back_does_not_lead_home(views):
    for flow, backward, hidden in (
        (views.flow, views.backward, views.occlusion),
        (views.backward, views.flow, views.occlusion_back),
    ):
        assert (occluded(flow, backward) == hidden).float().mean() > 0.95


# A ray caster of another kind, in double precision: planes and quadratic equations in world coordinates.


def turned(spin, when):
    x, y, z = (spin * when).tolist()
    return torch.linalg.matrix_exp(torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64))


def first_hit(scene, i, when, start, rays, body):
    """Smallest t > 0 at which start + t rays (n, 3) is on the body's surface.  -> (n,)"""
    axes = turned(scene.spin[i, body], when) @ scene.turn[i, body]
    half, middle = scene.half[i, body], scene.centre[i, body] + when * scene.velocity[i, body]
    o, d = (start - middle) @ axes, rays @ axes
    best = torch.full((len(rays),), torch.inf, dtype=torch.float64)

    def offer(t, allowed):
        nonlocal best
        best = torch.where(allowed & (t > 1e-9) & (t < best), t, best)

    round_axes = {2: [0, 1, 2], 3: [0, 1]}.get(body, [])
    flat_axes = [0, 1, 2] if body < 2 else [2] if body == 3 else []
    for axis in flat_axes:
        for side in (-1, 1):
            t = (side * half[axis] - o[axis]) / d[:, axis]
            at = (o + t[:, None] * d) / half
            others = [a for a in (0, 1, 2) if a != axis]
            inside = at[:, others].abs().amax(1) <= 1 if body < 2 else at[:, others].norm(dim=1) <= 1
            offer(t, inside)
    if round_axes:
        oo, dd = (o / half)[round_axes], (d / half)[:, round_axes]
        a, b, c = (dd * dd).sum(1), dd @ oo, oo @ oo - 1
        root = (b * b - a * c).clamp(min=0).sqrt()
        for t in ((-b - root) / a, (-b + root) / a):
            offer(t, (b * b > a * c) & ((body == 2) | ((o[2] + t * d[:, 2]).abs() <= half[2])))
    return best


def cast(scene, i, when, x, y):
    """-> depth (n,), body (n,), rays (n, 3) and the camera's place"""
    camera, eye = turned(scene.camera_spin[i], when), when * scene.camera_velocity[i]
    seen = torch.stack([(x - scene.axis[i, 0]), (y - scene.axis[i, 1]), scene.focal[i].expand_as(x)], -1)
    rays = seen / scene.focal[i] @ camera.T
    bodies = [b for b in range(scene.present.shape[1]) if scene.present[i, b]]
    depth, body = torch.stack([first_hit(scene, i, when, eye, rays, b) for b in bodies]).min(0)
    return depth, body, rays, eye


def test_depth_flow_and_occlusion_are_those_of_another_ray_caster():
    things, count = Things(SIZE, split="test", things=(3, 3), seed=5), 6
    scene, views = things.scene(range(count)), things.views(range(count))
    directions = (FRAMES, ("depth1", "flow", "occlusion")), (FRAMES[::-1], ("depth2", "backward", "occlusion_back"))
    y, x = (part.flatten() for part in torch.meshgrid(*(torch.arange(n).double() for n in SIZE), indexing="ij"))
    shown = torch.zeros(4)
    for (start, end), names in directions:
        for i in range(count):
            depth, body, rays, eye = cast(scene, i, start, x, y)
            point = eye + depth[:, None] * rays
            turn = torch.stack([turned(spin, end) @ turned(spin, -start) for spin in scene.spin[i]])[body]
            middle, way = scene.centre[i][body], scene.velocity[i][body]
            point = (turn @ (point - middle - start * way)[..., None])[..., 0] + middle + end * way
            there = (point - end * scene.camera_velocity[i]) @ turned(scene.camera_spin[i], end)
            place = there[:, :2] / there[:, 2:] * scene.focal[i] + scene.axis[i]
            inside = (place >= 0).all(1) & (place <= torch.tensor(SIZE[::-1]) - 1).all(1)
            hidden = ~inside | (cast(scene, i, end, *place.T)[0] < there[:, 2] * (1 - 1e-4))

            result = [getattr(views, name)[i].flatten(1) for name in names]
            same = (result[0][0] / depth - 1).abs() < 1e-4
            assert same.float().mean() > 0.999  # a ray along a rim may hit or miss
            flow = place - torch.stack([x, y], -1)
            assert ((result[1].T - flow).norm(dim=1)[same] < 1e-2).float().mean() > 0.999
            assert (result[2][0] == hidden).float().mean() > 0.995
            shown += torch.bincount(body, minlength=4)
    assert (shown > 200).all()  # all kinds of bodies took part


# A wall and a box straight ahead, and a camera that goes sideways: two whole-numbered flows.


def scene_of(camera_velocity):
    """At depth 16, the wall has one texel on a pixel, at depth 8 so has the box: a unit has 4 and 8 pixels there."""
    bodies = {"dtype": torch.float64}
    return Scene(
        present=torch.ones(1, 2, dtype=torch.bool),
        half=torch.tensor([[[16, 16, 16], [2, 1, 1]]], **bodies),
        turn=torch.eye(3, **bodies).expand(1, 2, 3, 3),
        centre=torch.tensor([[[0, 0, 0], [0, 0, 9]]], **bodies),
        velocity=torch.zeros(1, 2, 3, **bodies),
        spin=torch.zeros(1, 2, 3, **bodies),
        camera_velocity=torch.tensor([camera_velocity], **bodies),
        camera_spin=torch.zeros(1, 3, **bodies),
        focal=torch.tensor([64.0], **bodies),
        axis=torch.tensor([[31.5, 23.5]], **bodies),
        texture=torch.tensor([[[0, 0, 0], [1, 1, 1]]]),
        density=torch.tensor([[4.0, 8.0]], **bodies),
        offset=torch.full((1, 2, 3), 200.0, **bodies),
        tint=torch.ones(1, 2, 3, **bodies),
        paint=torch.zeros(1, 2, 3, **bodies),
        light=torch.tensor([[0, -1, 0]], **bodies),
        fog=torch.zeros(1, 4, **bodies),
        exposure=torch.zeros(1, **bodies),
    )


def test_whole_pixels_are_exact(things):
    views = render(things.photos, scene_of((-0.75, 0.5, 0)), SIZE)
    box = views.depth1[0, 0] == 8
    assert box.sum() == 32 * 16 and (views.depth1[0, 0][~box] == 16).all()
    wall_flow, box_flow = (torch.tensor(flow)[:, None, None] for flow in ((3.0, -2.0), (6.0, -4.0)))
    assert torch.equal(views.flow[0], torch.where(box, box_flow, wall_flow))
    assert torch.equal(views.backward[0], -torch.where(views.depth2[0, 0] == 8, box_flow, wall_flow))

    # Hidden is what leaves the frame, and the wall to which the box comes.
    target = nearest(views.depth2, views.flow)[0, 0]
    hidden = ~box & (target == 8)
    hidden[:2] = hidden[:, -3:] = True
    assert 0 < (~box & (target == 8)).sum() < 300 and torch.equal(views.occlusion[0, 0], hidden)
    # Where no rim is near, in either frame, all is as it was.
    clear = ~views.occlusion & ~rim(views.depth1) & ~nearest(rim(views.depth2), views.flow)
    clear = clear.expand_as(views.image1)
    assert clear.float().mean() > 0.7 and torch.equal(warp(views.image2, views.flow)[clear], views.image1[clear])


def rim(depth):
    """Pixels with another depth beside them."""
    far, near = (torch.nn.functional.max_pool2d(sign * depth, 3, 1, 1) * sign for sign in (1, -1))
    return far != near


def test_a_rim_is_mixed_by_its_share(things):
    """A camera that is half a pixel off (at the box) sees the box's last column half."""
    scene = scene_of((0, 0, 0))
    white = stack(torch.full((2, 576, 768, 4), 255, dtype=torch.uint8).numpy())
    scene.tint[:, 0] = 0
    scene.centre[0, 1, 0] = 0.5 / 8
    image = render(white, scene, SIZE).image1[0, 0]
    row = image[24]
    assert row[20] > 0.9 and row[0] == 0
    torch.testing.assert_close(row[[16, 48]], row[20] / torch.tensor([2.0, 2.0]))


def test_nothing_moves():
    for final in (False, True):
        views = Things(SIZE, split="test", motion=0, final=final).views(range(3))
        assert not views.flow.any() and not views.backward.any()
        assert torch.equal(views.image1, views.image2) and torch.equal(views.depth1, views.depth2)
        assert not views.occlusion.any() and not views.occlusion_back.any()


def test_a_pair_is_the_same_in_any_batch(things, views):
    for some in (things.views([5, 11, 5]), things.views([5])):
        for part, whole in zip(some, views, strict=True):
            assert torch.equal(part[0], whole[5])
    again = Things(SIZE, split="test").views([11])
    assert all(torch.equal(a[0], b[11]) for a, b in zip(again, views, strict=True))


def test_other_seeds_numbers_and_splits_give_other_pairs(things, views):
    assert not torch.equal(views.flow[0], views.flow[1])
    for other in (Things(SIZE, split="test", seed=1), Things(SIZE, split="train")):
        assert not torch.equal(other.scene([0]).centre, things.scene([0]).centre)
    assert Things(SIZE, split="train").photos.count != things.photos.count


def test_a_window_is_a_part_of_the_frame():
    whole, part = Things(SIZE, split="test"), Things(SIZE, split="test", window=(16, 24))
    whole_views, part_views = whole.views(range(4)), part.views(range(4))
    corners = (whole.scene(range(4)).axis - part.scene(range(4)).axis).long()
    assert len(corners.unique(dim=0)) > 1
    for i, (x, y) in enumerate(corners.tolist()):
        for name in ("flow", "backward", "depth1"):
            cut = getattr(whole_views, name)[i, :, y : y + 16, x : x + 24]
            assert ((getattr(part_views, name)[i] - cut).abs().amax(0) < 1e-3).float().mean() > 0.99
        # At the window's border a rim is not mixed with what is outside.
        cut = whole_views.image1[i, :, y + 1 : y + 15, x + 1 : x + 23]
        assert ((part_views.image1[i, :, 1:-1, 1:-1] - cut).abs().amax(0) < 1e-3).float().mean() > 0.99


def test_the_final_pass_looks_different_but_moves_alike(views):
    final = Things(SIZE, split="test", final=True).views(range(8))
    for name in set(views._fields) - {"image1", "image2"}:
        assert torch.equal(getattr(final, name), getattr(views, name)[:8])
    assert (final.image1 - views.image1[:8]).abs().mean() > 0.03
    assert final.image1.min() >= 0 and final.image1.max() <= 1
    error, still = errors(final)
    assert error.mean() < 0.03 and error.mean() < still.mean() / 2


def test_nothing_is_behind_the_camera():
    for size, motion in (((24, 32), 1), ((24, 32), 10), ((16, 64), 10), ((32, 32), 10), ((48, 16), 10)):
        scene = Things(size, motion=motion).scene(range(200))
        signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)
        for when in (-0.65, 0.65):  # with all of the exposure
            corners = (signs * scene.half[..., None, :]) @ (rotation(when * scene.spin) @ scene.turn).mT
            corners = corners + (scene.centre + when * (scene.velocity - scene.camera_velocity[:, None]))[..., None, :]
            depth = (corners @ rotation(when * scene.camera_spin)[:, None])[:, 1:, :, 2]
            assert depth.min() > 0


def test_motion_shrinks_with_the_frame():
    small, large = (Things(size, split="test").batch(0, 8).flow for size in ((48, 64), (96, 128)))
    torch.testing.assert_close(small.abs().mean() * 2, large.abs().mean(), rtol=0.05, atol=0.05)


def test_displacements_are_large_with_a_heavy_tail():
    scale = FULL[0] / 24
    length = Things((24, 32), split="test").batch(0, 256).flow.norm(dim=1) * scale
    assert 10 < length.mean() < 22
    assert length.median() < 0.8 * length.mean()  # many small ones, some large
    assert length.max() > 100


def test_bad_input_says_what_to_do():
    with pytest.raises(CourseError, match='"train" or "test"'):
        Things(split="val")
    with pytest.raises(CourseError, match="height, width"):
        Things(size=(8, 64))
    with pytest.raises(CourseError, match="fewest, most"):
        Things(things=(5, 2))
    with pytest.raises(CourseError, match="within size"):
        Things(SIZE, window=(64, 64))
    for wrong in (dict(things=8), dict(things=(0.5, 2)), dict(motion=math.inf), dict(window=32), dict(seed=-1)):
        (name, value), *_ = wrong.items()
        with pytest.raises(InvalidInput, match=re.escape(f"{name} is {value!r}; it must be")):
            Things(**wrong)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_same_pair_on_the_gpu(views):
    there = Things(SIZE, split="test", device="cuda").views(range(16))
    assert (there.image1.cpu() - views.image1).abs().mean() < 1e-4
    assert ((there.flow.cpu() - views.flow).abs().amax(1) > 1e-3).float().mean() < 1e-3
    assert (there.occlusion.cpu() != views.occlusion).float().mean() < 1e-3
