"""`cvdl eval`: numbers, averages, table, file, pictures."""

import json
import math

import pytest
import scipy.stats
import torch
from PIL import Image
from typer.testing import CliRunner

from cvdl import zoo
from cvdl.cli import app
from cvdl.errors import InvalidInput, MissingDependency
from cvdl.flow import LikeNet, SPyNet, evaluate, write_flow
from cvdl.gesture.nets import TrackLSTM

H, W = 24, 32


@pytest.fixture
def folder(tmp_path):
    """Two pairs that move by (3, 0) and (0, 12), a third without truth."""
    dice = torch.Generator().manual_seed(0)
    for i, motion in enumerate(((3, 0), (0, 12), None)):
        big = torch.randint(0, 256, (H + 20, W + 20, 3), generator=dice).byte()
        dx, dy = motion or (0, 0)
        for number, (x, y) in ((1, (dx, dy)), (2, (0, 0))):
            Image.fromarray(big[y : y + H, x : x + W].numpy()).save(tmp_path / f"{i:05}_img{number}.ppm")
        if motion:
            write_flow(tmp_path / f"{i:05}_flow.flo", torch.tensor(motion).float()[:, None, None].expand(2, H, W))
    return tmp_path


def known(image1, image2):
    return torch.tensor([3.0, 4.0])[:, None, None].expand(2, *image1.shape[1:])


def test_numbers(folder):
    rows = evaluate.evaluate({"known": known, "zero flow": evaluate.zero}, evaluate.pairs_of(folder))
    assert [(row["method"], row["epe"]) for row in rows[:4]] == [
        ("known", 4),
        ("zero flow", 3),
        ("known", pytest.approx(math.hypot(3, 8))),
        ("zero flow", 12),
    ]
    first, _, second, _, third, _ = rows
    assert first["s0-10"] == 4 and math.isnan(first["s10-40"]) and first["fl_all"] == 100
    assert second["s10-40"] == pytest.approx(math.hypot(3, 8)) and math.isnan(second["s0-10"])
    assert math.isnan(third["epe"]) and third["warping_error"] > 0
    mean = evaluate.averages(rows)["zero flow"]
    assert mean["epe"] == 7.5 and mean["s0-10"] == 3 and mean["s10-40"] == 12 and math.isnan(mean["s40+"])
    assert rows[5]["warping_error"] == 0  # the third pair stands still


def test_likenet_comes_with_its_oracle(folder):
    net = LikeNet(1 / 16, view="values", support=2)
    methods = evaluate.networks("mine", net)
    assert list(methods) == ["mine", "oracle"] and list(evaluate.networks("mine", SPyNet(1))) == ["mine"]
    sample = evaluate.pairs_of(folder)[0]
    pair = sample.image1[None], sample.image2[None]
    for name, flow_of in (("mine", net), ("oracle", net.oracle)):
        assert torch.equal(methods[name](sample.image1, sample.image2), flow_of(*pair)[0].detach()), name


def test_the_true_flow_has_no_warping_error(folder):
    sample = evaluate.pairs_of(folder)[0]
    assert evaluate.measure(sample.flow, sample)["warping_error"] == 0 == evaluate.measure(sample.flow, sample)["epe"]


def test_table_and_json(folder):
    rows = evaluate.evaluate({"known": known}, evaluate.pairs_of(folder))
    text = evaluate.table(rows)
    assert text.count("known") == 4 and "average" in text and "–" in text and "nan" not in text
    saved = json.loads(evaluate.as_json(rows, net="x"))
    assert saved["net"] == "x" and saved["pairs"][2]["epe"] is None and saved["average"]["known"]["s40+"] is None


def test_several_places_keep_their_names_apart(folder):
    samples = evaluate.samples_of([str(folder), "chairs"], limit=1)
    assert [sample.name for sample in samples] == [f"{folder}/00000", "chairs/000"]


def test_rendered_pairs_are_held_out():
    samples = evaluate.pairs_of("things", limit=2)
    assert len(samples) == 2 and samples[1].image1.shape == (3, 384, 512) and samples[1].name == "things/001"
    assert samples.source.split == "test"
    with pytest.raises(IndexError):
        samples[2]


@pytest.mark.parametrize("method", ["Farneback", "DIS"])
def test_classical_methods_see_a_shift(method):
    y, x = torch.meshgrid(torch.arange(80.0), torch.arange(100.0), indexing="ij")
    frames = [(0.5 + 0.25 * torch.sin((x + d) / 4) + 0.25 * torch.cos(y / 5)).expand(3, -1, -1) for d in (2, 0)]
    flow = evaluate.classical()[method](*frames)
    assert (flow[:, 20:-20, 20:-20].mean((1, 2)) - torch.tensor([2.0, 0])).abs().max() < 0.2


def test_without_opencv(monkeypatch):
    def missing():
        raise MissingDependency("no OpenCV")

    monkeypatch.setattr(evaluate, "opencv", missing)
    assert list(evaluate.classical()) == ["zero flow"]


def test_command(folder, tmp_path):
    net = tmp_path / "tiny.safetensors"
    zoo.write_weights(net, SPyNet(2))

    def cvdl(*arguments):
        return CliRunner().invoke(app.app, ["eval", *map(str, arguments)])

    out = tmp_path / "out"
    done = cvdl(net, "--pairs", folder, "--json", tmp_path / "a.json", "--save", out, "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert all(done.stdout.count(name) == 4 for name in ("tiny", "zero flow", "Farneback", "DIS"))
    assert len(json.loads((tmp_path / "a.json").read_text())["pairs"]) == 12
    assert sorted(path.name for path in out.iterdir()) == [f"0000{i}.png" for i in range(3)]
    alone = cvdl(net, "--pairs", folder, "--limit", 1, "--no-compare", "--device", "cpu")
    assert "Farneback" not in alone.stdout and alone.stdout.count("tiny") == 2
    for wrong in (("nothing",), (net, "--pairs", "nowhere"), (net, "--json", tmp_path / "no/a.json")):
        failed = cvdl(*wrong)
        assert failed.exit_code == 1 and "Traceback" not in failed.output and failed.stdout == ""


# Two methods on the same pairs.


def test_paired():
    errors, others = [1.0, 2.0, 3.5, 4.0, 7.0], [1.5, 2.0, 3.0, 5.0, 9.0]
    result = evaluate.paired(errors, others)
    gaps = [-0.5, 0.0, 0.5, -1.0, -2.0]
    assert result.difference == pytest.approx(sum(gaps) / 5) == pytest.approx(-0.6)
    assert result.standard_error == pytest.approx(scipy.stats.sem(gaps))
    assert (result.wins, result.losses, result.pairs) == (3, 1, 5)  # one of them is a draw
    assert str(result) == "-0.600 ± 0.430 px, better on 3 and worse on 1 of 5 pairs"


def test_paired_leaves_out_pairs_without_ground_truth():
    result = evaluate.paired([1.0, math.nan, 4.0], [2.0, 1.0, math.nan])
    assert result.difference == -1 and math.isnan(result.standard_error) and result.pairs == 1
    assert str(result).startswith("-1.000 ± – px")
    with pytest.raises(InvalidInput, match="no ground truth"):
        evaluate.paired([math.nan], [1.0])
    with pytest.raises(ValueError):
        evaluate.paired([1.0], [1.0, 2.0])


@pytest.fixture
def nets(tmp_path):
    """Three networks for flow, two of which have files of the same name, and one for gestures."""
    paths = [tmp_path / path for path in ("a/weights.safetensors", "b/weights.safetensors", "c.safetensors")]
    for seed, path in enumerate(paths):
        torch.manual_seed(seed)
        path.parent.mkdir(exist_ok=True)
        zoo.write_weights(path, SPyNet(2))
    zoo.write_weights(tmp_path / "gesture.safetensors", TrackLSTM(hidden=8))
    return [*map(str, paths), str(tmp_path / "gesture.safetensors")]


def cvdl_eval(*arguments):
    return CliRunner().invoke(app.app, ["eval", *map(str, arguments), "--device", "cpu"])


def test_command_compares_pair_by_pair(folder, nets, tmp_path):
    first, second, third, _ = nets
    done = cvdl_eval(first, third, "--paired", "--no-compare", "--pairs", folder, "--json", tmp_path / "a.json")
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "a.json").read_text())["pairs"]
    errors = [[row["epe"] for row in rows if row["method"] == name and row["epe"]] for name in ("weights", "c")]
    gaps = [c - a for a, c in zip(*errors, strict=True)]
    assert len(gaps) == 2  # the third pair has no ground truth
    line = next(line for line in done.stdout.splitlines() if line.startswith("c - weights"))
    wins = sum(gap < 0 for gap in gaps)
    wanted = f"{sum(gaps) / 2:+.3f} ± {scipy.stats.sem(gaps):.3f} px"
    assert wanted in line and line.split()[-3:] == [str(wins), str(2 - wins), "2"]

    same_names = cvdl_eval(first, second, "--paired", "--no-compare", "--pairs", folder)
    assert same_names.exit_code == 0 and f"{second} - {first}" in same_names.stdout
    alone = cvdl_eval(first, "--paired", "--pairs", folder)
    assert alone.exit_code == 0 and "weights - zero flow" in alone.stdout


def test_command_refuses_what_cannot_be_compared(folder, nets):
    first, _, third, gesture = nets
    without = folder / "without"
    without.mkdir()
    for name in ("00002_img1.ppm", "00002_img2.ppm"):
        (without / name).write_bytes((folder / name).read_bytes())
    for arguments, told in (
        ((first, "--paired", "--no-compare"), "name another network, or leave out --no-compare"),
        ((first, third, "--paired", "--pairs", without), "no ground truth for any of these pairs"),
        ((first, gesture), "recognises gestures and must be measured alone"),
        ((gesture, third, "--paired"), "recognises gestures and must be measured alone"),
    ):
        refused = cvdl_eval(*arguments)
        assert refused.exit_code == 1 and "Traceback" not in refused.output
        assert told in refused.stderr, refused.stderr


def test_epic_style_finds_a_shift():
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2, "optflow"):
        pytest.skip("this OpenCV is without its contributed modules")
    dice = torch.Generator().manual_seed(0)
    big = torch.nn.functional.interpolate(torch.rand(1, 3, 20, 24, generator=dice), scale_factor=8, mode="bicubic")[0]
    big = big.clamp(0, 1)
    flow = evaluate.epic_style(big[:, 8:136, 8:168], big[:, 8:136, 4:164])
    assert (flow[:, 16:-16, 16:-16] - torch.tensor([4.0, 0.0])[:, None, None]).norm(dim=0).median() < 0.5


# What goes wrong with one pair.


def add_pair(folder, name, size=(H, W), valid=True):
    for number in (1, 2):
        Image.new("RGB", size[::-1], (200, 100, 50)).save(folder / f"{name}_img{number}.ppm")
    write_flow(folder / f"{name}_flow.flo", torch.zeros(2, *size), torch.full(size, valid))


def test_one_bad_pair_does_not_lose_the_others(folder, nets, tmp_path):
    add_pair(folder, "no_truth", valid=False)
    add_pair(folder, "small", (8, 8))
    add_pair(folder, "cut")
    (folder / "cut_img2.ppm").write_bytes(b"P6\n32 24\n255\n")
    done = cvdl_eval(nets[0], "--pairs", folder, "--json", tmp_path / "a.json")
    assert done.exit_code == 1 and "Traceback" not in done.output
    rows = json.loads((tmp_path / "a.json").read_text())
    assert {row["pair"] for row in rows["pairs"]} == {f"0000{i}" for i in range(3)}
    assert {row["method"] for row in rows["pairs"]} == {"zero flow", "Farneback", "DIS", "weights"}
    for told in (
        "Pair no_truth: No pixel is valid",
        "Pair small: Images must have 16 × 16 pixels",
        "cut_img2.ppm cannot be",
    ):
        assert told in done.stderr and any(told in each for each in rows["left_out"]), done.stderr
    assert "3 pairs were left out" in done.stderr and "average" in done.stdout


def test_library_callers_get_the_error(folder):
    add_pair(folder, "no_truth", valid=False)
    with pytest.raises(InvalidInput, match="Pair no_truth: No pixel is valid"):
        evaluate.evaluate({"known": known}, evaluate.pairs_of(folder))
    errors = []
    assert len(evaluate.evaluate({"known": known}, evaluate.pairs_of(folder), left_out=errors)) == 3
    assert len(errors) == 1


def test_our_own_mistakes_are_raised(folder):
    def mistake(*_):
        raise KeyError("a mistake")

    with pytest.raises(KeyError):
        evaluate.evaluate({"mistake": mistake}, evaluate.pairs_of(folder), left_out=[])


@pytest.mark.parametrize("method", ["Farneback", "DIS"])
def test_small_images_are_refused_and_named(method):
    with pytest.raises(InvalidInput, match=r"16 × 16 pixels or more; these have 20 × 15"):
        evaluate.classical()[method](torch.rand(3, 15, 20), torch.rand(3, 15, 20))
    assert evaluate.classical()[method](torch.rand(3, 16, 16), torch.rand(3, 16, 16)).shape == (2, 16, 16)


def test_a_video_whose_size_changes_is_measured(tmp_path, nets):
    pytest.importorskip("av", reason="PyAV, of the extra [data], reads videos")
    from tests.flow.data.test_video import changing

    done = cvdl_eval(nets[0], "--no-compare", "--pairs", changing(tmp_path / "change.mjpeg"))
    assert done.exit_code == 1 and done.stdout.count("frame_") == 4
    assert done.stderr.count("change.mjpeg: frames 2 and 3") == 1


# What is said.


def test_columns_are_explained(folder, nets):
    done = cvdl_eval(nets[0], "--no-compare", "--pairs", folder)
    assert "warp: mean difference between frame 1 and frame 2" in done.stdout and "ms: time per pair" in done.stdout
    assert "no ground truth for that pair" in done.stdout
    for path in folder.glob("*.flo"):
        path.unlink()
    assert "no ground truth for these pairs" in cvdl_eval(nets[0], "--no-compare", "--pairs", folder).stdout


def test_it_says_where_it_saved(folder, nets, tmp_path):
    done = cvdl_eval(
        nets[0], "--no-compare", "--pairs", folder, "--save", tmp_path / "o", "--json", tmp_path / "a.json"
    )
    assert (
        f"Images of the pairs written to {tmp_path / 'o'}" in done.stdout
        and f"Numbers written to {tmp_path / 'a.json'}" in done.stdout
    )


def test_each_pair_is_drawn_into_a_file_of_its_own(tmp_path, nets):
    for place, name in (("x_y", "a"), ("x", "y_a"), ("long", "n" * 240)):
        (tmp_path / "in" / place).mkdir(parents=True)
        for number in (1, 2):
            Image.new("RGB", (W, H)).save(tmp_path / "in" / place / f"{name}_{number}.png")
    done = cvdl_eval(nets[0], "--no-compare", "--pairs", tmp_path / "in", "--save", tmp_path / "out")
    assert done.exit_code == 0, done.output
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(names) == 3 and all(len(name.encode()) <= 255 for name in names)
    assert names[1:] == ["x_y_a-2.png", "x_y_a.png"]


def test_places_that_cannot_be_written_to_are_told_first(folder, nets, monkeypatch):
    monkeypatch.setattr(evaluate, "evaluate", lambda *_: pytest.fail("measured first"))
    (folder / "file").write_text("")
    for arguments, told in (
        (("--json", folder), "is a folder. Give the name of the file"),
        (("--json", folder / "no/a.json"), "There is no folder"),
        (("--save", folder / "file"), "cannot be made"),
        (("--save", folder / ("x" * 300)), "cannot be made"),
    ):
        done = cvdl_eval(nets[0], "--pairs", folder, *arguments)
        assert done.exit_code == 1 and told in done.stderr and "Traceback" not in done.output
        assert done.stderr.count("\n") == 1
