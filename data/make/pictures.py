"""Make data/chairs/ and data/photos/ from Debian packages: `python -m data.make.pictures --debs FOLDER`.

Done once, by whoever keeps the course.  FOLDER holds the .deb files that the two tables SOURCES.tsv name;
data/README.md says how to fetch them.  The same packages and the same Pillow give the same bytes.

    photographs   cut to 4:3 about the centre, reduced to 768 × 576, WebP
    chairs        rendered from VIEWS sides into atlases: a row is a chair, a column a view, WebP with alpha
"""

import argparse
import csv
import subprocess
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from cvdl.errors import DataNotFound
from cvdl.settings import ROOT
from data.make.texts import report

PHOTO = (768, 576)  # width, height
SPRITE = 192  # pixels, both ways
VIEWS = 24  # 12 azimuths at each of two elevations
FINE = 3  # renders this many times larger and averages
POINTS = 2_500_000  # on the surface of a chair; several fall into each pixel of the fine picture


def sources(kind):
    """Rows of data/`kind`/SOURCES.tsv as dicts."""
    with open(ROOT / "data" / kind / "SOURCES.tsv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def make(debs, to, kinds=("photos", "chairs")):
    """Unpack the packages and write the pictures under `to`; return their paths."""
    rows = {kind: sources(kind) for kind in kinds}
    packages = sorted({row["package"] for part in rows.values() for row in part})
    with tempfile.TemporaryDirectory() as folder:
        for package in packages:
            unpack(Path(debs), package, Path(folder))
        makers = {"photos": make_photos, "chairs": make_chairs}
        return [path for kind in kinds for path in makers[kind](rows[kind], Path(folder), Path(to) / kind)]


def unpack(debs, package, folder):
    """Contents of the package "name version" -> `folder`/name."""
    name, version = package.split()
    deb = debs / f"{name}_{version}_all.deb"
    if not deb.exists():
        raise DataNotFound(
            f"{deb.name} is not in {debs}. Chairs and photographs are made from Debian and Ubuntu packages: "
            "fetch them as data/README.md says (section Photographs), and repeat the command."
        )
    subprocess.run(["dpkg-deb", "-x", deb, folder / name], check=True)


# Photographs.


def make_photos(rows, folder, to):
    to.mkdir(parents=True, exist_ok=True)
    for row in rows:
        picture = Image.open(folder / row["package"].split()[0] / row["path"]).convert("RGB")
        shrink(picture).save(to / row["file"], quality=80, method=6)
    return [to / row["file"] for row in rows]


def shrink(picture):
    """The largest 4:3 part about the centre, at the size PHOTO."""
    w, h = picture.size
    width, height = min(w, h * 4 / 3), min(h, w * 3 / 4)
    left, top = (w - width) / 2, (h - height) / 2
    return picture.resize(PHOTO, Image.Resampling.LANCZOS, box=(left, top, left + width, top + height))


# Chairs.


def make_chairs(rows, folder, to):
    to.mkdir(parents=True, exist_ok=True)
    paths = []
    for split in ("train", "test"):
        chairs = [row for row in rows if row["split"] == split]
        atlas = np.zeros((len(chairs), SPRITE, VIEWS, SPRITE, 4), np.uint8)
        for n, row in enumerate(chairs):
            archive, member = (folder / row["package"].split()[0] / row["path"]).as_posix().split(".sh3f/")
            with zipfile.ZipFile(archive + ".sh3f") as models:
                points, normals, colours = surface(*read_obj(models, member), seed=n)
            for view in range(VIEWS):
                azimuth, elevation = np.pi / 6 * (view % 12 + 0.5 * (view // 12)), (0.2, 0.55)[view // 12]
                atlas[n, :, view] = render(points, normals, colours, azimuth, elevation)
        paths.append(to / f"{split}.webp")
        picture = Image.fromarray(atlas.reshape(len(chairs) * SPRITE, VIEWS * SPRITE, 4))
        picture.save(paths[-1], quality=85, alpha_quality=95, method=6)
    return paths


def read_obj(models, path):
    """OBJ, MTL and textures out of a zip file.

    -> corners (N, 3, 3) of N triangles, their normals (N, 3, 3), texture coordinates (N, 3, 2), materials (N,),
    and the list of materials: a colour (3,) and a texture (H, W, 3) or None; all colours in [0, 1].
    """
    folder = path.rsplit("/", 1)[0]
    v, vt, vn, faces, names, current = [], [[0, 0]], [[0, 0, 0]], [], {}, 0
    library = {}
    for line in models.read(path).decode("latin-1").splitlines():
        key, *rest = line.split() or [""]
        if key == "v":
            v.append([float(x) for x in rest[:3]])
        elif key == "vt":
            vt.append([float(x) for x in rest[:2]])
        elif key == "vn":
            vn.append([float(x) for x in rest[:3]])
        elif key == "mtllib":
            library |= read_mtl(models, folder, " ".join(rest))
        elif key == "usemtl":
            current = names.setdefault(" ".join(rest), len(names))
        elif key == "f":
            corner = [([int(i) if i else 0 for i in c.split("/")] + [0, 0])[:3] for c in rest]
            counts = len(v), len(vt) - 1, len(vn) - 1  # negative numbers count from the end
            corner = [[i if i >= 0 else n + 1 + i for i, n in zip(c, counts, strict=True)] for c in corner]
            faces += [(corner[0], corner[i], corner[i + 1], current) for i in range(1, len(corner) - 1)]
    names = names or {"": 0}
    index = np.array([face[:3] for face in faces])  # (N, 3 corners, v vt vn)
    corners = np.array(v)[index[..., 0] - 1]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, None].repeat(3, 1)
    normals = np.array(vn)[index[..., 2]]
    normals = np.where((normals**2).sum(-1, keepdims=True) > 0, normals, flat)
    materials = [library.get(name, (np.full(3, 0.7), None)) for name in names]
    return corners, normals, np.array(vt)[index[..., 1]], np.array([face[3] for face in faces]), materials


def read_mtl(models, folder, name):
    """Materials of an MTL file: name -> (diffuse colour (3,), texture (H, W, 3) or None)."""
    materials, current = {}, None
    for line in models.read(f"{folder}/{name}").decode("latin-1").splitlines():
        key, *rest = line.split() or [""]
        if key == "newmtl":
            current = " ".join(rest)
            materials[current] = (np.full(3, 0.7), None)
        elif key == "Kd":
            materials[current] = (np.array([float(x) for x in rest]), materials[current][1])
        elif key == "map_Kd":
            with models.open(f"{folder}/{rest[-1]}") as file:
                materials[current] = (np.ones(3), np.asarray(Image.open(file).convert("RGB")) / 255)
    return materials


def surface(corners, normals, uv, material, materials, *, seed, count=POINTS):
    """Points spread evenly over the triangles -> positions, unit normals, colours: each (count, 3) float32.

    The chair is centred, and scaled to fit a sphere of radius 1.
    """
    random = np.random.default_rng(seed)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    steps = (np.arange(count) + random.random(count)) / count  # stratified
    triangle = np.minimum(np.searchsorted(np.cumsum(area) / area.sum(), steps), len(area) - 1)
    a, b = random.random((2, count))
    fold = a + b > 1
    a, b = np.where(fold, 1 - a, a), np.where(fold, 1 - b, b)
    weights = np.stack([1 - a - b, a, b], 1)[..., None].astype(np.float32)

    def mix(values):  # (N, 3 corners, D) -> (count, D)
        return (values.astype(np.float32)[triangle] * weights).sum(1)

    centre = (corners.min((0, 1)) + corners.max((0, 1))) / 2
    radius = np.linalg.norm(corners - centre, axis=-1).max()
    points, normal = mix((corners - centre) / radius), mix(normals)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    where, colours = mix(uv) % 1, np.empty((count, 3), np.float32)
    for i, (colour, texture) in enumerate(materials):
        mine = material[triangle] == i
        colours[mine] = colour
        if texture is not None:
            size = np.array(texture.shape[1::-1])
            x, y = np.minimum((where[mine] * size).astype(int), size - 1).T
            colours[mine] = texture[len(texture) - 1 - y, x]
    return points, normal, colours


def render(points, normals, colours, azimuth, elevation):
    """Draw the points, nearest on top, as seen from a side -> RGBA (SPRITE, SPRITE, 4) uint8.

    Weak perspective; y is up in the model.  Light: from above and beside the camera, on both faces of a surface.
    """
    c, s = np.cos(azimuth), np.sin(azimuth)
    turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    c, s = np.cos(elevation), np.sin(elevation)
    turn = (np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ turn).astype(np.float32)
    x, y, depth = (points @ turn.T).T  # depth grows towards the camera
    normal = normals @ turn.T
    normal *= np.where(normal[:, 2:] < 0, -1, 1)
    light = np.array([-0.4, 0.75, 0.53], np.float32)
    shade = 0.35 + 0.55 * np.abs(normal @ light) + 0.1 * normal[:, 2]

    size = SPRITE * FINE
    scale = (size / 2 - 2 * FINE) / (1 - depth / 5) / 1.1
    pixel = np.round(size / 2 - 0.5 - scale * y).astype(int) * size + np.round(size / 2 - 0.5 + scale * x).astype(int)
    order = np.argsort(depth, kind="stable")
    nearest = np.full(size * size, -1)
    nearest[pixel[order]] = order  # of several points in one pixel the last, nearest, one stays
    hit = nearest >= 0
    picture = np.zeros((size * size, 4), np.float32)
    lifted = 0.1 + 0.9 * colours[nearest[hit]]  # a black chair shows its shape too
    picture[hit, :3] = np.clip(lifted * shade[nearest[hit], None], 0, 1)
    picture[hit, 3] = 1
    picture = picture.reshape(SPRITE, FINE, SPRITE, FINE, 4).mean((1, 3))
    picture[..., :3] /= np.maximum(picture[..., 3:], 1e-6)  # colour of what is hit, not mixed with black
    return np.round(picture * 255).astype(np.uint8)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m data.make.pictures", description=__doc__.splitlines()[0])
    parser.add_argument("--debs", type=Path, required=True, help="folder with the .deb files")
    parser.add_argument("--to", type=Path, default=ROOT / "data", help="folder to write to (default: data/)")
    parser.add_argument("--only", choices=("photos", "chairs"), help="make one of the two")
    options = parser.parse_args(arguments)
    only = [options.only] if options.only else ("photos", "chairs")
    report(parser, lambda: make(options.debs, options.to, only))


if __name__ == "__main__":
    main()
