"""Folders of pairs: published layouts by path, scenes, masks, spellings; and what is said of files that go unused."""

import shutil
import unicodedata
import warnings

import pytest
import torch

from cvdl.data.registry import SETS
from cvdl.errors import CourseError, CourseWarning
from cvdl.flow import read_flow
from cvdl.flow.data.real import open_pairs
from tests.flow.trees import TREES, flow, mask, picture


def rows(folder, **options):
    files = open_pairs(folder, **options).files
    assert len({each.name for each in files}) == len(files)
    return [(each.name, each.image1.name, each.image2.name, each.flow and each.flow.name) for each in files]


# Endings and spellings.


@pytest.mark.parametrize(
    "first, second, truth",
    [
        ("00001_img1.ppm", "00001_img2.ppm", "00001_flow.FLO"),
        ("00001_IMG1.PPM", "00001_img2.ppm", "00001_Flow.flo"),
        ("frame10.PNG", "frame11.PNG", "flow10.FLO"),
        ("Frame10.png", "FRAME11.png", "Flow10.flo"),
        ("cat_1.png", "cat_2.png", "cat_flow.PNG"),
        ("cat_1.JPG", "cat_2.JPG", "cat_1.PFM"),
        ("a.png", "b.png", "A_flow.pfm"),
    ],
)
def test_capitals(tmp_path, first, second, truth):
    for name in (first, second):
        picture(tmp_path / name)
    flow((tmp_path / truth).with_suffix((tmp_path / truth).suffix.lower())).rename(tmp_path / truth)
    ((_, *found),) = rows(tmp_path)
    assert found == [first, second, truth]
    assert open_pairs(tmp_path)[0].valid.any()


def test_pairs_that_differ_in_capitals_alone(tmp_path):
    for name in ("A_1.png", "A_2.png", "a_1.png", "a_2.png"):
        picture(tmp_path / name)
    assert {row[:3] for row in rows(tmp_path)} == {("A", "A_1.png", "A_2.png"), ("a", "a_1.png", "a_2.png")}


@pytest.mark.parametrize("forms", [("NFC", "NFD", "NFC"), ("NFD", "NFC", "NFC"), ("NFC", "NFC", "NFD"), ("NFD",) * 3])
def test_accents_composed_or_not(tmp_path, forms):
    first, second, truth = (
        unicodedata.normalize(form, name)
        for form, name in zip(forms, ("ä_img1.png", "ä_img2.png", "ä_flow.flo"), strict=True)
    )
    for name in (first, second):
        picture(tmp_path / name)
    flow(tmp_path / truth)
    assert rows(tmp_path) == [("ä", first, second, truth)]


@pytest.mark.parametrize("name", SETS)
def test_sets_below_a_folder_with_brackets_and_files_of_macs(tmp_path, monkeypatch, name):
    wanted = TREES[name](tmp_path / "sets [2024]")["train"]
    monkeypatch.setenv("CVDL_SETS", str(tmp_path / "sets [2024]"))
    for path in [path for path in (tmp_path / "sets [2024]").rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    assert [tuple(each[:4]) for each in open_pairs(name, "train").files] == sorted(wanted)


def test_a_list_with_a_mark_blanks_and_comments(tmp_path, monkeypatch):
    wanted = TREES["flyingchairs"](tmp_path)["train"]
    monkeypatch.setenv("CVDL_SETS", str(tmp_path))
    (tmp_path / "FlyingChairs/FlyingChairs_train_val.txt").write_text(
        "\ufeff1\n2 \r\n\n1 # third\n2\n1", encoding="utf-8"
    )
    assert [each.name for each in open_pairs("flyingchairs").files] == [row[0] for row in wanted]
    (tmp_path / "FlyingChairs/FlyingChairs_train_val.txt").write_text("1\n2\n3\n2\n1")
    with pytest.raises(CourseError, match=r"holds '3'; each line is 1 or 2"):
        open_pairs("flyingchairs")


# Scenes.


def test_scenes_are_not_mixed(tmp_path):
    for name in ("000000_00", "000000_01", "000000_02", "000001_00", "000001_01", "000002_00"):
        picture(tmp_path / f"{name}.png")
    assert [row[1:3] for row in rows(tmp_path)] == [
        ("000000_00.png", "000000_01.png"),
        ("000000_01.png", "000000_02.png"),
        ("000001_00.png", "000001_01.png"),
    ]
    assert len(rows(tmp_path, step=2)) == 1


def test_cameras_are_not_mixed(tmp_path):
    for name in ("left_1", "left_2", "right_1", "right_2", "f1_left", "f2_left"):
        picture(tmp_path / f"{name}.png")
    assert {row[1:3] for row in rows(tmp_path)} == {
        ("left_1.png", "left_2.png"),
        ("right_1.png", "right_2.png"),
        ("f1_left.png", "f2_left.png"),
    }


def test_two_pictures_are_a_pair_whatever_their_names(tmp_path):
    for number, names in enumerate((("IMG_7", "shot 2"), ("before", "after"), ("img1", "img2"), ("2020_10", "x9y"))):
        for name in names:
            picture(tmp_path / str(number) / f"{name}.png")
        assert len(rows(tmp_path / str(number))) == 1
    for name in ("000000_07", "000001_07"):  # the same frame of two scenes
        picture(tmp_path / "scenes" / f"{name}.png")
    with pytest.raises(CourseError, match="contains no pair"):
        open_pairs(tmp_path / "scenes")


def test_the_same_names_in_two_formats(tmp_path):
    for n in (1, 2, 3):
        picture(tmp_path / f"f{n}.png")
        picture(tmp_path / f"f{n}.bmp")
    assert all(row[1].split(".")[1] == row[2].split(".")[1] for row in rows(tmp_path)) and len(rows(tmp_path)) == 4


# Masks and visualisations.


def test_the_samples_of_flownet2_tf(tmp_path):
    """github.com/sampepose/flownet2-tf, data/samples"""
    for name in (
        "0img0.ppm",
        "0img1.ppm",
        "1img0.ppm",
        "1img1.ppm",
        "0flow-pred-flownet2.png",
        "1flow-pred-flownet2.png",
    ):
        picture(tmp_path / name)
    for name in ("0flow.flo", "1flow.flo"):
        flow(tmp_path / name)
    with pytest.warns(CourseWarning, match=r"2 pictures .* left out because .*, such as 0flow-pred-flownet2\.png"):
        found = rows(tmp_path)
    assert found == [(f"{n}", f"{n}img0.ppm", f"{n}img1.ppm", f"{n}flow.flo") for n in (0, 1)]


def test_masks_beside_frames(tmp_path):
    for n in (1, 2, 3):
        picture(tmp_path / f"frame_{n:04}.png")
        for kind in ("mask", "occ", "flow_viz"):
            mask(tmp_path / f"frame_{n:04}_{kind}.png")
        for folder in ("occlusions", "flow_viz", "masks"):
            mask(tmp_path / folder / f"frame_{n:04}.png")
    with pytest.warns(CourseWarning, match="9 pictures .* left out"):
        assert [row[:3] for row in rows(tmp_path)] == [
            (f"frame_{n:04}", f"frame_{n:04}.png", f"frame_{n + 1:04}.png") for n in (1, 2)
        ]


def test_pictures_of_a_flow_of_water(tmp_path):
    """Where there are no others, names do not matter; and a folder is read if it is the one that is named."""
    for n in (1, 2):
        picture(tmp_path / "flow" / f"flow_{n}.png")
    assert rows(tmp_path / "flow") == [("flow", "flow_1.png", "flow_2.png", None)]
    with pytest.raises(CourseError, match=r"skipped, such as .*/flow; name such a folder directly"):
        open_pairs(tmp_path)


def test_flow_that_goes_with_no_pair_is_told(tmp_path):
    for n in (1, 2, 3):
        picture(tmp_path / f"f{n}.png")
    flow(tmp_path / "truth_of_1.flo")
    with pytest.warns(CourseWarning, match=r"2 of 2 pairs .* without ground truth.* such as truth_of_1\.flo"):
        open_pairs(tmp_path)
    (tmp_path / "truth_of_1.flo").rename(tmp_path / "f1.flo")
    with warnings.catch_warnings():
        warnings.simplefilter("error", CourseWarning)
        assert [row[3] for row in rows(tmp_path)] == ["f1.flo", None]


# Published layouts, named by path.  Parts of a set are named, too.

BY_PATH = [
    ("sintel-clean", "Sintel/training/clean", "train"),
    ("sintel-final", "Sintel/training/final", "train"),
    ("kitti2012", "KittiFlow2012", "train"),
    ("kitti2012", "KittiFlow2012/training", "train"),
    ("kitti2012", "KittiFlow2012/training/colored_0", "train"),
    ("kitti2015", "KittiFlow/training", "train"),
    ("kitti2015", "KittiFlow/training/image_2", "train"),
    ("kitti2015", "KittiFlow/testing", "test"),
    ("middlebury", "Middlebury/other-data", "train"),
    ("hd1k", "hd1k/hd1k_input", "train"),
    ("hd1k", "hd1k/hd1k_input/image_2", "train"),
    ("chairssdhom", "ChairsSDHom/data/train", "train"),
    ("flyingthings3d-clean", "FlyingThings3D/frames_cleanpass/TRAIN", "train"),
    ("flyingthings3d-final", "FlyingThings3D/frames_finalpass/TEST", "test"),
]


@pytest.mark.parametrize("name, part, split", BY_PATH)
def test_a_published_layout_by_path(tmp_path, name, part, split):
    wanted = {row[1:] for row in TREES[name](tmp_path)[split]}
    if name.startswith("flyingthings"):  # a sequence is read forwards
        wanted = {row for row in wanted if row[0].name < row[1].name}
    for path in (tmp_path / part).glob("image_2/*.png"):  # KITTI's other camera, and its disparities
        for other in ("image_3", "disp_occ_0", "disp_noc_1", "obj_map"):
            if not other.startswith("image") or (tmp_path / part / "flow_occ").is_dir():
                picture(tmp_path / part / other / path.name)
    files = open_pairs(tmp_path / part).files
    found = {tuple(each[1:4]) for each in files if each.flow or split == "test"}
    if name.startswith("flyingthings"):
        found = {row for row in found if row[0].parent.name == "left"}
    assert found == wanted
    with_truth = [each for each in files if each.flow]
    if name.startswith("sintel"):
        assert all(each.invalid and each.occluded for each in with_truth)
    if name.startswith("kitti"):
        assert all(each.visible for each in with_truth) and all("image_3" not in str(each.image1) for each in files)
    for each in with_truth[:2]:
        sample = open_pairs(tmp_path / part)[files.index(each)]
        known = read_flow(each.flow)[0].where(sample.valid, 0)
        assert torch.equal(sample.flow, known)


def test_all_of_sintel_by_path(tmp_path):
    wanted = TREES["sintel-clean"](tmp_path)
    shutil.copytree(tmp_path / "Sintel/training/occlusions", tmp_path / "Sintel/training/flow_viz")
    files = open_pairs(tmp_path / "Sintel").files
    assert {each.image1.parts[-3] for each in files} == {"clean", "final"}
    assert sum(each.flow is not None for each in files) == 2 * len(wanted["train"])
    scene = open_pairs(tmp_path / "Sintel/training/clean/alley_1").files
    assert [each.flow.name for each in scene] == ["frame_0001.flo", "frame_0002.flo"]


def test_parts_of_middlebury_by_path(tmp_path):
    TREES["middlebury"](tmp_path)
    assert rows(tmp_path / "Middlebury/other-data/Venus") == [("Venus", "frame10.png", "frame11.png", "flow10.flo")]
    found = {row[0]: row[3] for row in rows(tmp_path / "Middlebury")}
    assert found["other-data/Venus"] == found["other-data/RubberWhale"] == "flow10.flo"
    assert found["other-data/Walking"] is None
    found = rows(tmp_path / "Middlebury/other-data")
    assert ("RubberWhale", "frame10.png", "frame11.png", "flow10.flo") in found


def test_all_of_kitti_by_path(tmp_path):
    TREES["kitti2015"](tmp_path)
    found = rows(tmp_path / "KittiFlow")
    assert sum(row[3] is not None for row in found) == 3 and len(found) == 6


def test_flyingchairs_by_path(tmp_path):
    TREES["flyingchairs"](tmp_path)
    for folder in ("FlyingChairs", "FlyingChairs/data"):
        assert [row[3] for row in rows(tmp_path / folder)] == [f"{n:05}_flow.flo" for n in range(1, 6)]


# Names that no path can have.


@pytest.mark.parametrize("where", ["sintel", "x" * 300, "a\0b", "~nobody-of-this-name/x", "d/" * 3000])
def test_impossible_paths(where):
    with pytest.raises(CourseError, match="is not a dataset, a folder or a video") as error:
        open_pairs(where)
    assert ("Did you mean sintel-clean or sintel-final?" in str(error.value)) == (where == "sintel")
