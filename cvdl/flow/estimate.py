"""The flow of your own images, folders and videos: `cvdl.flow.compute`, and what `cvdl flow` does.

flow = compute("a.png", "b.png")                          # (2, H, W), in pixels
flow = compute(frame1, frame2, network="flownet-c")       # paths, PIL images, NumPy arrays or tensors
run(["clip.mp4"], ["drawn.mp4"])                          # flow drawn over the clip
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from cvdl.data.pictures import animation, read_picture
from cvdl.errors import InvalidInput, is_out_of_memory, library_errors, told
from cvdl.files import Names, expanded, is_file, is_folder
from cvdl.flow.clips import CLIPS, Clip, overlay
from cvdl.flow.data.folder import PICTURES, VIDEOS
from cvdl.flow.data.real import PairDataset, open_pairs
from cvdl.flow.data.sample import Files, as_image, read_image
from cvdl.flow.evaluate import count, leave_out, one_by_one, readable
from cvdl.flow.io import write_flow

RATE = 10.0  # frames per second of a clip whose source has no frame rate, such as a folder
# What can be written, and the extensions of its files; files in a folder get the first one.
IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
FORMATS = {"flo": (".flo",), "pfm": (".pfm",), "kitti": (".png",), "image": IMAGES, "clip": CLIPS}
WHAT_CAN_BE_WRITTEN = (
    f".flo or .pfm (the flow itself), {', '.join(IMAGES)} (the flow in colours; with --format kitti, a .png is the flow "
    f"itself in KITTI's 16 bits), {', '.join(CLIPS)} (a clip with the flow drawn over it), or a folder"
)


def compute(image1, image2, network="spynet", device=None):
    """The optical flow from one image to another.

    Args:
        image1, image2: Two images of the same size, 16 × 16 pixels or more: paths, PIL images, NumPy arrays (H, W, 3) or
            (H, W), or tensors (3, H, W) or (1, 3, H, W). Colours are in the order red, green, blue; values are uint8 or uint16, or
            floats in [0, 1].
        network: A name from `cvdl.zoo.names()`, a file of weights that `cvdl.zoo.load` can read, or a network.
        device: Where to compute, such as "cuda"; by default, where the given network is, or else on a GPU if there is one.

    Returns:
        The flow (2, H, W), float32 on the CPU, in pixels: channel 0 is the motion to the right, channel 1 down.

    Raises:
        InvalidInput: if an image cannot be read, if the two do not fit together or do not fit the network, or if the
            network is not for optical flow.
        DataNotFound: if there is no such file.

    Example:
        >>> import torch
        >>> image = torch.rand(3, 32, 48)
        >>> compute(image, image, "spynet").shape
        torch.Size([2, 32, 48])
    """
    first, second = to_image(image1, "image1"), to_image(image2, "image2")
    if first.shape != second.shape:
        (h, w), (H, W) = first.shape[-2:], second.shape[-2:]
        raise InvalidInput(
            f"Both images must have the same size; image1 has {w} × {h} pixels and image2 {W} × {H}. Resize or crop one of them."
        )
    return method_of(network, device)(first, second)


def method_of(network, device=None):
    """A network, or its name or file, as a function of images (3, H, W) -> flow (2, H, W), float32 on the CPU."""
    if not isinstance(network, torch.nn.Module):
        from cvdl import zoo
        from cvdl.settings import device as best

        name, network = network, zoo.load(network)
        if type(network).__name__ in zoo.GESTURE_NETS:
            raise InvalidInput(f"{name} recognises gestures; a network for optical flow was expected, such as spynet.")
        device = device or best()
    if device is not None:
        network = network.to(device)
    here = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    return one_by_one(network.eval(), here)


def to_image(image, name="image"):
    """An image of any kind that `compute` takes -> (3, H, W) float32 in [0, 1], on the CPU."""
    if isinstance(image, (str, Path)):
        return read_image(expanded(image))
    if isinstance(image, Image.Image):
        return as_image(read_picture(image, name))
    if isinstance(image, np.ndarray):
        if image.ndim == 2:
            image = image[..., None]
        if image.ndim != 3 or image.shape[-1] not in (1, 3, 4):
            raise InvalidInput(
                f"{name} is an array {image.shape}; (H, W, 3) or (H, W) was expected. (3, H, W) becomes (H, W, 3) by "
                f"{name}.transpose(1, 2, 0)."
            )
        image = torch.from_numpy(np.ascontiguousarray(image[..., :3])).permute(2, 0, 1)
    if not isinstance(image, torch.Tensor):
        raise InvalidInput(
            f"{name} is {type(image).__name__}; a path, a PIL image, a NumPy array or a tensor was expected."
        )
    if image.ndim == 4 and len(image) == 1:
        image = image[0]
    if image.ndim == 2:
        image = image[None]
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise InvalidInput(
            f"{name} is a tensor {tuple(image.shape)}; one image (3, H, W) was expected. (H, W, 3) becomes (3, H, W) by "
            f"{name}.permute(2, 0, 1); to process several images, pass them to a network as a batch."
        )
    whites = {torch.uint8: 255, torch.uint16: 65535}
    if image.dtype not in whites and not image.is_floating_point():
        raise InvalidInput(f"{name} holds {image.dtype}; uint8, uint16 or floats in [0, 1] were expected.")
    return (image.detach().cpu().float() / whites.get(image.dtype, 1)).expand(3, -1, -1).contiguous()


def run(inputs, outs, network="spynet", device=None, kind=None):
    """Compute the flow of all pairs in the input and write it.

    Args:
        inputs: Two images; or one folder of images, or one video.
        outs: Files or folders to write. The extension of a file decides what is written; a folder gets a file for each pair.
        network, device: As for `compute`.
        kind: One of FORMATS except "clip": what to write to a folder (default: "flo") and to a .png (default: "image").

    Returns:
        A line for each of `outs` that says what was written; and the errors of pairs that were left out.

    Raises:
        InvalidInput: before anything is computed, if the input is not of these kinds or an output cannot be written;
            and if there is no pair whose flow can be computed.
    """
    pairs = open_inputs([expanded(path) for path in inputs])
    single = isinstance(pairs, PairDataset) and len(pairs) == 1
    writers = [writer_of(expanded(out), kind, single) for out in outs]
    if not writers:
        raise InvalidInput(f"Name the output: --out FILE. It can be {WHAT_CAN_BE_WRITTEN}.")
    for path in inputs:
        for out in outs:
            if is_file(out) and expanded(out).samefile(expanded(path)):
                raise InvalidInput(f"{out} is also the input and would be overwritten. Name another file.")
    method, left_out, done = method_of(network, device), [], 0
    try:
        unread = None if single else left_out  # the only pair cannot be left out: its error is the run's
        for sample in tqdm(readable(pairs, unread), total=count(pairs), desc="flow", unit="pair", leave=False):
            try:
                flow = method(sample.image1, sample.image2)
                for writer in writers:
                    writer.add(sample, flow, getattr(pairs, "rate", 0) or RATE)
            except Exception as error:
                ours = not isinstance(error, library_errors()) and not is_out_of_memory(error)
                if ours or isinstance(error, OSError):  # a mistake in our code, or nothing can be written
                    raise
                if single:
                    raise InvalidInput(told(error)) from None
                leave_out(InvalidInput(f"Pair {sample.name}: {told(error)}"), left_out)
            else:
                done += 1
        if not done:
            where = " and ".join(map(str, inputs))
            raise InvalidInput(
                f"None of the {len(left_out)} pairs in {where} could be used, as reported above."
                if left_out
                else f"There is no pair in {where}."
            )
        return [writer.close() for writer in writers], left_out
    finally:
        for writer in writers:
            writer.abort()


def open_inputs(inputs):
    """Two images, or a folder or video -> a sequence of Sample."""
    wanted = "Name two images, one folder of images, or one video."
    for path in inputs:
        if is_file(path) and path.suffix.lower() in (".flo", ".pfm"):
            raise InvalidInput(f"{path} is a flow, not an image. {wanted}")
    if len(inputs) > 2:
        raise InvalidInput(f"There are {len(inputs)} inputs. {wanted}")
    if len(inputs) == 1:
        (path,) = inputs
        if is_file(path) and path.suffix.lower() in PICTURES and not animation(path):
            raise InvalidInput(f"{path} is only one image, but flow needs two. {wanted}")
        if not is_file(path) and not is_folder(path):
            raise InvalidInput(f"There is no file or folder {path}. {wanted}")
        return open_pairs(path)
    for path in inputs:
        if is_folder(path) or path.suffix.lower() in VIDEOS:
            raise InvalidInput(
                f"{path} is a {'folder' if is_folder(path) else 'video'}, but two inputs must both be images. {wanted}"
            )
        if not is_file(path):
            raise InvalidInput(f"There is no file {path}. {wanted}")
    return PairDataset([Files(inputs[0].stem, *inputs)])


def writer_of(out, kind, single):
    """The writer for a path.  Raises InvalidInput if the extension, format, folder or number of pairs does not fit."""
    ending = out.suffix.lower()
    if kind is not None and (kind not in FORMATS or kind == "clip"):
        raise InvalidInput(
            f"There is no format {kind!r}; there are {', '.join(each for each in FORMATS if each != 'clip')}."
        )
    if is_folder(out) or not ending:
        return Folder(out, kind or "flo")
    by_ending = next((name for name in ("flo", "pfm", "image", "clip") if ending in FORMATS[name]), None)
    if by_ending is None:
        raise InvalidInput(
            f"The extension of {out} is not one that can be written. The output can be {WHAT_CAN_BE_WRITTEN}."
        )
    if kind is not None and ending not in FORMATS[kind] and by_ending != "clip":
        raise InvalidInput(
            f"{out} cannot be written in the format {kind}, whose files end in {', '.join(FORMATS[kind])}."
        )
    if not out.parent.is_dir():
        raise InvalidInput(f"There is no folder {out.parent} to write {out.name} to. Create it, or name another one.")
    if by_ending == "clip":
        return Drawn(out)
    if not single:
        raise InvalidInput(
            f"{out} is a single file, but there may be several pairs. Name a folder, which gets a file for each pair, or a clip "
            f"({', '.join(CLIPS)})."
        )
    return Single(out, kind if kind == "kitti" else by_ending)


def write(path, kind, flow):
    """Write one flow (2, H, W) in one of FORMATS except "clip"."""
    if kind != "image":
        return write_flow(path, flow)
    from cvdl.flow.colours import flow_to_image

    pixels = (255 * flow_to_image(flow)).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(path)


class Single:
    """Writes the flow of one pair to a file."""

    def __init__(self, path, kind):
        self.path, self.kind, self.line = path, kind, None

    def add(self, sample, flow, rate):
        from cvdl.flow.description import describe

        write(self.path, self.kind, flow)
        self.line = f"{self.path}: {describe(flow)}"

    def close(self):
        return self.line

    def abort(self):
        pass


class Folder:
    """Writes the flow of each pair to a separate file, named after the pair."""

    def __init__(self, path, kind):
        self.path, self.kind, self.names, self.count = path, kind, Names(FORMATS[kind][0]), 0

    def add(self, sample, flow, rate):
        self.path.mkdir(parents=True, exist_ok=True)
        write(self.path / self.names.of(sample.name), self.kind, flow)
        self.count += 1

    def close(self):
        return f"{self.path}: {self.count} flow files; the first is {next(iter(self.names.files.values()))}."

    def abort(self):
        pass


class Drawn:
    """Writes a clip of the first frames, with their flow drawn over them."""

    def __init__(self, path):
        self.path, self.clip, self.longest = path, None, 0.0

    def add(self, sample, flow, rate):
        self.clip = self.clip or Clip(self.path, flow.shape[-2:], rate)
        # One scale for the whole clip, which only grows: colours of later frames can be compared.
        self.longest = max(self.longest, float(np.quantile(flow.norm(dim=0).numpy(), 0.99)), 1.0)
        self.clip.add(overlay(sample.image1, flow, self.longest))

    def close(self):
        self.clip.close()
        return f"{self.path}: {self.clip.count} frames; full colour means {self.longest:.1f} px per frame."

    def abort(self):
        if self.clip:
            self.clip.abort()
