"""`cvdl eval`: numbers, averages, table, file, pictures."""

import json
import math

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from cvdl import cli
from cvdl.errors import MissingDependency
from cvdl.flow import LikeNet, SPyNet, evaluate, write_flow
from cvdl.train import zoo

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
        return CliRunner().invoke(cli.app, ["eval", *map(str, arguments)])

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


def test_epic_style_finds_a_shift():
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2, "optflow"):
        pytest.skip("this OpenCV is without its contributed modules")
    dice = torch.Generator().manual_seed(0)
    big = torch.nn.functional.interpolate(torch.rand(1, 3, 20, 24, generator=dice), scale_factor=8, mode="bicubic")[0]
    big = big.clamp(0, 1)
    flow = evaluate.epic_style(big[:, 8:136, 8:168], big[:, 8:136, 4:164])
    assert (flow[:, 16:-16, 16:-16] - torch.tensor([4.0, 0.0])[:, None, None]).norm(dim=0).median() < 0.5
