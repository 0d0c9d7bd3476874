"""Photographs and chairs: free, listed, small, and made as the command says."""

import hashlib
import io
import re
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from cvdl.flow.data.chairs import Chairs
from cvdl.settings import ROOT
from data.make import pictures

README = (ROOT / "data/README.md").read_text(encoding="utf-8")
FILES = {p: (int(n), h) for p, n, h in re.findall(r"^\| `([^`]+)` .*\| (\d+) \| `(\w{64})` \|$", README, re.M)}
FREE = {"CC0", *(f"CC BY {n}" for n in ("2.0", "3.0", "4.0")), *(f"CC BY-SA {n}" for n in ("2.0", "3.0", "4.0"))}
PHOTOS = [f"photos/{row['file']}" for row in pictures.sources("photos")]
CHAIRS = ["chairs/train.webp", "chairs/test.webp"]
DEBS = ROOT / "build/debs"


@pytest.mark.parametrize("path", [*PHOTOS, *CHAIRS, "photos/SOURCES.tsv", "chairs/SOURCES.tsv"])
def test_bytes_and_sha256_of_readme(path):
    data = (ROOT / "data" / path).read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == FILES[path]


def test_nothing_else_lies_there():
    there = {
        p.relative_to(ROOT / "data").as_posix()
        for kind in ("photos", "chairs")
        for p in (ROOT / "data" / kind).iterdir()
    }
    assert there == {path for path in FILES if path.startswith(("photos/", "chairs/"))}


def test_small_enough():
    assert sum(FILES[path][0] for path in PHOTOS) < 5_000_000
    assert sum(FILES[path][0] for path in CHAIRS) < 6_000_000


@pytest.mark.parametrize("kind", ["photos", "chairs"])
def test_each_is_free_and_has_an_author(kind):
    for row in pictures.sources(kind):
        assert row["licence"] in FREE and row["author"] and row["package"] and row["path"], row
        if kind == "photos":
            assert f"`photos/{row['file']}`" in README and row["author"] in README


def test_at_least_forty_photographs():
    assert len(set(PHOTOS)) == len({row["path"] for row in pictures.sources("photos")}) >= 40
    assert all(Image.open(ROOT / "data" / path).size == pictures.PHOTO for path in PHOTOS)


def test_sprites_are_solid_and_have_room():
    bank = Chairs((16, 16), split="test").sprites
    level0 = bank.texels[: bank.count * pictures.SPRITE**2].view(bank.count, pictures.SPRITE, pictures.SPRITE, 4)
    alpha = level0[..., 3]
    assert bank.count == pictures.VIEWS * len([r for r in pictures.sources("chairs") if r["split"] == "test"])
    assert not alpha[:, 0].any() and not alpha[:, -1].any() and not alpha[..., 0].any() and not alpha[..., -1].any()
    share = (alpha > 250).float().mean((1, 2))
    assert share.min() > 0.01 and share.max() < 0.6
    assert (level0[..., :3] <= alpha[..., None]).all()


OBJ = b"""mtllib box.mtl
v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0
vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1
usemtl red\nf 1/1 2/2 3/3 4/4
usemtl picture\nf -4/-4 -3/-3 -2/-2
"""
MTL = b"newmtl red\nKd 1 0 0\nnewmtl picture\nmap_Kd dots.png\n"


@pytest.fixture()
def models(tmp_path):
    picture = io.BytesIO()
    Image.fromarray(np.array([[[0, 0, 255], [0, 255, 0]]] * 2, np.uint8)).save(picture, "PNG")
    with zipfile.ZipFile(tmp_path / "models.zip", "w") as file:
        for name, data in (("box.obj", OBJ), ("box.mtl", MTL), ("dots.png", picture.getvalue())):
            file.writestr(f"a/box/{name}", data)
    with zipfile.ZipFile(tmp_path / "models.zip") as file:
        yield file


def test_obj_is_read(models):
    corners, normals, uv, material, materials = pictures.read_obj(models, "a/box/box.obj")
    assert corners.shape == normals.shape == (3, 3, 3) and uv.shape == (3, 3, 2)
    assert material.tolist() == [0, 0, 1]
    assert materials[0][0].tolist() == [1, 0, 0] and materials[0][1] is None and materials[1][1].shape == (2, 2, 3)
    np.testing.assert_array_equal(corners[2], [[0, 0, 0], [1, 0, 0], [1, 1, 0]])
    np.testing.assert_array_equal(np.sign(normals[..., 2]), 1)  # no vn in the file: across the triangle


def test_points_are_spread_evenly_and_coloured(models):
    corners, normals, uv, material, materials = pictures.read_obj(models, "a/box/box.obj")
    points, normal, colours = pictures.surface(corners, normals, uv, material, materials, seed=0, count=6000)
    red = colours[:, 0] == 1
    assert abs(red.mean() - 2 / 3) < 0.01
    np.testing.assert_allclose(normal, np.broadcast_to([0, 0, 1], normal.shape), atol=1e-6)
    left = points[~red][:, 0] < 0
    np.testing.assert_array_equal(colours[~red].argmax(1), np.where(left, 2, 1))
    np.testing.assert_allclose(np.linalg.norm(points, axis=1).max(), 1, atol=0.02)


def test_a_ball_is_drawn_as_a_disc_lit_from_above():
    points = np.random.default_rng(0).normal(size=(1_000_000, 3)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    picture = pictures.render(points, points, np.full_like(points, 0.8), azimuth=0.3, elevation=0.2)
    alpha = torch.from_numpy(picture[..., 3]) / 255
    radius = (alpha.sum() / torch.pi).sqrt()
    assert 0.8 < radius / (pictures.SPRITE / 2) < 1
    centre = slice(pictures.SPRITE // 2 - 20, pictures.SPRITE // 2 + 20)
    assert picture[20:40, centre, :3].mean() > picture[-40:-20, centre, :3].mean() + 20


def test_missing_package_says_where_to_get_it(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        pictures.main(["--debs", str(tmp_path), "--to", str(tmp_path)])
    assert end.value.code == 1 and "data/README.md" in capsys.readouterr().err


def test_the_same_photographs_come_out(tmp_path):
    if not DEBS.is_dir():
        pytest.skip(f"the packages of the photographs are not in {DEBS}")
    for path in pictures.make(DEBS, tmp_path, ["photos"]):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == FILES[path.relative_to(tmp_path).as_posix()][1]
