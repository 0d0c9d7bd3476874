"""Make data/hands/ from a rigged hand: sprites of a right hand with its forearm, seen by the one it belongs to.

Done once, by whoever keeps the course, with `make assets`.  The hand is generic-hand/left.glb of the npm package
@webxr-input-profiles/assets, for it comes early in the archive: 1,360 points, each moved by up to four of 25 joints
(linear blend skinning).  Its mirror image is a right hand.  It ends at the wrist; the forearm is ours.

Hand coordinates, in metres: x out of the palm, -y along the fingers, z towards the little finger.
Camera coordinates: x to the right, y up, z towards the eye; the wrist is the origin and the forearm comes from below.
"""

import hashlib
import json
import struct
import tarfile
import urllib.request
from typing import NamedTuple

import numpy as np
from PIL import Image

from cvdl.errors import CourseError, InvalidInput

PACKAGE = "https://registry.npmjs.org/@webxr-input-profiles/assets/-/assets-1.0.20.tgz"
MODEL = "package/dist/profiles/generic-hand/left.glb"
SHA256 = "bc67783144944ea1cda54d9247885825ea5fb9d4651469fe7d00be517a5c2b87"
FINGERS = ("index-finger", "middle-finger", "ring-finger", "pinky-finger")
PHALANGES = ("proximal", "intermediate", "distal")
SIZE = (192, 160)  # height and width of a sprite, in pixels
WRIST = (80, 116)  # x, y of the wrist in every sprite: below it there is only the forearm
SCALE = 560  # pixels per metre at the wrist
EYE = 0.6  # metres from the eye to the wrist
TIP = 0.008  # metres from the joint called tip to the end of the finger
FINE = 3  # renders this many times larger and averages


class Pose(NamedTuple):
    """Angles in degrees.  A finger bends at its three knuckles; the thumb at its base, aside, and at its two joints."""

    name: str  # "point", "open" or "fist"
    index: tuple
    others: tuple
    thumb: tuple
    pitch: float  # how far the fingers point away from the eye
    roll: float  # how far the back of the hand turns to the thumb's side
    bend: float  # how far the hand turns about the wrist, in the picture, clockwise from the forearm's direction


def poses():
    """The 32 sprites, in their order."""
    curled, loose = (72, 98, 58), (58, 85, 45)
    tucked, beside = (12, 18, 38, 45), (0, 0, 18, 22)
    views = [  # pitch, roll, bend
        (0, 15, 10), (5, 40, 20), (8, -15, 15), (10, 25, 30), (10, 60, 5), (14, 5, 0), (15, 35, 15), (18, -20, 25),
        (19, 15, 35), (19, 50, 10), (20, 30, -10), (22, 0, 20), (22, 65, 25), (24, 20, 5), (24, 45, 35), (25, -15, 10),
        (25, 30, 20), (28, 10, 30), (28, 55, 0), (30, 25, 10), (31, 0, 15), (31, 40, 25), (34, 20, 20), (34, 60, 15),
    ]  # fmt: skip
    indices = [(6, 10, 5), (14, 20, 12), (0, 4, 2), (14, 8, 4)]
    for n, view in enumerate(views):
        yield Pose("point", indices[n % 4], (curled, loose)[n % 3 == 2], (tucked, beside)[n % 2], *view)
    for view in [(15, 10, 10), (35, -10, 25), (50, 25, 5), (30, 40, 20)]:
        yield Pose("open", (8, 12, 8), (12, 16, 10), (0, -5, 5, 8), *view)
    for view in [(15, 15, 10), (35, -15, 20), (50, 10, 5), (30, 40, 15)]:
        yield Pose("fist", (70, 95, 55), curled, tucked, *view)


def fetch(path):
    """The model's file, fetched to `path` unless it is there.  Raises CourseError where that fails.

    The archive has 93 MB.  It is read as it comes, and no further than the model: about 1 MB.
    """
    if not path.is_file():
        try:
            with (
                urllib.request.urlopen(PACKAGE, timeout=30) as answer,
                tarfile.open(fileobj=answer, mode="r|gz") as archive,
            ):
                model = next(archive.extractfile(entry).read() for entry in archive if entry.name == MODEL)
        except (OSError, EOFError, StopIteration, tarfile.TarError) as error:
            raise CourseError(
                f"{PACKAGE} could not be fetched: {error}. Repeat the command where the npm registry can be reached, or "
                f"put the archive's {MODEL} at {path}."
            ) from None
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(model)
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise InvalidInput(f"{path} is not the hand of @webxr-input-profiles/assets 1.0.20. Remove it and repeat.")
    return path


def make(model, to):
    """Write sprites.webp and sprites.tsv into `to`, from the path of a GLB file; return their paths.

    In the picture one sprite stands below the other.  Red and green are the normal's x and y, (1 + n) / 2 of 255;
    blue is the light that reaches the place between the fingers, 200 where nothing is in its way, more on nails;
    alpha is the share of the pixel that is covered.  The table gives each sprite's pose and finger tip, in pixels.
    """
    mesh, sprites, rows = read_hand(model), [], ["pose\tx\ty"]
    for pose in poses():
        points, normals, triangles, nails, tip = place(mesh, pose)
        sprites.append(draw(points, normals, triangles, nails))
        rows.append(f"{pose.name}\t{tip[0]:.2f}\t{tip[1]:.2f}")
    to.mkdir(parents=True, exist_ok=True)
    picture, table = to / "sprites.webp", to / "sprites.tsv"
    # `exact` keeps normals where nothing is covered: interpolation at the rim reads them.
    Image.fromarray(np.concatenate(sprites)).save(picture, lossless=True, exact=True, method=6)
    table.write_text("\n".join(rows) + "\n", encoding="ascii", newline="\n")
    return [picture, table]


# The model.


class Mesh(NamedTuple):
    points: np.ndarray  # (V, 3)
    normals: np.ndarray  # (V, 3)
    joints: np.ndarray  # (V, 4) numbers of the joints that move a point
    weights: np.ndarray  # (V, 4), and how much
    triangles: np.ndarray  # (F, 3)
    rest: dict  # joint's name -> its frame (4, 4) in the model as it is stored


def read_hand(path):
    """GLB file -> Mesh"""
    data = path.read_bytes()
    # GLB: a header of 12 bytes, a chunk of JSON, a chunk of numbers; each chunk begins with its length and kind.
    length = struct.unpack_from("<I", data, 12)[0]
    scene, numbers = json.loads(data[20 : 20 + length]), data[28 + length :]

    def array(accessor):
        entry = scene["accessors"][accessor]
        view = scene["bufferViews"][entry["bufferView"]]
        kind = {5121: np.uint8, 5123: np.uint16, 5126: np.float32}[entry["componentType"]]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}[entry["type"]]
        values = np.frombuffer(numbers, kind, entry["count"] * width, view.get("byteOffset", 0))
        return values.reshape(-1, width).astype(float if kind is np.float32 else int)

    primitive, skin = scene["meshes"][0]["primitives"][0], scene["skins"][0]
    points, normals, joints, weights = (
        array(primitive["attributes"][key]) for key in ("POSITION", "NORMAL", "JOINTS_0", "WEIGHTS_0")
    )
    inverse = array(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)  # stored by columns
    rest = {scene["nodes"][j]["name"]: np.linalg.inv(m) for j, m in zip(skin["joints"], inverse, strict=True)}
    return Mesh(points, normals, joints, weights, array(primitive["indices"]).reshape(-1, 3), rest)


def rotation(axis, degrees):
    """About x, y or z (0, 1, 2), as (4, 4)."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix, (i, j) = np.eye(4), [(1, 2), (2, 0), (0, 1)][axis]
    matrix[[i, j, i, j], [i, j, j, i]] = c, c, -s, s
    return matrix


def bent(rest, pose):
    """Frames of all joints in a pose: name -> (4, 4).

    All joints lie flat under one node of the file.  The chain from wrist to tip is built here: a joint turns
    about its own x, and carries along all that come after it.  -z leads to the tip.
    """
    turns = {}
    for finger in FINGERS:
        angles = pose.index if finger == FINGERS[0] else pose.others
        for joint, angle in zip(PHALANGES, angles, strict=True):
            turns[f"{finger}-phalanx-{joint}"] = rotation(0, -angle)
    base, aside, middle, end = pose.thumb
    turns["thumb-metacarpal"] = rotation(1, -aside) @ rotation(0, -base)
    turns |= {"thumb-phalanx-proximal": rotation(0, -middle), "thumb-phalanx-distal": rotation(0, -end)}
    frames = {"wrist": rest["wrist"]}
    for finger in ("thumb", *FINGERS):
        before = "wrist"
        for joint in ("metacarpal", *(f"phalanx-{part}" for part in PHALANGES), "tip"):
            name = f"{finger}-{joint}"
            if name in rest:  # a thumb has no intermediate phalanx
                step = np.linalg.inv(rest[before]) @ rest[name]
                frames[name] = frames[before] @ step @ turns.get(name, np.eye(4))
                before = name
    return frames


# The pose.


def place(mesh, pose):
    """Hand and forearm before the camera.

    -> points (V, 3): x and y in pixels of the sprite, and depth; normals (V, 3); triangles (F, 3); how much a point
    is nail (V,); and the finger tip's x and y in pixels.
    """
    frames = bent(mesh.rest, pose)
    moves = np.stack([frames[name] @ np.linalg.inv(mesh.rest[name]) for name in mesh.rest])
    blend = (mesh.weights[..., None, None] * moves[mesh.joints]).sum(1)  # (V, 4, 4)
    points = (blend[:, :3, :3] * mesh.points[:, None]).sum(-1) + blend[:, :3, 3]
    normals = (blend[:, :3, :3] * mesh.normals[:, None]).sum(-1)
    turn = camera(pose)
    wrist = np.array([-0.034, 0.066, 0.010])  # the middle of the cut where the model ends
    points, normals = (points - wrist) @ turn.T, normals @ turn.T
    joint = frames["index-finger-tip"]
    tip = (joint[:3, 3] - TIP * joint[:3, 2] - wrist) @ turn.T

    tube, tube_normals, tube_triangles = forearm(turn)
    triangles = np.concatenate([mesh.triangles, tube_triangles + len(points)])
    nails = np.concatenate([nail(mesh), np.zeros(len(tube))])
    points, normals = np.concatenate([points, tube]), np.concatenate([normals, tube_normals])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    points, normals, nails = (each.round(6) for each in (project(points), normals, nails))  # else processors differ
    return points, normals, triangles, nails, project(tip[None])[0, :2]


def camera(pose):
    """Hand coordinates -> camera coordinates, (3, 3).  One of them is right-handed, the other left-handed: a mirror."""
    base = np.array([[0, 0, 1], [0, -1, 0], [-1, 0, 0]])  # right is the little finger's side, up are the fingers
    turns = rotation(2, -pose.bend) @ rotation(0, -pose.pitch) @ rotation(1, -pose.roll)
    return turns[:3, :3] @ base


def project(points):
    scale = SCALE / (1 - points[:, 2:] / EYE)
    return np.concatenate([np.array(WRIST) + scale * points[:, :2] * [1, -1], points[:, 2:]], 1)


def nail(mesh):
    """1 in the middle of a nail, 0 elsewhere: the back of a finger's last joint.  (V,)"""
    amount = np.zeros(len(mesh.points))
    for name, frame in mesh.rest.items():
        if name.endswith("-tip"):
            x, y, z = ((mesh.points - frame[:3, 3]) @ frame[:3, :3]).T / (0.008 if "thumb" in name else 0.0065)
            inside = np.clip(1.6 - np.hypot(x, (z - 0.4) / 1.1), 0, 1)
            amount = np.maximum(amount, inside * (y > 0) * (np.abs(z) < 3))
    return amount


def forearm(turn, rings=40, around=32):
    """A tube from inside the hand to below the sprite.  -> points, normals, triangles

    turn: as of `camera`.  It leaves the hand in the hand's own direction and bends down within 5 cm.
    """
    along = np.linspace(-0.022, 0.32, rings)
    ease = np.clip((along + 0.022) / 0.06, 0, 1)
    ease = (ease * ease * (3 - 2 * ease))[:, None]
    heading = (1 - ease) * turn[:, 1] + ease * np.array([0, -1, 0.12])
    heading /= np.linalg.norm(heading, axis=1, keepdims=True)
    centre = np.cumsum(heading * np.gradient(along)[:, None], 0)
    # Through the wrist, and at x = 0 once it runs down.
    centre -= centre[np.abs(along).argmin()]
    centre[:, 0] *= 1 - ease[:, 0]
    wide = turn[:, 2] - (heading @ turn[:, 2])[:, None] * heading
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    thick = np.cross(wide, heading)
    grow = np.clip(along / 0.18, 0, 1)[:, None]
    inside = 0.004 * np.clip(-along / 0.022, 0, 1)[:, None]
    half_width, half_thickness = 0.0276 - inside + 0.018 * grow, 0.0212 - inside + 0.019 * grow
    angle = np.linspace(0, 2 * np.pi, around, endpoint=False)[:, None, None]
    out = np.cos(angle) * wide / half_width + np.sin(angle) * thick / half_thickness
    points = centre + np.cos(angle) * wide * half_width + np.sin(angle) * thick * half_thickness
    a, r = np.meshgrid(np.arange(around), np.arange(rings - 1), indexing="ij")
    corner = np.stack(
        [a * rings + r, a * rings + r + 1, (a + 1) % around * rings + r, (a + 1) % around * rings + r + 1]
    )
    triangles = np.concatenate([corner[[0, 1, 2]].reshape(3, -1).T, corner[[1, 3, 2]].reshape(3, -1).T])
    return points.reshape(-1, 3), out.reshape(-1, 3), triangles


# The picture.


def draw(points, normals, triangles, nails):
    """Rasterise, nearest on top -> (height, width, 4) uint8, as told in `make`."""
    height, width = (FINE * side for side in SIZE)
    depth = np.full((height, width), -np.inf)
    values = np.zeros((height, width, 4))
    corners = np.concatenate([(points[:, :2] + 0.5) * FINE - 0.5, points[:, 2:], normals, nails[:, None]], 1)[triangles]
    for corner in corners[(corners[..., 5] > 0).any(1)]:  # the others turn away from the eye
        (x0, y0), (x1, y1), (x2, y2) = corner[:, :2]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        left, top = np.maximum(np.ceil(corner[:, :2].min(0)), 0).astype(int)
        right, bottom = np.minimum(np.floor(corner[:, :2].max(0)), [width - 1, height - 1]).astype(int)
        if left > right or top > bottom or abs(area) < 1e-9:
            continue
        x, y = np.arange(left, right + 1), np.arange(top, bottom + 1)[:, None]
        b = ((x - x0) * (y2 - y0) - (x2 - x0) * (y - y0)) / area
        c = ((x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)) / area
        share = np.stack([1 - b - c, b, c], -1)
        z = (share * corner[:, 2]).sum(-1)
        window = np.s_[top : bottom + 1, left : right + 1]
        nearer = (share.min(-1) >= 0) & (z > depth[window])
        depth[window][nearer] = z[nearer]
        values[window][nearer] = (share[nearer][..., None] * corner[:, 3:]).sum(1)
    return shade(depth, values)


def shade(depth, values):
    """Fine picture -> sprite."""
    covered = depth > -np.inf
    # A place is darker the more of its surroundings stand before it.
    blocked = np.zeros(depth.shape)
    for radius in (6, 14, 26):
        for k in range(8):
            dx, dy = (round(radius * f(np.pi * k / 4)) for f in (np.cos, np.sin))
            rise = np.roll(depth, (dy, dx), (0, 1)) - np.where(covered, depth, 0)
            blocked += np.clip(rise / (1.6 * radius / FINE / SCALE), 0, 1) / 24
    # Not where hand and forearm meet: they are one.
    blocked *= np.clip(np.abs(np.arange(len(depth)) / FINE - WRIST[1] - 2) / 8 - 0.8, 0, 1)[:, None]
    light = np.clip(200 * (1 - 1.1 * blocked) + 30 * values[..., 3], 0, 255)
    facing = values[..., :3] * np.where(values[..., 2:3] < 0, -1, 1)
    fine = np.concatenate([127.5 * (1 + facing[..., :2]), light[..., None]], -1) * covered[..., None]
    height, width = SIZE
    mean = fine.reshape(height, FINE, width, FINE, 3).mean((1, 3))
    alpha = covered.reshape(height, FINE, width, FINE).mean((1, 3))[..., None]
    colour = np.where(alpha > 0, mean / np.maximum(alpha, 1e-9), [127.5, 127.5, 200])
    return np.floor(np.concatenate([colour, 255 * alpha], -1) + 0.5).astype(np.uint8)
