"""Rendered pairs by name, mixtures of them, and pages to look at them."""

import matplotlib.pyplot as plt
import pytest
import torch
from typer.testing import CliRunner

from cvdl.cli import app
from cvdl.errors import CourseError
from cvdl.flow.data.chairs import Chairs
from cvdl.flow.data.gallery import gallery
from cvdl.flow.data.rendered import RENDERED, rendered
from cvdl.flow.data.things3d import Things

SIZE = (48, 64)


def test_a_mixture_takes_turns():
    mixed = rendered("chairs+things", size=SIZE, split="test").pairs([3, 4, 0, 5])
    chairs, things = Chairs(SIZE, "test").pairs([4, 0]), Things(SIZE, "test").pairs([3, 5])
    for part, chair, thing in zip(mixed[:6], chairs[:6], things[:6], strict=True):
        torch.testing.assert_close(part, torch.stack([thing[0], chair[0], chair[1], thing[1]]))


def test_a_batch_of_one_kind_only():
    mixed = rendered("chairs+things", size=SIZE).pairs([0, 2])
    assert torch.equal(mixed.flow, Chairs(SIZE).pairs([0, 2]).flow)


def test_unknown_kinds():
    with pytest.raises(CourseError, match=r"'sofas'.*chairs, things"):
        rendered("chairs+sofas")


@pytest.mark.parametrize("kind", RENDERED)
def test_gallery(kind):
    figure, text = gallery(kind, count=2, first=5, size=SIZE)
    titles = [axes.get_title() for axes in figure.axes]
    assert [f"pair {i}: frame 1" in titles for i in range(4, 8)] == [False, True, True, False]
    assert sum(bool(axes.images) for axes in figure.axes) == 10
    assert text.count("mean displacement") + text.count("no motion") == 2
    plt.close(figure)


def test_gallery_command(tmp_path):
    def run(*arguments):
        return CliRunner().invoke(app.app, ["data", "gallery", *map(str, arguments)])

    done = run("chairs", tmp_path / "page.png", "--count", 1)
    assert done.exit_code == 0 and "pair 0" in done.stdout
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
    for wrong in (("sofas", tmp_path / "a.png"), ("chairs", tmp_path / "a.txt"), ("chairs", tmp_path / "no" / "a.png")):
        failed = run(*wrong)
        assert failed.exit_code == 1 and "Traceback" not in failed.output
