"""One's own pictures and clips become a pair."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from cvdl.course.notebook.upload import clip_of, contents, pair_of, reduced, upload_clip, upload_pair
from cvdl.errors import CourseError


def picture(width, height, seed=0, form="PNG"):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def clip(frames):
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for n in range(frames):
            grey = np.full((48, 64, 3), 60 * n, dtype=np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        out.mux(stream.encode())
    return file.getvalue()


def test_two_pictures_in_the_order_of_their_names():
    files = {"b.png": picture(40, 30, 1), "a.PNG": picture(40, 30, 0)}
    image1, image2 = pair_of(files)
    assert image1.shape == image2.shape == (3, 30, 40)
    again, _ = pair_of({"a.PNG": files["a.PNG"], "z.png": files["b.png"]})
    assert torch.equal(image1, again) and not torch.equal(image1, image2)


def test_a_clip_gives_two_of_its_frames():
    image1, image2 = pair_of({"clip.mp4": clip(4)}, step=2)
    assert image1.shape == (3, 48, 64)
    assert (image2 - image1).mean() == pytest.approx(2 * 60 / 255, abs=0.05)


def test_a_video_is_read_with_its_rate():
    frames, fps = clip_of({"clip.mp4": clip(4)})
    assert frames.shape[0] == 4 and frames.shape[3] == 3 and fps == 10


def test_large_pictures_are_reduced():
    assert reduced(torch.rand(3, 600, 1024)).shape == (3, 300, 512)
    small = torch.rand(3, 30, 40)
    assert reduced(small) is small


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"a.png": picture(40, 30)},
        {"a.png": picture(40, 30), "b.png": picture(30, 40)},
        {"a.png": picture(40, 30), "b.png": b"no picture"},
        {"a.mp4": b"no video"},
        {"a.png": picture(40, 30), "b.mp4": b""},
    ],
)
def test_what_makes_no_pair_is_told_by_its_own_name(files):
    with pytest.raises(CourseError) as error:
        pair_of(files)
    assert "/tmp" not in str(error.value)


def test_files_of_both_ipywidgets():
    expected = {"a.png": b"1"}
    assert contents({"a.png": {"content": b"1"}}) == expected  # 7
    assert contents(({"name": "a.png", "content": memoryview(b"1")},)) == expected  # 8


def test_without_a_notebook_the_figure_is_told(capsys):
    upload_pair(lambda *images: plt.figure(), torch.rand(3, 30, 40), torch.rand(3, 30, 40), "two frames")
    assert "two frames" in capsys.readouterr().out


def test_without_a_notebook_the_figure_of_a_clip_is_told(capsys):
    upload_clip(lambda frames, fps: plt.figure(), torch.zeros(2, 4, 4, 3, dtype=torch.uint8), 10, "a clip")
    assert "a clip" in capsys.readouterr().out
