"""Flow files: round trips, torchvision's readers as oracles, damaged and foreign files."""

import struct
import zlib

import numpy as np
import pytest
import torch
from torchvision.datasets import _optical_flow as theirs
from torchvision.datasets.utils import _read_pfm

from cvdl.errors import CourseError
from cvdl.flow import read_flow, write_flow
from tests.flow import PAIRS, REAL, real

ENDINGS = (".flo", ".pfm", ".png")


def sample(H=5, W=7, grid=False):
    torch.manual_seed(H * W)
    flow = 20 * torch.randn(2, H, W)
    return (flow * 64).round() / 64 if grid else flow


@pytest.mark.parametrize("ending", [*ENDINGS, ".FLO"])
@pytest.mark.parametrize("H, W", [(1, 1), (5, 7), (1, 40), (33, 2)])
def test_round_trip_is_exact(tmp_path, ending, H, W):
    flow, path = sample(H, W, grid=ending == ".png"), tmp_path / f"flow{ending}"
    valid = torch.rand(H, W) > 0.3
    write_flow(path, flow)
    back, known = read_flow(path)
    assert torch.equal(back, flow) and back.dtype == torch.float32 and known.all() and known.dtype == torch.bool
    for mask in (valid, valid[None], torch.zeros_like(valid)):
        write_flow(str(path), flow.masked_fill(~mask, float("nan")), mask)
        back, known = read_flow(str(path))
        assert torch.equal(known, mask.view(H, W)) and torch.equal(back, flow.where(mask, 0))
    back += 1  # the tensors are the reader's own


def test_kitti_rounds_to_its_grid_and_has_ends(tmp_path):
    path, flow = tmp_path / "flow.png", sample()
    write_flow(path, flow)
    assert (read_flow(path)[0] - flow).abs().max() <= 1 / 128
    ends = torch.tensor([-512.0, 512 - 1 / 64]).view(2, 1, 1)
    write_flow(path, ends)
    assert torch.equal(read_flow(path)[0], ends)
    for beyond in (512.0, -512.1, 4000.0):
        with pytest.raises(CourseError, match=r"511\.98"):
            write_flow(path, torch.full((2, 3, 3), beyond))
    write_flow(path, torch.full((2, 3, 3), 4000.0), torch.zeros(3, 3, dtype=torch.bool))


def test_torchvision_reads_what_we_write(tmp_path):
    flow, valid = sample(9, 4, grid=True), torch.rand(9, 4) > 0.5
    for ending in ENDINGS:
        write_flow(tmp_path / f"flow{ending}", flow, valid)
    png, known = theirs._read_16bits_png_with_flow_and_valid_mask(str(tmp_path / "flow.png"))
    assert np.array_equal(known, valid) and np.array_equal(png[:, valid], flow[:, valid])
    flo = theirs._read_flo(str(tmp_path / "flow.flo"))
    assert np.array_equal(flo[:, valid], flow[:, valid]) and (flo[:, ~valid] == np.float32(1e10)).all()
    pfm = _read_pfm(str(tmp_path / "flow.pfm"), slice_channels=3)
    assert np.array_equal(pfm[:2, valid], flow[:, valid]) and np.isinf(pfm[:2, ~valid]).all() and not pfm[2].any()


def test_opencv_reads_and_writes_the_same_png(tmp_path):
    cv2 = pytest.importorskip("cv2", reason="opencv, of the extra [compare], is a second witness")
    flow, valid = sample(40, 50, grid=True), torch.rand(40, 50) > 0.5
    write_flow(tmp_path / "ours.png", flow, valid)
    raw = cv2.imread(str(tmp_path / "ours.png"), cv2.IMREAD_UNCHANGED)  # BGR
    assert raw.dtype == np.uint16 and np.array_equal(raw[..., 0] > 0, valid)
    assert np.array_equal((raw[..., 2].astype(float) - 2**15)[valid] / 64, flow[0][valid])
    cv2.imwrite(str(tmp_path / "theirs.png"), raw)  # with row filters, which ours has not
    back, known = read_flow(tmp_path / "theirs.png")
    assert torch.equal(known, valid) and torch.equal(back, flow.where(valid, 0))


@pytest.mark.parametrize("order, scale", [("<", b"-1.0"), (">", b"1"), (">", b"0.5"), ("<", b"-1e0")])
@pytest.mark.parametrize("header", [b"PF\n3 2\n%s\n", b"PF 3 2 %s\n", b"PF\r\n3 2\r\n%s\r\n"])
def test_pfm_in_both_orders_of_bytes(tmp_path, order, scale, header):
    rows = np.arange(18, dtype=order + "f4").reshape(2, 3, 3)  # the lower row comes first
    (tmp_path / "a.pfm").write_bytes(header % scale + rows.tobytes())
    flow, valid = read_flow(tmp_path / "a.pfm")
    assert flow.tolist() == [[[9, 12, 15], [0, 3, 6]], [[10, 13, 16], [1, 4, 7]]] and valid.all()


@pytest.mark.parametrize("value", [1e10, -2e9, float("nan"), float("inf")])
@pytest.mark.parametrize("ending", [".flo", ".pfm"])
def test_unknown_values(tmp_path, ending, value):
    flow, path = sample(2, 2), tmp_path / f"flow{ending}"
    write_flow(path, flow)
    content = bytearray(path.read_bytes())
    at = len(content) - 4 * (3 if ending == ".pfm" else 2)
    content[at : at + 4] = struct.pack("<f", value)  # u of the last pixel in the file
    path.write_bytes(content)
    back, valid = read_flow(path)
    row = 0 if ending == ".pfm" else 1
    assert not valid[row, 1] and valid.sum() == 3 and not back[:, row, 1].any()


def flo(W, H, numbers=None, magic=b"PIEH"):
    return magic + struct.pack("<2i", W, H) + bytes(4 * (2 * W * H if numbers is None else numbers))


def png(W, H, rows, bits=16, colours=2):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">2I5B", W, H, bits, colours, 0, 0, 0))
    half = len(rows) // 2  # pixels may come in several chunks, and others may stand between
    body = chunk(b"gAMA", bytes(4)) + chunk(b"IDAT", rows[:half]) + chunk(b"IDAT", rows[half:])
    return b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b"")


@pytest.mark.parametrize("kinds", [[0], [1], [2], [3], [4], [0, 1, 2, 3, 4]])
@pytest.mark.parametrize("H, W", [(1, 1), (1, 9), (9, 1), (20, 31), (31, 20)])
def test_every_row_filter_of_png(tmp_path, kinds, H, W):
    """Any bytes behind any filters are a picture: what it is, libpng says."""
    generator = np.random.default_rng(H)
    rows = generator.integers(0, 256, (H, 1 + 6 * W), dtype=np.uint8)
    rows[:, 0] = generator.choice(kinds, H)
    (tmp_path / "a.png").write_bytes(png(W, H, zlib.compress(rows.tobytes())))
    flow, valid = read_flow(tmp_path / "a.png")
    raw, known = theirs._read_16bits_png_with_flow_and_valid_mask(str(tmp_path / "a.png"))
    assert np.array_equal(known, valid) and np.array_equal(np.where(known, raw, 0), flow)


def png_of(tmp_path, flow):
    write_flow(tmp_path / "good.png", flow)
    return (tmp_path / "good.png").read_bytes()


@pytest.mark.parametrize(
    "ending, content, word",
    [
        (".flo", flo(3, 2, 11), "too short"),
        (".flo", flo(3, 2, 13), "too long"),
        (".flo", flo(3, 2) + b"x", "too long"),
        (".flo", flo(3, 2, magic=b"HEIP"), "PIEH"),
        (".flo", b"", "PIEH"),
        (".flo", b"PIEH\1\0", "too short"),
        (".flo", flo(-3, 2, 12), "-3"),
        (".flo", flo(-3, -2, 12), "-3"),
        (".flo", flo(0, 2, 0), "0 ×"),
        (".flo", flo(20_000, 20_000, 12), "20000"),
        (".flo", flo(2**31 - 1, 2**31 - 1, 12), "damaged"),
        (".pfm", b"PF\n3 2\n-1.0\n" + bytes(71), "too short"),
        (".pfm", b"PF\n3 2\n-1.0\n" + bytes(73), "too long"),
        (".pfm", b"Pf\n3 2\n-1.0\n" + bytes(24), "Pf has one"),
        (".pfm", b"PF\n3 2\n0\n" + bytes(72), "scale"),
        (".pfm", b"PF\n3 2\nnan\n" + bytes(72), "scale"),
        (".pfm", b"PF\n3 x\n-1\n" + bytes(72), "not a flow"),
        (".pfm", b"PF\n-3 2\n-1\n" + bytes(72), "-3"),
        (".pfm", b"PF\n99999 99999\n-1\n" + bytes(72), "99999"),
        (".pfm", b"", "not a flow"),
        (".png", b"", "not a .png"),
        (".png", flo(3, 2), "not a .png"),
        (".txt", b"", "must end in"),
        ("", b"", "must end in"),
    ],
)
def test_damaged_and_foreign_files_are_refused_by_name(tmp_path, ending, content, word):
    path = tmp_path / f"somefile{ending}"
    path.write_bytes(content)
    with pytest.raises(CourseError) as error:
        read_flow(path)
    assert word in str(error.value) and "somefile" in str(error.value)


def test_damaged_png_is_refused_wherever_it_is_damaged(tmp_path):
    good, path = png_of(tmp_path, sample()), tmp_path / "bad.png"
    short = [good[:n] for n in range(0, len(good), 7)]
    long = [good + b"\0", good + good[-12:]]
    flipped = [good[:n] + bytes([good[n] ^ 1]) + good[n + 1 :] for n in range(0, len(good), 5)]
    for content in (*short, *long, *flipped, good.replace(good[33:-12], b"")):
        path.write_bytes(content)
        with pytest.raises(CourseError, match=r"bad\.png"):
            read_flow(path)


def test_whole_chunks_with_wrong_pixels_are_refused(tmp_path):
    """What only a forger makes, and other kinds of PNG."""
    row = bytes(1 + 6 * 3)
    for content, word in (
        (png(3, 2, zlib.compress(row)), "not 3 × 2"),
        (png(3, 2, zlib.compress(row * 3)), "not 3 × 2"),
        (png(3, 2, zlib.compress(row * 2)[:-3]), "not 3 × 2"),
        (png(3, 2, b"nonsense"), "not 3 × 2"),
        (png(3, 2, zlib.compress(b"\5" + row[1:] + row)), "not 3 × 2"),
        (png(30_000, 30_000, zlib.compress(row)), "30000"),
        (png(3, 2, zlib.compress(bytes(2 * (1 + 3 * 3))), bits=8), "8 bits"),
        (png(3, 2, zlib.compress(bytes(2 * (1 + 2 * 3))), colours=0), "colour type 0"),
    ):
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(CourseError) as error:
            read_flow(tmp_path / "a.png")
        assert word in str(error.value)
    (tmp_path / "a.png").write_bytes(png(3, 2, zlib.compress(row * 2)))
    assert not read_flow(tmp_path / "a.png")[1].any()


def test_what_cannot_be_written_is_told(tmp_path):
    for ending in ENDINGS:
        path = tmp_path / f"flow{ending}"
        for flow, valid, word in (
            (torch.full((2, 2, 2), float("nan")), None, "NaN"),
            (torch.full((2, 2, 2), 1e10), None, "1e9"),
            (torch.zeros(1, 2, 2, 2), None, "one flow"),
            (torch.zeros(2, 0, 2), None, "one flow"),
            (torch.zeros(3, 3, 2), None, "permute"),
            (torch.zeros(2, 2, 2), torch.ones(2, 2), "bool"),
            (torch.zeros(2, 2, 2), torch.ones(2, 3, dtype=torch.bool), "(2, 3)"),
        ):
            with pytest.raises(CourseError) as error:
                write_flow(path, flow, valid)
            assert word in str(error.value) and not path.exists()
    with pytest.raises(CourseError, match="must end in"):
        write_flow(tmp_path / "flow.jpg", torch.zeros(2, 2, 2))
    with pytest.raises(FileNotFoundError):
        read_flow(tmp_path / "nothing.flo")


def test_numpy_and_other_dtypes_can_be_written(tmp_path):
    flow = sample(grid=True)
    for each in (
        flow.numpy(),
        flow.double(),
        flow.clone().requires_grad_(),
        flow.permute(0, 2, 1).contiguous().permute(0, 2, 1),
    ):
        write_flow(tmp_path / "a.flo", each, np.ones((5, 7), bool))
        assert torch.equal(read_flow(tmp_path / "a.flo")[0], flow)


@real
@pytest.mark.parametrize("name", PAIRS)
def test_real_files_as_torchvision_reads_them(tmp_path, name):
    path = REAL / PAIRS[name][2]
    raw, (flow, valid) = theirs._read_flo(str(path)), read_flow(path)
    assert np.array_equal(np.abs(raw).max(0) <= 1e9, valid) and np.array_equal(np.where(valid, raw, 0), flow)
    write_flow(tmp_path / "copy.flo", flow, valid)
    again, known = read_flow(tmp_path / "copy.flo")
    assert torch.equal(again, flow) and torch.equal(known, valid)


@pytest.mark.parametrize(
    "header",
    [
        b"PF\n3 2\n-1.0 \n",
        b"PF\n3 2\n-1.0\t \r\n",
        b"PF\n# made by somebody\n3 2\n-1.0\n",
        b"PF # a\n3 # width\n2 # height\n-1.0 # scale\n",
        b"PF\r\n3 2\r\n-1.0\r\n",
        b"PF 3 2 -1.0 ",
        b"PF\n3 2\n-1.0\n",
    ],
)
@pytest.mark.parametrize("first", [b"\0\0\x80\x3f", b"\n\n\x80\x3f", b" \n\x80\x3f", b"\r\n\x80\x3f"])
def test_pfm_headers_that_vary(tmp_path, header, first):
    """Blanks and comments; and numbers that begin like the end of a header."""
    content = first + np.arange(1, 18).astype("<f4").tobytes()
    (tmp_path / "a.pfm").write_bytes(header + content)
    flow, valid = read_flow(tmp_path / "a.pfm")
    wanted = np.frombuffer(content, "<f4").reshape(2, 3, 3)[::-1, :, :2].transpose(2, 0, 1)
    assert valid.all() and np.array_equal(flow.numpy(), wanted)


def test_interlaced_png_is_not_called_damaged(tmp_path):
    write_flow(tmp_path / "a.png", torch.zeros(2, 4, 4))
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[28] = 1
    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match="interlaced PNG") as error:
        read_flow(tmp_path / "a.png")
    assert "damaged" not in str(error.value)
