"""How fast the course's layers are on this machine: `cvdl bench`.

Absolute times vary several-fold with whatever else the machine does.  So the variants take turns, and what counts
is their ratio within one run.
"""

import json
import math
import platform
import re
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from cvdl import tables
from cvdl.errors import InvalidInput
from cvdl.flow.correlation import TILE, by_tiles, correlation, correlation_loop
from cvdl.flow.data.augment import Augment
from cvdl.flow.data.chairs import FULL
from cvdl.flow.data.pool import Mixture, Pool
from cvdl.flow.data.rendered import RENDERED, rendered
from cvdl.flow.losses import multiscale_epe
from cvdl.flow.models.flownet import FlowNetS
from cvdl.flow.models.spynet import SPyNet
from cvdl.sequence.lstm import LSTM
from cvdl.train.recipes.flow_losses import WINDOW, WINDOWS, finest_level_on_windows, flows, pyramid_loss, window_loss

CHANNELS, DISPLACEMENT, STRIDE = 256, 20, 2  # FlowNetC's
PATIENCE = 60  # seconds after which a variant is not repeated any more
ROOM = 3e9  # bytes; what needs more is left out, so that a laptop survives


def unfold(f1, f2, max_displacement=DISPLACEMENT, stride=STRIDE):
    """F.unfold writes out all windows of f2, then one product: the usual short form."""
    n, (B, C, H, W) = 2 * max_displacement // stride + 1, f1.shape
    windows = F.unfold(f2, n, dilation=stride, padding=max_displacement).view(B, C, n * n, H, W)
    return torch.einsum("bchw,bcdhw->bdhw", f1, windows) / C


def rows(f1, f2):
    """Row-banded: every row of a class is a tile."""
    return by_tiles(f1, f2, DISPLACEMENT, STRIDE, (1, 10**6))


def classes(f1, f2):
    """Parity split, one product each: every class is a single tile."""
    return by_tiles(f1, f2, DISPLACEMENT, STRIDE, (10**6, 10**6))


def half(f1, f2):
    with torch.autocast(f1.device.type, torch.float16):
        return correlation(f1, f2)


def localcorr(f1, f2):
    from localcorr import get_localcorr_sampler

    n = 2 * DISPLACEMENT // STRIDE + 1
    return get_localcorr_sampler(patch_size=n, dilation_patch=STRIDE)(f1, f2).flatten(1, 2) / f1.shape[1]


def compiled(f1, f2):
    return torch.compile(correlation_loop)(f1, f2)


HERE = "library, tiles of {}×{}".format(*TILE)
CORRELATIONS = {
    "loop of shifts": correlation_loop,
    "F.unfold": unfold,
    "row-banded": rows,
    "parity split": classes,
    HERE: correlation,
}
ON_CUDA = {f"{HERE}, float16": half, "torch.compile of the loop": compiled, "localcorr": localcorr}


def needs(name, B, H, W):
    """Bytes of the largest tensor of a variant, so as not to try what cannot go well."""
    h, w, r = math.ceil(H / STRIDE), math.ceil(W / STRIDE), DISPLACEMENT // STRIDE
    near = (h + 2 * r) * (w + 2 * r)
    return {
        "F.unfold": 4 * B * CHANNELS * (2 * r + 1) ** 2 * H * W * 2,  # it, and its gradient
        "parity split": 4 * B * STRIDE**2 * h * w * near,
    }.get(name, 0)


def bench_correlation(sizes, repeats=7, batch=1, threads=None, device="cpu"):
    """Time and memory of each variant at each size (H, W): a list of dicts, one per row of the table.

    Times are medians in ms; memory is what forward and backward together need beyond the two maps, in MB.
    Variants that cannot run here have `skipped`, a reason, instead.
    """
    threads = threads or torch.get_num_threads()
    torch.set_num_threads(threads)
    variants = CORRELATIONS | (ON_CUDA if device == "cuda" else {})
    results = []
    with tqdm(total=len(sizes) * len(variants) * (repeats + 1), file=sys.stderr, leave=False) as bar:
        for H, W in sizes:
            table = {}
            for name in variants:  # memory first, while this process is small
                bar.set_description(f"{H}×{W}, memory of {name}")
                table[name] = {"variant": name, "batch": batch, "height": H, "width": W}
                if needs(name, batch, H, W) > ROOM:
                    table[name]["skipped"] = f"needs {needs(name, batch, H, W) / 1e9:.1f} GB"
                else:
                    try:
                        table[name]["extra_mb"] = _memory(name, batch, H, W, threads, device)
                    except Exception as error:  # not installed, no compiler, out of memory: says so in its row
                        table[name]["skipped"] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
                bar.update()
            f1, f2, grad = _maps(batch, H, W, device)
            times = {name: [] for name in table if "skipped" not in table[name]}
            for turn in range(repeats):
                for name, taken in times.items():
                    bar.set_description(f"{H}×{W}, run {turn + 1} of {name}")
                    if turn == 0:
                        _run(variants[name], f1, f2, grad, device)  # the first run is slower
                    if sum(map(sum, taken)) < PATIENCE:
                        taken.append(_run(variants[name], f1, f2, grad, device))
                    bar.update()
            for name, taken in times.items():
                forward, both = (1e3 * statistics.median(t) for t in zip(*((f, f + b) for f, b in taken), strict=True))
                table[name] |= {"runs": len(taken), "forward_ms": forward, "both_ms": both}
            loop = table["loop of shifts"]
            for name in times:
                table[name]["forward_ratio"] = loop["forward_ms"] / table[name]["forward_ms"]
                table[name]["both_ratio"] = loop["both_ms"] / table[name]["both_ms"]
            results += table.values()
    return results


def bench_data(sizes, batch=8, seconds=3.0, device="cpu", step=False):
    """How fast pairs are rendered: a list of dicts with source, height, width and pairs_per_second.

    A batch is rendered again and again, always other pairs, for `seconds`.  With `step`, also step_ms, the time of a
    training step of FlowNetS at full width on such a batch, and share_percent, which rendering a batch is of it.
    """
    kinds, results = [*RENDERED, "chairs, augmented"], []
    with tqdm(total=len(sizes) * (len(kinds) + step), file=sys.stderr, leave=False) as bar:
        for H, W in sizes:
            bar.set_description(f"{H}×{W}, FlowNetS")
            step_ms = _step_ms(batch, H, W, device) if step else None
            bar.update(step)
            for name in kinds:
                bar.set_description(f"{H}×{W}, {name}")
                source = rendered(name.removesuffix(", augmented"), size=(H, W), device=device)
                source = source if name in RENDERED else Augmented(source)
                per_second = _pairs_per_second(source, batch, seconds, device)
                row = {"source": name, "height": H, "width": W, "batch": batch, "pairs_per_second": per_second}
                if step:
                    row |= {"step_ms": step_ms, "share_percent": 100 * 1e3 * batch / per_second / step_ms}
                results.append(row)
                bar.update()
    return results


class Augmented:
    """Pairs that are changed as for training."""

    def __init__(self, source):
        self.source, self.augment = source, Augment()

    def batch(self, start, count):
        return self.augment(self.source.batch(start, count), range(start, start + count))


def _pairs_per_second(source, batch, seconds, device):
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    source.batch(0, batch)
    wait()
    start, made = time.perf_counter(), 0
    while time.perf_counter() - start < seconds or not made:
        made += batch
        source.batch(made, batch)
        wait()
    return made / (time.perf_counter() - start)


def _step_ms(batch, H, W, device):
    """Median time of a training step of FlowNetS, in half precision on CUDA."""
    size = (H - H % 64, W - W % 64)
    step = _flownet_step(FlowNetS(), size, batch, device)
    return statistics.median([_ms(step, device) for _ in range(4 if device == "cpu" else 20)][1:])


def _training_step(net, loss_of, device):
    """A function that makes one training step.  loss_of: net -> loss, in half precision on CUDA."""
    net = net.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW([weight for weight in net.parameters() if weight.requires_grad], 1e-4)

    def step():
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = loss_of(net)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def _flownet_step(net, size, batch, device):
    """A function that makes one training step of a FlowNetS on random images of a size."""
    image1, image2 = torch.rand(2, batch, 3, *size, device=device).unbind()
    truth = torch.randn(batch, 2, *size, device=device)
    return _training_step(net, lambda net: multiscale_epe(net(image1, image2), truth), device)


def _ms(function, device):
    start = time.perf_counter()
    function()
    if device == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start)


def bench_pool(batch=8, repeats=5, device="cpu", size=FULL, crop=(256, 320)):
    """The cost of training from a pool: a list of dicts with part, batch, and ms, the median of alternating runs.

    Loading a batch and augmenting it as for FlowNetS also have step_share_percent and full_width_share_percent: their
    time relative to a training step of FlowNetS on the crops, at the trained width and at full width.  The two SPyNet rows
    have pixels_per_second, on which its finest level learns in a training step, and its ratio to that of complete frames.
    """
    with tempfile.TemporaryDirectory() as folder:
        pool = Pool.open(folder, "chairs", max(2, batch), size=size, varied=False, device=device)
        augment, drawn = Augment(crop=crop, scale=(0.7, 1.5)), Mixture({"chairs": pool}, {"chairs": 1.0})
        pairs, few = drawn.pairs(range(batch)), drawn.pairs(range(2))
        functions = {
            "load a batch": partial(drawn.pairs, range(batch)),
            "augment it": lambda: augment(pairs, range(batch)),
            "step of FlowNetS": _flownet_step(FlowNetS(1 / 4), crop, batch, device),
            "step of FlowNetS, full width": _flownet_step(FlowNetS(), crop, batch, device),
            "SPyNet, complete frames": _finest_level_step(flows, pyramid_loss, few, device),
            "SPyNet, windows": _finest_level_step(finest_level_on_windows, window_loss, few, device),
        }
        times = {name: [] for name in functions}
        for turn in tqdm(range(repeats + 1), file=sys.stderr, leave=False):
            for name, function in functions.items():
                taken = _ms(function, device)
                if turn:  # the first run is slower
                    times[name].append(taken)
        del drawn, pool, functions  # before the files that it maps are removed
    ms = {name: statistics.median(taken) for name, taken in times.items()}
    rows = [{"part": name, "batch": 2 if "SPyNet" in name else batch, "ms": taken} for name, taken in ms.items()]
    for row in rows[:2]:
        row["step_share_percent"] = 100 * row["ms"] / ms["step of FlowNetS"]
        row["full_width_share_percent"] = 100 * row["ms"] / ms["step of FlowNetS, full width"]
    complete, windows = rows[-2:]
    area = math.prod(min(a, b) for a, b in zip(WINDOW, size, strict=True))
    complete["pixels_per_second"] = 1e3 * 2 * math.prod(size) / complete["ms"]
    windows["pixels_per_second"] = 1e3 * 2 * WINDOWS * area / windows["ms"]
    for row in (complete, windows):
        row["ratio"] = row["pixels_per_second"] / complete["pixels_per_second"]
    return rows


def _finest_level_step(predict, loss, pairs, device):
    """A function that makes one training step of SPyNet's finest level."""
    net = SPyNet().requires_grad_(False)
    net.levels[-1].requires_grad_(True)
    return _training_step(net, lambda net: loss(predict(net, pairs), pairs)[0], device)


def pool_table(results):
    """The results of bench_pool as aligned text."""
    rows = [("training from a pool", "batch", "time", "of a FlowNetS step", "at full width", "pixels per second")]
    for row in results:
        cells = [row["part"], str(row["batch"]), f"{row['ms']:.0f} ms", "", "", ""]
        if "step_share_percent" in row:
            cells[3:5] = f"{row['step_share_percent']:.1f} %", f"{row['full_width_share_percent']:.1f} %"
        if "ratio" in row:
            cells[5] = f"{row['pixels_per_second']:,.0f} (ratio {row['ratio']:.2f})"
        rows.append(tuple(cells))
    return "\n".join(tables.table(rows, right=(1, 2, 3, 4, 5)))


def data_table(results):
    """The results of bench_data as aligned text."""
    rows = [("frame", "source", "pairs a second")]
    if "step_ms" in results[0]:
        rows[0] += ("a batch", "FlowNetS step", "share")
    for row in results:
        cells = (f"{row['height']}×{row['width']}", row["source"], f"{row['pairs_per_second']:.1f}")
        if "step_ms" in row:
            batch_ms = 1e3 * row["batch"] / row["pairs_per_second"]
            cells += (f"{batch_ms:.0f} ms", f"{row['step_ms']:.0f} ms", f"{row['share_percent']:.0f} %")
        rows.append(cells)
    return "\n".join(tables.table(rows, right=(0, 2, 3, 4, 5)))


def bench_sequence(repeats=15, threads=1, device="cpu", T=100, B=32, D=64, H=128):
    """A training step of one LSTM layer, ours and torch's: forward, and backward to all weights and the input.

    -> a list of dicts with layer, ms (median) and ratio to torch.nn.LSTM, of which the runs take turns.  One thread is
    the fair number: products as small as these keep several waiting for each other.
    """
    torch.set_num_threads(threads)
    dice = torch.Generator().manual_seed(0)
    xs, grad = torch.randn(T, B, D, generator=dice).to(device), torch.randn(T, B, H, generator=dice).to(device)
    layers = {"torch.nn.LSTM": nn.LSTM(D, H).to(device), "cvdl.sequence.lstm.LSTM": LSTM(D, H).to(device)}
    times = {name: [] for name in layers}
    for turn in tqdm(range(repeats + 1), file=sys.stderr, leave=False):
        for name, layer in layers.items():
            weights = tuple(layer.parameters())
            taken = _run(lambda xs, *_, layer=layer: layer(xs)[0], xs.requires_grad_(), *weights, grad, device)
            if turn:  # the first run is slower
                times[name].append(1e3 * sum(taken))
    ms = {name: statistics.median(taken) for name, taken in times.items()}
    sizes = {"steps": T, "batch": B, "inputs": D, "hidden": H}
    return [{"layer": name, **sizes, "ms": t, "ratio": t / ms["torch.nn.LSTM"]} for name, t in ms.items()]


def sequence_table(results):
    """The results of bench_sequence as aligned text."""
    sizes = "{steps} steps, batch {batch}, {inputs} inputs, {hidden} units".format(**results[0])
    rows = [("layer", "training step", "times torch")]
    rows += [(row["layer"], f"{row['ms']:.1f} ms", f"{row['ratio']:.2f}") for row in results]
    head, *lines = tables.table(rows, right=(1, 2))
    return "\n".join([f"{head}  ({sizes})", *lines])


def _maps(batch, H, W, device):
    dice = torch.Generator().manual_seed(0)
    f1, f2 = torch.randn(2, batch, CHANNELS, H, W, generator=dice).to(device).unbind()
    grad = torch.randn(batch, (2 * DISPLACEMENT // STRIDE + 1) ** 2, H, W, generator=dice).to(device)
    return f1.requires_grad_(), f2.requires_grad_(), grad


def _run(layer, *arguments):
    """Seconds for layer(*inputs), and for its gradient by all inputs; arguments: inputs, gradient, device."""
    *inputs, grad, device = arguments
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    out = layer(*inputs)
    wait()
    middle = time.perf_counter()
    torch.autograd.grad(out, inputs, grad.to(out.dtype))
    wait()
    return middle - start, time.perf_counter() - middle


def _memory(name, *arguments):
    """MB for one forward and backward; on a CPU as growth of a fresh process, None where the system does not tell."""
    if arguments[-1] == "cuda":
        return _growth(name, *arguments)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_growth, name, *arguments).result()


def _growth(name, batch, H, W, threads, device):
    torch.set_num_threads(threads)
    layer = (CORRELATIONS | ON_CUDA)[name]
    _run(layer, *_maps(1, 2, 2, device), device)  # loads what is loaded on first use
    maps = _maps(batch, H, W, device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    before = _peak(device)
    _run(layer, *maps, device)
    after = _peak(device)
    return None if before is None else (after - before) / 1e6


def _peak(device):
    """Most bytes that this process has held so far."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")  # Linux only
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) if status.exists() else None


def table(results):
    """The results as aligned text, and below how the library's time grows with the size."""
    rows = [("map", "variant", "forward", "with backward", "times the loop", "extra memory")]
    for row in results:
        numbers = [""] * 4
        if "skipped" not in row:
            memory = "–" if row["extra_mb"] is None else f"{row['extra_mb']:.0f} MB"
            ratio = f"{row['forward_ratio']:.1f} | {row['both_ratio']:.1f}"
            numbers = [f"{row['forward_ms']:.1f} ms", f"{row['both_ms']:.1f} ms", ratio, memory]
        rows.append((f"{row['height']}×{row['width']}", row["variant"], *numbers))
    head, *lines = tables.table(rows, right=(0, 2, 3, 4, 5))
    reasons = (f"  left out: {row['skipped']}" if "skipped" in row else "" for row in results)
    lines = [head, *(line + reason for line, reason in zip(lines, reasons, strict=True))]

    lines += ["", "Growth: ns per point of the map, forward with backward, from size to size"]
    growth = {}
    for row in results:
        points = row["batch"] * row["height"] * row["width"]
        growth.setdefault(row["variant"], []).append(
            f"{1e6 * row['both_ms'] / points:,.0f}" if "both_ms" in row else "–"
        )
    rows = [(name, *per_point) for name, per_point in growth.items()]
    return "\n".join([*lines, *tables.table(rows, right=range(1, len(rows[0])))])


def choose(device):
    """ "cpu" or "cuda": what was asked for, or what there is.  Raises CourseError."""
    if device not in (None, "cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise InvalidInput(f"There is no device {device!r} here. Choose cpu, or cuda on a machine with such a card.")
    return device or ("cuda" if torch.cuda.is_available() else "cpu")


def parse_sizes(text):
    """'24x32,48x64' -> [(24, 32), (48, 64)].  Raises CourseError."""
    if not re.fullmatch(r"[1-9]\d*[x×][1-9]\d*(,[1-9]\d*[x×][1-9]\d*)*", text):
        raise InvalidInput(
            f"Sizes are HEIGHTxWIDTH, separated by commas; this is {text!r}. Write for instance 24x32,48x64."
        )
    return [tuple(map(int, re.split("[x×]", size))) for size in text.split(",")]


def machine(device):
    """Where results come from, for their file."""
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    return {"device": device, "name": name, "threads": torch.get_num_threads(), "torch": torch.__version__}


def save(results, path, device):
    path.write_text(json.dumps({"machine": machine(device), "results": results}, indent=1) + "\n")
