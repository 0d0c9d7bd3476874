"""What the README shows works as it stands there."""

import re

import pytest
import torch
from PIL import Image
from torchvision.utils import save_image

from cvdl.flow.data.chairs import Chairs
from cvdl.settings import ROOT

PYTHON = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)


def test_there_is_an_example():
    assert PYTHON and any("zoo.load" in code for code in PYTHON)


@pytest.mark.parametrize("code", PYTHON)
def test_the_example_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pair = Chairs(size=(96, 128)).pairs([0])
    save_image(pair.image1[0], "frame1.png")
    save_image(pair.image2[0], "frame2.png")
    found = {}
    exec(code, found)
    assert (
        found["flow"].shape == (1, 2, 96, 128)
        and (found["flow"] - pair.flow).norm(dim=1).mean() < pair.flow.norm(dim=1).mean()
    )
    assert Image.open("flow.png").size == (128, 96) and torch.isfinite(found["flow"]).all()
