"""How good a flow network is: `cvdl eval`.  End-point error and its kin, pair by pair, beside classical methods."""

import json
import math
import statistics
import sys
import time
from itertools import chain
from typing import NamedTuple

import torch
from tqdm import tqdm

from cvdl import tables
from cvdl.errors import (
    CourseError,
    InvalidInput,
    MissingDependency,
    WriteFailed,
    is_out_of_memory,
    library_errors,
    told,
)
from cvdl.files import Names
from cvdl.flow.data.chairs import FULL
from cvdl.flow.data.real import Sample, open_pairs
from cvdl.flow.data.rendered import RENDERED, rendered
from cvdl.flow.metrics import SPEEDS, angular_error, epe, epe_by_speed, fl_all
from cvdl.flow.warp import in_frame, warp

COUNT = 16  # of rendered pairs, if no limit is given
COLUMNS = ("epe", "angular_error", "fl_all", *SPEEDS, "warping_error", "seconds")


def pairs_of(where, limit=None, size=FULL):
    """Samples of a set, a folder, a video (as `open_pairs`), or of held-out pairs that are rendered at a size, by kind."""
    if where in RENDERED:
        return Rendered(where, limit or COUNT, size)
    return open_pairs(where, limit=limit)


class Rendered:
    """Held-out pairs of our own as samples, at 384 × 512 if no other size is given."""

    def __init__(self, kind, count, size=FULL):
        self.kind, self.count, self.source = kind, count, rendered(kind, size=size, split="test", seed=7)

    def __len__(self):
        return self.count

    def __iter__(self):
        return map(self.__getitem__, range(self.count))

    def __getitem__(self, i):
        if not 0 <= i < self.count:
            raise IndexError(i)
        pairs = self.source.pairs([i])
        first = (part[0] for part in (pairs.image1, pairs.image2, pairs.flow, pairs.valid[:, 0], pairs.occlusion[:, 0]))
        return Sample(f"{self.kind}/{i:03}", *first)


def samples_of(places, limit=None):
    """The samples of several places, one after the other.  All are opened before the first is measured.

    Where there are several, names begin with the place: sets have pairs of one name, as Sintel's clean and final.
    """
    samples = [pairs_of(where, limit) for where in places]
    if len(places) > 1:
        samples = [s if isinstance(s, Rendered) else Named(s, p) for s, p in zip(samples, places, strict=True)]
    return Chain(samples)


class Chain:
    """Several sequences of samples, one after the other.  Iteration continues after a sample that cannot be read."""

    def __init__(self, parts):
        self.parts = parts

    def __len__(self):
        return sum(map(len, self.parts))

    def __iter__(self):
        return chain.from_iterable(self.parts)


class Named:
    """Samples, their names preceded by that of the place they are from."""

    def __init__(self, samples, place):
        self.samples, self.place = samples, str(place).rstrip("/")

    def __len__(self):
        return len(self.samples)

    def __iter__(self):
        return map(self._named, self.samples)

    def __getitem__(self, i):
        return self._named(self.samples[i])

    def _named(self, sample):
        return sample._replace(name=f"{self.place}/{sample.name}")


def networks(name, net, device="cpu"):
    """A network as a method: images (3, H, W) -> flow (2, H, W) on the CPU.  -> {name: method}

    LikeNet comes with its oracle, the motion of least D, towards which its loss pulls.
    """
    net = net.to(device).eval()
    oracle = {"oracle": one_by_one(net.oracle, device)} if hasattr(net, "oracle") else {}
    return {name: one_by_one(net, device)} | oracle


def one_by_one(flow_of, device):
    """Turn a function of batches into one of single images (3, H, W) -> flow (2, H, W), float32 on the CPU."""

    @torch.no_grad()
    def flow(image1, image2):
        check_size(image1)
        return flow_of(image1[None].to(device), image2[None].to(device))[0].float().cpu()

    return flow


def zero(image1, image2):
    """Nothing moves."""
    return torch.zeros_like(image1[:2])


def farneback(image1, image2):
    """Farnebäck, *Two-frame motion estimation based on polynomial expansion*, SCIA 2003; OpenCV's tutorial settings."""
    cv2 = opencv()
    check_size(image1)
    return from_numpy(cv2.calcOpticalFlowFarneback(grey(image1), grey(image2), None, 0.5, 3, 15, 3, 5, 1.2, 0))


def dis(image1, image2):
    """Kroeger et al., *Fast optical flow using dense inverse search*, ECCV 2016; OpenCV's preset medium."""
    cv2 = opencv()
    check_size(image1)
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return from_numpy(search.calc(grey(image1), grey(image2), None))


def epic_style(image1, image2):
    """Sparse matches, then interpolation that stops at edges: OpenCV's `calcOpticalFlowSparseToDense`.

    The interpolation is that of EpicFlow (Revaud et al., CVPR 2015), but matches come from Lucas and Kanade's tracker, not
    from DeepMatching; nor is there a variational refinement at the end.  So it is of EpicFlow's style, and not EpicFlow.
    """
    cv2 = opencv()
    if not hasattr(cv2, "optflow"):
        raise MissingDependency('This OpenCV is without its contributed modules. Run `pip install -e ".[compare]"`.')
    check_size(image1)
    bgr = ((255 * image.flip(0)).round().byte().permute(1, 2, 0).contiguous().numpy() for image in (image1, image2))
    return from_numpy(cv2.optflow.calcOpticalFlowSparseToDense(*bgr))


def check_size(image):
    """Raise for images that are too small for OpenCV's methods and for networks."""
    H, W = image.shape[-2:]
    if min(H, W) < 16:
        raise InvalidInput(f"Images must have 16 × 16 pixels or more; these have {W} × {H}. Enlarge them first.")


def grey(image):
    """(3, H, W) in [0, 1] -> (H, W) uint8, weighted as by OpenCV (ITU-R BT.601)"""
    red, green, blue = image
    return (255 * (0.299 * red + 0.587 * green + 0.114 * blue)).round().byte().numpy()


def from_numpy(flow):
    return torch.from_numpy(flow).permute(2, 0, 1).contiguous()


def opencv():
    try:
        import cv2
    except ImportError:
        raise MissingDependency('Farneback and DIS come from OpenCV. Run `pip install -e ".[compare]"`.') from None
    return cv2


def classical():
    """Methods to compare with, by name; those of OpenCV only where it is installed."""
    methods = {"zero flow": zero}
    try:
        opencv()
    except MissingDependency:
        return methods
    return methods | {"Farneback": farneback, "DIS": dis}


def evaluate(methods, samples, look=None, left_out=None):
    """Run methods, {name: function}, on samples -> list of dicts with pair, method and COLUMNS; NaN: not known.

    The warping error is the mean difference between frame 1 and frame 2 brought back, in grey levels of 255, over
    what stays in the frame: it needs no truth, and does not tell a right flow from one that finds like colours.

    Args:
        look: Called with sample and {method: flow} for every pair, to draw.
        left_out: A list. If given, a pair that cannot be read or measured is reported on stderr, its error is added
            to the list, and the other pairs are measured. Without it, the error is raised.

    Raises:
        InvalidInput: if there is no pair to measure, and for a pair that cannot be read or measured.
    """
    rows = []
    for sample in tqdm(readable(samples, left_out), total=count(samples), desc="pairs", unit="pair", leave=False):
        try:
            flows, measured = {}, []
            for name, method in methods.items():
                start = time.perf_counter()
                flows[name] = method(sample.image1, sample.image2)
                seconds = time.perf_counter() - start
                measured.append(
                    {"pair": sample.name, "method": name, **measure(flows[name], sample), "seconds": seconds}
                )
        except Exception as error:
            if not isinstance(error, library_errors()) and not is_out_of_memory(error):
                raise  # a mistake in our own code
            failure = InvalidInput(f"Pair {sample.name}: {told(error)}")
            if left_out is None:
                raise failure from error
            leave_out(failure, left_out)
            continue
        rows += measured
        if look:
            look(sample, flows)
    if not rows:
        raise (
            left_out[0]
            if left_out
            else InvalidInput("There is no pair to evaluate on. `cvdl data` lists the datasets.")
        )
    return rows


def readable(samples, left_out):
    """The samples; those that cannot be read are left out, as described for the argument `left_out` of `evaluate`."""
    source = iter(samples)
    while True:
        try:
            yield next(source)
        except StopIteration:
            return
        except CourseError as error:
            if left_out is None:
                raise
            leave_out(error, left_out)


def leave_out(error, left_out):
    tqdm.write(f"Left out: {error}", file=sys.stderr)
    left_out.append(error)


def count(samples):
    """The number of samples, for the progress bar; None if it is not known."""
    return len(samples) if hasattr(samples, "__len__") else None


def measure(flow, sample):
    """All COLUMNS but the time, as floats."""
    batch = flow[None]
    stays = in_frame(batch)[0].expand_as(sample.image1)
    gap = 255 * (warp(sample.image2[None], batch)[0] - sample.image1).abs()
    warping = gap[stays].mean().item() if stays.any() else math.nan
    if sample.flow is None:
        return dict.fromkeys(("epe", "angular_error", "fl_all", *SPEEDS), math.nan) | {"warping_error": warping}
    known = flow, sample.flow, sample.valid
    numbers = {f.__name__: f(*known).item() for f in (epe, angular_error, fl_all)}
    return numbers | epe_by_speed(*known) | {"warping_error": warping}


def averages(rows):
    """{method: {column: mean over pairs}}; each pair counts the same, and those where a number is not known do not."""
    methods = dict.fromkeys(row["method"] for row in rows)
    return {name: {c: mean(row[c] for row in rows if row["method"] == name) for c in COLUMNS} for name in methods}


def mean(numbers):
    known = [n for n in numbers if not math.isnan(n)]
    return sum(known) / len(known) if known else math.nan


def table(rows):
    """The rows as aligned text, pair by pair, and the averages below."""
    heads = ("EPE px", "angle °", "Fl-all %", *SPEEDS, "warp", "ms")
    rows = rows + [{"pair": "average", "method": name, **numbers} for name, numbers in averages(rows).items()]
    cells, previous = [("pair", "method", *heads)], None
    for row in rows:
        shown = (row[c] * (1000 if c == "seconds" else 1) for c in COLUMNS)
        numbers = ("–" if math.isnan(number) else f"{number:.2f}" for number in shown)
        cells.append((row["pair"] if row["pair"] != previous else "", row["method"], *numbers))
        previous = row["pair"]
    head, *lines = tables.table(cells, right=range(2, 2 + len(heads)))
    gaps = ["\n" if pair else "" for pair, *_ in cells[1:]]  # an empty line before each pair but the first
    return "\n".join([head, *(gap + line for gap, line in zip(["", *gaps[1:]], lines, strict=True))])


def legend(rows):
    """An explanation of the less obvious columns of the table, as text."""
    lines = [
        "warp: mean difference between frame 1 and frame 2 warped by the flow, in grey levels of 255; it needs no ground "
        "truth. ms: time per pair."
    ]
    if all(math.isnan(row["epe"]) for row in rows):
        lines.append(
            "–: unknown, because there is no ground truth for these pairs. A lower warp is better, but not a proof."
        )
    elif any(math.isnan(row["epe"]) for row in rows):
        lines.append("–: unknown, because there is no ground truth for that pair, or no pixel with that speed.")
    return "\n".join(lines)


class Comparison(NamedTuple):
    """Errors of A minus errors of B on the same pairs."""

    difference: float  # mean; negative where A is better
    standard_error: float  # of the mean; NaN for fewer than two pairs
    wins: int  # pairs on which A is better
    losses: int
    pairs: int

    def __str__(self):
        return f"{self.gap()}, better on {self.wins} and worse on {self.losses} of {self.pairs} pairs"

    def gap(self):
        error = "–" if math.isnan(self.standard_error) else f"{self.standard_error:.3f}"
        return f"{self.difference:+.3f} ± {error} px"


def paired(errors, others):
    """Compare two methods on the same pairs, errors in the same order -> Comparison.

    Pairs on which one of the errors is NaN do not count.  Raises InvalidInput where none is left.
    """
    gaps = [a - b for a, b in zip(errors, others, strict=True) if not (math.isnan(a) or math.isnan(b))]
    if not gaps:
        raise InvalidInput("Nothing can be compared: there is no ground truth for any of these pairs.")
    error = statistics.stdev(gaps) / len(gaps) ** 0.5 if len(gaps) > 1 else math.nan
    wins, losses = sum(gap < 0 for gap in gaps), sum(gap > 0 for gap in gaps)
    return Comparison(statistics.mean(gaps), error, wins, losses, len(gaps))


def paired_table(rows):
    """Each method compared with each one before it, as text."""
    errors = {}
    for row in rows:
        errors.setdefault(row["method"], []).append(row["epe"])
    names, lines = list(errors), [("compared", "difference of EPE", "better on", "worse on", "pairs")]
    for i, name in enumerate(names):
        for other in names[:i]:
            result = paired(errors[name], errors[other])
            numbers = (str(number) for number in (result.wins, result.losses, result.pairs))
            lines.append((f"{name} - {other}", result.gap(), *numbers))
    return "\n".join(tables.table(lines, right=(1, 2, 3, 4)))


def as_json(rows, **about):
    """Rows and averages; NaN becomes null."""
    clean = [{k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()} for row in rows]
    mean_rows = {
        name: {k: None if math.isnan(v) else v for k, v in numbers.items()} for name, numbers in averages(rows).items()
    }
    return json.dumps({**about, "average": mean_rows, "pairs": clean}, indent=1, ensure_ascii=False) + "\n"


def drawer(folder):
    """A function for `evaluate` that writes an image of each pair to a separate file: frame 1, ground truth, every flow."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from cvdl.flow.plotting.draw import panels

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteFailed(f"The folder {folder} cannot be made: {error}. Name another one to draw into.") from error
    names = Names(".png")

    def look(sample, flows):
        pictures = {"frame 1": sample.image1, "frame 2": sample.image2}
        longest = None
        if sample.flow is not None:
            pictures["truth"] = sample.flow.masked_fill(~sample.valid, math.nan)
            longest = sample.flow.norm(dim=0).max().item() or None
        for name, flow in flows.items():
            if name != "zero flow":
                error = "" if sample.flow is None else f": EPE {epe(flow, sample.flow, sample.valid):.2f} px"
                pictures[name + error] = flow
        figure = panels(pictures, max_flow=longest)
        figure.savefig(folder / names.of(sample.name), dpi=90, bbox_inches="tight")
        plt.close(figure)

    return look
