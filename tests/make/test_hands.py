"""The hand's sprites are the ones README describes, and the model gives them again."""

import hashlib
import io
import re
import tarfile
import urllib.error

import numpy as np
import pytest
from PIL import Image

from cvdl.errors import CourseError
from cvdl.gesture.render import REACH, WRIST, sprites
from cvdl.settings import ROOT
from data.make import hands, texts

README = (ROOT / "data/README.md").read_text(encoding="utf-8")
FILES = {p: (int(n), h) for p, n, h in re.findall(r"^\| `(hands/[^`]+)` .*\| (\d+) \| `(\w{64})` \|$", README, re.M)}
MODEL = ROOT / "build/hand/left.glb"


def test_bytes_and_sha256_of_readme():
    there = {f"hands/{path.name}": path.read_bytes() for path in (ROOT / "data/hands").iterdir()}
    assert {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in there.items()} == FILES
    assert sum(size for size, _ in FILES.values()) < 2_500_000


def test_sprites_are_as_told():
    sheet = np.asarray(Image.open(ROOT / "data/hands/sprites.webp"))
    assert sheet.shape == (32 * hands.SIZE[0], hands.SIZE[1], 4)
    assert {pose: len(some) for pose, some in sprites().items()} == {"point": 24, "open": 4, "fist": 4}
    for sprite, _ in (pair for some in sprites().values() for pair in some):
        nx, ny, light, cover = sprite.numpy()
        assert not cover[0].any() and not cover[:, 0].any() and not cover[:, -1].any()
        x, y = hands.WRIST
        assert cover[y, x] == 1 and light.max() < 1.28 and (nx**2 + ny**2)[cover == 1].max() < 1.02
        arm = cover[-1].nonzero()[0]  # straight down from the wrist, in one piece
        assert len(arm) == arm[-1] - arm[0] + 1 and abs((arm[0] + arm[-1]) / 2 - x) < 5
        assert nx[-1, arm[2]] < -0.5 and nx[-1, arm[-3]] > 0.5  # its sides look to both sides


def test_the_finger_tip_is_where_the_table_says():
    for sprite, (x, y) in sprites()["point"]:
        rows, columns = np.mgrid[: hands.SIZE[0], : hands.SIZE[1]]
        near = sprite[3].numpy() * (np.hypot(columns - x, rows - y) < 4)
        assert near.sum() > 5
        assert 15 < np.hypot(x - hands.WRIST[0], y - hands.WRIST[1]) < 1.15 * REACH
    assert np.abs(np.subtract(hands.WRIST, WRIST)).max() < 1


def test_a_model_that_cannot_be_fetched(tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    monkeypatch.setattr(texts, "ROOT", tmp_path)
    assert texts.make_hands(tmp_path) == [] and "could not be fetched" in capsys.readouterr().out
    with pytest.raises(CourseError, match=r"left\.glb"):
        hands.fetch(tmp_path / "left.glb")


def test_the_model_is_taken_out_of_the_archive(tmp_path, monkeypatch):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as file:
        for name, data in (("package/other", b"other"), (hands.MODEL, b"model")):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            file.addfile(entry, io.BytesIO(data))
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: io.BytesIO(archive.getvalue()))
    with pytest.raises(CourseError, match="Remove it"):
        hands.fetch(tmp_path / "x/left.glb")
    assert (tmp_path / "x/left.glb").read_bytes() == b"model"
    monkeypatch.setattr(hands, "SHA256", hashlib.sha256(b"model").hexdigest())
    assert hands.fetch(tmp_path / "x/left.glb") == tmp_path / "x/left.glb"


@pytest.fixture(scope="module")
def mesh():
    if not MODEL.is_file():
        pytest.skip(f"{MODEL} is not there; `make assets` fetches it")
    return hands.read_hand(MODEL)


STRAIGHT = hands.Pose("point", (0, 0, 0), (0, 0, 0), (0, 0, 0, 0), 0, 0, 0)


def test_a_straight_hand_is_the_hand_at_rest(mesh):
    frames = hands.bent(mesh.rest, STRAIGHT)
    assert frames.keys() == mesh.rest.keys() and len(frames) == 25
    for name, frame in frames.items():
        np.testing.assert_allclose(frame, mesh.rest[name], atol=1e-6)


def test_a_bent_finger_goes_to_the_palm_and_takes_its_tip_along(mesh):
    frames = hands.bent(mesh.rest, STRAIGHT._replace(index=(80, 0, 0)))
    before, after = (some["index-finger-tip"][:3, 3] for some in (mesh.rest, frames))
    knuckle = mesh.rest["index-finger-phalanx-proximal"][:3, 3]
    assert after[0] - before[0] > 0.05  # x leads out of the palm
    np.testing.assert_allclose(np.linalg.norm(after - knuckle), np.linalg.norm(before - knuckle), rtol=1e-5)
    np.testing.assert_allclose(frames["ring-finger-tip"], mesh.rest["ring-finger-tip"], atol=1e-6)


def test_it_is_drawn_as_a_right_hand(mesh):
    flat = STRAIGHT._replace(name="open")
    points, normals, _, _, tip = hands.place(mesh, flat)
    thumb = points[: len(mesh.points)][
        (mesh.weights * (mesh.joints == list(mesh.rest).index("thumb-phalanx-distal"))).sum(1) > 0.5
    ]
    assert thumb[:, 0].mean() < tip[0] - 10  # the back of a right hand has its thumb on the left
    assert tip[1] < hands.WRIST[1] - 60
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=2e-6)


def test_the_same_sprite_comes_out(mesh):
    number = 13
    points, normals, triangles, nails, tip = hands.place(mesh, list(hands.poses())[number])
    sheet = np.asarray(Image.open(ROOT / "data/hands/sprites.webp"))
    height = hands.SIZE[0]
    drawn = hands.draw(points, normals, triangles, nails)
    np.testing.assert_array_equal(drawn, sheet[number * height : (number + 1) * height])
    line = (ROOT / "data/hands/sprites.tsv").read_text().splitlines()[1 + number]
    assert line == f"point\t{tip[0]:.2f}\t{tip[1]:.2f}"
