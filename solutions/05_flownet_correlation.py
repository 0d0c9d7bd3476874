# %% [markdown]
# # 5 · FlowNet and the correlation layer
#
# FlowNet (2015) learns optical flow from end to end. There are two: FlowNetS, *simple*, and FlowNetC, with a
# *correlation layer*.
#
# **About two and a half hours**, more than half of it exercises. Afterwards you can
#
# - read a flow picture, measure a flow's error, and warp a frame back by a flow,
# - say where labelled data come from, and train on them,
# - write the correlation layer three times: by loops, by shifts, by one product of matrices,
# - say what the layer can see and what it cannot, and measure it.
#
# You need convolutions and PyTorch's tensors.
#
# Stuck? `hint("flownet.epe")` helps, again and again. To go on without an exercise: `use_library("flownet.epe")`.

# %% tags=["bootstrap"]

# %%
import sys
import time

import torch
import torch.nn.functional as F
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
from cvdl.course.notebook.upload import upload_pair
from cvdl.errors import CourseError
from cvdl.flow import FlowNetC, FlowNetS, correlation, epe, evaluate
from cvdl.flow.data.chairs import Chairs
from cvdl.flow.data.rendered import rendered
from cvdl.flow.data.things3d import Things
from cvdl.flow.description import describe
from cvdl.flow.plotting import draw, draw_correlation

# %% [markdown]
# ## A belief to lose
#
# **Optical flow** says for each pixel of a frame where it is in the next one: so many pixels to the right, so many
# down. Here are two frames.

# %%
# The first picture takes a few seconds.
FULL = (384, 512)  # height and width of FlyingChairs' frames
pair = Chairs(size=FULL, split="test", seed=7).pairs([0])
frame1, frame2 = pair.image1, pair.image2
show(
    draw.panels({"frame 1": frame1[0], "frame 2": frame2[0]}, 2, width=3.2),
    "Frame 1 and frame 2: chairs in front of a photograph of mountains. Chairs and photograph have moved.",
)
pixels = FULL[0] * FULL[1]
print(f"{pixels:,} pixels, so {pixels:,} arrows")
print(f"at one arrow a second: {pixels / 3600:.0f} hours for this pair")

# %% [markdown]
# Networks that recognise things learn from labels that people gave. But nobody can label flow: it would take
# days for one pair, and on a white wall nobody could say which pixel went where. For a few real pairs the flow was measured
# with great effort, far too few to train on. So, it seems, **flow cannot be learned. It has to be computed, by a formula that somebody thought out.**
#
# The lecture asks: «Can optic flow estimation be *learned*? What about the *labelled* data?»
#
# **Write down an idea**: how could one get a hundred thousand labelled pairs?
#
# <details><summary>The answer of FlowNet's authors</summary>
#
# Who *makes* the frames knows the flow. They cut chairs out of rendered pictures, put them on photographs, and moved
# both by random amounts. Each amount was known, since they had thrown the dice themselves.
# </details>

# %% [markdown]
# ## Data that one makes
#
# The pair above was made like that, by this course's own generator. Its true flow is known exactly. Beside it is a
# pair of a second kind: solids that fly through a room, before a camera that moves as well.

# %%
things = Things(size=FULL, split="test", seed=7).pairs([1])
made = {"chairs": pair, "things": things}
for kind, p in made.items():
    pictures = {f"{kind}, frame 1": p.image1[0], "frame 2": p.image2[0], "true flow": p.flow[0]}
    show(
        draw.panels(pictures, 4, width=2.3),
        f"A pair of the kind {kind}: frame 1, frame 2 and the true flow with its wheel of colours. {describe(p.flow[0])}",
    )

# %% [markdown]
# | set | what it is | in this course |
# |---|---|---|
# | FlyingChairs | rendered chairs, moved over photographs; 22,232 pairs to train on, 640 to test | `Chairs`: our own chairs and photographs |
# | FlyingThings3D | things on random ways in 3D | `Things`: boxes, ellipsoids, cylinders in a room |
# | Sintel | an animated film, rendered once more with its motion | not rendered here; read, if you have it |
#
# None of these could be a scene of this world. Keep that in mind.
#
# How far do pixels move in each? Real pairs with known flow may not be passed on, so they are not part of the course.
# Where some are (`CVDL_REAL`), the next cell prints their numbers, too. (It renders 16 pairs, in the quick profile four: some seconds, up to half a minute.)

# %%
for kind in ("chairs", "things"):
    source = rendered(kind, size=FULL, split="test", seed=7)
    flow = torch.cat([source.batch(i, 1).flow for i in range(budget(quick=2, laptop=8, gpu=8))])
    length = flow.norm(dim=1)
    print(f"{kind:>20}: mean {length.mean():5.1f} px, greatest {length.max():5.1f} px")
try:
    real = evaluate.pairs_of("real", 6)
except CourseError:
    real = []
    print("no real pairs here")
for s in real:
    length = s.flow.norm(dim=0)[s.valid]
    print(f"{s.name:>20}: mean {length.mean():5.1f} px, greatest {length.max():5.1f} px")

# %% [markdown]
# The mean hides much: in the rendered pairs the longest motions are several times as long. A network has to cope with both.

# %% [markdown]
# ## How to read a flow picture
#
# A flow has two numbers at each pixel, so it cannot be shown as grey. The usual way is a **colour wheel**: the hue
# says in which direction a pixel goes, and how strong the colour is says how far. White is at rest. The figures of
# this course have arrows, too.
#
# $x$ points to the right, and $y$ points **down**, like the numbers of rows. $d_x$ and $d_y$ are the two
# components of the flow.

# %%
show(draw_correlation.discs(), draw_correlation.DISCS_TOLD)

# %% [markdown]
# > **Exercise 1 · `flownet.picture`** · easy · 5 minutes · 10 points
# >
# > Which of the discs A to E is it? *Comes nearer* means: it gets larger. And what is the sign of $d_y$ in A:
# > `"positive"`, `"negative"` or `"zero"`?
# >
# > *D and E look alike to you?* Follow the arrows along the rim.


# %%
@exercise("flownet.picture", points=10)
def read_picture():
    """Write a letter in place of each `...`, and in the last line a sign."""
    ### BEGIN SOLUTION
    return {
        "goes furthest": "B",
        "turns": "D",
        "comes nearer": "E",
        "stands still": "C",
        "sign of dy in A": "negative",
    }
    ### END SOLUTION


# %%
check("flownet.picture")

# %% [markdown]
# The background has one colour, and it is not white: a camera that turns to the right lets everything wander to the
# left.

# %% [markdown]
# ## How wrong is a flow?
#
# At each pixel there is the true arrow, and the arrow that somebody says. The **end-point error** is the distance
# between their tips, in pixels. One number for the pair is its mean: the *EPE*.
#
# In real data the truth is not known everywhere. A mask says where: `valid`. What the flow holds elsewhere means
# nothing. It can be NaN.
#
# > **Exercise 2 · `flownet.epe`** · easy · 10 minutes · 10 points
# >
# > Write the mean end-point error over the valid pixels.
# >
# > *You get NaN?* A NaN stays NaN if you multiply it by 0. Select the pixels that count; do not multiply.


# %%
@exercise("flownet.epe", points=10)
def end_point_error(flow, truth, valid):
    """flow, truth: (B, 2, H, W) in pixels; valid: bool, (B, 1, H, W) -> a scalar, in pixels"""
    ### BEGIN SOLUTION
    difference = flow - truth
    errors = (difference**2).sum(1, keepdim=True).sqrt()
    return errors[valid].mean()
    ### END SOLUTION


# %%
check("flownet.epe")

# %% tags=["expect"]
truth, valid = pair.flow, pair.valid
guesses = {
    "no motion at all": torch.zeros_like(truth),
    "the mean motion everywhere": truth.mean((2, 3), keepdim=True).expand_as(truth),
    "all arrows 10 % too long": 1.1 * truth,
}
for name, guess in guesses.items():
    print(f"{name:>27}: EPE {end_point_error(guess, truth, valid):5.2f} px")

# %% [markdown]
# If a flow says *no motion*, its error is the mean length of the true arrows. Whoever is above that is worse than nothing.
# Here the background fills most of the frame and moves as one. So even the mean motion comes close to the truth.

# %% [markdown]
# ## Bringing frame 2 back
#
# A flow can be tried without knowing the truth: if it is right, then frame 2, *brought back* by it, looks like frame 1.
#
# Mind the direction. The flow is given on frame 1's pixels. So we go through the pixels of frame 1. For each we
# **fetch** what frame 2 shows at the place to which its arrow points:
#
# $$\text{result}(x, y) = I_2(x + d_x,\; y + d_y)$$
#
# This is called **backward warping**, since frame 2 comes back to frame 1's grid. Why not push the pixels of frame 1
# forward?

# %%
H, W = FULL
y, x = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
goes_x, goes_y = (x + truth[0, 0]).round().long(), (y + truth[0, 1]).round().long()
inside = (goes_x >= 0) & (goes_x < W) & (goes_y >= 0) & (goes_y < H)
arrivals = torch.bincount((goes_y * W + goes_x)[inside], minlength=H * W).view(H, W)
arrivals = arrivals[
    64:-64, 64:-64
]  # at the rim there is nothing to arrive: it would lie outside
holes, crowded = ((arrivals == 0).float().mean(), (arrivals > 1).float().mean())
print(f"pushed forward, {holes:.0%} of the pixels get nothing, {crowded:.0%} get more than one")
outcome("pushing forward leaves holes", holes > 0.01)

# %% [markdown]
# Fetching leaves no holes: each pixel of the result asks for exactly one place.
#
# That place mostly lies between four pixels. **Bilinear** interpolation mixes them: the nearer, the more. At
# $x = 3.2$ the pixel 3 gets a share of 0.8, and the pixel 4 gets 0.2. In $y$ likewise, and the two shares are
# multiplied.

# %% [markdown]
# > **Exercise 3 · `flownet.warp`** · medium · 20 minutes · 15 points
# >
# > Warp one image back. Places outside are moved to the nearest place inside first: $x$ to 0 … W - 1, $y$ to 0 …
# > H - 1.
# >
# > A loop over all pixels is right, too, but slow. Better make two maps, of all $x$ and all $y$, and fetch
# > everything at once: `image2[:, rows, columns]` with two maps of whole numbers (`.long()`).
# >
# > *Things move twice as far instead of coming back?* You look at $x - d_x$.


# %%
@exercise("flownet.warp", points=15)
def warp_back(image2, flow):
    """image2: (C, H, W), flow: (2, H, W) in pixels -> (C, H, W)"""
    ### BEGIN SOLUTION
    _, H, W = image2.shape
    x = (torch.arange(W) + flow[0]).clamp(0, W - 1)
    y = (torch.arange(H)[:, None] + flow[1]).clamp(0, H - 1)
    left, top = x.floor().long(), y.floor().long()
    right, bottom = (left + 1).clamp(max=W - 1), (top + 1).clamp(max=H - 1)
    share_right, share_bottom = x - left, y - top
    upper = image2[:, top, left] * (1 - share_right) + image2[:, top, right] * share_right
    lower = image2[:, bottom, left] * (1 - share_right) + image2[:, bottom, right] * share_right
    return upper * (1 - share_bottom) + lower * share_bottom
    ### END SOLUTION


# %%
check("flownet.warp")

# %% tags=["expect"]
back = warp_back(frame2[0], truth[0])
seen = ~pair.occlusion[0, 0]  # pixels of frame 1 that are to be seen in frame 2, too
apart = {}
for name, image in (("frame 2", frame2[0]), ("frame 2 brought back", back)):
    apart[name] = (image - frame1[0]).abs().mean(0)
    print(f"{name} differs from frame 1 by {apart[name][seen].mean():.3f} on average")

# %%
show(
    draw.panels(
        {"frame 1": frame1[0], "frame 2 brought back": back, "hidden in frame 2": ~seen}
    ),
    "Frame 1, frame 2 brought back by the true flow, and a mask of what is hidden in frame 2. The first two look alike, but "
    "where a chair covers the background in frame 2, or the frame ends, the second shows something else. The mask is black there.",
)
left_over = (apart["frame 2 brought back"][seen].mean() / apart["frame 2"][seen].mean()).item()
outcome(
    "where nothing is hidden, less than a third of the difference is left", left_over < 0.33
)

# %% [markdown]
# The mask is black where a point is **occluded**: hidden in frame 2, or outside. There is nothing to fetch there. The
# result shows whatever stands in front instead: look for a chair that is there twice. No flow can change that.

# %% [markdown]
# ## FlowNetS: let the network find out
#
# Put both frames on top of each other: six channels. Give them to a stack of convolutions, and ask for two numbers
# at each pixel. That is all. How one finds motion, the network has to find out by itself.

# %%
show(
    draw_correlation.networks(),
    "Two chains of boxes. FlowNetS: both frames are stacked to 6 channels, then conv1 to conv3 down to 1/8 of the size, conv3_1 "
    "to conv6 down to 1/64, and the refinement up to 1/4, which gives the flow. FlowNetC: each frame has its own chain conv1 to "
    "conv3 with the same weights; both meet in the correlation, which has no weights; the rest is the same.",
)

# %% [markdown]
# FlowNetC comes later. First the parts that both have.
#
# - **Down**: conv1 to conv6 have stride 2, and halve height and width. (Those called …_1 have stride 1, and leave the size
#   as it is.) At 1/64 of the size a step to the next point is 64 pixels wide. So the network sees far.
# - **Up**: at 1/64 it knows roughly what moves where, but not where things end. The *refinement* goes back, up to 1/4
#   of the size. At each step it looks again at the features that were found on the way down.
#
# A step up takes three things together, in this order:
#
# 1. the **skip**: the features of that size from the way down,
# 2. the features from the coarser step, enlarged by an *up-convolution*, then a leaky ReLU,
# 3. the flow that the coarser step said, enlarged by an up-convolution of its own, *without* a ReLU.
#
# From all that a convolution predicts a flow again, and so on.

# %% [markdown]
# An **up-convolution** turns a convolution with stride 2 round: each point adds a small picture, the kernel, to a map
# of twice the size. Here with a kernel of 4 × 4, for a single point:

# %%
point = torch.zeros(1, 1, 3, 3)
point[0, 0, 1, 1] = 1
kernel = torch.arange(1.0, 17).view(1, 1, 4, 4)
larger = F.conv_transpose2d(point, kernel, stride=2, padding=1)
print(f"{tuple(point.shape[2:])} becomes {tuple(larger.shape[2:])}:")
for line in larger[0, 0].int().tolist():
    print("".join(f"{value:>4}" for value in line))

# %% [markdown]
# The point in the middle has put its kernel into the larger map. Neighbours' kernels would overlap with it, and add
# up. The kernel is learned, so the network chooses how to enlarge.
#
# > **Exercise 4 · `flownet.refine`** · medium · 15 minutes · 10 points
# >
# > Write one step, up to the point where the three are put together. The leaky ReLU keeps a tenth of negative
# > values. Biases are left out.
# >
# > *All motions to the left come out too short?* Then the flow went through the leaky ReLU, too.


# %%
@exercise("flownet.refine", points=10)
def refine(features, flow, skip, up, up_flow):
    """One step of the refinement -> (B, S + D + 2, 2h, 2w)

    features: (B, C, h, w), flow: (B, 2, h, w), both from the coarser step; skip: (B, S, 2h, 2w)
    up: (C, D, 4, 4), up_flow: (2, 2, 4, 4), kernels of up-convolutions with stride 2 and padding 1
    """
    ### BEGIN SOLUTION
    enlarged = F.conv_transpose2d(features, up, stride=2, padding=1)
    enlarged = F.leaky_relu(enlarged, 0.1)
    flow = F.conv_transpose2d(flow, up_flow, stride=2, padding=1)
    return torch.cat([skip, enlarged, flow], dim=1)
    ### END SOLUTION


# %%
check("flownet.refine")

# %% tags=["expect"]
# the first step of FlowNetS on a frame of 384 × 512: from 1/64, 6 × 8 points, to 1/32
torch.manual_seed(0)
coarse, said = torch.randn(1, 1024, 6, 8), torch.randn(1, 2, 6, 8)
skip, up = torch.randn(1, 512, 12, 16), 0.01 * torch.randn(1024, 512, 4, 4)
together = refine(coarse, said, skip, up, 0.1 * torch.randn(2, 2, 4, 4))
print("->", tuple(together.shape))

# %% [markdown]
# The flows of all levels are in pixels of the **full-size** frame. So a flow that is enlarged keeps its values. (In
# SPyNet, notebook 7, it is otherwise.)

# %% [markdown]
# ## The loss
#
# FlowNet says a flow at five sizes: 1/64, 1/32, 1/16, 1/8, 1/4. Each of them gets an error, so that the coarse ones
# learn as well. The truth is averaged down to each size. Errors are counted in units of 20 pixels, so that numbers
# are about 1.
#
# At each level: **sum the end-point errors over all pixels, divide by the number of pairs** in the batch, and
# multiply by the level's weight. Then add up the levels.
#
# | level | 1/4 | 1/8 | 1/16 | 1/32 | 1/64 |
# |---|---|---|---|---|---|
# | weight | .005 | .01 | .02 | .08 | .32 |

# %% [markdown]
# > **Exercise 5 · `flownet.loss`** · medium · 15 minutes · 10 points
# >
# > Write it. The truth is known everywhere here. `F.avg_pool2d(truth, cell)` averages it over squares of `cell` × `cell`
# > pixels.
# >
# > *Your loss is hundreds of times too small?* Then it is a mean over the pixels.


# %%
@exercise("flownet.loss", points=10)
def multiscale_loss(flows, truth, weights):
    """flows: list of (B, 2, h, w), finest first; truth: (B, 2, H, W); weights: list of numbers -> scalar

    All flows are in full-size pixels.  H and W are multiples of each h and w.
    """
    ### BEGIN SOLUTION
    loss = 0
    for flow, weight in zip(flows, weights, strict=True):
        cell = truth.shape[-1] // flow.shape[-1]
        target = F.avg_pool2d(truth, cell)
        errors = ((flow - target) / 20).square().sum(1).sqrt()
        loss = loss + weight * errors.sum() / len(flow)
    return loss
    ### END SOLUTION


# %%
check("flownet.loss")

# %% tags=["expect"]
WEIGHTS = [0.005, 0.01, 0.02, 0.08, 0.32]  # finest first
SHRINKS = [4, 8, 16, 32, 64]
shift = torch.zeros(2, 2, 64, 64)
shift[:, 0] = 20  # all moves by 20 px to the right
says_nothing = [torch.zeros(2, 2, 64 // s, 64 // s) for s in SHRINKS]
print(f"a network that says nothing: loss {multiscale_loss(says_nothing, shift, WEIGHTS):.2f}")

# %% [markdown]
# ### Which level counts most?
#
# The largest weight stands at the coarsest level. So, it seems, FlowNet cares most about the coarsest flow. **Does it?**
# A sum has more terms where there are more pixels. Let every level be wrong by the same amount, one unit at each
# pixel, and count what it adds to the loss. The coarsest level is set to 1.

# %%
amounts = {"sum, these weights": [], "mean, these weights": [], "mean, NVIDIA's weights": []}
for n, s in enumerate(SHRINKS):
    count = (FULL[0] // s) * (FULL[1] // s)
    amounts["sum, these weights"].append(WEIGHTS[n] * count)
    amounts["mean, these weights"].append(WEIGHTS[n])
    amounts["mean, NVIDIA's weights"].append(0.32 / 2**n)
print(f"{'level':>24}" + "".join(f"{f'1/{s}':>9}" for s in SHRINKS))
for name, each in amounts.items():
    print(f"{name:>24}" + "".join(f"{value / each[-1]:>9.3g}" for value in each))
shares = [value / amounts["sum, these weights"][-1] for value in amounts["sum, these weights"]]
outcome(
    "coarse to fine the levels count 1 : 1 : 1 : 2 : 4",
    all(abs(a - b) < 1e-6 for a, b in zip(shares, (4, 2, 1, 1, 1), strict=True)),
)

# %% [markdown]
# With the sum, the **finest** level counts most. With a mean and the same weights, the coarsest one would count 64 times
# as much as the finest, and one would train blur.
#
# NVIDIA's code, which many people use, does take means. So its weights are turned round: .32 at the finest level, then
# half as much at each coarser one. The two look contrary, and both count the finest level most. Never copy weights without their reduction.

# %% [markdown]
# ## Training live
#
# A small FlowNetS: a quarter of the channels. And a small world: frames of 128 × 128, a photograph that moves, and a
# chair in front of it, or none. Each moves in any direction by any length up to 24 pixels, and some turn or grow a little.

# %%
where = device()


def small_world(split, count):
    """So many pairs: frame 1, frame 2, flow"""
    source = Chairs(size=(128, 128), split=split, chairs=(0, 1), even=24.0, device=where)
    batches = [source.batch(i, 16) for i in range(0, count, 16)]
    return [
        torch.cat([getattr(b, name) for b in batches]) for name in ("image1", "image2", "flow")
    ]


lessons = small_world("train", budget(quick=16, laptop=800, gpu=3200))
exam = small_world("test", budget(quick=16, laptop=96, gpu=192))
zero_flow = exam[2].norm(dim=1).mean().item()
print(f"{len(lessons[0])} pairs to learn from, {len(exam[0])} to examine on")
print(f"if nothing is said: EPE {zero_flow:.2f} px")

# %% [markdown]
# Now the training. A step takes some pairs, asks the network for its flows, and improves the weights a little. The loss
# is yours. From time to time the network takes an exam on pairs that it does not learn from.
#
# *In train mode the library's networks give a list of five flows, finest first. In eval mode they give one, enlarged to the
# size of the frames.*

# %%
STEPS, BATCH = budget(quick=(10, 4), laptop=(1500, 8), gpu=(6000, 8))
RATE = 1e-3


def examine(net):
    net.eval()
    with torch.no_grad():
        error = epe(net(exam[0], exam[1]), exam[2]).item()
    net.train()
    return error


def train(net, steps, title):
    """-> {step: EPE in the exam}"""
    optimiser, marks = torch.optim.Adam(net.parameters()), {}
    for step in tqdm(range(steps + 1), desc=title, file=sys.stdout, ncols=80, mininterval=1):
        if step % (steps // 10) == 0:
            marks[step] = examine(net)
        rises, falls = min(1, (step + 1) / 30), 1 - 0.95 * step / steps
        optimiser.param_groups[0]["lr"] = RATE * rises * falls
        chosen = torch.randint(len(lessons[0]), (BATCH,))
        image1, image2, flow = (part[chosen] for part in lessons)
        loss = multiscale_loss(net(image1, image2), flow, WEIGHTS)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
    return marks


# %% [markdown]
# In the laptop profile this takes about two minutes. In the quick profile a few steps only show that the code runs: they are
# too few to learn anything.

# %%
seed(0)
small_s = FlowNetS(width=1 / 4).to(where)
marks_s = train(small_s, STEPS, "FlowNetS")

# %%
show(
    figures.curves(
        {"FlowNetS": (list(marks_s), list(marks_s.values()))},
        "step",
        "EPE in px, in the exam",
        [("zero flow", zero_flow)],
    ),
    f"End-point error of FlowNetS in the exam against steps: {marks_s[0]:.1f} px before training, {marks_s[STEPS]:.1f} px at the "
    f"end. A line at {zero_flow:.1f} px: zero flow.",
)
print(f"after {STEPS} steps: EPE {marks_s[STEPS]:.2f} px, zero flow {zero_flow:.2f} px")
outcome(
    "what it has learned is better than no flow at all",
    marks_s[STEPS] < 0.95 * zero_flow,
    needs="laptop",
)

# %% [markdown]
# Does your curve run along the line for a while? There the network says next to nothing, which is the safest guess. The
# error falls below the line when it begins to find out what a motion is.
#
# **So flow can be learned**, from pairs that somebody made up. The exam had other photographs and other chairs. That it
# learned them by heart is no explanation.
#
# How does such a flow look?

# %%
small_s.eval()
with torch.no_grad():
    its_flow = small_s(exam[0][:1], exam[1][:1])[0].cpu()
small_s.train()
pictures = {"frame 1": exam[0][0].cpu(), "true flow": exam[2][0].cpu(), "its flow": its_flow}
show(
    draw.panels(pictures, 4, width=1.8),
    f"Frame 1 of the exam's first pair, the true flow and the network's. The truth: {describe(exam[2][0].cpu())} "
    f"The network: {describe(its_flow)}",
)

# %% [markdown]
# That is little, after so short a time. Further below you meet networks that learned for hours.

# %% [markdown]
# ## FlowNetC: help it to compare
#
# FlowNetS has to invent everything, even the idea of comparing two places. FlowNetC gets that idea as a present. Look
# at the figure above again.
#
# <details><summary>«What's the key difference between FlowNetSimple and FlowNetCorr?»</summary>
#
# *When* the two frames meet, and how. In FlowNetS at once, as six channels: any filter may mix them. In FlowNetC each
# frame is turned into features first, by the same weights. Then they meet in a layer that can do one thing only:
# compare.
# </details>
#
# Features are what conv1 to conv3 make of a frame: a map at 1/8 of its size, with 256 channels. At each point $\mathbf{x}$
# stands a vector $\mathbf{f}(\mathbf{x})$ that describes the surroundings. Two places that look alike should have like
# vectors.
#
# How alike are the place $\mathbf{x}_1$ in frame 1 and the place $\mathbf{x}_2$ in frame 2? The lecture's answer is a sum
# of scalar products, over a patch around both:
#
# $$c(\mathbf{x}_1, \mathbf{x}_2) = \sum_{\mathbf{o} \in [-k, k] \times [-k, k]} \langle \mathbf{f}_1(\mathbf{x}_1 + \mathbf{o}), \mathbf{f}_2(\mathbf{x}_2 + \mathbf{o}) \rangle$$
#
# $k$ is the **radius of the patch**: with $k = 1$ it has 3 × 3 points.

# %% [markdown]
# > **Exercise 6 · `flownet.score`** · easy · 15 minutes · 10 points
# >
# > Write this sum, with loops. Points are given as $(x, y)$. What lies beyond the frame counts as zero.
# >
# > *A place at the edge gets a strange score?* A negative index counts from the other end.


# %%
@exercise("flownet.score", points=10)
def patch_score(f1, f2, here, there, k):
    """f1, f2: (C, H, W); here: (x, y) in f1, there: (x, y) in f2; k: radius of the patch -> a scalar"""
    ### BEGIN SOLUTION
    _, H, W = f1.shape
    score = torch.zeros(())
    for oy in range(-k, k + 1):
        for ox in range(-k, k + 1):
            x1, y1 = here[0] + ox, here[1] + oy
            x2, y2 = there[0] + ox, there[1] + oy
            if 0 <= x1 < W and 0 <= x2 < W and 0 <= y1 < H and 0 <= y2 < H:
                score = score + f1[:, y1, x1] @ f2[:, y2, x2]
    return score
    ### END SOLUTION


# %%
check("flownet.score")

# %% tags=["expect"]
g = seed(0)
f1, f2 = torch.randn(8, 12, 16, generator=g), torch.randn(8, 12, 16, generator=g)
for k in (0, 1):
    print(
        f"k = {k}: score of (5, 4) and (7, 3) is {patch_score(f1, f2, (5, 4), (7, 3), k):.3f}"
    )

# %% [markdown]
# «Like convolution between feature maps (no learnable weights)», says the lecture. Cut the patch out of frame 1, and
# use it as a *kernel* for frame 2's features. That gives its scores with all places at once:

# %%
patch = f1[None, :, 3:6, 4:7]  # 3 × 3 points around (5, 4)
scores = F.conv2d(f2[None], patch, padding=1)[0, 0]
one_by_one = patch_score(f1, f2, (5, 4), (7, 3), 1)
print(f"by a convolution: {scores[3, 7]:.3f}, by the formula: {one_by_one:.3f}")
outcome("both say the same", abs(scores[3, 7] - one_by_one) < 1e-3)

# %% [markdown]
# In a convolutional layer the kernel was learned. Here it comes from the other frame, and nothing is to be learned.

# %% [markdown]
# ### What FlowNet really does
#
# Three things about the lecture's formula, to be clear:
#
# - In FlowNet **$k$ is 0**. A patch is a single point. It need not be more: a feature vector has seen the surroundings
#   already.
# - The formula is a **sum**. The released code takes the **mean** over the channels. So scores are of one size, however
#   many channels there are.
# - Not all pairs of places are compared, only those with a displacement of at most $d$ points, to each side. **$d$ and $k$
#   are two numbers.** One says how far apart the two places may be, the other how large a piece is compared. They
#   are easily mixed up: the range $[-k, k] \times [-k, k]$ looks like a range of displacements, and the lecture's formula
#   does not mention $d$ at all.
#
# With $k = 0$ the layer has one score for each point $\mathbf{x}$ and each displacement $\mathbf{m} = (m_x, m_y)$:
#
# $$c(\mathbf{x}, \mathbf{m}) = \frac1C \sum_{c=1}^{C} f_{1,c}(\mathbf{x})\; f_{2,c}(\mathbf{x} + \mathbf{m})$$
#
# With your score and four more loops it is done:


# %%
def by_loops(f1, f2, d):
    """(C, H, W) twice -> (n², H, W) with n = 2d + 1, for one pair of maps"""
    C, H, W = f1.shape
    out = torch.zeros((2 * d + 1) ** 2, H, W)
    for n in range(len(out)):
        mx, my = n % (2 * d + 1) - d, n // (2 * d + 1) - d
        for y in range(max(0, -my), min(H, H - my)):
            for x in range(max(0, -mx), min(W, W - mx)):
                out[n, y, x] = patch_score(f1, f2, (x, y), (x + mx, y + my), 0) / C
    return out


looped = by_loops(f1, f2, 2)
print(tuple(looped.shape), "one map for each of the 5 × 5 displacements")

# %% [markdown]
# The displacements are channels now, in the order of reading: $m_y$ changes slowest, and the first is $(-d, -d)$.

# %% [markdown]
# ## Faster: a map at a time
#
# Loops over pixels are slow. One displacement can be done at all points at once: shift the second map, multiply, and
# average over the channels.
#
# FlowNetC leaves out every second displacement, to save channels. That is the **stride**: $m_x$ and $m_y$ go from
# $-d$ to $d$ in steps of `stride`.
#
# > **Exercise 7 · `flownet.correlation`** · medium · 20 minutes · 15 points
# >
# > Write the layer for a batch. Beyond the frame the second map is zero: `F.pad(f2, [d] * 4)` puts a border of $d$
# > zeros around it, and then each shift is a slice.
# >
# > *Scores appear at the opposite edge?* `torch.roll` brings in there what it has pushed out here.


# %%
@exercise("flownet.correlation", points=15)
def correlate(f1, f2, d, stride):
    """f1, f2: (B, C, H, W) -> (B, n², H, W), my slowest; n = number of values of mx"""
    ### BEGIN SOLUTION
    H, W = f1.shape[-2:]
    bordered = F.pad(f2, [d] * 4)
    maps = []
    for my in range(-d, d + 1, stride):
        for mx in range(-d, d + 1, stride):
            shifted = bordered[:, :, d + my : d + my + H, d + mx : d + mx + W]
            maps.append((f1 * shifted).mean(1))
    return torch.stack(maps, dim=1)
    ### END SOLUTION


# %%
check("flownet.correlation")

# %% tags=["expect"]
shifted = correlate(f1[None], f2[None], 2, 1)
print(tuple(shifted.shape))
print(f"differs from the loops by {(shifted[0] - looped).abs().max():.0e} at most")

# %% [markdown]
# The same numbers. But each displacement goes through both maps in memory once more: with 441 displacements, 441 times.

# %% [markdown]
# ## All at once: one product of matrices
#
# Take **all** pairs of points at once. Write the features of frame 1 as a matrix with a column for each point, and those
# of frame 2 likewise. Then
#
# $$P = \tfrac1C\, F_1^{\mathsf T} F_2$$
#
# has a row for each point of frame 1 and a column for each point of frame 2: all scores, in one product. That computes
# more than we want. But a product of matrices is what processors do best. (This $F$ is a matrix, not PyTorch's `F`.)
#
# > **Exercise 8 · `flownet.product`** · medium · 10 minutes · 10 points
# >
# > Write $P$. Give the second map a border of $d$ zeros first, so that no window (below) leaves it. `flatten(2)` makes one
# > axis of height and width.
# >
# > *You get a matrix of C × C?* You summed over the points and kept the channels. Transpose the other factor.


# %%
@exercise("flownet.product", points=10)
def all_scores(f1, f2, d):
    """f1, f2: (B, C, H, W) -> (B, H W, (H + 2d) (W + 2d))"""
    ### BEGIN SOLUTION
    C = f1.shape[1]
    columns1 = f1.flatten(2)
    columns2 = F.pad(f2, [d] * 4).flatten(2)
    return columns1.transpose(1, 2) @ columns2 / C
    ### END SOLUTION


# %%
check("flownet.product")

# %% [markdown]
# Of each row we want a window: the points up to $d$ away. That is only picking out, nothing is computed any more. From a
# point to its right neighbour the window moves on by one as well. So in memory all windows are one view with fixed strides
# (`as_strided`), and a single copy fetches them. In one dimension, with $d = 1$ and four points, the windows are:

# %%
tiny = torch.arange(24).view(4, 6)  # a row for each point, a column for each bordered place
print(tiny)
print(
    "windows:", tiny.as_strided((4, 3), (6 + 1, 1)).tolist()
)  # the next row, and one further on

# %% [markdown]
# The same with two axes:


# %%
def windows(P, H, W, d, stride=1):
    """(B, H W, (H + 2d) (W + 2d)) -> (B, n², H, W): of each point's row the window around it"""
    n, row = 2 * d // stride + 1, W + 2 * d
    point = (H + 2 * d) * row  # scores of one point
    strides = (H * W * point, stride * row, stride, W * point + row, point + 1)
    return P.contiguous().as_strided((len(P), n, n, H, W), strides).flatten(1, 2)


# %% tags=["expect"]
P = all_scores(f1[None], f2[None], 2)
print(f"P: {tuple(P.shape)}")
apart = (windows(P, 12, 16, 2) - shifted).abs().max()
print(f"its windows differ from the shifts by {apart:.0e} at most")

# %% [markdown]
# Three ways, the same numbers. Which one is fastest? We count the time that the processor works for us, and take the
# best of five. (The loops take some seconds, and get one try.)


# %%
def milliseconds(function, tries=5):
    times = []
    for _ in range(tries):
        start = time.process_time()
        function()
        times.append(1000 * (time.process_time() - start))
    return min(times)


C, H, W, d = budget(quick=(64, 12, 16, 4), laptop=(256, 24, 32, 10), gpu=(256, 24, 32, 10))
a, b = torch.randn(2, 1, C, H, W, generator=g)
took = {
    "loops": milliseconds(lambda: by_loops(a[0], b[0], d), tries=1),
    "shifts": milliseconds(lambda: correlate(a, b, d, 1)),
    "one product": milliseconds(lambda: windows(all_scores(a, b, d), H, W, d)),
}
print(f"maps of {C} channels, {H} × {W} points, {(2 * d + 1) ** 2} displacements")
for name, each in took.items():
    print(f"{name:>12}: {each:8.1f} ms, {took['loops'] / each:6.0f} times as fast as the loops")

# %% [markdown]
# Against loops, both are faster by far. And against each other? One product computes all pairs, wanted or not. How many of
# its scores are in a window?

# %%
for H, W, d, stride in ((12, 16, 4, 1), (24, 32, 10, 1), (48, 64, 20, 2)):
    wanted = (2 * d // stride + 1) ** 2 / ((H + 2 * d) * (W + 2 * d))
    print(f"{H} × {W} points, d = {d}, stride {stride}: {wanted:.0%} of the scores are wanted")

# %% [markdown]
# The last row is FlowNetC, on frames of 384 × 512. There nearly all work would be thrown away. The remedy: cut the first
# map into **tiles**. The points of a tile need only its surroundings in the second map. One product for each tile, and
# little is computed in vain. The library does it so.

# %%
C, H, W = 256, *budget(quick=(24, 32), laptop=(48, 64), gpu=(48, 64))
a, b = torch.randn(2, 1, C, H, W, generator=g)
layers = {
    "shifts": lambda: correlate(a, b, 20, 2),
    "one product": lambda: windows(all_scores(a, b, 20), H, W, 20, 2),
    "library": lambda: correlation(a, b, 20, 2),
}
print(f"maps of {C} channels, {H} × {W} points, 441 displacements")
for name, layer in layers.items():
    print(f"{name:>12}: {milliseconds(layer):8.1f} ms")
work = {}
for name in ("one product", "library"):
    with FlopCounterMode(display=False) as counter:
        layers[name]()
    work[name] = counter.get_total_flops() / 2  # a multiplication and its addition count as two
    print(f"{name:>12}: {work[name] / 1e6:8,.0f} million multiplications")
apart = (correlate(a, b, 20, 2) - correlation(a, b, 20, 2)).abs().max().item()
outcome("the library's layer says the same as yours", apart < 1e-4)
outcome(
    "tiles take less than a third of the multiplications of one product",
    work["library"] < work["one product"] / 3,
)

# %% [markdown]
# The same numbers, to rounding. Only the order of the work is another. Shifts go through memory 441 times, one product
# computes what nobody wants, tiles avoid both.

# %% [markdown]
# ## How large is the layer?
#
# > **Exercise 9 · `flownet.channels`** · easy · 10 minutes · 10 points
# >
# > How many channels come out, for a displacement $d$ and a `stride` that divides $d$? How many full-size pixels does
# > the layer *reach* to one side? And how many full-size pixels are there from one displacement to the next? A step of
# > the map is `shrink` full-size pixels.
# >
# > *You get 16 channels for d = 4 and stride 2?* The displacement 0 is one of them.


# %%
@exercise("flownet.channels", points=10)
def layer_size(d, stride, shrink):
    """-> (channels, reach, step), three whole numbers, the last two in full-size pixels"""
    ### BEGIN SOLUTION
    values = 2 * (d // stride) + 1
    return values**2, d * shrink, stride * shrink
    ### END SOLUTION


# %%
check("flownet.channels")

# %% tags=["expect"]
for name, size in (
    ("FlowNetC", (20, 2, 8)),
    ("twice as far", (40, 2, 8)),
    ("every one", (20, 1, 8)),
):
    count, reaches, step = layer_size(*size)
    print(f"{name:>12}: {count:>5} channels, reaches {reaches} px, in steps of {step} px")

# %% [markdown]
# FlowNetC has 441 channels of scores. Twice as far would be almost four times as many: **the cost grows with the square
# of the reach.** So one has to stop somewhere. Beside the scores go 32 channels with frame 1's own features, so that the
# later layers know what they look at. *Frame 2's features do not go on. All that the rest of the network learns of
# frame 2 is the scores.*

# %% [markdown]
# ## Training FlowNetC
#
# The same small world, the same steps. Motions are up to 24 pixels, so $d = 4$ at 1/8 of the size is enough: it reaches
# 32 pixels. (About as long as before.)

# %%
seed(0)
small_c = FlowNetC(width=1 / 4, max_displacement=4, stride=1).to(where)
marks_c = train(small_c, STEPS, "FlowNetC")

# %%
show(
    figures.curves(
        {
            name: (list(m), list(m.values()))
            for name, m in (("FlowNetS", marks_s), ("FlowNetC", marks_c))
        },
        "step",
        "EPE in px, in the exam",
        [("zero flow", zero_flow)],
    ),
    f"End-point errors in the exam against steps. FlowNetS ends at {marks_s[STEPS]:.1f} px, FlowNetC at {marks_c[STEPS]:.1f} px; "
    f"zero flow {zero_flow:.1f} px.",
)
for name, marks in (("FlowNetS", marks_s), ("FlowNetC", marks_c)):
    print(f"{name}: EPE {marks[STEPS]:.2f} px, zero flow {zero_flow:.2f} px")
outcome("FlowNetC has learned, too", marks_c[STEPS] < 0.95 * zero_flow, needs="laptop")

# %% [markdown]
# One run of each decides nothing about which is better: with other dice the order may be another, and both have
# learned for minutes only. (Try `CVDL_SEED=1`.) What you see is that both learn.
#
# <details><summary>Why does FlowNetC not know it all after ten steps? The comparing is given.</summary>
#
# What it compares is not: at first the features are random. And nobody tells the later layers that channel 40 means
# «stands still» and channel 41 «to the right». They have to learn that from the truth.
# </details>

# %% [markdown]
# ## Look at the scores
#
# Choose a point of frame 1, and see its scores over **all** of frame 2. Once for *raw colours* (the mean colour of 8 × 8
# pixels, less the mean of all photographs), once for *learned features*, those of conv3. Bright means a high score.

# %%
searcher = zoo.load("flownet-c")  # a FlowNetC that has learned for longer; more about it below


@torch.no_grad()
def views(net, image):
    """Raw colours and features of an image, both at 1/8 of its size"""
    centred = image - net.mean
    learned = net.conv3(net.conv2(net.conv1(centred)))
    return {"raw colours": F.avg_pool2d(centred, 8), "learned features": learned}


# %%
explored = Chairs(size=FULL, split="test", seed=7).pairs([3])
ways1, ways2 = (views(searcher, image) for image in (explored.image1, explored.image2))
scores_of = {name: all_scores(ways1[name], ways2[name], 0)[0] for name in ways1}
coarse_flow = F.avg_pool2d(explored.flow, 8)[0] / 8  # in points of the map
COLUMNS, ROWS = FULL[1] // 8, FULL[0] // 8


# %%


def look_for(column, row, compare):
    here = (column, row)
    there = tuple(
        c + m for c, m in zip(here, coarse_flow[:, row, column].tolist(), strict=True)
    )
    of_point = scores_of[compare][row * COLUMNS + column].view(ROWS, COLUMNS)
    return draw_correlation.search(
        explored.image1[0],
        explored.image2[0],
        here,
        there,
        {f"scores of {compare}": of_point},
        reach=20,
    )


explore(
    look_for,
    "Frame 1 with a point marked at column {column}, row {row} of the map; frame 2 with a cross where it went; the scores of "
    "{compare} over frame 2, with the same cross, a circle around the highest score within reach, and the reach as a dashed frame.",
    column=(0, COLUMNS - 1, 21),
    row=(0, ROWS - 1, 22),
    compare=["learned features", "raw colours"],
)

# %% [markdown]
# The dashed frame is what FlowNetC would look at: 20 points to each side. The circle is the highest score in it, the cross
# the truth. Here, at the rim of a drop of water, the features find it. Do raw colours? Then try column 20, row 30, on the
# leaf, and a corner of a chair.
#
# One point tells little. For how many points is the highest score within reach at most one step from the truth?

# %%
y, x = torch.meshgrid(torch.arange(ROWS), torch.arange(COLUMNS), indexing="ij")
there = torch.stack([x, y]) + coarse_flow
clear = F.avg_pool2d(explored.occlusion.float(), 8)[0, 0] == 0
hits = {}
for name, scores in scores_of.items():
    scores = scores.view(ROWS, COLUMNS, ROWS, COLUMNS)
    near = ((y - y[..., None, None]).abs() <= 20) & ((x - x[..., None, None]).abs() <= 20)
    best = scores.masked_fill(~near, -torch.inf).flatten(2).argmax(2)
    off = torch.stack([best % COLUMNS, best // COLUMNS]) - there
    hits[name] = (off.abs().amax(0) <= 1)[clear].float().mean().item()
    print(f"{name:>17}: {hits[name]:.1%} of {int(clear.sum())} points")
chance = (9 / near.flatten(2).sum(2)).mean().item()  # 3 × 3 points of those within reach
print(f"{'by chance':>17}: about {chance:.1%}")
outcome(
    "learned features find more points than colours",
    hits["learned features"] > 3 * hits["raw colours"],
)

# %% [markdown]
# Learned features are better by far. And yet the highest score is wrong for most points. Two things stand in its way. Many
# places look alike. And a scalar product is large where vectors are *long*: such a place has a high score with all
# places of roughly its direction, whether they are the same or not.
#
# **Guess**: what happens if all vectors have length 1?

# %%
unit_hits = {}
for name in scores_of:
    unit1, unit2 = (F.normalize(w[name], dim=1) for w in (ways1, ways2))
    scores = all_scores(unit1, unit2, 0)[0].view(ROWS, COLUMNS, ROWS, COLUMNS)
    best = scores.masked_fill(~near, -torch.inf).flatten(2).argmax(2)
    off = torch.stack([best % COLUMNS, best // COLUMNS]) - there
    unit_hits[name] = (off.abs().amax(0) <= 1)[clear].float().mean().item()
    print(f"{name:>17} of length 1: {unit_hits[name]:.1%}, as they are {hits[name]:.1%}")
outcome("at length 1 learned features find most points", unit_hits["learned features"] > 0.6)
outcome(
    "and more than twice as many as colours",
    unit_hits["learned features"] > 2 * unit_hits["raw colours"],
)

# %% [markdown]
# **Now most points have their highest score at the right place.** Nobody told conv1 to conv3 to make like places alike.
# They were told true flow only, and found that this is what the correlation needs.
#
# FlowNetC itself goes without length 1; its paper does not say why. A length may be of use: it can tell how much there is to
# see at a place. And the network need not take the highest score. The layers after the correlation see all 441 scores of a
# point, and those of its neighbours. So they can find the displacement on which a whole region agrees.

# %% [markdown]
# ## Large displacements
#
# «FlowNetCorr has some problems with large displacements», says the lecture, and asks: «Why do you think authors relate
# the limitation with the correlation layer?»
#
# **Write down an answer** before you unfold this one.
#
# <details><summary>An answer</summary>
#
# The layer compares displacements up to $d$ only. The partner of a point that moves further is not among the scores. And
# frame 2 is seen through the scores alone. So the network can no more than guess: from neighbours, or from the fact that
# nothing within reach fits. FlowNetS has no such limit by its design.
# </details>
#
# That is an argument. Is it so? If it is, the error should begin to grow faster where the motion gets longer than the
# reach, and that place should move when the reach is changed.
#
# Four small networks, alike in all but the reach, and so in the number of scores: `reach-c2`, `reach-c4` and `reach-c8` are FlowNetC with $d$ = 2, 4 and 8
# at stride 1, and `reach-s` is a FlowNetS. They learned from frames of 256 × 320 in which a few chairs and the photograph
# move by any length up to 80 pixels, all equally frequent.
#
# **Guess**: where would you expect the knee of each curve?

# %%
ALIKE = {"reach-s": None, "reach-c2": 2, "reach-c4": 4, "reach-c8": 8}
reaching = {name: zoo.load(name) for name in ALIKE}
for name, points in ALIKE.items():
    reach = f"reaches {layer_size(points, 1, 8)[1]} px" if points else "no correlation"
    print(f"{name:>9}: {reach}")


@torch.no_grad()
def error_by_length(networks, count, width=8, bands=10):
    """Mean end-point errors of visible pixels, by the length of the true motion: [0, 8) px, [8, 16) …

    networks: {name: a network, or None for zero flow} -> {name: list of errors}
    """
    source = rendered("even", size=(256, 320), split="test", seed=7)
    totals, pixels = {name: torch.zeros(bands) for name in networks}, torch.zeros(bands)
    for i in range(0, count, 4):
        p = source.batch(i, 4)
        band = (p.flow.norm(dim=1, keepdim=True) / width).long()
        seen = ~p.occlusion & (band < bands)
        pixels += torch.bincount(band[seen], minlength=bands)
        for name, net in networks.items():
            flow = net(p.image1, p.image2) if net else torch.zeros_like(p.flow)
            totals[name].index_add_(0, band[seen], epe(flow, p.flow, reduction="none")[seen])
    return {name: (total / pixels.clamp(min=1)).tolist() for name, total in totals.items()}


# %% [markdown]
# Only pixels that are visible in both frames count. What is hidden cannot be found by any reach. (In the laptop profile
# this takes half a minute.)

# %%
middles = [4 + 8 * n for n in range(10)]
count = budget(quick=8, laptop=64, gpu=256)
by_length = error_by_length({**reaching, "zero flow": None}, count)
told = "; ".join(f"{n}: " + ", ".join(f"{e:.0f}" for e in es) for n, es in by_length.items())
show(
    figures.curves(
        {name: (middles, errors) for name, errors in by_length.items()},
        "length of the true motion in px",
        "EPE in px, visible pixels",
    ),
    f"End-point error against the length of the true motion, in bands of 8 px up to 80. {told} px.",
)

# %% [markdown]
# To find a knee one need not trust one's eyes. A slope of 0 means: longer motions are found as well as short ones. A slope
# of 1 means: each further pixel of motion is a further pixel of error, as for zero flow. We fit a line to the bands
# below the reach, and one to those above.


# %%
def slope(errors, bands):
    """Pixels of error for each pixel of motion, by a straight line through these bands"""
    at, e = (
        torch.tensor([middles[b] for b in bands]).float(),
        torch.tensor([errors[b] for b in bands]),
    )
    return (((at - at.mean()) * (e - e.mean())).sum() / (at - at.mean()).square().sum()).item()


print(f"{'slope':>9}{'within reach':>14}{'beyond':>8}{'reach-s there':>18}")
for name in list(ALIKE)[1:]:
    first = layer_size(ALIKE[name], 1, 8)[1] // 8  # the first band beyond the reach
    within, beyond = range(first), range(first, 10)
    here = [slope(by_length[name], bands) for bands in (within, beyond)]
    there = [slope(by_length["reach-s"], bands) for bands in (within, beyond)]
    print(f"{name:>9}{here[0]:>14.2f}{here[1]:>8.2f}{there[0]:>10.2f}{there[1]:>8.2f}")

# %% [markdown]
# If the argument is right, each FlowNetC has a higher slope beyond its reach than within it, and FlowNetS, over the same
# bands, has not. Has it?

# %% [markdown]
# Each FlowNetC gets steeper beyond its reach. **But FlowNetS, which has no reach, is steep there, too:** long motions are
# harder for everybody, for to be wrong by a third of one is more pixels. And some of these lines go through two bands
# only. So a knee proves nothing here.
#
# Then compare with FlowNetS itself, band by band. Below zero: FlowNetC is the better one.

# %%
print("EPE minus that of reach-s, in px")
print(f"{'motion in px':>14}" + "".join(f"{f'{m - 4}–{m + 4}':>8}" for m in middles))
for name in list(ALIKE)[1:]:
    gaps = [c - s for c, s in zip(by_length[name], by_length["reach-s"], strict=True)]
    print(f"{name:>14}" + "".join(f"{gap:>+8.1f}" for gap in gaps))
far = {name: sum(by_length[name][6:]) / 4 for name in ALIKE}
told = ", ".join(f"{name} {error:.1f} px" for name, error in far.items())
print(f"mean of the bands from 48 px on: {told}")
outcome(
    "the FlowNetC that reaches furthest finds long motions better than the other two",
    far["reach-c8"] < min(far["reach-c2"], far["reach-c4"]) - 1,
)

# %% [markdown]
# **At long motions the network that reaches 64 px is better than those that reach 16 and 32.** So the lecture's explanation
# fits: where nothing is compared, less is gained. But there is no sharp end at 16 px or at 32 px, and single bands jump:
# whole chairs fall into one, so its pixels go wrong together. (In the quick profile there are only 8 pairs, too few for single bands.)
#
# None of the four is good. Where motion is shortest, all of them are worse than zero flow. These are single runs of 5,000
# steps, of networks with an eighth of the channels. With other dice the numbers change.
#
# <details><summary>Why need the reach not be a wall?</summary>
#
# The reach holds to each side: 16 px to the right *and* 16 px down are 23 px in all, and still within reach.
#
# A feature of conv3 has seen 31 × 31 pixels, so two places match a little even if they are some points apart. Where most
# of a chair is within reach, the rest follows. And the network may learn that *no* high score means a long motion.
# </details>
#
# How much is 31? Each layer adds what its kernel reaches, times the strides before it:

# %%
field, stride_so_far = 1, 1
for kernel_size in (7, 5, 5):  # conv1, conv2, conv3, each with stride 2
    field += (kernel_size - 1) * stride_so_far
    stride_so_far *= 2
print(f"a feature of conv3 has seen {field} × {field} pixels")
outcome("conv3 sees 31 pixels", field == 31)

# %% [markdown]
# ## The networks that come with the course
#
# Minutes are not enough for good flow. These learned longer. They have a quarter of the paper's channels, so that their
# weights fit into the repository. Each has a **card**: how it was trained, and what it was measured to do.

# %%
shipped = {name: zoo.load(name) for name in ("flownet-s", "flownet-c")}
cards = {name: zoo.card(name) for name in shipped}
for name, card in cards.items():
    print(
        f"{name}: {card['parameters']:,} parameters, {card['options']['width']:.0%} of the channels, "
        f"trained for {card['minutes']:.0f} minutes on {card['stages'][0]['hardware']}"
    )

# %%
kinds = [k for k in ("chairs", "things", "real") if k in cards["flownet-s"]["measured"]]
count = {kind: cards["flownet-s"]["measured"][kind]["pairs"] for kind in kinds}
print(f"{'EPE in px':>10}" + "".join(f"{f'{kind}, {count[kind]} pairs':^20}" for kind in kinds))


def told(card, kind, method):
    m = card["measured"].get(kind)
    return f"{m['epe'][method]:.2f} ± {m['standard_error'][method]:.2f}" if m else "–"


for method in ("zero flow", "Farneback", "DIS"):
    if method in cards["flownet-s"]["measured"][kinds[0]]["epe"]:
        cells = (told(cards["flownet-s"], kind, method) for kind in kinds)
        print(f"{method:>10}" + "".join(f"{cell:^20}" for cell in cells))
for name, card in cards.items():
    print(f"{name:>10}" + "".join(f"{told(card, kind, 'net'):^20}" for kind in kinds))
on_real = cards["flownet-s"]["measured"].get("real")
if on_real:
    outcome(
        "trained on this course's pictures only, FlowNetS beats zero flow on those of others",
        on_real["epe"]["net"] < 0.8 * on_real["epe"]["zero flow"],
    )

# %% [markdown]
# Behind the ± is one standard error, which tells how much the pairs differ. All methods had the same pairs, so that two of
# them can be compared more finely than that. *Farneback* and *DIS* are classical methods; nobody trained them. Compare them with
# the networks: DIS, on a processor, is hard to beat for a network of this size with so little training.
#
# Look at the last column, *real*: three pairs of Middlebury, of which two are photographs, a frame of the film Sintel, and two
# pairs of the real FlyingChairs. The network never saw anything of their kind *in motion* while it learned. And yet it finds
# motion there. That is the lecture's finding: **training data need not be realistic.** (Ours has photographs on it, so it is not all fantasy.)
#
# How do they do on the pairs at hand?

# %%
size = budget(quick=(192, 256), laptop=FULL, gpu=FULL)
pairs_compared = budget(quick=2, laptop=12, gpu=24)
fresh = rendered("chairs+things", size=size, split="test", seed=13)
sample = [fresh.batch(i, 1) for i in range(pairs_compared)]
methods = {"zero flow": evaluate.zero}
for name, net in shipped.items():
    methods |= evaluate.networks(name, net)
try:
    evaluate.epic_style(sample[0].image1[0], sample[0].image2[0])
    methods["EpicFlow-style"] = evaluate.epic_style
except CourseError as missing:
    print(missing)
errors = {
    name: [epe(m(p.image1[0], p.image2[0]), p.flow[0], reduction="none")[0] for p in sample]
    for name, m in methods.items()
}
for name, maps in errors.items():
    mean = sum(e.mean().item() for e in maps) / len(maps)
    print(f"{name:>15}: EPE {mean:.2f} px on {len(maps)} pairs")

# %% [markdown]
# ## «Find where FlowNetS is better than EpicFlow»
#
# EpicFlow (CVPR 2015) was not learned. It finds a few reliable matches first. Then it fills in the rest, and stops at the
# edges of the image: flow mostly jumps where the picture does.
#
# OpenCV has a method of its style: matches by Lucas and Kanade's tracker, then EpicFlow's interpolation
# (`calcOpticalFlowSparseToDense`). It is not EpicFlow: the paper's matches are better, and it polishes the flow at the
# end. Move the slider and look for a pattern. *Better* means: by more than a pixel.

# %%
rival = "EpicFlow-style" if "EpicFlow-style" in methods else "zero flow"


def compare_with_rival(pair):
    named = {"FlowNetS": errors["flownet-s"][pair], rival: errors[rival][pair]}
    return draw_correlation.versus(sample[pair].image1[0], named)


explore(
    compare_with_rival,
    f"Pair {{pair}}: frame 1, the error maps of FlowNetS and of {rival}, and where each is better than the other by more than a pixel.",
    pair=(0, pairs_compared - 1, 1),
)

# %% [markdown]
# Is there a pattern? Cut the pixels into groups. *Near edges* means: not further than 8 pixels from a jump of the true
# motion.

# %%
flow = torch.cat([p.flow for p in sample])
hidden = torch.cat([p.occlusion for p in sample])[:, 0]
length = flow.norm(dim=1)
jump = F.pad((flow[..., 1:] - flow[..., :-1]).norm(dim=1), [0, 1]) > 1
jump |= F.pad((flow[..., 1:, :] - flow[..., :-1, :]).norm(dim=1), [0, 0, 0, 1]) > 1
near = F.max_pool2d(jump[:, None].float(), 17, 1, 8)[:, 0] > 0
groups = {
    "hidden": hidden,
    "near edges": near & ~hidden,
    "slow": ~near & ~hidden & (length < 5),
    "medium": ~near & ~hidden & (length >= 5) & (length < 20),
    "fast": ~near & ~hidden & (length >= 20),
}
groups = {name: mask for name, mask in groups.items() if mask.float().mean() > 0.01}
shares = ", ".join(f"{name} {mask.float().mean():.0%}" for name, mask in groups.items())
print(f"parts of all pixels: {shares}")
print(f"{'EPE in px':>15}" + "".join(f"{name:>12}" for name in groups))
for name, maps in errors.items():
    stacked = torch.stack(maps)
    cells = (stacked[mask].mean().item() for mask in groups.values())
    print(f"{name:>15}" + "".join(f"{cell:>12.2f}" for cell in cells))

# %%
ours, theirs = (torch.stack(errors[name]) for name in ("flownet-s", rival))
for name, mask in groups.items():
    wins = ((theirs - ours)[mask] > 1).float().mean().item()
    loses = ((ours - theirs)[mask] > 1).float().mean().item()
    print(f"{name:>12}: FlowNetS better at {wins:.0%}, {rival} better at {loses:.0%}")

# %% [markdown]
# See the means above, too: against such a method a thin network with little training has a hard time. In which group is
# it closest, or ahead? A method that interpolates matches has none where a point is hidden, or where the tracker loses
# it. A network has seen many such places, and may have learned what is likely there.
#
# ## «Find where FlowNetC is better than FlowNetS»
#
# The same view for the two FlowNets:

# %%
duel = {name: errors[name] for name in shipped}


def compare_both(pair):
    named = {name: e[pair] for name, e in duel.items()}
    return draw_correlation.versus(sample[pair].image1[0], named)


explore(
    compare_both,
    "Pair {pair}: frame 1, the error maps of FlowNetS and FlowNetC, and where each is better than the other by more than a pixel.",
    pair=(0, pairs_compared - 1, 0),
)

# %%
by_s, by_c = (torch.stack(duel[name]) for name in ("flownet-s", "flownet-c"))
for name, mask in groups.items():
    c_better = ((by_s - by_c)[mask] > 1).float().mean().item()
    s_better = ((by_c - by_s)[mask] > 1).float().mean().item()
    print(f"{name:>12}: FlowNetC better at {c_better:.0%}, FlowNetS better at {s_better:.0%}")

# %% [markdown]
# In which group does FlowNetC win most? And is that enough to make it the better network?
#
# Then look once more at the table of the cards. There FlowNetC is ahead on chairs and on things, and FlowNetS on the real
# pairs. The lecture says so, too: **it depends on the data set which of the two is better.** (And on the training: our two had
# neither equal steps nor equal stages, as their cards tell. With standard errors as large as these, a few pairs decide
# nothing.)

# %% [markdown]
# ## And on real pairs?
#
# Where real pairs are at hand, this cell measures on them and prints numbers only. Otherwise it takes a rendered one.

# %%
try:
    real = evaluate.pairs_of("real", budget(quick=2, laptop=6, gpu=12))
except CourseError:
    print("no real pairs here; a rendered pair takes their place")
    real = evaluate.pairs_of("things", 1)
for s in real:
    line = {n: epe(m(s.image1, s.image2), s.flow, s.valid).item() for n, m in methods.items()}
    print(f"{s.name}: " + ", ".join(f"{name} {error:.2f} px" for name, error in line.items()))

# %% [markdown]
# ## Your own pictures
#
# Take two pictures shortly after each other, or a short clip, and choose them with the button. (In a saved or printed
# notebook there is no button.) At first you see a rendered pair. There is no truth for your pictures. So look at
# *frame 2 brought back*: where the flow is right, it looks like frame 1.
#
# The pictures stay on the machine on which this notebook runs. Do not hand in a notebook with pictures of people who do
# not want that.

# %%
guide = shipped["flownet-s"]  # which is ahead on real pairs


def flow_of(image1, image2):
    """image1, image2: (3, H, W) in [0, 1] -> flow (2, H, W), in pixels"""
    with torch.no_grad():
        return guide(image1[None], image2[None])[0]


def look_at_yours(image1, image2):
    flow = flow_of(image1, image2)
    pictures = {"frame 1": image1, "frame 2": image2, "flow": flow}
    pictures["frame 2 brought back"] = warp_back(image2, flow)
    return draw.panels(pictures, 5, width=2.1)


upload_pair(
    look_at_yours,
    frame1[0],
    frame2[0],
    "Two frames, the flow that the network finds, and frame 2 brought back by it.",
)

# %% [markdown]
# <details><summary>It finds nothing, or nonsense. Why?</summary>
#
# Large pictures are reduced to 512 pixels, so small things vanish. Very long motions were rare in the training. Walls and
# sky have nothing to match. And light that changes looks like motion.
# </details>

# %% [markdown]
# ## How many weights?
#
# The networks of the paper, at full width. Only shapes are made here, so it takes no memory:

# %%
with torch.device("meta"):
    full = {"FlowNetS": FlowNetS(), "FlowNetC": FlowNetC()}
released = {"FlowNetS": 38_676_506, "FlowNetC": 39_175_298}
lecture = {"FlowNetS": 32_070_472, "FlowNetC": 32_561_032}
for name, net in full.items():
    count = sum(p.numel() for p in net.parameters())
    print(f"{name}: {count:,} as released; the lecture's table says {lecture[name]:,}")
    outcome(f"{name} has as many parameters as the released one", count == released[name])

# %% [markdown]
# FlowNetC has hardly more weights than FlowNetS. Its correlation has none. What it adds is that conv3_1 sees 473 channels,
# 441 scores and 32 features, instead of 256.
#
# <details><summary>Where do the lecture's numbers come from?</summary>
#
# From the SPyNet paper. No released FlowNet has them. They come out exactly if one counts like this (that it was
# counted so, is our guess):
#
# - the way down has the nine convolutions of the figure in FlowNet's paper, without conv6_1: 14,612,544 parameters for S,
#   and 15,103,104 for C, whose 1 × 1 convolution for the 32 features (8,224) is left out,
# - the way up has 17,457,928 in both: up-convolutions of 5 × 5, without skips, and a flow from each by a 1 × 1 convolution.
#
# The sums are 32,070,472 and 32,561,032.
# </details>

# %% [markdown]
# ## Your points

# %%
progress()

# %% [markdown]
# ## Questions
#
# <details><summary>«Can optic flow estimation be learned?»</summary>
#
# Yes: you saw it. It takes labelled pairs, and these can be made.
# </details>
#
# <details><summary>«FlowNetCorr slightly overfits the training data.» How could more help lead to that?</summary>
#
# A layer that compares makes it easier to fit the kind of motion and the kind of pictures that occur in the training. If
# the exam has other motions, such as longer ones or blurred ones, the advantage can turn round. Neither the lecture nor
# this notebook proves that this is the reason.
# </details>
#
# <details><summary>Could the correlation layer have weights of its own?</summary>
#
# One could put a matrix between the two vectors. But conv3 stands right before it and can learn any such change. So
# nothing would be gained but parameters.
# </details>
#
# <details><summary>Both frames go through the same conv1 to conv3. What if each had its own?</summary>
#
# Then like places need not get like vectors: the two would have to learn a common language first. With the same weights
# they have one from the beginning.
# </details>
#
# <details><summary>The course's FlowNetC learned in windows of 128 × 128 pixels, and did well on such windows. On frames of 384 × 512 it
# was then worse than zero flow. Why?</summary>
#
# Such a window has 16 × 16 points. Most of the 441 displacements lead out of it, to where frame 2 counts as zero. So
# their scores are nearly always zero, and the weights behind them learn nothing: they keep what chance gave them. In a
# large frame those scores are no longer zero, and chance has its say. A last stage of the training, on nearly whole frames,
# mended it. That a convolution takes every size does not mean that a network has learned for every size.
# </details>
#
# <details><summary>Why not compare all points with all points, since one product does it?</summary>
#
# For a frame of 384 × 512 that is 3,072 scores for each of 3,072 points: as channels of a convolution too many. RAFT (2020)
# does compute them all, once, and then looks up only those near the present flow.
# </details>

# %% [markdown]
# ## What to take away
#
# - Who makes the frames knows the flow. Training data need not be realistic.
# - Warping goes backward: for each pixel of frame 1, fetch from frame 2.
# - A weight of a loss means nothing without its reduction, sum or mean.
# - FlowNetS stacks the frames and finds out everything. FlowNetC compares features, by a layer without weights.
# - $k$ is the size of the patch (a single point in FlowNet), $d$ the greatest displacement. What is further than $d$ is
#   not compared.
# - The cost grows with the square of the reach. Pyramids (notebook 7) are one way out.
#
# ## Further reading
#
# - A. Dosovitskiy et al., *FlowNet: Learning Optical Flow with Convolutional Networks*, ICCV 2015, [arXiv
#   1504.06852](https://arxiv.org/abs/1504.06852): both networks and FlyingChairs.
# - N. Mayer et al., *A Large Dataset to Train Convolutional Networks for Disparity, Optical Flow, and Scene Flow
#   Estimation*, CVPR 2016, [arXiv 1512.02134](https://arxiv.org/abs/1512.02134): FlyingThings3D.
# - D. Butler, J. Wulff, G. Stanley, M. Black, *A Naturalistic Open Source Movie for Optical Flow Evaluation*, ECCV 2012:
#   Sintel.
# - J. Revaud, P. Weinzaepfel, Z. Harchaoui, C. Schmid, *EpicFlow: Edge-Preserving Interpolation of Correspondences for
#   Optical Flow*, CVPR 2015, [arXiv 1501.02565](https://arxiv.org/abs/1501.02565).
# - S. Baker et al., *A Database and Evaluation Methodology for Optical Flow*, IJCV 2011: Middlebury, end-point error, and the
#   colour wheel.
# - Z. Teed, J. Deng, *RAFT: Recurrent All-Pairs Field Transforms for Optical Flow*, ECCV 2020, [arXiv
#   2003.12039](https://arxiv.org/abs/2003.12039): all pairs at once.
# - The data and their licences: `data/README.md`.
