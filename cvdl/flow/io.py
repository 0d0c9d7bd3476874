"""Flow files: Middlebury's .flo, KITTI's 16-bit .png, and .pfm as in FlyingThings3D.

    flow, valid = read_flow("frame_0001.flo")     # (2, H, W) float32 in pixels, (H, W) bool
    write_flow("copy.png", flow, valid)           # the ending chooses the format

| ending | numbers                              | an unknown pixel is written as | and read from             |
|--------|--------------------------------------|--------------------------------|---------------------------|
| .flo   | float32                              | 1e10, 1e10                     | absolute value > 1e9, NaN |
| .pfm   | float32, rows from bottom to top     | inf, inf                       | absolute value > 1e9, NaN |
| .png   | 16 bits, steps of 1/64 px, ±512 px   | 0, 0, 0                        | third channel 0           |
"""

import re
import struct
import zlib
from pathlib import Path

import numpy as np
import torch

from cvdl.errors import InvalidInput
from cvdl.flow.shapes import check_flow, mask_of

LARGEST = 100_000_000  # pixels; a greater size is a damaged header
UNKNOWN = 1e9  # Middlebury: a component beyond it is unknown


def read_flow(path):
    """Read a flow file -> flow (2, H, W) float32 in pixels, valid (H, W) bool.

    At unknown pixels flow is 0 and valid False.  Raises ValueError, with the file's name, for another
    ending, a wrong magic, a negative or absurd size, and a file that is too short or too long.
    """
    path = Path(path)
    flow, valid = _format(path)[0](path)
    flow = np.where(valid, flow, 0).astype(np.float32)
    return torch.from_numpy(flow), torch.from_numpy(valid)


def write_flow(path, flow, valid=None):
    """Write flow (2, H, W) in pixels, with `valid`, bool (H, W) or (1, H, W), in the format of path's ending.

    .flo and .pfm keep float32 exactly; .png rounds to 1/64 px and reaches from -512 to 511.98 px.  Raises
    ValueError where a known pixel cannot be written so that it is read again as it was.
    """
    path = Path(path)
    write = _format(path)[1]
    flow = torch.as_tensor(flow)
    check_flow(flow)
    if flow.ndim != 3 or 0 in flow.shape:
        raise InvalidInput(
            f"A file contains one flow (2, H, W); this one is {tuple(flow.shape)}. Write flow[0], flow[1] …"
        )
    known = mask_of(None if valid is None else torch.as_tensor(valid), flow)[0]
    flow, known = flow.detach().cpu().numpy().astype(np.float32), known.cpu().numpy()
    if not (np.abs(np.where(known, flow, 0)) <= UNKNOWN).all():
        raise InvalidInput(
            f"{path}: some known pixel is NaN or above 1e9 px, which means unknown in a flow file. "
            "Set `valid` to False there."
        )
    write(path, flow, known)


def _read_flo(path):
    header = _head(path, 12)
    if header[:4] != b"PIEH":
        raise InvalidInput(f"{path} is not a .flo file: it must begin with PIEH, but begins with {header[:4]!r}.")
    if len(header) < 12:
        raise InvalidInput(f"{path} is too short: it ends inside its header. Fetch it again.")
    W, H = struct.unpack("<2i", header[4:])
    data = _numbers(path, 12, H, W, 2, "<f4")
    return data, _known(data)


def _write_flo(path, flow, valid):
    data = np.where(valid, flow, 1e10).transpose(1, 2, 0).astype("<f4")
    path.write_bytes(b"PIEH" + struct.pack("<2i", *data.shape[1::-1]) + data.tobytes())


# Between the parts of a header: blanks, ends of lines, and comments from # to the end of their line.
GAP = rb"(?:\s|#[^\n]*\n)+"
PFM = re.compile(rb"PF" + GAP + rb"(-?\d+)" + GAP + rb"(-?\d+)" + GAP + rb"([-+.\deE]+)")


def _read_pfm(path):
    head = _head(path, 1024)
    header = PFM.match(head)
    try:
        W, H, scale = int(header[1]), int(header[2]), float(header[3])
    except (TypeError, ValueError):
        scale = 0.0
    if not 0 < abs(scale) < np.inf:
        raise InvalidInput(
            f"{path} is not a flow in .pfm: it must begin with PF (three channels; Pf has one), width, height and "
            f"a scale that is not 0, but begins with {head[:20]!r}."
        )
    _check_size(path, H, W)
    # One white space ends the header, but writers differ: spaces may come before the end of the line.  The data may also
    # begin with such a byte, so the size of the file decides.
    ends = [match.end() for match in (end.match(head, header.end()) for end in HEADER_ENDS) if match]
    if not ends:
        raise InvalidInput(
            f"{path} is not a flow in .pfm: there is no white space after its scale, {header[3]!r}. Fetch it again."
        )
    start = next((end for end in ends if end + 12 * H * W == path.stat().st_size), ends[0])
    # The sign of the scale tells the order of bytes.  Its size has no agreed use; all readers ignore it.
    data = _numbers(path, start, H, W, 3, "<f4" if scale < 0 else ">f4")[:2, ::-1]
    return data, _known(data)


HEADER_ENDS = tuple(re.compile(end) for end in (rb"\r?\n", rb"[ \t]*\r?\n", rb"[ \t]*#[^\n]*\n", rb"\s"))


def _write_pfm(path, flow, valid):
    _, H, W = flow.shape
    data = np.zeros((H, W, 3), "<f4")
    data[..., :2] = np.where(valid, flow, np.inf).transpose(1, 2, 0)
    path.write_bytes(f"PF\n{W} {H}\n-1.0\n".encode() + data[::-1].tobytes())


def _read_png(path):
    # No library of the course reads or writes 16-bit RGB: Pillow has 8 bits, torchvision gives up its decoder.
    content = path.read_bytes()
    if content[:8] != PNG or content[12:16] != b"IHDR" or len(content) < 33:
        raise InvalidInput(f"{path} is not a .png file: its first bytes are {content[:16]!r}.")
    W, H, bits, colours = struct.unpack(">2I2B", content[16:26])
    _check_size(path, H, W)
    if (bits, colours) != (16, 2):
        raise InvalidInput(
            f"{path} is not a flow in KITTI's format, which has 16 bits and three channels (PNG's colour type 2). It has "
            f"{bits} bits and colour type {colours}: a colour image *of* a flow cannot be converted back."
        )
    if content[28]:
        raise InvalidInput(
            f"{path} is an interlaced PNG (Adam7), but KITTI's flow files are not interlaced. Save it without interlacing."
        )
    decoder, wanted = zlib.decompressobj(), H * (1 + 6 * W)
    try:
        rows = decoder.decompress(_pixel_chunks(path, content), wanted + 1)
    except zlib.error:
        rows = b""
    if len(rows) != wanted or not decoder.eof or max(rows[:: 1 + 6 * W]) > 4:
        raise InvalidInput(f"{path} is damaged: its data are not {W} × {H} pixels of 16 bits. Fetch it again.")
    rows = np.frombuffer(rows, np.uint8).reshape(H, 1 + 6 * W)
    data = _unfilter(rows[:, 0], rows[:, 1:].reshape(H, W, 6)).view(">u2").transpose(2, 0, 1)
    return (data[:2].astype(np.float32) - 2**15) / 64, data[2] > 0


def _pixel_chunks(path, content):
    """The compressed pixels of a PNG file in which every chunk is whole."""
    at, pixels, kind = 8, [], b""
    while kind != b"IEND":
        size, kind = struct.unpack(">I4s", content[at : at + 8].ljust(8, b"\0"))
        chunk = content[at : at + 12 + size]
        if chunk != _chunk(kind, chunk[8:-4]):
            raise InvalidInput(
                f"{path} is too short or damaged: no complete chunk begins at byte {at}. Fetch it again."
            )
        if kind == b"IDAT":
            pixels.append(chunk[8:-4])
        at += len(chunk)
    if at < len(content):
        raise InvalidInput(f"{path} is too long: {len(content) - at} bytes follow its end mark. Fetch it again.")
    return b"".join(pixels)


def _unfilter(kinds, rows):
    """Undo PNG's filters, section 9 of its specification.  kinds: (H,) in 0 … 4, rows: (H, W, 6) bytes

    A pixel is predicted from its left, upper and upper left neighbours.  Those of one antidiagonal do not
    depend on each other, so one step does them all.
    """
    H, W, _ = rows.shape
    done = np.zeros((H + 1, W + 1, 6), np.int16)  # one zero pixel above and to the left
    for step in range(H + W - 1):
        y = np.arange(max(0, step - W + 1), min(H, step + 1))
        x = step - y
        left, up, corner = done[y + 1, x], done[y, x + 1], done[y, x]
        to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
        paeth = np.where(to_up <= to_corner, up, corner)
        paeth = np.where((to_left <= to_up) & (to_left <= to_corner), left, paeth)
        guess = np.choose(kinds[y, None], [0, left, up, (left + up) // 2, paeth])
        done[y + 1, x + 1] = (rows[y, x] + guess) & 255
    return done[1:, 1:].astype(np.uint8)


def _write_png(path, flow, valid):
    steps = np.round(np.where(valid, flow, 0).astype(np.float64) * 64) + 2**15
    if steps.min() < 0 or steps.max() > 2**16 - 1:
        raise InvalidInput(
            f"{path}: KITTI's format reaches from -512 to 511.98 px, but this flow has {np.abs(flow[:, valid]).max():.1f} px. "
            "Write it as .flo or .pfm."
        )
    data = np.where(valid, np.stack([*steps, np.ones_like(valid)]), 0).astype(">u2")
    _, H, W = data.shape
    # Each row begins with a zero: no filter.
    rows = np.hstack([np.zeros((H, 1), np.uint8), data.transpose(1, 2, 0).reshape(H, W * 3).view(np.uint8)])
    chunks = (
        (b"IHDR", struct.pack(">2I5B", W, H, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows.tobytes())),
        (b"IEND", b""),
    )
    path.write_bytes(PNG + b"".join(_chunk(kind, content) for kind, content in chunks))


PNG = b"\x89PNG\r\n\x1a\n"
FORMATS = {".flo": (_read_flo, _write_flo), ".pfm": (_read_pfm, _write_pfm), ".png": (_read_png, _write_png)}


def _chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _format(path):
    if path.suffix.lower() not in FORMATS:
        raise InvalidInput(
            f"{path}: the name of a flow file must end in {', '.join(FORMATS)}. Rename it, or convert it first."
        )
    return FORMATS[path.suffix.lower()]


def _head(path, count):
    with path.open("rb") as file:
        return file.read(count)


def _known(data):
    return (np.abs(data) <= UNKNOWN).all(0)  # False for NaN too


def _check_size(path, H, W):
    if H < 1 or W < 1 or H * W > LARGEST:
        raise InvalidInput(
            f"{path} claims to have {W} × {H} pixels; from 1 to {LARGEST:,} in all are possible. It is damaged, "
            "or not of the kind that its extension suggests."
        )


def _numbers(path, start, H, W, channels, dtype):
    """The rest of a file, which has to be H * W * channels numbers -> (channels, H, W)"""
    _check_size(path, H, W)
    expected, came = start + 4 * H * W * channels, path.stat().st_size
    if came != expected:
        raise InvalidInput(
            f"{path} is too {'short' if came < expected else 'long'}: {W} × {H} pixels make {expected:,} bytes, and "
            f"it has {came:,}. Fetch it again."
        )
    return np.fromfile(path, dtype, offset=start).reshape(H, W, channels).transpose(2, 0, 1)
