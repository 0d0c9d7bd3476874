"""Two published PyTorch codes, from a description of them and without cvdl: what is in their files, what they compute.

"pinard" is FlowNetPytorch, "nvidia" flownet2-pytorch.  width scales all numbers of channels, for quick tests.
"""

import torch
import torch.nn.functional as F

ENCODERS = {  # name, channels in and out, kernel, stride
    "S": "conv1 6 64 7 2 / conv2 64 128 5 2 / conv3 128 256 5 2 / conv3_1 256 256 3 1",
    "C": "conv1 3 64 7 2 / conv2 64 128 5 2 / conv3 128 256 5 2 / conv_redir 256 32 1 1 / conv3_1 473 256 3 1",
    "SD": "conv0 6 64 3 1 / conv1 64 64 3 2 / conv1_1 64 128 3 1 / conv2 128 128 3 2 / conv2_1 128 128 3 1"
    " / conv3 128 256 3 2 / conv3_1 256 256 3 1",
    "fusion": "conv0 11 64 3 1 / conv1 64 64 3 2 / conv1_1 64 128 3 1 / conv2 128 128 3 2 / conv2_1 128 128 3 1",
}
TOP = " / conv4 256 512 3 2 / conv4_1 512 512 3 1 / conv5 512 512 3 2 / conv5_1 512 512 3 1"
TOP += " / conv6 512 1024 3 2 / conv6_1 1024 1024 3 1"
# level, channels of its skip, of its deconv; of the coarsest map
DECODER = [(5, 512, 512), (4, 512, 256), (3, 256, 128), (2, 128, 64)], 1024
DECODERS = {"S": DECODER, "C": DECODER, "SD": DECODER, "fusion": ([(1, 128, 32), (0, 64, 16)], 128)}
PARTS = {
    "FlowNet2CS": {"flownetc.": "C", "flownets_1.": "S"},
    "FlowNet2CSS": {"flownetc.": "C", "flownets_1.": "S", "flownets_2.": "S"},
    "FlowNet2": {
        "flownetc.": "C",
        "flownets_1.": "S",
        "flownets_2.": "S",
        "flownets_d.": "SD",
        "flownetfusion.": "fusion",
    },
}


def encoder(kind):
    table = ENCODERS[kind] + ("" if kind == "fusion" else TOP)
    return [(name, *map(int, numbers)) for name, *numbers in map(str.split, table.split("/"))]


def shapes(kind, code, width=1.0, channels=6, batch_norm=False, prefix=""):
    """{name: shape} of a file."""
    if kind in PARTS:
        parts = PARTS[kind].items()
        return {
            name: shape
            for prefix, part in parts
            for name, shape in shapes(part, code, width, 12 if "flownets_" in prefix else 6, batch_norm, prefix).items()
        }

    def n(full):
        return max(1, round(full * width))

    found = {}

    def put(name, *shape, bias, outside):
        found[f"{name}.weight"] = shape
        if bias:
            found[f"{name}.bias"] = (outside,)

    def normed(name, outside):
        for part in ("weight", "bias", "running_mean", "running_var"):
            found[f"{name}.1.{part}"] = (outside,)
        found[f"{name}.1.num_batches_tracked"] = ()

    for name, inside, outside, kernel, _ in encoder(kind):
        seen = {"conv3_1": n(32) + 441 if kind == "C" else n(256), "conv0": inside}.get(name, n(inside))
        if name == "conv1" and kind in ("S", "C"):
            seen = {"S": 6 if kind == "S" and channels == 6 else channels, "C": 3}[kind]
        put(f"{name}.0", n(outside), seen, kernel, kernel, bias=not batch_norm, outside=n(outside))
        if batch_norm:
            normed(name, n(outside))
    levels, top = DECODERS[kind]
    biased, inter, inside = code == "nvidia", kind in ("SD", "fusion"), n(top)
    put(f"predict_flow{levels[0][0] + 1}", 2, inside, 3, 3, bias=biased, outside=2)
    for k, skip, up in levels:
        put(f"deconv{k}.0", inside, n(up), 4, 4, bias=biased, outside=n(up))
        put(f"upsampled_flow{k + 1}_to_{k}", 2, 2, 4, 4, bias=biased and kind != "S", outside=2)
        inside = n(skip) + n(up) + 2
        if inter:
            put(f"inter_conv{k}.0", n(up), inside, 3, 3, bias=True, outside=n(up))
            if batch_norm:
                normed(f"inter_conv{k}", n(up))
        put(f"predict_flow{k}", 2, n(up) if inter else inside, 3, 3, bias=biased, outside=2)
    return {prefix + name: shape for name, shape in found.items()}


def random_file(*args, seed=0, **options):
    """{name: tensor}, float32: features stay of one size, flows are some pixels long, biases are not to be missed."""
    generator, tensors = torch.Generator().manual_seed(seed), {}
    for name, shape in shapes(*args, **options).items():
        if name.endswith("tracked"):
            tensors[name] = torch.tensor(1000)
        elif name.endswith("running_var") or (name.endswith("1.weight") and len(shape) == 1):
            tensors[name] = 0.5 + torch.rand(shape, generator=generator)
        elif len(shape) == 4:
            transposed = "deconv" in name or "upsampled" in name
            fan = shape[0] * 4 if transposed else shape[1] * shape[2] * shape[3]
            size = (0.3 if "predict" in name or "upsampled" in name else 1.4) / fan**0.5
            tensors[name] = size * torch.randn(shape, generator=generator)
        else:
            tensors[name] = 0.1 * torch.randn(shape, generator=generator)
    return tensors


def compute(kind, tensors, x, prefix="", seen=None):
    """Flows, finest first, as they leave the last layers.  x: what the network sees; seen: dict for its features."""
    w = {name.removeprefix(prefix): tensor.to(x) for name, tensor in tensors.items() if name.startswith(prefix)}
    seen = {} if seen is None else seen

    def norm(name, x):
        if f"{name}.1.running_mean" not in w:
            return x
        gamma, beta, mean, var = (
            w[f"{name}.1.{part}"][:, None, None] for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / (var + 1e-5) ** 0.5 * gamma + beta

    def conv(name, x):
        weight, (stride,) = w[f"{name}.0.weight"], [row[4] for row in encoder(kind) if row[0] == name]
        y = norm(name, F.conv2d(x, weight, w.get(f"{name}.0.bias"), stride, weight.shape[-1] // 2))
        seen[name] = leaky(y)
        return seen[name]

    def run(x, *names):
        for name in names:
            x = conv(name, x)
        return x

    def plain(name, x, function, *numbers):
        return function(x, w[f"{name}.weight"], w.get(f"{name}.bias"), *numbers)

    if kind in ("SD", "fusion"):
        conv0 = run(x, "conv0")
        conv1_1 = run(conv0, "conv1", "conv1_1")
        conv2 = run(conv1_1, "conv2", "conv2_1")
        conv3_1 = run(conv2, "conv3", "conv3_1") if kind == "SD" else None
    elif kind == "S":
        conv2 = run(x, "conv1", "conv2")
        conv3_1 = run(conv2, "conv3", "conv3_1")
    else:
        other = run(x[:, 3:], "conv1", "conv2", "conv3")
        conv2 = run(x[:, :3], "conv1", "conv2")
        conv3 = run(conv2, "conv3")
        conv3_1 = run(torch.cat([run(conv3, "conv_redir"), leaky(correlated(conv3, other))], 1), "conv3_1")
    if kind == "fusion":
        skips, features = {1: conv1_1, 0: conv0}, conv2
    else:
        conv4 = run(conv3_1, "conv4", "conv4_1")
        conv5 = run(conv4, "conv5", "conv5_1")
        skips, features = {5: conv5, 4: conv4, 3: conv3_1, 2: conv2}, run(conv5, "conv6", "conv6_1")

    flows = [plain(f"predict_flow{max(skips) + 1}", features, F.conv2d, 1, 1)]
    for k, skip in skips.items():
        up = leaky(plain(f"deconv{k}.0", features, F.conv_transpose2d, 2, 1))
        larger = plain(f"upsampled_flow{k + 1}_to_{k}", flows[0], F.conv_transpose2d, 2, 1)
        features = torch.cat([skip, up, larger], 1)
        last = features
        if kind in ("SD", "fusion"):
            last = norm(f"inter_conv{k}", plain(f"inter_conv{k}.0", features, F.conv2d, 1, 1))
        flows.insert(0, plain(f"predict_flow{k}", last, F.conv2d, 1, 1))
    return flows


def leaky(x):
    return torch.maximum(x, 0.1 * x)


def correlated(first, second):
    """441 displacements -20, -18 … 20, rows of them first; means over channels."""
    H, W = first.shape[-2:]
    second = F.pad(second, [20] * 4)
    steps = range(0, 41, 2)
    return torch.stack([(first * second[..., y : y + H, x : x + W]).mean(1) for y in steps for x in steps], 1)


def looked_up(image, flow):
    H, W = image.shape[-2:]
    y, x = torch.meshgrid(torch.arange(H).to(image), torch.arange(W).to(image), indexing="ij")
    place = torch.stack([2 * (x + flow[:, 0]) / (W - 1) - 1, 2 * (y + flow[:, 1]) / (H - 1) - 1], -1)
    return F.grid_sample(image, place, mode="bilinear", padding_mode="border", align_corners=True)


def length(x):
    return x.square().sum(1, keepdim=True).sqrt()


def pinard(kind, tensors, image1, image2, seen=None, mean=(0.45, 0.432, 0.411), div_flow=20):
    """Flows at 1/4 … 1/64 in pixels."""
    mean = torch.tensor(mean).to(image1).view(3, 1, 1)
    x = torch.cat([image1 - mean, image2 - mean], 1)
    return [div_flow * flow for flow in compute(kind, tensors, x, seen=seen)]


def nvidia(kind, tensors, image1, image2, seen=None):
    """Flows at 1/4 … 1/64 in pixels for S, C and SD; for the others one, at full size."""
    both = torch.stack([image1, image2], 2) * 255
    x = (both - both.flatten(2).mean(-1)[:, :, None, None, None]) / 255
    first, second = x[:, :, 0], x[:, :, 1]
    x = torch.cat([first, second], 1)
    if kind not in PARTS:
        return [20 * flow for flow in compute(kind, tensors, x, seen=seen)]

    def larger(flow, mode):
        return F.interpolate(flow, scale_factor=4, mode=mode)

    def later(flow, prefix):
        warped = looked_up(second, flow)
        seen = torch.cat([x, warped, flow / 20, length(first - warped)], 1)
        return 20 * compute("S", tensors, seen, prefix)[0]

    flow = larger(20 * compute("C", tensors, x, "flownetc.")[0], "bilinear")
    flow = later(flow, "flownets_1.")
    if kind == "FlowNet2CS":
        return larger(flow, "bilinear")
    flow = larger(later(larger(flow, "bilinear"), "flownets_2."), "nearest")
    if kind == "FlowNet2CSS":
        return flow
    small = larger(compute("SD", tensors, x, "flownets_d.")[0] / 20, "nearest")
    errors = [length(first - looked_up(second, each)) for each in (small, flow)]
    x = torch.cat([first, small, flow, length(small), length(flow), *errors], 1)
    return compute("fusion", tensors, x, "flownetfusion.")[0]
