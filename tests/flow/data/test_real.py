"""Published sets, folders and videos: tiny copies are read exactly, and what is missing is named."""

import shutil
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from cvdl.data.registry import SETS
from cvdl.errors import CourseError
from cvdl.flow import epe, read_flow, write_flow
from cvdl.flow.data.real import PairDataset, open_pairs
from tests.flow import real
from tests.flow.trees import TREES, H, W, flow, picture

ROWS = [(name, split) for name, entry in SETS.items() for split in entry.needs]


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("CVDL_SETS", str(tmp_path / "sets"))
    monkeypatch.setenv("CVDL_REAL", "")
    return tmp_path / "sets"


def pixels(path):
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1) / 255


def check(sample, name, image1, image2, truth):
    assert sample.name == name
    for image, path in ((sample.image1, image1), (sample.image2, image2)):
        assert image.dtype == torch.float32 and torch.equal(image, pixels(path))
    if truth is None:
        assert sample.flow is sample.valid is sample.occlusion is None
        return
    wanted, known = read_flow(truth)
    assert sample.flow.dtype == torch.float32 and sample.flow.shape == (2, H, W) and sample.valid.dtype == torch.bool
    assert not (sample.valid & ~known).any() and torch.equal(sample.flow, wanted.where(sample.valid, 0))


# Sets.


@pytest.mark.parametrize("name, split", ROWS)
def test_a_set_is_read_exactly(tmp_path, nowhere, name, split):
    wanted = TREES[name](tmp_path / "elsewhere")[split]
    shutil.copytree(tmp_path / "elsewhere", nowhere)
    for pairs in (open_pairs(name, split, root=tmp_path / "elsewhere"), open_pairs(name, split)):
        assert len(pairs) == len(wanted)
        for sample, row in zip(pairs, sorted(wanted), strict=True):
            check(sample, *row)
    assert torch.equal(pairs[-1].image1, sample.image1) and [s.name for s in pairs[1:]] == [s.name for s in pairs][1:]
    assert len(open_pairs(name, split, limit=1)) == 1


def test_every_set_has_a_tree():
    assert list(TREES) == list(SETS)


@pytest.mark.parametrize("name, split", ROWS)
def test_one_missing_file_is_named_or_its_pair_is_left_out(tmp_path, nowhere, name, split):
    """Never does a picture get another one's flow, whichever file of the set is lost."""
    wanted = {row[0]: row[1:] for row in TREES[name](nowhere)[split]}
    files = [path for path in nowhere.rglob("*") if path.is_file()]
    told = 0
    for path in files:
        path.rename(tmp_path / "lost")
        try:
            pairs = open_pairs(name, split)
            assert all((each.image1, each.image2, each.flow) == wanted[each.name] for each in pairs.files)
            assert all(path not in each for each in pairs.files)
        except CourseError as error:
            assert SETS[name].page in str(error) and SETS[name].size in str(error)
            told += 1
        (tmp_path / "lost").rename(path)
    assert told or split == "test"
    assert len(open_pairs(name, split)) == len(wanted)


@pytest.mark.parametrize(
    "name, lost, word",
    [
        ("flyingchairs", "FlyingChairs/FlyingChairs_train_val.txt", "It lacks FlyingChairs_train_val.txt"),
        ("flyingchairs", "FlyingChairs/data/00002_img2.ppm", "00002_img2.ppm is missing"),
        ("flyingchairs", "FlyingChairs/data/00005_flow.flo", "sorts 5 pairs, and 4 are there"),
        ("flyingthings3d-clean", "FlyingThings3D/optical_flow/TRAIN", "It lacks optical_flow/TRAIN"),
        ("flyingthings3d-final", "FlyingThings3D/frames_finalpass/TRAIN/A/0001/left/0008.png", "0008.png is missing"),
        ("flyingthings3d-clean", "FlyingThings3D/optical_flow/TRAIN/A/0001", "no flow for"),
        ("chairssdhom", "ChairsSDHom/data/train/t1/00001.png", "00001.png is missing"),
        ("chairssdhom", "ChairsSDHom/data/train/flow/00000.pfm", "no flow for"),
        ("sintel-clean", "Sintel/training/clean/alley_1/frame_0003.png", "frame_0003.png is missing"),
        ("sintel-final", "Sintel/training/flow/alley_1/frame_0001.flo", "no flow for"),
        ("sintel-final", "Sintel/training/flow/bamboo_2", "no flow for"),
        ("sintel-clean", "Sintel/training/occlusions/bamboo_2/frame_0002.png", "frame_0002.png is missing"),
        ("middlebury", "Middlebury/other-data/Venus", "frame10.png is missing"),
        ("middlebury", "Middlebury/other-gt-flow", "It lacks other-gt-flow"),
        ("kitti2012", "KittiFlow2012/training/colored_0/000001_11.png", "000001_11.png is missing"),
        ("kitti2012", "KittiFlow2012/training/flow_occ/000001_10.png", "no flow for"),
        ("kitti2015", "KittiFlow/training/image_2/000001_11.png", "000001_11.png is missing"),
        ("kitti2015", "KittiFlow/training/flow_noc/000002_10.png", "000002_10.png is missing"),
        ("hd1k", "hd1k/hd1k_input/image_2/000000_0011.png", "000000_0011.png is missing"),
        ("hd1k", "hd1k/hd1k_flow_gt/flow_occ/000000_0010.png", "no flow for"),
    ],
)
def test_half_unpacked_sets_say_what_is_missing(nowhere, name, lost, word):
    TREES[name](nowhere)
    shutil.rmtree(nowhere / lost) if (nowhere / lost).is_dir() else (nowhere / lost).unlink()
    with pytest.raises(CourseError) as error:
        open_pairs(name)
    assert word in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", SETS)
def test_a_missing_set_says_where_to_get_it(nowhere, name):
    with pytest.raises(CourseError) as error:
        open_pairs(name)
    text = str(error.value)
    assert "is not here" in text and "CVDL_SETS" in text and "{}" not in text
    assert all(word in text for word in (SETS[name].page, SETS[name].size, str(nowhere / SETS[name].folder)))
    (nowhere / SETS[name].folder).mkdir(parents=True)
    with pytest.raises(CourseError, match="is not whole"):
        open_pairs(name)
    for part in SETS[name].needs["train"]:
        path = nowhere / SETS[name].folder / part
        path.write_text("") if path.suffix else path.mkdir(parents=True)
    with pytest.raises(CourseError, match="is not whole"):
        open_pairs(name)


def test_sintels_masks(nowhere):
    TREES["sintel-clean"](nowhere)
    top = nowhere / "Sintel" / "training"
    for sample in open_pairs("sintel-clean"):
        invalid, occluded = (pixels(top / part / f"{sample.name}.png")[0] > 0 for part in ("invalid", "occlusions"))
        known = read_flow(top / "flow" / f"{sample.name}.flo")[1]
        assert torch.equal(sample.valid, known & ~invalid) and torch.equal(sample.occlusion, occluded)
        assert (invalid & known).any() and not sample.flow[:, ~sample.valid].any()
    for part in ("invalid", "occlusions"):
        shutil.rmtree(top / part)
    sample = open_pairs("sintel-clean")[0]
    assert sample.occlusion is None and torch.equal(sample.valid, read_flow(top / f"flow/{sample.name}.flo")[1])


@pytest.mark.parametrize("name, folder", [("kitti2012", "KittiFlow2012"), ("kitti2015", "KittiFlow")])
def test_kittis_occlusion_is_what_noc_lacks(nowhere, name, folder):
    TREES[name](nowhere)
    top = nowhere / folder / "training"
    for sample in open_pairs(name):
        known, visible = (read_flow(top / part / f"{sample.name}.png")[1] for part in ("flow_occ", "flow_noc"))
        assert torch.equal(sample.valid, known) and torch.equal(sample.occlusion, known & ~visible)
    shutil.rmtree(top / "flow_noc")
    assert open_pairs(name)[0].occlusion is None


@pytest.mark.parametrize("name", SETS)
def test_damaged_files_are_named(nowhere, name):
    TREES[name](nowhere)
    each = open_pairs(name).files[0]
    for path in filter(None, each[1:]):
        content = path.read_bytes()
        for damaged in (content[: len(content) // 2], b"", b"nonsense" * 9):
            path.write_bytes(damaged)
            with pytest.raises(CourseError, match=path.name):
                open_pairs(name)[0]
        path.unlink()
        with pytest.raises(CourseError, match=path.name):
            PairDataset([each])[0]
        path.write_bytes(content)


def test_parts_of_different_size_are_named(tmp_path):
    for path in (tmp_path / "a_1.png", tmp_path / "a_2.png"):
        picture(path)
    other, others_flow = Image.new("RGB", (W, H + 1)), torch.zeros(2, H, W + 1)
    write_flow(tmp_path / "a_flow.flo", others_flow)
    with pytest.raises(CourseError, match=r"a_1\.png and .*a_flow\.flo .* 9 × 6 and 10 × 6"):
        open_pairs(tmp_path)[0]
    other.save(tmp_path / "a_2.png")
    with pytest.raises(CourseError, match=r"a_1\.png and .*a_2\.png .* 9 × 6 and 9 × 7"):
        open_pairs(tmp_path)[0]


def test_wrong_questions(tmp_path, nowhere):
    picture(tmp_path / "one" / "a.png")
    for arguments, word in (
        ({"where": "sintel"}, "sintel-clean"),
        ({"where": tmp_path / "nothing"}, "not a dataset"),
        ({"where": tmp_path / "one"}, "no pair"),
        ({"where": tmp_path / "one", "split": "test"}, "split='test' has no meaning"),
        ({"where": tmp_path / "one", "root": tmp_path}, "no meaning"),
        ({"where": "real"}, "CVDL_REAL"),
        ({"where": "kitti2015", "step": 2}, "step=2 has no meaning"),
        ({"where": "kitti2015", "split": "val"}, "train and test"),
        ({"where": tmp_path / "one", "limit": 0}, "1 or more"),
        ({"where": tmp_path / "one", "step": -1}, "1 or more"),
        ({"where": tmp_path / "one" / "a.png"}, "single picture"),
    ):
        with pytest.raises(CourseError) as error:
            open_pairs(**arguments)
        assert word in str(error.value)


# Folders.


def rows(folder, **options):
    return [(each.name, each.image1.name, each.image2.name, each.flow and each.flow.name) for each in open_pairs(folder, **options).files]  # fmt: skip


def test_a_folder_in_the_manner_of_flyingchairs(tmp_path):
    for i in (1, 2):
        pair = [picture(tmp_path / f"{i:05}_img{k}.ppm") for k in (1, 2)]
        truth = flow(tmp_path / f"{i:05}_flow.flo")
    picture(tmp_path / "overview.png")
    assert rows(tmp_path) == [
        (f"0000{i}", f"0000{i}_img1.ppm", f"0000{i}_img2.ppm", f"0000{i}_flow.flo") for i in (1, 2)
    ]
    check(open_pairs(str(tmp_path))[1], "00002", *pair, truth)
    (tmp_path / "00001_img2.ppm").unlink()
    with pytest.raises(CourseError, match=r"00001_img2\.ppm is missing"):
        open_pairs(tmp_path)


def test_a_folder_in_the_manner_of_middlebury(tmp_path):
    for name, frames in (("Venus", (10, 11)), ("RubberWhale", (9, 10, 11)), ("Walk", (9, 10, 11))):
        for n in frames:
            picture(tmp_path / name / f"frame{n:02}.png", grey=name == "Venus")
    for name in ("Venus", "RubberWhale"):
        flow(tmp_path / name / "flow10.flo")
    assert rows(tmp_path) == [
        ("RubberWhale", "frame10.png", "frame11.png", "flow10.flo"),
        ("Venus", "frame10.png", "frame11.png", "flow10.flo"),
        ("Walk/frame09", "frame09.png", "frame10.png", None),
        ("Walk/frame10", "frame10.png", "frame11.png", None),
    ]
    assert rows(tmp_path / "Venus") == [("Venus", "frame10.png", "frame11.png", "flow10.flo")]


@pytest.mark.parametrize("first, second", [("_1", "_2"), ("_10", "_11"), ("_img1", "_img2")])
@pytest.mark.parametrize("ending", [".flo", ".pfm", ".png"])
def test_a_folder_of_named_pairs(tmp_path, first, second, ending):
    for name in ("cat", "a_dog"):
        pair = [picture(tmp_path / f"{name}{end}.png") for end in (first, second)]
    truth = flow(tmp_path / f"a_dog_flow{ending}")
    assert rows(tmp_path) == [
        ("a_dog", f"a_dog{first}.png", f"a_dog{second}.png", truth.name),
        ("cat", f"cat{first}.png", f"cat{second}.png", None),
    ]
    check(open_pairs(tmp_path)[0], "a_dog", *pair, truth)
    (tmp_path / f"cat{second}.png").unlink()
    with pytest.raises(CourseError, match=f"cat{second}.png is missing"):
        open_pairs(tmp_path)


def test_a_flow_of_the_first_pictures_name(tmp_path):
    for name in ("x_1.png", "x_2.png", "way/a.jpg", "way/b.jpg"):
        picture(tmp_path / name)
    for name in ("x_1.pfm", "way/a.flo", "way/b_flow.png"):
        flow(tmp_path / name)
    assert rows(tmp_path) == [("x", "x_1.png", "x_2.png", "x_1.pfm"), ("way/a", "a.jpg", "b.jpg", "a.flo")]


def test_a_sequence_is_sorted_as_people_count(tmp_path):
    for n in (1, 2, 3, 10, 11):
        picture(tmp_path / f"img_{n}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    for hidden in (tmp_path / "._img_1.png", tmp_path / ".cache" / "a.png", tmp_path / ".cache" / "b.png"):
        picture(hidden)
    names = ["img_1", "img_2", "img_3", "img_10", "img_11"]
    assert rows(tmp_path) == [(a, f"{a}.png", f"{b}.png", None) for a, b in pairwise(names)]
    assert rows(tmp_path, step=2) == [
        ("img_1", "img_1.png", "img_3.png", None),
        ("img_3", "img_3.png", "img_11.png", None),
    ]
    assert len(open_pairs(tmp_path, limit=3)) == 3
    with pytest.raises(CourseError, match="6 pictures"):
        open_pairs(tmp_path, step=5)


def test_kinds_of_pictures(tmp_path):
    grey = np.arange(H * W, dtype=np.uint8).reshape(H, W)
    Image.fromarray(grey).save(tmp_path / "a.png")
    Image.fromarray(np.dstack([grey] * 3 + [grey // 2])).save(tmp_path / "b.png")  # with alpha
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "c.png")
    Image.fromarray(grey).convert("P").save(tmp_path / "d.png")
    for sample in open_pairs(tmp_path):
        for image in (sample.image1, sample.image2):
            assert torch.allclose(image, (torch.from_numpy(grey) / 255).expand(3, H, W)) and image.is_contiguous()


# Videos.


def video(path, count=6, size=(48, 64)):
    av = pytest.importorskip("av", reason="PyAV, of the extra [data], writes and reads videos")
    with av.open(str(path), "w") as clip:
        stream = clip.add_stream("ffv1" if path.suffix == ".mkv" else "mpeg4", rate=10)
        stream.height, stream.width = size
        stream.pix_fmt = "bgr0" if path.suffix == ".mkv" else "yuv420p"
        frames = np.random.default_rng(0).integers(0, 256, (count, *size, 3), np.uint8)
        for frame in frames:
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        clip.mux(stream.encode())
    return torch.from_numpy(frames).permute(0, 3, 1, 2) / 255


@pytest.mark.parametrize("step, limit", [(1, None), (2, None), (3, None), (1, 2), (2, 9), (5, 1)])
def test_frames_of_a_video(tmp_path, step, limit):
    frames = video(tmp_path / "clip.mkv")
    wanted = [k for k in range(0, 6, step) if k + step < 6][:limit]
    clip = open_pairs(tmp_path / "clip.mkv", step=step, limit=limit)
    seen = list(clip)
    assert [sample.name for sample in seen] == [f"frame_{k:05}" for k in wanted] and len(clip) == len(wanted)
    for sample, k in zip(seen, wanted, strict=True):
        assert torch.equal(sample.image1, frames[k]) and torch.equal(sample.image2, frames[k + step])
        assert sample.flow is sample.valid is sample.occlusion is None


def test_a_video_in_any_order(tmp_path):
    frames, order = video(tmp_path / "clip.mkv"), (0, 0, 2, 1, 4, -1, -5, 3, 3)
    for known in (True, False):
        clip = open_pairs(str(tmp_path / "clip.mkv"))
        assert not known or len(clip) == 5
        for i in order:
            assert torch.equal(clip[i].image1, frames[i % 5]) and torch.equal(clip[i].image2, frames[i % 5 + 1])
        for beyond in (5, 99, -6):
            with pytest.raises(IndexError):
                clip[beyond]
    assert [sample.name for sample in clip[1:4:2]] == ["frame_00001", "frame_00003"]
    clip = open_pairs(tmp_path / "clip.mkv")
    with pytest.raises(IndexError):
        clip[7]
    assert len(clip) == 5 and torch.equal(clip[4].image2, frames[5])


def test_a_usual_video(tmp_path):
    frames = video(tmp_path / "clip.mp4")
    assert len(open_pairs(tmp_path / "clip.mp4")) == 5
    assert (open_pairs(tmp_path / "clip.mp4")[3].image1 - frames[3]).abs().mean() < 0.25  # noise, compressed


def test_no_video(tmp_path, monkeypatch):
    video(tmp_path / "clip.mkv")
    content = (tmp_path / "clip.mkv").read_bytes()
    (tmp_path / "short.mkv").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").write_text("")
    assert len(list(open_pairs(tmp_path / "short.mkv"))) < 5
    with pytest.raises(CourseError, match="needs 7 frames"):
        open_pairs(tmp_path / "clip.mkv", step=6)
    for name in ("text.mp4", "empty.mp4"):
        with pytest.raises(CourseError, match=name):
            open_pairs(tmp_path / name)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(CourseError, match=r"pip install -e \"\.\[data\]\""):
        open_pairs(tmp_path / "clip.mkv")


# The real samples.


@real
def test_real_samples_have_the_motion_that_their_readme_tells():
    known = {"RubberWhale": 1.26, "Grove2": 3.09, "Venus": 3.80, "alley_1/frame_0001": 2.98}
    known |= {"FlyingChairs/00001": 4.31, "FlyingChairs/00003": 2.99}
    pairs = open_pairs("real")
    assert {each.name for each in pairs.files} >= set(known) and len({each.name for each in pairs.files}) == len(pairs)
    for sample in pairs:
        assert 0 <= sample.image1.min() < sample.image1.max() <= 1
        motion = epe(torch.zeros_like(sample.flow), sample.flow, sample.valid).item()
        assert sample.name not in known or motion == pytest.approx(known[sample.name], abs=0.006)
        assert (sample.occlusion is not None) == ("frame_" in sample.name)
        grey = (sample.image1 == sample.image1[:1]).all()
        assert sample.name not in known or grey == (sample.name in ("Grove2", "Venus"))


@real
def test_sintel_is_read_where_most_of_it_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("CVDL_SETS", str(tmp_path))
    sample = open_pairs("sintel-clean")[0]
    assert 0.9 < sample.valid.float().mean() < 1 and 0 < sample.occlusion.float().mean() < 0.1
    with pytest.raises(CourseError, match="test/clean"):
        open_pairs("sintel-clean", "test", root=open_pairs("sintel-clean").files[0].flow.parents[4])
