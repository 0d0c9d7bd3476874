# %% [markdown]
# # 7 · SPyNet: motion on a pyramid
#
# SPyNet is the *Spatial Pyramid Network*: small, and yet it finds large motions.
#
# **About two and a half hours**, more than half of it exercises. Afterwards you can
#
# - say why a small network on a pyramid finds large motions, and measure it,
# - enlarge a flow without the mistake that is made so easily,
# - build SPyNet from its five equal levels, and say what a level is trained on,
# - say which motions a pyramid loses, and make one vanish.
#
# You need convolutions, and what FlowNet is: notebook 5, or the lecture.
#
# Stuck? `hint("spynet.pyramid")` helps, again and again. To go on without an exercise:
# `use_library("spynet.pyramid")`.

# %% tags=["bootstrap"]

# %%
import sys
import time
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from cvdl import (
    budget,
    check,
    device,
    exercise,
    explore,
    figures,
    hint,
    outcome,
    progress,
    seed,
    show,
    use_library,
    zoo,
)
from cvdl.errors import CourseError
from cvdl.flow import FlowNetS, epe, evaluate, warp
from cvdl.flow.data.chairs import Chairs
from cvdl.flow.data.rendered import rendered
from cvdl.flow.description import describe
from cvdl.flow.plotting import draw, draw_pyramid
from cvdl.settings import data_path
from cvdl.train.runs import read_log, running_mean

# %% [markdown]
# ## A belief to lose
#
# Two pictures, and how each point of the first moves to the second. The pair is rendered: chairs that fly over
# a photograph. So we know the flow exactly. In its picture the colour says where a point goes, and how strong the
# colour is says how far. (The *end-point error*, EPE, of another flow is its distance from the true one, in
# pixels, averaged over the picture.)

# %%
FULL = (384, 512)  # height and width of FlyingChairs' frames
pair = Chairs(size=FULL, split="test", seed=7).pairs([0])
frame1, frame2, truth = pair.image1, pair.image2, pair.flow
show(
    draw.panels(
        {"frame 1": frame1[0], "frame 2": frame2[0], "true flow": truth[0]}, 4, width=2.3
    ),
    f"Frame 1 and frame 2 of chairs over a photograph, and the true flow. {describe(truth[0])}",
)
print(f"greatest displacement: {truth.norm(dim=1).max():.0f} pixels")

# %% [markdown]
# To see where the fastest point has gone, a network has to look as far as that. Looking far takes many layers,
# and many layers take many weights. So, one might think, **who wants to see large motions needs a large
# network.** FlowNetS is one.
#
# This counts its learned numbers, without taking memory for them:

# %%
with torch.device("meta"):  # shapes only
    flownet = FlowNetS()
flownet_parameters = sum(p.numel() for p in flownet.parameters())
print(f"FlowNetS: {flownet_parameters:,} parameters")

# %% [markdown]
# SPyNet finds large motions, too. Yet it is made of stacks of only five layers, and each layer looks no more
# than 3 pixels further than the one before.
#
# **Write down a guess.** How many parameters does SPyNet need: half as many as FlowNetS, a tenth, a hundredth?
# Exercise 7 counts them.

# %% [markdown]
# ## The trick: make the motion small
#
# If a picture shrinks to half its size, every motion in it shrinks to half as many pixels. Shrink it again and
# again, and pile up the results: an **image pyramid**. Its top is the smallest picture. We call that *level 0*.

# %% [markdown]
# > **Exercise 1 · `spynet.pyramid`** · easy · 10 minutes · 10 points
# >
# > Make a pyramid of `count` pictures. Each pixel is the **mean** of 2 × 2 pixels of the next finer picture.
# > The coarsest comes first, the image itself last. (For example with `reshape` and `mean`, or with slices.)
# >
# > *Your pictures get brighter towards the top?* Then you add instead of averaging.


# %%
@exercise("spynet.pyramid", points=10)
def image_pyramid(image, count):
    """image: (B, C, H, W), sides divisible by 2^(count - 1) -> list of count images, coarsest first"""
    ### BEGIN SOLUTION
    images = [image]
    for _ in range(count - 1):
        B, C, H, W = images[0].shape
        half = images[0].reshape(B, C, H // 2, 2, W // 2, 2).mean(dim=(3, 5))
        images.insert(0, half)
    return images
    ### END SOLUTION


# %%
check("spynet.pyramid")

# %% tags=["expect"]
images = image_pyramid(frame1, 5)
for k, image in enumerate(images):
    height, width = image.shape[-2:]
    print(f"level {k}: {height:>3} × {width:>3}, mean brightness {image.mean():.3f}")

# %% [markdown]
# Five levels, from a stamp to the whole frame. The mean brightness stays: an average of averages is the same.

# %%
show(
    draw.panels(
        {f"level {k}": image[0] for k, image in enumerate(images)}, len(images), width=1.7
    ),
    "Frame 1 at five levels, drawn at one size. At level 0, 24 × 32 pixels, the chairs are a few coarse blocks; "
    "from level to level edges and texture come back.",
)
brightness = [image.mean().item() for image in images]
outcome("all levels are equally bright", max(brightness) - min(brightness) < 1e-4)

# %% [markdown]
# ### How large is a motion, at each level?
#
# We take many pairs, of flying chairs and of solids that fly through a room. At each level we average the flow
# as the pyramid averages images. And since a pixel of the level is 16, 8, 4, 2 or 1 pixels of the frame wide,
# we divide by that.
#
# The dashed line is at 15 pixels. So far the network of a level can look; why, exercise 2 will show. (The axis is
# logarithmic: from one mark to the next, ten times as much.)

# %%
LEVELS = 5
source = rendered("chairs+things", size=FULL, split="test", seed=7)
pairs_measured = budget(quick=4, laptop=48, gpu=48)
motion = torch.cat([source.batch(i, 4).flow for i in range(0, pairs_measured, 4)])


def at_level(flow, k):
    """A full-size flow as level k sees it: at its size, in its pixels."""
    factor = 2 ** (LEVELS - 1 - k)
    return F.avg_pool2d(flow, factor) / factor


lengths = [at_level(motion, k).norm(dim=1).flatten() for k in range(LEVELS)]
amounts = {
    "median": [x.median().item() for x in lengths],
    "99 % are below": [x.quantile(0.99).item() for x in lengths],
    "greatest": [x.max().item() for x in lengths],
}
reach_of_level = 15
too_far = (lengths[-1] > reach_of_level).float().mean().item()
show(
    figures.bars(
        amounts,
        [f"level {k}" for k in range(LEVELS)],
        "pixels of the level",
        [("reach", reach_of_level)],
        log=True,
    ),
    "Bars on a logarithmic scale: median, 99 % mark and greatest displacement in pixels of each level. From level to "
    f"level they double: the greatest is {amounts['greatest'][0]:.1f} px at level 0 and {amounts['greatest'][-1]:.0f} "
    f"px at level 4. A dashed line at {reach_of_level} px is above all bars of level 0.",
)
print(f"at full size {too_far:.0%} of the pixels move further than {reach_of_level} px")
outcome(
    "at the top every motion is within 15 px", amounts["greatest"][0] < 0.9 * reach_of_level
)
outcome("at full size more than 5 % are not", too_far > 0.05)

# %% [markdown]
# At full size many motions are further than 15 pixels. At the top none is: **every motion is small there.** A
# small network can reach it. What it finds is coarse, and the finer levels only have to refine it.

# %% [markdown]
# ## How far does a level look?
#
# Each level of SPyNet is the same small network: five convolutions with kernels of 7 × 7, stride 1. A kernel of
# 7 looks 3 pixels to each side. The second layer looks 3 pixels to each side, too, but in the *results* of the
# first. Each of them has seen 3 pixels further already. And so on.
#
# > **Exercise 2 · `spynet.reach`** · easy · 10 minutes · 10 points
# >
# > How many **full-size** pixels does such a stack look to one side, if a pixel of its level is `factor`
# > full-size pixels wide?
# >
# > *You get 13 instead of 6, for three layers of 5 × 5 at full size?* That is the whole field: left, right and the
# > pixel itself.


# %%
@exercise("spynet.reach", points=10)
def reach(kernels, factor):
    """kernels: list of odd sizes, one per layer; factor: full-size pixels per pixel of the level -> int"""
    ### BEGIN SOLUTION
    pixels_of_level = 0
    for kernel in kernels:
        pixels_of_level += kernel // 2
    return pixels_of_level * factor
    ### END SOLUTION


# %%
check("spynet.reach")

# %% tags=["expect"]
for k in range(LEVELS):
    far = reach([7] * 5, 2 ** (LEVELS - 1 - k))
    covered = (lengths[-1] <= far).float().mean().item()
    print(f"level {k} looks {far:>3} full-size pixels far: {covered:.1%} of all motions")

# %% [markdown]
# All levels have the same number of weights. The top one looks sixteen times as far, since its pixels are
# sixteen times as wide. FlowNet does something like it *inside* the network, with strides. SPyNet does it outside, with the
# images.

# %% [markdown]
# ## The ladder
#
# Level 0 is the top, where the pictures are smallest. Each level gets a first answer from the **coarser** one
# before it, and hands a better one to the **finer** one after it.
#
# In the figure $u$ enlarges a flow, and $w$ *warps* frame 2 by it: for each pixel of frame 1 it fetches the pixel of
# frame 2 to which the flow points. So the result lies on frame 1's grid, and looks like frame 1 if the flow is
# right. (Below: all symbols.)

# %%
show(
    draw_pyramid.ladder(),
    "Three levels from left to right, the images growing. At each level frame 1, and frame 2 warped (w), go into the "
    "network G with the flow from the level before, upsampled (u). What G says, v, is added to that flow, and gives V, "
    "which goes on to the next level. At level 0 the flow from before is zero.",
)

# %% [markdown]
# $$V_k = u(V_{k-1}) + v_k, \qquad v_k = G_k\big(I^1_k,\; w(I^2_k, u(V_{k-1})),\; u(V_{k-1})\big), \qquad V_{-1} = 0$$
#
# | symbol | what |
# |---|---|
# | $I^1_k, I^2_k$ | both frames at level $k$ |
# | $u$ | upsamples a flow to the next level |
# | $w$ | warps frame 2 back by a flow |
# | $G_k$ | the network of level $k$ |
# | $v_k$ | what it adds: the *residual* flow |
# | $V_k$ | the flow after level $k$, in pixels of level $k$ |
#
# At level 0 there is nothing coarser. It gets zeros, $V_{-1}$, so that all levels have the same form: eight
# channels go in, here too.
#
# We build it piece by piece: $u$, then the input of $G_k$, then its training target, then the step as a whole.

# %% [markdown]
# ## Upsampling a flow
#
# An image is enlarged by interpolating. A flow is an image with two channels. So a flow is enlarged by
# interpolating. **Is it?**
#
# > **Exercise 3 · `spynet.upsample`** · easy · 10 minutes · 15 points
# >
# > Bring a flow to a grid of twice the height and width. Interpolate bilinearly with `align_corners=False`: each
# > pixel is a little square, and is cut into four. Then think of what a value of the flow *means*.
# >
# > *Everything later is right in direction, and far too short?* Then something is missing here.


# %%
@exercise("spynet.upsample", points=15)
def upsample_flow(flow):
    """(B, 2, h, w) in pixels of a level -> (B, 2, 2h, 2w) in pixels of the next finer one"""
    ### BEGIN SOLUTION
    finer = F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=False)
    return 2 * finer
    ### END SOLUTION


# %%
check("spynet.upsample")

# %% tags=["expect"]
# two pixels in a row; they move 1 and 3 px to the right
two = torch.tensor([[[[1.0, 3.0]], [[0.0, 0.0]]]])
print(upsample_flow(two)[0, 0])

# %% [markdown]
# Two pixels have become four in a row, and there are two rows. What moved 3 pixels moves 6 of the new, smaller
# ones.
#
# What does it cost to forget that? We give the top the *true* flow and climb to full size.


# %%
def climb_from_top(enlarge):
    flow = at_level(motion[:4], 0)
    for _ in range(LEVELS - 1):
        flow = enlarge(flow)
    return flow


ways = {
    "with the factor 2": upsample_flow,
    "factor forgotten": lambda flow: F.interpolate(flow, scale_factor=2, mode="bilinear"),
    "no flow at all": lambda flow: upsample_flow(torch.zeros_like(flow)),
}
errors = {
    name: epe(climb_from_top(enlarge), motion[:4]).item() for name, enlarge in ways.items()
}
for name, error in errors.items():
    print(f"{name:>18}: EPE {error:.2f} px")
still = errors["no flow at all"]
outcome(
    "with the factor less than 30 % of the error is left",
    errors["with the factor 2"] < 0.3 * still,
)
outcome("without it almost all is lost", errors["factor forgotten"] > 0.85 * still)

# %% [markdown]
# Forgotten once, the factor halves every motion. Forgotten at four levels, it leaves a sixteenth, hardly better
# than no flow at all. And nothing warns you: shapes are right, directions are right, and so are colours, if
# each picture is scaled by its own maximum.
#
# <details><summary>What is left of the error with the factor, if the top is perfect?</summary>
#
# Edges. A pixel of the top is 16 × 16 pixels of the frame, and where a chair ends, it mixes the chair's motion
# with that of the background. The finer levels have to mend that.
# </details>

# %% [markdown]
# ## What a level sees: eight channels
#
# A level gets frame 1, frame 2 **brought back** by what is known so far, and what is known so far. Three
# channels, three, and two.
#
# Warping is what makes the rest small. If the coarser level is right, the warped frame 2 looks like frame 1,
# and nothing is left to do. If it is nearly right, a small motion is left.
#
# > **Exercise 4 · `spynet.input`** · medium · 15 minutes · 15 points
# >
# > Put the eight channels together, in that order. `warp(image2, flow)` is imported; `upsample_flow` is yours.
# >
# > *The warped frame shows everything twice as far off?* Then it is frame 1 that you warp.


# %%
@exercise("spynet.input", points=15)
def level_input(image1, image2, coarser):
    """image1, image2: (B, 3, h, w) at level k; coarser: V_{k-1}, (B, 2, h/2, w/2) -> (B, 8, h, w)"""
    ### BEGIN SOLUTION
    up = upsample_flow(coarser)
    warped = warp(image2, up)
    return torch.cat([image1, warped, up], dim=1)
    ### END SOLUTION


# %%
check("spynet.input")

# %% tags=["expect"]
K = 3  # the level to look at
first, second = image_pyramid(frame1, LEVELS)[K], image_pyramid(frame2, LEVELS)[K]
seen = level_input(first, second, at_level(truth, K - 1))  # as if level 2 were perfect
apart = {
    "frame 2": (second - first).abs().mean().item(),
    "frame 2 warped": (seen[:, 3:6] - first).abs().mean().item(),
}
print("channels:", seen.shape[1])
for name, difference in apart.items():
    print(f"{name} differs from frame 1 by {difference:.3f} on average")

# %%
show(
    draw.panels(
        {
            "frame 1": first[0],
            "frame 2": second[0],
            "frame 2 warped": seen[0, 3:6],
            "left, before warping": (second - first)[0].abs() * 2,
            "left, after": (seen[:, 3:6] - first)[0].abs() * 2,
        },
        columns=5,
        width=1.7,
    ),
    "Frame 1, frame 2, frame 2 brought back, and what differs from frame 1 before and after, twice as bright. Before, all "
    "outlines of chairs and background are doubled; after, thin edges are left and areas that a chair uncovers. Mean "
    f"difference {apart['frame 2']:.3f} before, {apart['frame 2 warped']:.3f} after.",
)
outcome(
    "warping takes away more than a third of the difference",
    apart["frame 2 warped"] < 0.67 * apart["frame 2"],
)

# %% [markdown]
# What is left are edges, and what was hidden behind a chair. No flow can bring that back.

# %% [markdown]
# ## The target: what is missing
#
# $G_k$ is not asked for the whole flow. It is asked for the part that is missing:
#
# $$\hat v_k = V^{\text{true}}_k - u(V_{k-1})$$
#
# Learning a residual is an old friend by now: a ResNet block adds to what it gets, and an LSTM to its cell
# state.
#
# > **Exercise 5 · `spynet.residual`** · medium · 15 minutes · 15 points
# >
# > The truth comes at full size, in full-size pixels. $V_{k-1}$ comes at its own size. Bring both to level $k$,
# > size *and* unit, and subtract.
# >
# > Which level it is, nobody says: it is twice as high and wide as `coarser`. By how much the truth has to shrink,
# > the sizes tell. (`at_level` has shown how; there $k$ was known.)
# >
# > *Your targets grow towards the top?* There motions are small: values have to be divided when the picture
# > shrinks.


# %%
@exercise("spynet.residual", points=15)
def residual_target(truth, coarser):
    """What level k has to add: (B, 2, h, w), in pixels of level k.

    truth: (B, 2, H, W) in full-size pixels; coarser: V_{k-1}, (B, 2, h/2, w/2), which fixes h and w
    """
    ### BEGIN SOLUTION
    up = upsample_flow(coarser)
    factor = truth.shape[-1] // up.shape[-1]
    truth_here = F.avg_pool2d(truth, factor) / factor
    return truth_here - up
    ### END SOLUTION


# %%
check("spynet.residual")

# %% tags=["expect"]
perfect = at_level(truth, K - 1)
for told, flow in (("nothing", 0 * perfect), ("the true flow", perfect)):
    target = residual_target(truth, flow)
    print(f"level {K - 1} says {told}: level {K} has to add {target.norm(dim=1).mean():.2f} px")

# %% [markdown]
# The more the coarser level knows, the less is left to add.
#
# Now the second half of the argument. At the top all motion is small. Is it small for the *other* levels, too?
# That depends on the coarser ones. Suppose they are perfect:

# %%
left = [
    residual_target(motion, at_level(motion, k - 1)).norm(dim=1).flatten()
    for k in range(1, LEVELS)
]
print("level   whole motion   left to add   pixels with less than 1 px left")
for k, residual in enumerate(left, 1):
    small = (residual < 1).float().mean().item()
    print(f"{k:>5}{lengths[k].mean():>12.2f} px{residual.mean():>11.2f} px{small:>20.1%}")
share_left = [
    (residual.mean() / lengths[k].mean()).item() for k, residual in enumerate(left, 1)
]
outcome("less than a quarter of the motion is left at each level", max(share_left) < 0.25)
under_one = min((residual < 1).float().mean().item() for residual in left)
outcome("less than 1 px is left for nine pixels in ten", under_one > 0.9)

# %% [markdown]
# With perfect coarser levels, less than a pixel is left nearly everywhere: the task is small at every level.
# **That is why a small network will do at each.** The paper says it, too: what is left is below one pixel.
#
# But no network was in this. Real levels make mistakes, and more is left then. In the training further down you
# will see how much.

# %% [markdown]
# ## One level, forward
#
# > **Exercise 6 · `spynet.level`** · medium · 15 minutes · 15 points
# >
# > The whole step: make the input, run it through the convolutions, add. `weights` is a list of `(weight,
# > bias)`, one pair per layer. After each layer but the last comes a ReLU. Sizes stay: the padding is half the
# > kernel, rounded down.
# >
# > *All motions go right and down?* A ReLU after the last layer cuts negative values off.


# %%
@exercise("spynet.level", points=15)
def level_forward(image1, image2, coarser, weights):
    """V_k, (B, 2, h, w).  image1, image2: (B, 3, h, w); coarser: V_{k-1}, (B, 2, h/2, w/2)

    weights: list of (weight, bias), one pair per layer
    """
    ### BEGIN SOLUTION
    x = level_input(image1, image2, coarser)
    for n, (weight, bias) in enumerate(weights):
        x = F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
        if n + 1 < len(weights):
            x = torch.relu(x)
    return upsample_flow(coarser) + x
    ### END SOLUTION


# %%
check("spynet.level")

# %% tags=["expect"]
silent = [
    (torch.zeros(32, 8, 7, 7), torch.zeros(32)),
    (torch.zeros(2, 32, 7, 7), torch.zeros(2)),
]
coarser = at_level(truth, K - 1)
passed_on = level_forward(first, second, coarser, silent)
print(
    f"the coarser flow, upsampled: {upsample_flow(coarser).norm(dim=1).mean():.2f} px on average"
)
print(f"with all weights zero the level says {passed_on.norm(dim=1).mean():.2f} px")

# %% [markdown]
# A network of zeros adds nothing. So the flow of the coarser level comes out, upsampled. Whatever a level
# learns, it starts from that.

# %% [markdown]
# ### The whole network
#
# Five such steps. The weights come with the course, and their *card* says where and for how long they were
# trained: level by level, as the paper does it, with one stage of our own between them. In *coarse* levels 0 to 2
# went on learning together. (More under *Training*.)

# %%
net = zoo.load("spynet")
card = zoo.card("spynet")
print(f"trained for {card['minutes']:.0f} minutes on {card['stages'][0]['hardware']}")
for stage in card["stages"]:
    print(f"{stage['stage']:>7}: {stage['steps']:6,} steps")


# %%
weights = [
    [(layer.weight, layer.bias) for layer in network if isinstance(layer, nn.Conv2d)]
    for network in net.levels
]


@torch.no_grad()
def climb(image1, image2, weights):
    """V_0, V_1, … from both frames at the size of the last level; as many levels as there are weights."""
    count = len(weights)
    B, _, H, W = image1.shape
    flow, flows = image1.new_zeros(B, 2, H // 2**count, W // 2**count), []
    for k in range(count):
        first, second = (image_pyramid(image, count)[k] for image in (image1, image2))
        flow = level_forward(first, second, flow, weights[k])
        flows.append(flow)
    return flows


# %% [markdown]
# Like the paper's, our network wants colours in ImageNet's normalisation: `net.normalise` subtracts the mean
# and divides by the standard deviation.
#
# Is it the same network as the library's? (If the next cell stops, one of your pieces still has a mistake:
# `progress()` says which, and `use_library("spynet.level")`, for example, lets you go on.)

# %%
start = time.perf_counter()
flows = climb(net.normalise(frame1), net.normalise(frame2), weights)
seconds = time.perf_counter() - start
with torch.no_grad():
    theirs = net(frame1, frame2)
apart_px = (flows[-1] - theirs).abs().max().item()
print(
    f"yours and the library's differ by {apart_px:.0e} px at most; yours took {seconds:.1f} s"
)
outcome("your pieces make the same network", apart_px < 1e-2)

# %% [markdown]
# Apart from rounding, your pieces are SPyNet.

# %% [markdown]
# ## What does each level add?
#
# Move the slider. On the left is the flow after level $k$. Beside it, what level $k$ has added. All in
# full-size pixels, so that colours can be compared.


# %%
def full_size(flow, width=FULL[1]):
    """A flow of any level at full size, in full-size pixels."""
    while flow.shape[-1] < width:
        flow = upsample_flow(flow)
    return flow


after = [full_size(flow) for flow in flows]
before = [torch.zeros_like(truth), *after[:-1]]
level_errors = [epe(flow, truth).item() for flow in after]


def one_level(k):
    scale = 2 ** (LEVELS - 1 - k)
    pictures = {
        f"after level {k}: EPE {level_errors[k]:.2f} px": flows[k][0] * scale,
        f"level {k} has added": (after[k] - before[k])[0],
        "truth": truth[0],
    }
    return draw.panels(pictures, 4, truth.norm(dim=1).max().item(), width=2.3)


explore(
    one_level,
    "Three flows at one scale: after level {k}, what level {k} has added, and the truth. End-point errors after levels 0 to 4: "
    + ", ".join(f"{error:.2f}" for error in level_errors)
    + " px.",
    k=(0, LEVELS - 1, 0),
)

# %% [markdown]
# After level 0 one sees roughly what moves where. The coarse levels add whole regions, the fine ones little, and
# mostly at edges.
#
# One pair is no measurement. So, on several. (It takes some ten seconds.)

# %%
size = budget(quick=(192, 256), laptop=FULL, gpu=FULL)
pairs_compared = budget(quick=2, laptop=12, gpu=24)
tested = rendered("chairs+things", size=size, split="test", seed=11)
errors_after, length_added = torch.zeros(LEVELS), torch.zeros(LEVELS)
no_motion = 0.0
for i in range(pairs_compared):
    p = tested.batch(i, 1)
    steps = climb(net.normalise(p.image1), net.normalise(p.image2), weights)
    known = torch.zeros_like(p.flow)
    no_motion += p.flow.norm(dim=1).mean().item() / pairs_compared
    for k, flow in enumerate(full_size(flow, size[1]) for flow in steps):
        errors_after[k] += epe(flow, p.flow).item() / pairs_compared
        length_added[k] += (flow - known).norm(dim=1).mean().item() / pairs_compared
        known = flow
print(f"no flow at all: EPE {no_motion:.2f} px")
for k in range(LEVELS):
    added = f"it has added {length_added[k]:.2f} px on average"
    print(f"after level {k}: EPE {errors_after[k]:.2f} px; {added}")
outcome("the last level ends far below the first", errors_after[-1] < 0.7 * errors_after[0])
outcome(
    "the first two levels add more than the last two",
    length_added[:2].sum() > length_added[3:].sum(),
)

# %% [markdown]
# The coarse levels do most of the work, at the least cost: level 0 has 256 times fewer pixels than level 4. The
# fine levels polish.

# %% [markdown]
# ## How many weights?
#
# > **Exercise 7 · `spynet.parameters`** · easy · 10 minutes · 10 points
# >
# > Count the learned numbers of `levels` networks of the same form. `sides` lists the channels: 8 in, then 32,
# > 64, 32, 16, and 2 out. And by how many **percent** are they fewer than `other`, the count of another
# > network?
# >
# > *You are 146 short per level?* Those are biases.


# %%
@exercise("spynet.parameters", points=10)
def count_parameters(sides, kernel, levels, other):
    """Parameters of `levels` networks, and by how many percent they are fewer than `other` -> (count, percent)

    sides: channels, inputs first, outputs last; kernel: its height and width
    """
    ### BEGIN SOLUTION
    one_level = 0
    for n in range(len(sides) - 1):
        inside, outside = sides[n], sides[n + 1]
        one_level += kernel * kernel * inside * outside + outside
    count = levels * one_level
    return count, 100 * (other - count) / other
    ### END SOLUTION


# %%
check("spynet.parameters")

# %% tags=["expect"]
sides = (8, 32, 64, 32, 16, 2)
lecture = 32_070_472  # FlowNetS in the lecture's table
spynet_parameters, fewer = count_parameters(sides, 7, 5, lecture)
print(f"SPyNet: {spynet_parameters:,} parameters, {fewer:.1f} % fewer than {lecture:,}")

# %% [markdown]
# Look back at your guess. SPyNet has **four weights for a hundred** of FlowNetS. «96 % smaller than FlowNet», says
# the paper.
#
# Half of the argument is the reach, which costs nothing on a pyramid. The other half: each level has a simple
# task, so it needs few channels. How good it is with them, we measure further down.
#
# The FlowNetS that was counted at the beginning is the one that was released, and it has more weights than the
# lecture's table says.

# %%
_, fewer_than_released = count_parameters(sides, 7, 5, flownet_parameters)
print(f"{fewer_than_released:.1f} % fewer than the released {flownet_parameters:,}")
outcome("at least 96 % fewer than either", min(fewer, fewer_than_released) > 96)
outcome("the trained network has as many", card["parameters"] == spynet_parameters)

# %% [markdown]
# <details><summary>Where does the lecture's number come from?</summary>
#
# From the SPyNet paper. No released FlowNet has it. We get it exactly if we leave out conv6_1 (9,438,208
# parameters), as the figure in FlowNet's paper does, and go back by up-convolutions of 5 × 5 without skip
# connections, with a flow from each by a convolution of 1 × 1. That this is what was counted is our guess.
# </details>

# %% [markdown]
# ### Fewer weights, so faster?
#
# Another belief. A weight of a convolution is used once **per pixel**. FlowNet has most of its weights where
# its maps are small. SPyNet's last level works at full size. We count multiplications:

# %%


@torch.no_grad()
def products(network, height, width):
    """How many multiplications the network makes for one pair."""
    blank = torch.zeros(1, 3, height, width, device=next(network.parameters()).device)
    with FlopCounterMode(display=False) as counter:
        network(blank, blank)
    return counter.get_total_flops() // 2  # it counts a product and its addition as two


spynet_work, flownet_work = products(net, *size), products(flownet.eval(), *size)
for name, work, size_of in (
    ("SPyNet", spynet_work, spynet_parameters),
    ("FlowNetS", flownet_work, flownet_parameters),
):
    print(
        f"{name:>8}: {size_of / 1e6:5.1f} million weights, {work / 1e9:5.1f} billion products"
    )
weights_of_a_level = sum(7 * 7 * i * o for i, o in pairwise(sides))
at_full_size = weights_of_a_level * size[0] * size[1] / spynet_work
print(f"{at_full_size:.0%} of SPyNet's are made at full size")
outcome(
    "SPyNet has less than a 25th of the weights", 25 * spynet_parameters < flownet_parameters
)
outcome("and multiplies more than twice as often", spynet_work > 2 * flownet_work)

# %% [markdown]
# Far fewer weights, and more arithmetic: SPyNet uses each weight more often. Whether that takes more *time* is not
# said yet. The clock will say it, at the end.

# %% [markdown]
# ## Training, level by level
#
# «Each $G_k$ is trained independently, with the previous ones already trained», says the lecture. In steps:
#
# 1. Train $G_0$ on the coarsest images. Freeze it.
# 2. Start $G_1$ **as a copy of** $G_0$. Train it on what $G_0$ has left over. Freeze it.
# 3. And so on.
#
# <details><summary>Independently, and yet one after the other: why?</summary>
#
# Independently: no gradient flows from one level to another, each has its own loss. One after the other: the
# input of $G_k$, the warped frame, and its target, the residual, both come from $V_{k-1}$. Change a coarser
# level, and all finer ones have learned for a wrong input.
# </details>
#
# The loss is the end-point error between what the level adds and the residual target. Note that
# $|v_k - \hat v_k| = |V_k - V^{\text{true}}_k|$: it is the error of the flow itself.
#
# The pairs are rendered at the level's own size, which is quicker than to shrink large ones. The motions of coarse
# levels are exaggerated, three times at level 0. Otherwise most of them would be far below a pixel.

# %%
where = device()
mean, deviation = net.mean.to(where), net.deviation.to(where)
EXAGGERATED = {0: 3.0, 1: 2.0, 2: 1.5}


def pairs_for(k, split):
    size = (24 * 2**k, 32 * 2**k)
    motion = EXAGGERATED.get(k, 1.0)
    return Chairs(size=size, split=split, seed=k, device=where, motion=motion)


# %% [markdown]
# What does level $k$ see, and what should it say? The shipped levels before it give the flow that is known
# already. They are frozen: no gradient goes into them.
#
# The truth has the level's size here, so your `residual_target` finds the factor 1.


# %%
def task(k, pairs):
    """What level k sees, and what it should add."""
    first, second = ((i - mean) / deviation for i in (pairs.image1, pairs.image2))
    B, _, h, w = first.shape
    coarser = first.new_zeros(B, 2, h // 2, w // 2)
    if k:
        before = [[(a.to(where), b.to(where)) for a, b in level] for level in weights[:k]]
        coarser = climb(F.avg_pool2d(first, 2), F.avg_pool2d(second, 2), before)[-1]
    return first, second, coarser, residual_target(pairs.flow, coarser)


def error(layers, first, second, coarser, target):
    added = level_forward(first, second, coarser, layers) - upsample_flow(coarser)
    return epe(added, target)


# %% [markdown]
# The rest is a training like any other: a batch, its error, a step by Adam. From time to time the level takes an
# exam on pairs that it is not trained on.


# %%
def train_level(k, layers, steps, batch=1):
    """Train level k, from `layers` on -> {step: held-out EPE}, and the EPE of a level that adds nothing"""
    seed(k)
    source = pairs_for(k, "train")
    count = budget(quick=8, laptop=32, gpu=64)
    if k == 4:
        count = min(count, 16)  # 64 of the largest took 24 GB of a graphics card
    exam = task(k, pairs_for(k, "test").batch(0, count))
    layers = [
        tuple(nn.Parameter(p.detach().clone().to(where)) for p in layer) for layer in layers
    ]
    optimiser, marks = torch.optim.Adam([p for layer in layers for p in layer]), {}
    name = f"level {k}"
    for step in tqdm(range(steps + 1), desc=name, file=sys.stdout, ncols=80, mininterval=1):
        if step % max(1, steps // 4) == 0:
            with torch.no_grad():
                marks[step] = error(layers, *exam).item()
        if step < steps:
            rate = 2e-4 * min(1, 4 * (step + 1) / steps)  # rises in the first quarter
            optimiser.param_groups[0]["lr"] = rate
            loss = error(layers, *task(k, source.batch(step * batch, batch)))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return marks, exam[3].norm(dim=1).mean().item()


def random_level():
    """Where an ordinary training starts."""
    seed(0)
    return [
        (layer.weight, layer.bias)
        for layer in (nn.Conv2d(i, o, 7, padding=3) for i, o in pairwise(sides))
    ]


# %% [markdown]
# ### Level 0, from nothing
#
# In the laptop profile this takes half a minute, on a slow machine some minutes. (In the quick profile this training and the
# next take a few steps only, which show no more than that the code runs.)

# %%
steps, batch = budget(quick=(2, 2), laptop=(400, 16), gpu=(1500, 16))
marks, nothing = train_level(0, random_level(), steps, batch)
print(f"EPE on held-out pairs: {marks[0]:.3f} px at first,")
print(f"{marks[max(marks)]:.3f} px after {steps} steps; if it says nothing, {nothing:.3f} px")

# %% [markdown]
# That is little, for so many steps. The first level has to find out what a motion *is*. Here is the recorded run
# from which the shipped weights come. (In the stage *coarse* this level went on learning later.)

# %%
log = read_log(data_path("runs", "spynet", "level0.csv"))
started = sum(row["epe"] for row in log[:10]) / 10
lately = running_mean([row["epe"] for row in log])
begins = next(
    row["step"] for row, epe_now in zip(log, lately, strict=True) if epe_now < 0.9 * started
)
thinned = slice(0, None, max(1, len(log) // 60))
show(
    figures.curves(
        {"training pairs": ([row["step"] for row in log][thinned], lately[thinned])},
        "step of the recorded run, level 0",
        "EPE in px of the level",
        [("where it began", started)],
    ),
    f"End-point error of level 0 in the recorded run: {started:.2f} px at first, {lately[-1]:.2f} px after {log[-1]['step']:,} "
    f"steps. For the first {begins:,} steps it stays within a tenth of where it began.",
)
print(
    f"{begins:,} of {log[-1]['step']:,} steps passed until it was a tenth better than at first"
)
outcome("in the end it is at least a fifth better", lately[-1] < 0.8 * started)

# %% [markdown]
# First the error hardly falls, then it falls for thousands of steps. If your own first level seems to learn
# nothing, do not conclude too early.

# %% [markdown]
# ### The next level, from the one before
#
# Now level 1, on top of the shipped level 0. Twice: once from random numbers, once as a copy of level 0, as the
# paper does it. Both see the same pairs. (Half a minute each.)

# %%
steps, batch = budget(quick=(2, 2), laptop=(160, 8), gpu=(400, 8))
copied, left_over = train_level(1, weights[0], steps, batch)
random, _ = train_level(1, random_level(), steps, batch)
show(
    figures.curves(
        {
            "copy of level 0": (list(copied), list(copied.values())),
            "random numbers": (list(random), list(random.values())),
        },
        "step",
        "held-out EPE in px of level 1",
        [("level 1 adds nothing", left_over)],
    ),
    f"Held-out error of level 1 against steps. Copy of level 0: from {copied[0]:.2f} to {copied[max(copied)]:.2f} px. Random "
    f"numbers: from {random[0]:.2f} to {random[max(random)]:.2f} px. A line at {left_over:.2f} px: what is left over if it "
    "adds nothing.",
)
ends_at, random_ends_at = copied[max(copied)], random[max(random)]
outcome("the copy has learned more", ends_at < 0.98 * random_ends_at, needs="laptop")
outcome(
    "it mends some of what level 0 has left over", ends_at < 0.97 * left_over, needs="laptop"
)
outcome("random numbers gain a little, too", random_ends_at < 0.99 * left_over, needs="laptop")

# %% [markdown]
# In the end the copy is ahead. It knows already what a motion looks like; level 0 had to learn that. Random
# numbers gain a little, too. How much can be gained *without looking at the pictures*, just by making level 0's
# flow longer or shorter?

# %%
pairs = pairs_for(1, "test").batch(0, 32)
up = upsample_flow(task(1, pairs)[2])
stretched = {n / 10: epe(n / 10 * up, pairs.flow).item() for n in range(8, 17)}
best = min(stretched, key=stretched.get)
print(f"EPE of level 0's flow: {stretched[1.0]:.3f} px as it is,")
print(f"{stretched[best]:.3f} px if all of it is made {best} times as long")
outcome("making all of it longer gains something", stretched[best] < 0.97 * stretched[1.0])

# %% [markdown]
# A gain of that size needs no understanding of motion. Keep it in mind when a loss falls quickly at first.
#
# How good is a copy at the levels 2 and 3, **before any training of its own**?

# %%
copies = {}
for k in budget(quick=[2], laptop=[2, 3], gpu=[2, 3, 4]):
    marks, left_over = train_level(k, weights[k - 1], steps=0)
    copies[k] = marks[0] / left_over
    print(
        f"level {k}: left over {left_over:.2f} px, with a copy of level {k - 1} {marks[0]:.2f} px"
    )
outcome("untrained, the copy takes away more than 5 % at level 2", copies[2] < 0.95)

# %% [markdown]
# It takes a part of the error away, untrained. The task is alike from level to level.
#
# And look at what was left over: about a pixel **on average**, not less than one nearly everywhere. That is the
# price of real levels. (At levels 1 and 2 the motions are exaggerated, at level 3 they are not.)
#
# So it goes on, level by level. In a notebook that would take too long; the recorded run went on. Each curve is
# relative to the error of zero flow on that stage's held-out pairs.

# %%
recorded = {}
for stage in card["stages"]:
    rows = [
        r
        for r in read_log(data_path("runs", "spynet", f"{stage['stage']}.csv"))
        if r["held_out"] is not None
    ]
    recorded[stage["stage"]] = (
        [r["step"] / stage["steps"] for r in rows],
        [r["held_out"] / stage["held_out"]["zero_flow"] for r in rows],
    )
last_values = ", ".join(f"{name} {ys[-1]:.2f}" for name, (_, ys) in recorded.items())
show(
    figures.curves(
        recorded, "part of the stage that is done", "held-out EPE / that of zero flow"
    ),
    f"Held-out error of each stage of the recorded run, relative to zero flow, against progress within the stage. Last values: "
    f"{last_values}.",
)
for stage in card["stages"]:
    print(
        f"{stage['stage']:>7}: {stage['minutes']:5.1f} minutes, "
        f"{stage['steps']:6,} steps of {stage['batch']} pairs"
    )

# %% [markdown]
# Each stage has held-out pairs of its own size and speed. So do not compare the heights of two curves; look at how
# far each falls. Level 0 has learned from nothing. The others begin as a copy, and have less to gain. (The first
# mark is drawn where it was measured, after a tenth of the stage.)
#
# The stage *coarse* is ours, not the paper's. In it levels 0, 1 and 2 learn together from the error after level 2,
# with motions as they are, not exaggerated. It took nearly half of the time.
#
# The paper gave each level 60 epochs of 4,000 steps with 32 pairs each, and then more at a lower rate. This run
# had a small part of that, and other data. `cvdl train spynet` repeats it, `--profile gpu` goes further.

# %% [markdown]
# ## Where it fails
#
# The pyramid makes every motion small. It makes everything else small, too.
#
# Take a ball that flies in front of a photograph. Frame 1, frame 2, the true flow, and where the ball is:

# %%
room = Chairs(size=FULL, split="test", seed=7, motion=0, chairs=(0, 0))  # photographs alone
count = budget(quick=2, laptop=8, gpu=8)
photos = torch.cat([room.batch(i, 2).image1 for i in range(0, count, 2)])
BALLS = (192, 256)  # height and width of the frames with balls


def ball(diameter, motion, number=0):
    """A ball flies to the right before a background at rest -> frame 1, frame 2, true flow, where the ball is"""
    H, W = BALLS
    back, skin = (
        photos[2 * number : 2 * number + 1, :, :H, :W],
        photos[2 * number + 1 : 2 * number + 2, :, -H:, -W:],
    )
    x, y = torch.arange(W), torch.arange(H)[:, None]
    left = W / 2 - motion / 2
    edge = diameter / 2 + (0.5 if diameter else -1)
    cover = [
        (edge - torch.hypot(x - at, y - H / 2)).clamp(0, 1) for at in (left, left + motion)
    ]
    frames = [
        c * s + (1 - c) * back
        for c, s in zip(cover, (skin, skin.roll(motion, -1)), strict=True)
    ]
    inside = (cover[0] > 0.5)[None, None]
    flow = torch.cat([motion * inside.float(), torch.zeros(1, 1, H, W)], 1)
    return *frames, flow, inside


# %% [markdown]
# The ball is 8 pixels wide now, and we look for it on the way up. We make each picture twice, with the ball and
# without. Their difference is all that a level can see of it.


# %%
def visible(diameter):
    """The greatest difference that the ball makes, at each level."""
    with_ball, _, _, _ = ball(diameter, 0)
    without, _, _, _ = ball(0, 0)
    levels = zip(image_pyramid(with_ball, LEVELS), image_pyramid(without, LEVELS), strict=True)
    return [(a - b).abs().mean(1).max().item() for a, b in levels]


contrast = visible(8)
around = {}
for k, image in enumerate(image_pyramid(ball(8, 0)[0], LEVELS)):
    h, w = image.shape[-2:]
    around[f"level {k}: {contrast[k]:.2f}"] = image[
        0, :, h // 3 : -(h // 3), w // 3 : -(w // 3)
    ]
show(
    draw.panels(around, LEVELS, width=1.7),
    "The middle of a frame with a ball of 8 pixels at five levels. At level 4 the ball is plain to see, at level 2 it is two "
    "pixels wide, at level 0 next to nothing of it is left. Greatest difference that the ball makes, from level 0 to 4: "
    + ", ".join(f"{c:.2f}" for c in contrast)
    + ".",
)
outcome(
    "at the top less than half of the ball's contrast is left", contrast[0] < 0.5 * contrast[-1]
)

# %% [markdown]
# The number above each picture is the greatest difference that the ball makes there. At the top the ball is
# half a pixel wide. What is left is a stain, and looks like anything else.
#
# Now think of what follows. **Reach is only an upper limit.** A finer level has been trained on what a coarser one
# had left over: about a pixel. It has hardly ever met a motion of eight. So the large part of a motion has to be
# found at a level where it is no more than a few pixels. Is the thing that moves still there, at that level?
#
# > **Exercise 8 · `spynet.vanish`** · medium · 10 minutes · 10 points
# >
# > Write `"found"` or `"lost"` for each scene: will SPyNet find most of the motion, or next to nothing? Frames
# > are 192 × 256. The next cells measure it.
# >
# > *All of them seem to be found?* Ask at which level the motion is a few pixels, and how wide the ball is there.


# %%
@exercise("spynet.vanish", points=10)
def what_is_found():
    """Write "found" or "lost" in place of each `...`."""
    ### BEGIN SOLUTION
    return {
        "a ball 128 px wide moves 16 px": "found",
        "a ball 64 px wide moves 4 px": "found",
        "a ball 32 px wide moves 64 px": "lost",
        "a ball 8 px wide moves 16 px": "lost",
        "the whole picture moves 48 px": "found",
    }
    ### END SOLUTION


# %%
check("spynet.vanish")

# %% [markdown]
# Let us see. *Found* is the share of the motion that the network's flow explains, on the ball: 100 % if it is
# right there, 0 % if it is as wrong as no flow at all. (The table takes some ten seconds.)


# %%
@torch.no_grad()
def found(network, frame1, frame2, flow, inside):
    error = epe(network(frame1, frame2), flow, inside).item()
    return max(0.0, 1 - error / flow.norm(dim=1).max().item())


diameters = budget(
    quick=[128, 64, 32, 8], laptop=[128, 64, 32, 16, 8], gpu=[128, 64, 32, 16, 8]
)
motions = budget(quick=[4, 16, 64], laptop=[2, 4, 8, 16, 32, 64], gpu=[2, 4, 8, 16, 32, 64])
backgrounds = budget(quick=1, laptop=3, gpu=4)
shares = [
    [sum(found(net, *ball(d, m, n)) for n in range(backgrounds)) / backgrounds for m in motions]
    for d in diameters
]
share = {(d, m): shares[i][j] for i, d in enumerate(diameters) for j, m in enumerate(motions)}
words = "; ".join(
    f"{d} px wide: " + ", ".join(f"{share[d, m]:.0%} at {m}" for m in motions)
    for d in diameters
)
show(
    draw_pyramid.grid(
        shares,
        diameters,
        motions,
        "motion in px",
        "width of the ball in px",
        "how much of the motion SPyNet finds",
    ),
    f"A table of shares. {words}.",
)
outcome("large things are found", min(share[128, 16], share[64, 4]) > 0.5)
outcome("small fast things are lost", max(share[32, 64], share[8, 16]) < 0.3)

# %% [markdown]
# And the last scene, in which everything moves:

# %%
camera = photos[:1, :, 32:, 64:]
H, W = BALLS
moved = torch.zeros(1, 2, H, W)
moved[:, 0] = 48
inner = torch.zeros(1, 1, H, W, dtype=torch.bool)
inner[..., : W - 48] = True  # what leaves the frame does not count
whole = found(net, camera[..., :H, 48 : 48 + W], camera[..., :H, :W], moved, inner)
print(f"the whole picture moves 48 px: {whole:.0%} found")
outcome("a motion of the whole picture is found", whole > 0.5)

# %% [markdown]
# In the table, follow a diagonal: the ball is so many times as wide as it moves. How much is found, on average,
# along each?

# %%
by_ratio = {}
for ratio in budget(quick=(0.5, 2, 8), laptop=(0.5, 1, 2, 4, 8), gpu=(0.5, 1, 2, 4, 8)):
    parts = [part for (d, m), part in share.items() if d == ratio * m]
    by_ratio[ratio] = sum(parts) / len(parts)
    print(
        f"{ratio:>3} times as wide as it moves: {by_ratio[ratio]:.0%} found"
        f" ({min(parts):.0%} to {max(parts):.0%})"
    )
outcome(
    "the wider for its motion, the more is found", by_ratio[8] > by_ratio[2] > by_ratio[0.5]
)

# %% [markdown]
# **A thing has to be clearly wider than it moves**, or it gets lost. Twice as wide, and half of the motion is found.
# The ratio does not say all: the smallest balls are found less than large ones at the same ratio.
#
# Look at single cases. Choose a width and a motion:


# %%
def look_at(width, motion):
    frame1, frame2, flow, inside = ball(width, motion)
    with torch.no_grad():
        answer = net(frame1, frame2)
    part = max(0.0, 1 - epe(answer, flow, inside).item() / motion)
    pictures = {
        "frame 1": frame1[0],
        "true flow": flow[0],
        f"SPyNet: {part:.0%} found": answer[0],
    }
    return draw.panels(pictures, 4, motion, width=2.3)


explore(
    look_at,
    "Frame 1 with a ball {width} px wide in the middle, its true flow of {motion} px to the "
    "right, and SPyNet's flow, with the share of it that is found.",
    width=budget(quick=[64, 8], laptop=[64, 16, 8], gpu=[64, 16, 8]),
    motion=budget(quick=[16, 64], laptop=[16, 4, 64], gpu=[16, 4, 64]),
)

# %% [markdown]
# <details><summary>Could one mend it by a level less, so that the top is less coarse?</summary>
#
# Then small things last longer, but large motions are out of reach: a top twice as fine reaches half as far.
#
# Nor can the finer levels make up for it. Once a coarse level has decided, they see frame 2 only through its
# decision, and have learned to mend about a pixel.
#
# Later networks compare learned features by correlation, where SPyNet compares pixels (PWC-Net). RAFT drops the
# way from coarse to fine altogether.
# </details>

# %% [markdown]
# ## Beside FlowNet
#
# End-point error by **speed band**, number of parameters, time.
#
# The FlowNets that come with the course are thin, so that their weights fit into the repository. The list says
# which part of the channels they have, and how long they were trained. (A quarter of the channels is a sixteenth of
# the weights.) So this is no comparison with the paper's FlowNet. It is one between small networks that had little
# training, on the same kind of pairs.

# %%
wanted = ("spynet", "flownet-s", "flownet-c")
nets = {name: zoo.load(name) for name in wanted if name in zoo.names()}
cards = {name: zoo.card(name) for name in nets}
for name in wanted:
    if name not in nets:
        print(f"{name} does not come with this version of the course")
for name, about in cards.items():
    part = about["options"].get("width", 1)
    print(
        f"{name:>9}: {about['parameters']:>9,} parameters, {part:.0%} of the paper's channels, "
        f"trained for {about['minutes']:.0f} minutes"
    )

# %% [markdown]
# Now all of them see the same pairs. For the time we count what the processor works for us, not the clock on the
# wall, since other programs may be running, and take the fastest pair.

# %%
compared = budget(quick=2, laptop=16, gpu=32)
fresh = rendered("chairs+things", size=size, split="test", seed=13)
sample = [fresh.batch(i, 1) for i in range(compared)]
true = torch.cat([p.flow for p in sample])
answers, milliseconds = {"zero flow": torch.zeros_like(true)}, {}


@torch.no_grad()
def timed(network, pairs):
    """Flows of all pairs, and the processor's milliseconds for the fastest one."""
    flows, took = [], []
    for p in tqdm(pairs, file=sys.stdout, ncols=80, mininterval=1):
        start = time.process_time()
        flows.append(network(p.image1, p.image2))
        took.append(1000 * (time.process_time() - start))
    return torch.cat(flows), min(took)


for name, network in nets.items():
    answers[name], milliseconds[name] = timed(network, sample)

speed = true.norm(dim=1, keepdim=True)
limits = {"below 10": (0, 10), "10 to 40": (10, 40), "above 40": (40, 1e9)}
masks = {band: (speed >= low) & (speed < high) for band, (low, high) in limits.items()}
masks = {band: mask for band, mask in masks.items() if mask.any()}
by_speed = {
    name: [epe(flow, true, mask).item() for mask in masks.values()]
    for name, flow in answers.items()
}
print(f"{compared} pairs of {size[0]} × {size[1]}, half chairs, half things")
print(f"{'':>10}{'ms a pair':>11}{'EPE px':>9}" + "".join(f"{band:>10}" for band in masks))
for name, errors in by_speed.items():
    took = f"{milliseconds[name]:.0f}" if name in nets else "–"
    print(
        f"{name:>10}{took:>11}{epe(answers[name], true):>9.2f}"
        + "".join(f"{e:>10.2f}" for e in errors)
    )
work = {name: products(network, *size) for name, network in nets.items()}
for name in nets:
    if name != "spynet":
        more = work["spynet"] / work[name]
        slower = milliseconds["spynet"] / milliseconds[name]
        print(
            f"SPyNet makes {more:.0f} times the products of {name}, and takes {slower:.1f} times as long"
        )
outcome(
    "SPyNet makes more products than any FlowNet here",
    all(work["spynet"] > each for name, each in work.items() if name != "spynet"),
)

# %%
told = "; ".join(
    f"{name}: " + ", ".join(f"{e:.1f}" for e in errors) for name, errors in by_speed.items()
)
show(
    figures.bars(by_speed, list(masks), "end-point error in px", log=True),
    f"Bars on a logarithmic scale: end-point error of each method in the speed bands {', '.join(masks)} px. {told} px.",
)
for n, band in enumerate(masks):
    best = min(nets, key=lambda name: by_speed[name][n])
    print(f"{band:>9} px: lowest error of the networks: {best}")
outcome(
    "SPyNet is better than zero flow",
    epe(answers["spynet"], true) < 0.9 * epe(answers["zero flow"], true),
)
outcome(
    "its error is greatest where motion is fastest",
    by_speed["spynet"][-1] > 2 * by_speed["spynet"][0],
)

# %% [markdown]
# The fast band is the hard one. In the paper SPyNet was better than FlowNet, except for displacements above 40
# pixels. If it is better *here* in that band, too, that says little about the paper: a thin FlowNet is no match for
# the full one.
#
# And the time? SPyNet has the fewest weights, and takes the longest, since it works at full size. But the number of
# products does not tell the time exactly, either.
#
# The cards hold the same measurement on more pairs at full size, each with its standard error. The column `real` is
# pairs of the public benchmarks: two of FlyingChairs, three of Middlebury, a frame of the film Sintel.

# %%
kinds = [k for k in ("chairs", "things", "real") if k in cards["spynet"]["measured"]]
count = {kind: cards["spynet"]["measured"][kind]["pairs"] for kind in kinds}
print(f"{'EPE in px':>10}" + "".join(f"{f'{kind}, {count[kind]} pairs':^20}" for kind in kinds))
for name, about in cards.items():
    known = [about["measured"].get(kind) for kind in kinds]
    cells = [
        f"{m['epe']['net']:.2f} ± {m['standard_error']['net']:.2f}" if m else "–" for m in known
    ]
    print(f"{name:>10}" + "".join(f"{cell:^20}" for cell in cells))

# %% [markdown]
# Behind the ± is one standard error. If two errors differ by no more than that, nothing is said about which network
# is better. (And the networks saw the *same* pairs, some hard, some easy. Comparing pair by pair would say more.)

# %% [markdown]
# ## And on a real picture?
#
# Real pairs with known flow may not be passed on, so they do not come with the course. Where some are
# (`CVDL_REAL`), this cell measures on them and prints numbers only. Otherwise it takes another rendered pair.

# %%
try:
    samples = evaluate.pairs_of("real", budget(quick=2, laptop=6, gpu=12))
except CourseError:
    print("no real pairs here; a rendered pair takes their place")
    samples = evaluate.pairs_of("things", 1, size)
methods = evaluate.networks("SPyNet", net) | {"zero flow": evaluate.zero}
for s in samples:
    told = {k: epe(m(s.image1, s.image2), s.flow, s.valid).item() for k, m in methods.items()}
    print(f"{s.name}: " + ", ".join(f"{k} {error:.2f} px" for k, error in told.items()))

# %% [markdown]
# Single pairs differ a lot. A mean over many says more, and the cards above have it.

# %% [markdown]
# ## Your points

# %%
progress()

# %% [markdown]
# ## Questions
#
# <details><summary>«Since each G assumes small motion, fewer parameters are required.» Which two things make the motion small?</summary>
#
# The pyramid makes it small at the top. Warping makes it small at all other levels: only the residual is left.
# </details>
#
# <details><summary>What would happen without warping, but with the coarser flow as input?</summary>
#
# The level would have to look as far as the whole motion goes, and its reach is 15 of its pixels. From the flow
# it would know where to look. But it could not look there.
# </details>
#
# <details><summary>All levels do the same task. Why do they not share their weights?</summary>
#
# One could try: a copy of level 0 was a good start for level 1. But blur, noise and texture differ between
# levels, and the top sees whole motions, the others residuals. The paper gives each level its own weights. RAFT
# later shared them among all its steps.
# </details>
#
# <details><summary>Where does the pyramid help FlowNet?</summary>
#
# It has one inside: strides make features smaller, and its refinement predicts flow from coarse to fine. But it
# does not warp. FlowNet 2.0 warps between whole networks (notebook 6).
# </details>

# %% [markdown]
# ## What to take away
#
# - On a pyramid every motion is small somewhere. At the top all are.
# - A flow that is brought to another size changes its **values**, too.
# - Each level adds a residual to the flow of the coarser one. Warping keeps that residual small.
# - In the paper levels are trained one after the other. All but the first start as a copy of the one before.
# - Few weights are not little time.
# - What is not clearly wider than its own motion gets lost.
#
# ## Further reading
#
# - A. Ranjan, M. Black, *Optical Flow Estimation using a Spatial Pyramid Network*, CVPR 2017, [arXiv
#   1611.00850](https://arxiv.org/abs/1611.00850): the network of this notebook.
# - P. Burt, E. Adelson, *The Laplacian Pyramid as a Compact Image Code*, IEEE Transactions on Communications 31
#   (1983): pyramids.
# - J. Bergen, P. Anandan, K. Hanna, R. Hingorani, *Hierarchical Model-Based Motion Estimation*, ECCV 1992:
#   coarse to fine, with warping, long before networks.
# - D. Sun, X. Yang, M.-Y. Liu, J. Kautz, *PWC-Net: CNNs for Optical Flow Using Pyramid, Warping, and Cost
#   Volume*, CVPR 2018, [arXiv 1709.02371](https://arxiv.org/abs/1709.02371): the same ladder with features and
#   correlation.
# - Z. Teed, J. Deng, *RAFT: Recurrent All-Pairs Field Transforms for Optical Flow*, ECCV 2020, [arXiv
#   2003.12039](https://arxiv.org/abs/2003.12039): without the ladder.
# - The data and their licences: `data/README.md`.
