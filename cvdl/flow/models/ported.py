"""FlowNets of others: weights out of the files of the two common PyTorch codes.  None of them ships with the course.

github.com/ClementPinard/FlowNetPytorch: FlowNetS and FlowNetC, with and without batch norm.
github.com/NVIDIA/flownet2-pytorch: FlowNet2, FlowNet2C, S, SD, CS and CSS, converted from the authors' Caffe networks.
"""

import re

import torch

from cvdl.errors import InvalidInput
from cvdl.flow.models.base import FLOW_SCALE
from cvdl.flow.models.flownet import FlowNetC, FlowNetS
from cvdl.flow.models.flownet2 import FlowNet2, FlowNet2CS, FlowNet2CSS, FlowNet2SD, FlowNetStack
from cvdl.flow.models.published import load_renamed, read_checkpoint
from cvdl.flow.models.spynet import LAYOUTS, SPyNet, published_names

# A name here, and what it is there.
RENAMED = (
    (r"^(stack\.)?nets\.0\.", "flownetc."),
    (r"^(stack\.)?nets\.([12])\.", r"flownets_\2."),
    (r"^small\.", "flownets_d."),
    (r"^fusion\.", "flownetfusion."),
    (r"refinement\.", ""),
    (r"(inter_conv\d)", r"\1.0"),
)
UNBIASED = re.compile(r"(deconv\d\.0|predict_flow\d|upsampled_flow\d_to_\d)\.bias")  # in the first of the two codes
# By which tensor a file is recognised; the first that fits.
MARKS = (
    ("flownetfusion.conv0.0.weight", FlowNet2),
    ("flownets_2.conv1.0.weight", FlowNet2CSS),
    ("flownets_1.conv1.0.weight", FlowNet2CS),
    ("conv0.0.weight", FlowNet2SD),
    ("conv_redir.0.weight", FlowNetC),
    ("conv1.0.weight", FlowNetS),
)


def load_published(net, path, blue_first=False):
    """Fill `net` with the weights of a published file; it computes then what that code computes.  -> net, in eval mode

    net: FlowNetS() or FlowNetC() for either code; FlowNet2SD(), FlowNet2CS(), FlowNet2CSS() or FlowNet2() for NVIDIA's.
    path: such as flownets_EPE1.951.pth.tar or FlowNet2_checkpoint.pth.tar.  blue_first: the weights want blue, green,
    red, as those of flownets_from_caffe.pth do; their first layer is turned round.

    Where the codes differ, and what becomes of it:

    - Mean.  FlowNetPytorch takes .45 .432 .411 off red, green, blue, as here.  (Until January 2020 it trained with the
      three in the other order, its issue 80; weights of that time see colours .04 off here.)  NVIDIA's takes off the
      pair's own mean, colour by colour: net.mean_of becomes "pair".
    - Colours.  Both read red, green, blue.  Caffe reads blue first; NVIDIA's files were turned round by its converter,
      flownets_from_caffe.pth was not.
    - Biases.  FlowNetPytorch has none in deconv, predict_flow and upsampled_flow (38,675,536 parameters in its FlowNetS):
      they become zero here.  By them the two are told apart.
    - Batch norm is folded into the convolution before it: that is the same function in eval mode, and none in training.
    - Unit.  Both divide flow by 20; a div_flow that FlowNetPytorch has written beside the weights goes into the last
      layers.  NVIDIA's FlowNet2 divides the flow of its FlowNet2SD by 20 and does not multiply: net.small.unit = 1/20.
    - Enlarging.  NVIDIA's nets are bilinear, as here, but FlowNet2CSS repeats pixels: net.last = "nearest".  PyTorch
      before 0.4 put corner on corner in doing so.
    - Sizes.  Both want multiples of 64, and NVIDIA's program cuts frames to that; here they are padded.
    - Losses.  FlowNetPytorch sums over pixels, weights .005 … .32 from fine to coarse; NVIDIA's takes means, .32 … .02
      from fine to coarse.  See `cvdl.flow.losses.multiscale_epe`.

    Raises CourseError for a file that is absent, damaged, or another network's; net is unchanged then.
    """
    return fill(net, *read_checkpoint(path), path, blue_first)


def published_net(path):
    """The FlowNet or SPyNet in a published file, recognised by the names of its tensors, with its weights, in eval mode.

    Raises DataNotFound or InvalidInput for a file that is missing, damaged, or from another network.
    """
    tensors, notes = read_checkpoint(path)
    build = next((build for mark, build in MARKS if mark in tensors), None)
    if build:
        return fill(build(), tensors, notes, path)
    if any(published_names(layout, 6).keys() & tensors.keys() for layout in LAYOUTS):
        return SPyNet.load_published(path)
    ours = "levels.0.0.weight" in tensors or any(name.startswith("refinement.") for name in tensors)
    raise InvalidInput(
        f"{path} contains no known network: its tensors are called "
        f"{', '.join(list(tensors)[:3]) or 'nothing'} and so on. Published files of SPyNet, FlowNetS, FlowNetC and FlowNet 2.0 "
        "can be read, as written by their common PyTorch ports."
        + (
            " These look like a state dict of this course: build the network, call net.load_state_dict, and save it with "
            "cvdl.zoo.write_weights, which records the network's options."
            if ours
            else " Use one of these."
        )
    )


def fill(net, tensors, notes, path, blue_first=False):
    """load_published, of tensors and the notes beside them."""
    stack = net if isinstance(net, FlowNetStack) else None
    if not isinstance(net, FlowNetS | FlowNetC | FlowNet2SD | FlowNet2 | FlowNetStack) or (
        stack and stack.letters not in ("cs", "css")
    ):
        raise InvalidInput(
            f"There are no published weights for {type(net).__name__}({net.letters if stack else ''}). There are some for "
            "FlowNetS, FlowNetC, FlowNet2SD, FlowNet2CS, FlowNet2CSS and FlowNet2; SPyNet has its own load_published."
        )
    if blue_first and not isinstance(net, FlowNetS | FlowNetC):
        raise InvalidInput(
            "blue_first is for FlowNetS and FlowNetC; NVIDIA's files have their colours turned round already."
        )
    names = {published_name(ours): ours for ours in net.state_dict()}
    tensors = fold_batch_norm(tensors)
    if not names.keys() & tensors.keys():
        raise InvalidInput(
            f"{path} holds no published {type(net).__name__}: its tensors are called {next(iter(names))} and so on; here are "
            f"{', '.join(list(tensors)[:3]) or 'none'}. Take the file that goes with this network."
        )
    unbiased = {name for name in names if UNBIASED.fullmatch(name)}
    bare = isinstance(net, FlowNetS | FlowNetC) and not unbiased & tensors.keys()
    if bare:
        tensors |= {name: torch.zeros_like(net.state_dict()[names[name]]) for name in unbiased}
        tensors = in_units(tensors, number(notes.get("div_flow", FLOW_SCALE), path) / FLOW_SCALE)
    if blue_first and "conv1.0.weight" in tensors:
        tensors["conv1.0.weight"] = tensors["conv1.0.weight"].unflatten(1, (-1, 3)).flip(2).flatten(1, 2)
    load_renamed(net, tensors, names, path)
    net.mean_of = "photos" if bare else "pair"
    if stack:
        stack.last = "nearest" if stack.letters == "css" else "bilinear"
    if isinstance(net, FlowNet2):
        net.small.unit = 1 / FLOW_SCALE
    return net.eval()


def published_name(ours):
    for here, there in RENAMED:
        ours = re.sub(here, there, ours)
    return ours


def fold_batch_norm(tensors, eps=1e-5):
    """Tensors without batch norm that give the same in eval mode: y = (w x + b - mean) · s + beta, s = gamma / √(var + eps).

    A layer is NAME.0, its batch norm NAME.1.  Where a part of one is missing, all of it stays.
    """
    result = dict(tensors)
    for name in [key.removesuffix(".1.running_mean") for key in tensors if key.endswith(".1.running_mean")]:
        parts = [f"{name}.0.weight", *(f"{name}.1.{p}" for p in ("weight", "bias", "running_mean", "running_var"))]
        if any(part not in tensors for part in parts) or len({len(tensors[part]) for part in parts}) > 1:
            continue
        weight, gamma, beta, mean, var = (result.pop(part).double() for part in parts)
        result.pop(f"{name}.1.num_batches_tracked", None)
        scale = gamma / (var + eps).sqrt()
        bias = result.get(f"{name}.0.bias", torch.zeros(()))
        result[f"{name}.0.weight"] = (weight * scale.view(-1, 1, 1, 1)).float()
        result[f"{name}.0.bias"] = ((bias - mean) * scale + beta).float()
    return result


def in_units(tensors, factor):
    """The same network with predictions `factor` times as large; what enlarges a flow undoes it for the next layer."""
    if factor == 1:
        return tensors
    result = dict(tensors)
    for name, tensor in tensors.items():
        if "predict_flow" in name:
            result[name] = tensor * factor
        elif "upsampled_flow" in name and name.endswith("weight"):
            result[name] = tensor / factor
    return result


def number(value, path):
    try:
        if float(value) > 0:
            return float(value)
    except (TypeError, ValueError):
        pass
    raise InvalidInput(
        f"{path} has a div_flow of {value!r}; a number above 0 was expected, such as 20. Fetch it again."
    )
