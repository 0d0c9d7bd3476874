"""Scenes for things3d: from dice to bodies and their ways, and from these to tables for the ray caster.

All of it on the CPU in double precision, so that a scene is the same in any batch and on any device.  World
coordinates are those of the camera half-way between the frames: x to the right, y down, z ahead.  Time is in frames.
"""

import math
from typing import NamedTuple

import torch

from cvdl.flow.data import solids
from cvdl.flow.data.chairs import FULL
from cvdl.flow.data.random_numbers import heavy, normal

SIZE = dict(mean=190.0, spread=110.0, least=40.0, most=400.0)  # a thing's diagonal in pixels of a frame of size FULL
# Limits, such that nothing comes behind the camera: in radians, in distances to the nearest wall, and in depths.
CLOSE = dict(turn=0.17, fly=0.12, large=0.4, shift=0.35, dive=0.1)
DICE = 32  # for the camera, for the room, and for each thing


class Scene(NamedTuple):
    """B scenes of L bodies, the room first: L = 1 + most things.  float64 on the CPU; lengths in units of space."""

    present: torch.Tensor  # (B, L) bool: there are not equally many things in each
    half: torch.Tensor  # (B, L, 3): half the extent along each axis of the body
    turn: torch.Tensor  # (B, L, 3, 3): from the body's axes to the world's, at time 0
    centre: torch.Tensor  # (B, L, 3): at time 0
    velocity: torch.Tensor  # (B, L, 3): per frame
    spin: torch.Tensor  # (B, L, 3): axis times angle per frame
    camera_velocity: torch.Tensor  # (B, 3)
    camera_spin: torch.Tensor  # (B, 3)
    focal: torch.Tensor  # (B,) focal length in pixels
    axis: torch.Tensor  # (B, 2) x, y of the picture's centre, where the optical axis meets it, in pixels
    texture: torch.Tensor  # (B, L, 3) long: the photograph on the sides across each axis
    density: torch.Tensor  # (B, L): texels per unit
    offset: torch.Tensor  # (B, L, 3): texel in the body's centre
    tint: torch.Tensor  # (B, L, 3): factors on red, green, blue
    paint: torch.Tensor  # (B, L, 3): and what is added
    light: torch.Tensor  # (B, 3): direction to the light
    fog: torch.Tensor  # (B, 4): per unit of depth, and its red, green, blue
    exposure: torch.Tensor  # (B,): time for which a frame of the final pass is exposed, in frames


# Dice -> scene.


def arrange(dice, size, photos, things, motion, window):
    """dice: (B, 1 + L, DICE) float64, uniform in [0, 1): for camera, room, things -> Scene."""
    camera, dice = dice[:, 0], dice[:, 1:]
    first = torch.arange(dice.shape[1]) == 0  # the room; its row in dice is not for a thing
    pixel = motion * math.sqrt(math.prod(size) / math.prod(FULL))  # a motion by one pixel of a frame of size FULL
    focal = max(size) * (0.7 + 0.5 * camera[:, 0])
    room = build(camera, dice[:, 0])
    free = ((1 - room.place.abs()) * room.half).amin(-1)  # distance from the nearest wall
    ahead = wall(room, torch.tensor([0.0, 0.0, 1.0], dtype=dice.dtype))
    camera_velocity, camera_spin = steer(camera, pixel, motion, focal, ahead, free)
    half, centre, velocity, spin = throw_up(dice, size, pixel, motion, focal, room)

    # A quarter of the things are rather plain, the others hardly.
    plain = torch.where(first | (dice[..., 24] > 0.25), 0.1, 0.2 + 0.7 * dice[..., 25])[..., None]
    hue = torch.where(first, 0.08, 0.25)[:, None]
    tint = torch.exp((2 * dice[..., 26:27] - 1) * 0.3 + (2 * dice[..., 27:30] - 1) * hue)
    # Texels on a pixel: so many that much of a photograph is to be seen, but not more than its small copies are for.
    whole = min(photos.size[0] / size[0], photos.size[1] / size[1], 4)
    there = torch.where(first, (ahead * free).sqrt()[:, None], centre[..., 2])  # at this depth
    light = torch.stack([4 * camera[:, 14] - 2, -0.5 - camera[:, 15], 4 * camera[:, 16] - 2], -1)
    light = apply(room.turn, light / light.norm(dim=-1, keepdim=True))
    spare = torch.tensor(size[::-1]) - torch.tensor(window[::-1])
    is_room = first[:, None]
    return Scene(
        present=torch.arange(dice.shape[1]) <= things[0] + (camera[:, 22:23] * (things[1] - things[0] + 1)).floor(),
        half=torch.where(is_room, room.half[:, None], half),
        turn=torch.where(is_room[..., None], room.turn[:, None], rotation(2 * normal(dice[..., 7:10]))),
        centre=torch.where(is_room, apply(room.turn, -room.place * room.half)[:, None], centre),
        velocity=torch.where(is_room, 0, velocity),
        spin=torch.where(is_room, 0, spin),
        camera_velocity=camera_velocity,
        camera_spin=camera_spin,
        focal=focal,
        axis=(torch.tensor(size[::-1]) - 1) / 2 - (camera[:, 24:26] * (spare + 1)).floor(),
        texture=(photos.count * dice[..., 17:20].where(is_room, dice[..., 17:18])).long(),
        density=whole * 2 ** (dice[..., 23] - 0.8) * focal[:, None] / there,
        offset=dice[..., 20:23] * max(photos.size),
        tint=(1 - plain) * tint,
        paint=plain * dice[..., 27:30] * (1 - 0.5 * dice[..., 30:31]),
        light=light,
        fog=torch.cat([0.5 * camera[:, 17:18] ** 2 / ahead[:, None], 0.5 + 0.4 * camera[:, 18:21]], -1),
        exposure=0.3 * camera[:, 23],
    )


class Room(NamedTuple):
    """Where the camera is in it: in units of its half extents."""

    turn: torch.Tensor  # (B, 3, 3)
    half: torch.Tensor  # (B, 3)
    place: torch.Tensor  # (B, 3)


def build(camera, room):
    """A room, 10 to 40 wide and long and half as high, and the camera 0.4 of half its extent or more from each wall."""
    zero, yaw, pitch, roll = 0 * camera[:, 0], *camera[:, 1:4].unbind(-1)
    tilt = torch.stack([0.12 * normal(pitch), zero, 0.06 * normal(roll)], -1).clamp(-0.3, 0.3)
    turn = rotation(tilt) @ rotation(torch.stack([zero, 2 * math.pi * yaw, zero], -1))
    return Room(turn, 10 * 2 ** (2 * room[:, 11:14] - torch.tensor([1, 2, 1])), 1.2 * camera[:, 4:7] - 0.6)


def steer(camera, pixel, motion, focal, ahead, free):
    """The camera's velocity and spin, (B, 3) each, by what they do to the picture: pixels at the wall ahead."""
    go = torch.stack([heavy(camera[:, 7 + i], spread, 3, 200) for i, spread in enumerate((1.3, 1.1, 1.8))], -1)
    go = shorten(go * (pixel * ahead / focal)[:, None], CLOSE["fly"] * free)
    turn = shorten(heavy(camera[:, 10:12], 1.15, 3, 60) * (pixel / focal)[:, None], CLOSE["turn"])
    roll = torch.deg2rad(heavy(camera[:, 12:13], 1.2, 2, 8)) * motion * (camera[:, 13:14] < 0.4)
    return go, torch.cat([turn, roll], -1)


def throw_up(dice, size, pixel, motion, focal, room):
    """Things anywhere in the frame, as large as they shall look.  -> half, centre, velocity, spin, (B, L, 3) each"""
    focal = focal[:, None, None]
    aside = (dice[..., :2] - 0.5) * torch.tensor(size[::-1]) / focal
    ray = torch.cat([aside, torch.ones_like(aside[..., :1])], -1)
    depth = (wall(Room(*(part[:, None] for part in room)), ray) * (0.4 + 0.4 * dice[..., 2]))[..., None]
    one = math.sqrt(math.prod(size) / math.prod(FULL)) * depth / focal  # as long as a pixel of a frame of size FULL
    extent = (SIZE["mean"] + SIZE["spread"] * normal(dice[..., 3:4])).clamp(SIZE["least"], SIZE["most"]) * one
    shape = 2 ** (-2 * dice[..., 4:7])  # from cube to stick and plate
    half = shape / shape.norm(dim=-1, keepdim=True) * (extent / 2).minimum(CLOSE["large"] * depth)

    flies = motion * (dice[..., 10:11] > 0.35)  # the others are at rest
    shift = shorten(flies * heavy(dice[..., 11:13], 1.55, 3, 120) * one, CLOSE["shift"] * depth[..., 0])
    dive = shorten(flies * 0.05 * normal(dice[..., 13:14]) * depth, CLOSE["dive"] * depth[..., 0])
    spin = flies * torch.deg2rad(heavy(dice[..., 14:17], 1.6, 3, 25))
    return half, ray * depth, torch.cat([shift, dive], -1), spin


def shorten(vector, most):
    """(…, n), to be no longer than `most` (…)."""
    return vector * (most / vector.norm(dim=-1).clamp(min=1e-12)).clamp(max=1)[..., None]


def apply(matrix, vector):
    """(…, m, n), (…, n) -> (…, m)"""
    return (matrix @ vector[..., None])[..., 0]


def rotation(vector):
    """Axis times angle in radians (…, 3) -> matrix (…, 3, 3), after Rodrigues; exactly the identity for 0."""
    angle = vector.norm(dim=-1)[..., None, None]
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    rest = torch.eye(3, dtype=vector.dtype)
    return rest + torch.sinc(angle / math.pi) * cross + torch.sinc(angle / 2 / math.pi) ** 2 / 2 * (cross @ cross)


def wall(room, ray):
    """Depth at which a ray (…, 3) from the camera leaves the room."""
    ray = apply(room.turn.mT, ray) / room.half
    return ((ray.sign() - room.place) / ray.where(ray != 0, 1e-12)).amin(-1)


# Scene -> tables for the ray caster.


def pose(scene, when):
    """Where all is at a time (a number, or (B, 1, 1)).

    -> camera's turn (B, 1, 3, 3) and place (B, 1, 3), bodies' turns since time 0 (B, L, 3, 3), places (B, L, 3)
    """
    camera, turn = rotation(when * scene.camera_spin[:, None]), rotation(when * scene.spin)
    return camera, when * scene.camera_velocity[:, None], turn, scene.centre + when * scene.velocity


def look(scene, when, size, beside=(0, 0)):
    """What the camera sees at a time, in a window of this size.  -> View, and the direction to the light (3, B L)

    beside: how far right and below of the pixels' centres it looks.
    """
    camera, eye, turn, centre = pose(scene, when)
    axes = turn @ scene.turn
    back = axes.mT / scene.half[..., None]
    focal = scene.focal[:, None, None]
    x, y, z = (back @ camera).unbind(-1)
    x, y = x / focal, y / focal
    axis = scene.axis - torch.tensor(beside, dtype=x.dtype)
    rays = torch.cat([x, y, z - axis[:, None, :1] * x - axis[:, None, 1:] * y], -1)
    origin = apply(back, eye - centre)

    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=back.dtype)] * 3)  # (8, 3)
    corners = (corners * scene.half[..., None, :]) @ axes.mT + (centre - eye)[..., None, :]
    corners = corners @ camera  # (B, L, 8, 3)
    corners = corners[..., :2] / corners[..., 2:] * focal[..., None] + axis[:, None, None]
    begin = corners.amin(2).sub(0.01).ceil().clamp(min=0).long()
    end = corners.amax(2).add(1.01).floor().long().minimum(torch.tensor(size[::-1]))
    seen = scene.present & (begin < end).all(-1)
    seen[:, 0] = False  # the room is everywhere
    boxes = torch.cat([begin, end - begin], -1).where(seen[..., None], 0)

    light = apply(axes.mT, scene.light[:, None])
    light[:, 0] *= -1  # the room's walls look inward
    return solids.View(columns(origin), columns(rays), boxes), columns(light)


def follow(scene, start, end):
    """How pixels move from one time to another: a table (12, B L) for `displacement`."""
    camera, eye, _, centre = pose(scene, start)
    camera2, eye2, _, centre2 = pose(scene, end)
    turn = rotation((end - start) * scene.spin)
    linear = camera2.mT @ turn @ camera - torch.eye(3, dtype=turn.dtype)
    shift = apply(camera2.mT, apply(turn, eye - centre) + centre2 - eye2)
    project = torch.zeros(len(turn), 1, 3, 3, dtype=turn.dtype)
    project[:, 0, 0, 0] = project[:, 0, 1, 1] = scene.focal
    project[:, 0, :2, 2], project[:, 0, 2, 2] = scene.axis, 1
    linear = project @ linear @ torch.linalg.inv(project)
    return columns(torch.cat([linear.flatten(2), apply(project, shift)], -1))


def columns(table):
    """(B, L, C) -> (C, B L), in single precision."""
    return table.flatten(0, 1).T.float().contiguous()
