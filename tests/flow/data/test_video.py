"""Videos of phones, cut streams, and streams whose size changes."""

import numpy as np
import pytest
import torch

from cvdl.course.notebook.upload import pair_of
from cvdl.errors import CourseError
from cvdl.flow.data.real import open_pairs
from cvdl.gesture.files import read_video

av = pytest.importorskip("av", reason="PyAV, of the extra [data], writes and reads videos")
H, W = 48, 64


def corner(height=H, width=W):
    """A white square in the upper left corner of a blue frame."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 2] = 200
    pixels[:16, :16] = 255
    return pixels


def encode(path, frames, codec="mpeg4", gop=12):
    with av.open(str(path), "w") as clip:
        stream = clip.add_stream(codec, rate=10)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.gop_size = "yuvj420p" if codec == "mjpeg" else "yuv420p", gop
        for pixels in frames:
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        clip.mux(stream.encode())
    return path


# The matrix of an mp4's track header, 16.16 fixed point: a b u c d v x y w.
MATRICES = {
    0: (1, 0, 0, 0, 1, 0, 0, 0, 0x4000),
    90: (0, 1, 0, -1, 0, 0, 0, 0, 0x4000),  # clockwise, as a phone held upright writes it
    180: (-1, 0, 0, 0, -1, 0, 0, 0, 0x4000),
    270: (0, -1, 0, 1, 0, 0, 0, 0, 0x4000),
}


def turn(path, degrees):
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 4 + 20 + 16  # version and flags, times and track, reserved and layer
    assert content[at : at + 4] == (1 << 16).to_bytes(4, "big")
    content[at : at + 36] = b"".join((value << 16).to_bytes(4, "big", signed=True) for value in MATRICES[degrees])
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "degrees, white",
    [(0, np.s_[:16, :16]), (90, np.s_[:16, -16:]), (180, np.s_[-16:, -16:]), (270, np.s_[-16:, :16])],
)
def test_clips_of_phones_are_upright(tmp_path, degrees, white):
    path = turn(encode(tmp_path / "clip.mp4", [corner()] * 3), degrees)
    size = (W, H) if degrees in (90, 270) else (H, W)
    image = open_pairs(path)[0].image1
    frames, rate = read_video(path, size=None)
    uploaded = pair_of({"clip.mp4": path.read_bytes()})[0]
    for pixels in (image, frames[0].permute(2, 0, 1) / 255, uploaded):
        assert tuple(pixels.shape[-2:]) == size
        assert pixels[0].numpy()[white].mean() > 0.9 and pixels[0].mean() < 0.2
    assert rate == 10


def changing(path):
    """Frames of 64 × 48, then of 80 × 60."""
    parts = [
        encode(path.with_name(f"{k}.mjpeg"), [corner(h, w)] * 3, "mjpeg") for k, (h, w) in enumerate(((H, W), (60, 80)))
    ]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def test_a_size_that_changes_within_the_stream(tmp_path):
    path = changing(tmp_path / "change.mjpeg")
    pairs = iter(open_pairs(path))
    seen, told = [], []
    while len(seen) + len(told) < 5:
        try:
            seen.append(next(pairs))
        except CourseError as error:
            told.append(str(error))
    assert [tuple(pair.image1.shape[-2:]) for pair in seen] == [(H, W)] * 2 + [(60, 80)] * 2
    assert len(told) == 1 and "change.mjpeg: frames 2 and 3" in told[0] and "64 × 48 and 80 × 60" in told[0]
    assert next(pairs, None) is None
    with pytest.raises(CourseError, match=r"Frame 3 of .*change\.mjpeg and frame 0 have different sizes"):
        read_video(path, size=None)
    assert read_video(path)[0].shape == (6, 120, 160, 3)


def test_a_cut_stream_begins_with_its_first_keyframe(tmp_path):
    frames = [corner()] * 40
    path = encode(tmp_path / "clip.ts", frames)
    content = path.read_bytes()
    path.write_bytes(content[len(content) // 188 // 4 * 188 :])  # packets of 188 bytes
    with av.open(str(path)) as clip:
        keys = [frame.key_frame for frame in clip.decode(video=0)]
    assert not keys[0]  # PyAV gives garbage first
    pairs = list(open_pairs(path))
    assert len(pairs) == len(keys) - keys.index(True) - 1
    wanted = torch.from_numpy(corner()).permute(2, 0, 1) / 255
    assert all((pair.image1 - wanted).abs().mean() < 0.02 for pair in pairs)
    assert len(read_video(path)[0]) == len(pairs) + 1


def test_frames_without_a_keyframe_are_better_than_none(tmp_path, monkeypatch):
    from cvdl.data import video

    decoded = video._frames
    monkeypatch.setattr(video, "_frames", lambda *args: ((False, frame) for _, frame in decoded(*args)))
    assert len(list(open_pairs(encode(tmp_path / "clip.mp4", [corner()] * 5)))) == 4


def test_pairs_before_a_damage_are_kept(tmp_path, monkeypatch):
    from cvdl.data import video
    from cvdl.errors import InvalidInput

    decoded = video._frames

    def broken(*args):
        for number, frame in enumerate(decoded(*args)):
            if number == 4:
                raise InvalidInput("damaged after 4 frames")
            yield frame

    monkeypatch.setattr(video, "_frames", broken)
    pairs = open_pairs(encode(tmp_path / "clip.mp4", [corner()] * 8))
    assert len(pairs) == 3
    seen = []
    with pytest.raises(CourseError, match="damaged"):
        for pair in pairs:
            seen.append(pair.name)
    assert len(seen) == 3


def test_a_title_in_another_encoding(tmp_path):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as clip:
        clip.metadata["title"] = "TITLE"
        stream = clip.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = H, W, "yuv420p"
        for _ in range(3):
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(corner(), format="rgb24")))
        clip.mux(stream.encode())
    assert b"TITLE" in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(b"TITLE", b"T\xefTL\xe9"))
    assert len(open_pairs(path)) == 2 and len(read_video(path)[0]) == 3


def test_a_folder_that_holds_one_video(tmp_path):
    encode(tmp_path / "clip.mp4", [corner()] * 4)
    assert len(open_pairs(tmp_path)) == 3
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "._clip.mp4").write_text("")
    assert len(open_pairs(tmp_path)) == 3
    encode(tmp_path / "other.mp4", [corner()] * 4)
    with pytest.raises(CourseError, match=r"contains videos: name one of them, such as .*clip\.mp4"):
        open_pairs(tmp_path)
