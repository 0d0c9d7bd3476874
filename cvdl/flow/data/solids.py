"""A ray caster for rooms, boxes, ellipsoids and cylinders: what things3d draws its scenes with.

A *body* is a unit shape (cube, ball, or cylinder along z, each from -1 to 1), stretched, turned and moved.  Body 0
of a scene is the room, a cube seen from inside; the others are boxes, balls and rods in turn.  A ray through the
pixel (x, y) is known in each body's unit space: it begins in `origin` and runs along rays · (x, y, 1), so scaled
that the parameter of a point on it is the point's depth: its distance from the camera along the optical axis.

N pictures of L bodies each are drawn at once.  Tables have a column for each body of each picture, N · L in all,
and are looked up for each pixel.  Only sums, products, quotients and square roots are used, which are rounded
alike wherever in a batch a pixel stands.
"""

from typing import NamedTuple

import torch

ROOM, BOX, BALL, ROD = range(4)
TINY = 1e-12  # added to what is divided by
SUBPIXELS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))


class View(NamedTuple):
    """How N pictures see their bodies."""

    origin: torch.Tensor  # (3, N L) the camera in each body's unit space
    rays: torch.Tensor  # (9, N L) what x does to the ray, what y does, and the rest, three components each
    boxes: torch.Tensor  # (N, L, 4) long, on the CPU: left, top, width, height of the rectangle around it


class Surface(NamedTuple):
    """What n rays hit."""

    place: torch.Tensor  # (3, n) in unit space
    normal: torch.Tensor  # (3, n) in unit space, outward
    side: torch.Tensor  # (n,) bool: a texture is best thrown on it along the body's x axis …
    top: torch.Tensor  # (n,) bool: … along y; otherwise along z


def kind(body):
    """Bodies 1, 2, 3, 4 … are box, ball, rod, box …  An int or a tensor of them."""
    return (body > 0) * ((body - 1) % 3 + 1)


def aim(view, index, x, y):
    """Rays through pixels (x, y) of bodies number `index`, all (n,) -> origin, direction (3, n)"""
    a, b, c = view.rays.index_select(1, index).split(3)
    return view.origin.index_select(1, index), a * x + b * y + c


def hit(kind, origin, ray):
    """Depth at which rays (3, n) enter a shape, or leave the room; infinite where they miss.  -> (n,)"""
    if kind == BALL:
        near, far = through(origin, ray)
    elif kind == ROD:
        near, far = through(origin[:2], ray[:2])
        low, high = between(origin[2], ray[2])
        near, far = torch.maximum(near, low), torch.minimum(far, high)
    else:
        (near, far), *others = (between(o, r) for o, r in zip(origin, ray, strict=True))
        for low, high in others:
            near, far = torch.maximum(near, low), torch.minimum(far, high)
        if kind == ROOM:
            return far
    return near.where((near < far) & (near > 0), torch.inf)


def hit_any(kind, origin, ray):
    """The same for shapes of different kinds (n,)."""
    depth = hit(ROOM, origin, ray)
    for k in (BOX, BALL, ROD):
        depth = hit(k, origin, ray).where(kind == k, depth)
    return depth


def between(origin, ray):
    """When a coordinate is between -1 and 1."""
    inverse = 1 / (ray + TINY)
    middle, half = -origin * inverse, inverse.abs()
    return middle - half, middle + half


def through(origin, ray):
    """When the distance from 0 is below 1.  By way of the nearest point: b² - ac would lose half the digits."""
    square = dot(ray, ray)
    middle = -dot(origin, ray) / square
    nearest = origin + middle * ray
    half = ((1 - dot(nearest, nearest)).clamp(min=0) / square).sqrt()
    return middle - half, middle + half


def dot(a, b):
    return sum(p * q for p, q in zip(a, b, strict=True))


def see(view, size):
    """Cast a ray through the centre of each pixel.  -> depth float, body long, both (N H W,)"""
    (count, bodies, _), (height, width), device = view.boxes.shape, size, view.origin.device
    x, y = (torch.arange(n, device=device, dtype=torch.float32) for n in (width, height))
    a, b, c = view.rays.view(3, 3, count, bodies, 1, 1)[:, :, :, 0]
    origin = view.origin.view(3, count, bodies, 1, 1)[:, :, 0]
    depth = hit(ROOM, origin, a * x + (b * y[:, None] + c)).flatten()
    body = torch.zeros(depth.shape, dtype=torch.long, device=device)
    areas, boxes = (view.boxes[..., 2] * view.boxes[..., 3]).sum(0).tolist(), view.boxes.to(device)
    for layer in range(1, bodies):
        if areas[layer]:
            picture, column, row = within(boxes[:, layer], areas[layer])
            pixel = (picture * height + row) * width + column
            near = hit(kind(layer), *aim(view, picture * bodies + layer, column, row))
            before = depth.index_select(0, pixel)
            depth[pixel] = torch.minimum(near, before)
            body[pixel] = body.index_select(0, pixel).where(near >= before, layer)
    return depth, body


def within(boxes, area):
    """All pixels of one rectangle (4,) in each picture; area: how many.  -> picture, column, row, each (area,)"""
    left, top, width, height = boxes.unbind(1)
    number = torch.arange(len(boxes), device=boxes.device)
    picture = torch.repeat_interleave(number, width * height, output_size=area)
    begin = (width * height).cumsum(0) - width * height
    rest = torch.arange(area, device=boxes.device) - begin[picture]
    width = width[picture]
    row = torch.div(rest, width, rounding_mode="floor")
    return picture, rest - row * width + left[picture], row + top[picture]


def touch(kind, origin, ray, depth):
    """The surfaces at this depth.  kind, depth: (n,), origin, ray: (3, n) -> Surface"""
    x, y, z = place = origin + depth * ray
    flat, rod = kind <= BOX, kind == ROD
    lid = rod & (z * z > x * x + y * y)
    far_x, far_y, far_z = place.abs()
    far_z = torch.where(rod, 2.0 * lid, far_z)
    side = (far_x >= far_y) & (far_x >= far_z)
    top = ~side & (far_y >= far_z)
    flat = flat | lid
    nx, ny = x.where(side | ~flat, 0), y.where(top | ~flat, 0)
    nz = z.where(~(flat & (side | top)) & (lid | ~rod), 0)
    return Surface(place, torch.stack([nx, ny, nz]), side, top)


def hidden(view, body, surface, x, y, depth, size):
    """Where points of all pictures are hidden in the partner picture: half a batch on or back.  -> bool (N H W,)

    x, y, depth: the points' places there and depth, (N H W,).  They are hidden if they are outside; or on a side of
    their body that is turned away; or if a ray to them meets another body before.  Of these only the bodies are
    tried that the four pixels about the place show.
    """
    (count, bodies, _), (height, width) = view.boxes.shape, size
    picture = torch.arange(count, device=body.device).roll(count // 2)
    there = (picture * bodies).repeat_interleave(height * width) + body
    origin = view.origin.index_select(1, there)
    away = (body > 0) & (dot(surface.normal, origin - surface.place) <= 0)
    covered = away | (x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)

    left, upper = x.floor().long().clamp(0, width - 2), y.floor().long().clamp(0, height - 2)
    corner = (picture * height * width).repeat_interleave(height * width) + upper * width + left
    shown = torch.stack([body[corner + step] for step in (0, 1, width, width + 1)])
    some = ((shown != body).any(0) & ~covered).nonzero()[:, 0]
    candidate = shown[:, some]
    x, y = (place[some].expand(candidate.shape).flatten() for place in (x, y))
    origin, ray = aim(view, ((there - body)[some] + candidate).flatten(), x, y)
    near = hit_any(kind(candidate).flatten(), origin, ray).view(candidate.shape)
    covered[some] = ((near < depth[some] * (1 - 1e-4)) & (candidate != body[some])).any(0)
    return covered


def soften(canvas, view, body, surface, size):
    """Mix colours where two surfaces meet, by their shares in the pixel: four rays each.  Changes canvas (N H W, 3).

    Only where a neighbour shows another surface, and the neighbour's colour stands for that surface.
    """
    (_, bodies, _), (height, width) = view.boxes.shape, size
    name = surface_name(body, surface)
    grid = name.view(-1, height, width)
    across, down = grid[..., 1:] != grid[..., :-1], grid[:, 1:] != grid[:, :-1]
    edge = torch.zeros_like(grid, dtype=torch.bool)
    edge[..., 1:] |= across
    edge[..., :-1] |= across
    edge[:, 1:] |= down
    edge[:, :-1] |= down
    pixel = edge.flatten().nonzero()[:, 0]

    column, row = pixel % width, torch.div(pixel, width, rounding_mode="floor") % height
    other = pixel
    for step, there in ((-1, column > 0), (1, column < width - 1), (-width, row > 0), (width, row < height - 1)):
        neighbour = (pixel + step).where(there, pixel)
        other = neighbour.where(name[neighbour] != name[pixel], other)
    # For each subpixel (4), both bodies (2) that are in question.
    across, down = torch.tensor(SUBPIXELS, device=canvas.device).T[:, :, None, None]
    candidate = torch.stack([body[pixel], body[other]]).expand(len(SUBPIXELS), -1, -1)
    first = torch.div(pixel, height * width, rounding_mode="floor") * bodies
    x, y = (part.expand(candidate.shape).flatten() for part in (column + across, row + down))
    origin, ray = aim(view, (first + candidate).flatten(), x, y)
    shape = kind(candidate).flatten()
    depth = hit_any(shape, origin, ray)
    label = surface_name(candidate.flatten(), touch(shape, origin, ray, depth)).view(candidate.shape)
    front, back = depth.view(candidate.shape).unbind(1)
    seen = label[:, 1].where(back < front, label[:, 0])
    share = (seen == name[other]).float().mean(0)
    canvas[pixel] = torch.lerp(canvas[pixel], canvas[other], share[:, None])


def surface_name(body, surface):
    return body * 3 + torch.where(surface.side, 0, torch.where(surface.top, 1, 2))
