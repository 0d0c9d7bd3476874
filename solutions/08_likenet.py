# %% [markdown]
# # 8 · LikeNet: flow without ground truth
#
# **About two and a half hours**, more than half of it exercises. Afterwards you can
#
# - turn motion into a classification, and say what that costs,
# - write a loss that sees two images and no flow,
# - read the likelihood map of a pixel, and see the aperture problem in it,
# - train a network on images alone, and say what such a loss can and cannot teach.
#
# Stuck? `hint("likenet.jsd")` helps; to go on without an answer of your own: `use_library("likenet.jsd")`.
#
# You need softmax and cross-entropy, the end-point error, backward warping, and the pyramid (notebook 7).

# %% tags=["bootstrap"]

# %%
import sys
import time

import torch
import torch.nn.functional as F
from tqdm import tqdm

from cvdl import (
    budget,
    check,
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
from cvdl.course.notebook.peak_memory import PeakMemory
from cvdl.errors import CourseError
from cvdl.flow import LikeNet, epe, evaluate, likelihood
from cvdl.flow.data.chairs import Chairs
from cvdl.flow.data.rendered import rendered
from cvdl.flow.description import describe
from cvdl.flow.plotting import draw, draw_likelihood
from cvdl.settings import data_path
from cvdl.train.runs import read_log, running_mean

# %% [markdown]
# ## A belief to lose
#
# FlowNet and SPyNet learn from pairs of frames *with the true flow*. Here is what a camera gives us:

# %%
FULL = (384, 512)  # height and width of FlyingChairs' frames
pair = Chairs(size=FULL, split="test", seed=7).pairs([2])
frame1, frame2 = pair.image1, pair.image2
shown = {"frame 1": F.avg_pool2d(frame1, 2)[0], "frame 2": F.avg_pool2d(frame2, 2)[0]}
show(
    draw.panels(shown, width=2.7),
    "Frame 1 and frame 2: chairs over a photograph. A true flow is not given.",
)

# %% [markdown]
# Two frames, and nothing else. Nobody can measure where each point of a real video has gone. So, it seems,
# **without true flow there is nothing to learn from.** Is that so?
#
# The lecture asks: «We don't have ground truth to compare with! Loss?»
#
# **Write down an idea.** What could you compare, if all you have are two frames and a flow that a network says?
#
# <details><summary>One idea</summary>
#
# A point looks alike in both frames. So compare what stands at $x$ in frame 1 with what stands at $x + m$ in
# frame 2. If $m$ is right, the two are alike. That needs no truth.
#
# LikeNet (Ahmadi, Marras and Patras, BMVC 2018) is built on it. This notebook builds it.
# </details>

# %% [markdown]
# ## Motion as a class
#
# FlowNet *regresses*: two numbers for each pixel. LikeNet *classifies*: it has a list of motions, and says for
# each pixel how probable each of them is. $L_i = m$ means: pixel $i$ has the motion $m$.
#
# <details><summary>«Motion should be quantised!» Why?</summary>
#
# A softmax needs a finite list of classes. Motion is continuous, so we keep whole-numbered ones only.
#
# In return the network can say «either this or that». Where two motions fit equally well, a regression answers
# with their mean, which does not fit at all.
# </details>

# %% [markdown]
# > **Exercise 1 · `likenet.candidates`** · easy · 10 minutes · 10 points
# >
# > Make the set $M$: all $(d_x, d_y)$ with both from `-reach` to `reach`. $d_y$ changes slowest. As in reading,
# > the first row is the topmost: y points down.
# >
# > *You get 36 instead of 49?* `range` ends before its end.


# %%
@exercise("likenet.candidates", points=10)
def candidates(reach):
    """-> (n², 2) whole numbers (torch.long), n = 2 · reach + 1; each row is (dx, dy)"""
    ### BEGIN SOLUTION
    motions = []
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            motions.append((dx, dy))
    return torch.tensor(motions)
    ### END SOLUTION


# %%
check("likenet.candidates")

# %% tags=["expect"]
M = candidates(1)
print(M.tolist())
print(f"reach 3: {len(candidates(3))} candidates")

# %% [markdown]
# Nine candidates, in the order of reading. The one in the middle stands still.

# %% [markdown]
# ### What does quantising cost?
#
# We round the true flow of some pairs to whole pixels. No classifier that picks *one* candidate can be better.

# %%
known = rendered("chairs", size=(192, 256), split="test", seed=7).batch(0, 8).flow
cost_of_rounding = epe(known.round(), known).item()
moving = known.norm(dim=1, keepdim=True) > 0.5
cost_moving = epe(known.round(), known, moving).item()
print(f"end-point error of the rounded truth: {cost_of_rounding:.2f} px")
print(f"where something moves by more than half a pixel: {cost_moving:.2f} px")
outcome("rounding costs between a fifth and a half of a pixel", 0.2 < cost_moving < 0.5)

# %% [markdown]
# Somewhat more than a third of a pixel. (If all fractions are equally frequent, the mean is .38.) For a motion of
# ten pixels that is little. For one of a tenth of a pixel it is all.

# %% [markdown]
# ### How many classes?
#
# LikeNet has a **branch** for each candidate: a small network that gives it a score. The lecture asks: «How many
# branches would be required for 50 values in $t_x$ and $t_y$ each?» (Its $t_x$, $t_y$ are our $d_x$, $d_y$.)
#
# LikeNet goes from coarse to fine instead, as SPyNet does: «# branches: 121, 169, 49, 9, 9». At each scale it asks
# only for what the coarser ones have left over. Each number is that of a square:

# %%
REACHES, STEPS = (5, 6, 3, 1, 1), (16, 8, 4, 2, 1)
row = [len(candidates(reach)) for reach in REACHES]
for reach, step, count in zip(REACHES, STEPS, row, strict=True):
    side = 2 * reach + 1
    print(
        f"scale 1/{step}: {side} × {side} = {count} candidates, {reach} px of the scale to each side"
    )
show(
    draw_likelihood.squares(REACHES, STEPS),
    "The candidates of five scales as dots, in full-size pixels. At 1/16 they are 16 px apart and fill a square of "
    "± 80 px; at 1/8, 8 px apart, ± 48 px; the right half shows the middle, where those at 1/4, 1/2 and 1 are 4, 2 "
    "and 1 px apart.",
)

# %% [markdown]
# Coarse dots reach far, fine ones are exact. A scale refines within the gaps of the coarser one. (And beyond: at
# 1/8 it can go 48 pixels to each side, where the gap is 16.)
#
# > **Exercise 2 · `likenet.branches`** · easy · 10 minutes · 10 points
# >
# > Fill in the numbers. *Reach* is how far all five scales together can go to one side, in full-size pixels.
# > The last one: how many branches would a single scale need, at full size, to reach as far?


# %%
@exercise("likenet.branches", points=10)
def count_branches():
    """Write a number in place of each `...`."""
    ### BEGIN SOLUTION
    return {
        "50 values in t_x and t_y each": 50 * 50,
        "branches in the whole row": 121 + 169 + 49 + 9 + 9,
        "different values of d_x at 1/8": 13,
        "reach in full-size pixels": 5 * 16 + 6 * 8 + 3 * 4 + 1 * 2 + 1 * 1,
        "one scale with that reach": (2 * 143 + 1) ** 2,
    }
    ### END SOLUTION


# %%
check("likenet.branches")

# %% [markdown]
# <details><summary>«More branches at lowest resolution»: is it so?</summary>
#
# Nearly. The row is 121, 169, 49, 9, 9. From the second number on it falls. But 121 is less than 169. If the
# first number belongs to the lowest resolution, the sentence does not hold for it.
#
# Which number belongs to which resolution the lecture does not say. That 121 is at 1/16 is our guess.
# </details>

# %% [markdown]
# ## How alike are two places?
#
# Now the heart of it. For each pixel $i$ and each candidate $m$ we want a number $D(i, m)$: small if frame 2 at
# $x_i + m$ looks like frame 1 at $x_i$.
#
# The lecture describes a pixel by a **distribution** $F$ over channels, and compares two of them by the
# *Jensen-Shannon divergence*. First a picture. Take the distribution (0.9, 0.1) and compare it with $(a, 1 - a)$:

# %%
a = torch.linspace(0, 1, 101)
fixed, other = torch.tensor([[0.9], [0.1]]), torch.stack([a, 1 - a])
middle = (fixed + other) / 2
to_middle = [torch.xlogy(p, p / middle).sum(0) for p in (fixed, other)]
plain_kl = torch.xlogy(fixed, fixed / other.clamp(min=1e-4)).sum(0)
show(
    figures.curves(
        {
            "Jensen-Shannon": (a.tolist(), ((to_middle[0] + to_middle[1]) / 2).tolist()),
            "Kullback-Leibler": (
                a.tolist(),
                plain_kl.where(plain_kl < 1.4, torch.nan).tolist(),
            ),
        },
        "a",
        "difference to (0.9, 0.1)",
        [("ln 2", 0.6931)],
    ),
    "Two curves over a from 0 to 1. Both are 0 at a = 0.9. Kullback-Leibler leaves the picture towards a = 0 and rises steeply "
    f"at a = 1, Jensen-Shannon stays below ln 2: {((to_middle[0] + to_middle[1]) / 2)[0]:.2f} at a = 0.",
)

# %% [markdown]
# Both are 0 where the distributions agree. But Kullback-Leibler becomes infinite where the other one is zero. One
# such pixel would outweigh the whole picture. Jensen-Shannon goes through the *middle*, and stays below
# $\ln 2$:
#
# $$\text{JSD}(p \,\|\, q) = \tfrac12 \sum_c p_c \ln \frac{p_c}{r_c} + \tfrac12 \sum_c q_c \ln \frac{q_c}{r_c}, \qquad r = \tfrac12 (p + q)$$
#
# > **Exercise 3 · `likenet.jsd`** · medium · 15 minutes · 15 points
# >
# > Write it. The channels $c$ are axis 1. Where $p_c$ is 0, its term counts as 0. The same for $q_c$.
# >
# > *You get NaN?* 0 · log 0 is NaN for the computer, and so is 0 / 0. Clamp $p$, $q$ and $r$ *before* you divide:
# > `p.clamp(min=1e-30)`.


# %%
@exercise("likenet.jsd", points=15)
def jsd(p, q):
    """p, q: (B, C, …), each a distribution over axis 1 -> (B, …), between 0 and ln 2"""
    ### BEGIN SOLUTION
    r = (p + q) / 2

    def kl(a):
        ratio = a.clamp(min=1e-30) / r.clamp(min=1e-30)
        return (a * ratio.log()).sum(1)

    return kl(p) / 2 + kl(q) / 2
    ### END SOLUTION


# %%
check("likenet.jsd")

# %% tags=["expect"]
some = [torch.tensor([[0.9, 0.1]]), torch.tensor([[0.5, 0.5]]), torch.tensor([[0.0, 1.0]])]
for p in some:
    print([round(jsd(p, q).item(), 3) for q in some])
print(f"ln 2 = {torch.tensor(2.0).log().item():.3f}")

# %% [markdown]
# Zeros on the diagonal: nothing differs from itself. The table is symmetric. All of it is below $\ln 2$.
#
# (SciPy's `jensenshannon` returns the square root of it. Remember that if you compare.)

# %% [markdown]
# ### From a picture to distributions
#
# Take some filters, any filters. Their answers at a pixel, put through a softmax over the channels, are a
# distribution. A **temperature** $\tau$ divides them first: a low one lets the strongest filter win.
#
# > **Exercise 4 · `likenet.distance`** · hard · 20 minutes · 15 points
# >
# > $D(i, m) = \text{JSD}\big(F(x_i + m, t + dt) \,\|\, F(x_i, t)\big)$ for all candidates. `p` is $F$ of frame 1,
# > `q` that of frame 2. For each candidate shift `q`, then compare. Where $x_i + m$ is outside the frame, there is
# > nothing to compare with: set $D$ to $\ln 2$.
# >
# > `F.pad(q, [reach] * 4)` puts a border of zeros around `q`; then each shift is a slice. (That `F` is PyTorch's, not
# > the distribution.) Do the same with a map of ones, and you see where a candidate has left the frame.
# >
# > *The minimum lies on the opposite side?* Then you shift the wrong way: the point *goes to* $x + m$.


# %%
@exercise("likenet.distance", points=15)
def distances(p, q, reach):
    """p, q: (B, C, h, w), distributions over axis 1 -> D (B, n², h, w), candidates in the order of `candidates`"""
    ### BEGIN SOLUTION
    h, w = p.shape[-2:]
    beyond = torch.log(torch.tensor(2.0))
    wide = F.pad(q, [reach] * 4)
    inside = F.pad(torch.ones_like(p[:, 0]), [reach] * 4)
    D = []
    for dx, dy in candidates(reach).tolist():
        window = (..., slice(reach + dy, reach + dy + h), slice(reach + dx, reach + dx + w))
        D.append(torch.where(inside[window] > 0, jsd(p, wide[window]), beyond))
    return torch.stack(D, dim=1)
    ### END SOLUTION


# %%
check("likenet.distance")


# %% [markdown]
# To see what it does, we draw a scene of our own: a texture on the left, a plain wall, and a dark shape with a
# slanted edge. Everything moves by (3, -2): to the right and up. A little noise is on both frames, as in each
# camera.


# %%
def drawn_scene(dx=3, dy=-2, noise=0.01):
    """Frame 1 and frame 2, grey, (1, 1, 56, 84)"""
    g = torch.Generator().manual_seed(0)
    H, W = 56, 84
    y, x = torch.meshgrid(torch.arange(H + 16.0), torch.arange(W + 16.0), indexing="ij")
    scene = 0.75 - 0.45 * torch.sigmoid(2 * (x - 64 + (y - 36) / 2))
    texture = F.avg_pool2d(torch.rand(1, 1, H + 18, W + 18, generator=g), 3, 1)[0, 0]
    scene = torch.where(x < 34, 0.1 + 0.8 * texture, scene)
    frames = scene[8 : 8 + H, 8 : 8 + W], scene[8 - dy : 8 - dy + H, 8 - dx : 8 - dx + W]
    return [(f + noise * torch.randn(f.shape, generator=g))[None, None] for f in frames]


def as_distributions(grey, temperature=0.3):
    """The 3 × 3 greys around each pixel as a distribution, (B, 1, h, w) -> (B, 9, h, w)"""
    return likelihood.distributions(likelihood.patches((grey - 0.45) / 0.23), temperature)


one, two = drawn_scene()
places = {"texture": (13, 28), "edge": (56, 28), "wall": (38, 28)}

# %% tags=["expect"]
R = 5  # reach: 121 candidates
D = distances(as_distributions(one), as_distributions(two), R)
x, y = places["texture"]
least = D[0, :, y, x].argmin()
print(f"D: {tuple(D.shape)}")
print(f"at the texture D is least for the candidate {candidates(R)[least].tolist()}")

# %% [markdown]
# At the texture the least $D$ is at the true motion. And elsewhere?

# %% [markdown]
# ## The likelihood map of a pixel
#
# We turn $D$ into a likelihood, $\exp(-D/T)$, normalised over the candidates. High means: this motion fits. $D$
# is averaged over 3 × 3 pixels first, against the noise.


# %%
def likelihood_map(D, x, y, T=0.01):
    """The candidates' likelihoods at a pixel: (n²,), sums to 1"""
    return (-D[0, :, y, x] / T).softmax(0)


def entropy(p):
    """How undecided: 0 if one candidate has it all, ln n² if all are alike"""
    return (-torch.xlogy(p, p)).sum().item()


D = F.avg_pool2d(D, 3, 1, 1)
at_place = {name: likelihood_map(D, *xy) for name, xy in places.items()}
lettered = {"A": at_place["edge"], "B": at_place["wall"], "C": at_place["texture"]}
show(
    draw_likelihood.scene(one[0].expand(3, -1, -1), places, "frame 1; all moves by (3, -2)"),
    "A drawn scene with three marked pixels: in a texture on the left, on a light wall in the middle, and on the slanted edge "
    "of a dark shape on the right.",
)
show(
    draw_likelihood.maps(lettered),
    "Three maps of 11 × 11 candidates. A has a bright ridge that runs from the lower left to the upper right, B is bright all "
    "over, C has one bright spot.",
)

# %% [markdown]
# > **Exercise 5 · `likenet.aperture`** · easy · 10 minutes · 10 points
# >
# > Which map belongs to which of the three marked pixels?


# %%
@exercise("likenet.aperture", points=10)
def match_maps():
    """A, B, C: "texture", "edge" or "wall".  The ridge: "the edge's direction" or "the true motion's direction".

    The last: "A", "B" or "C", the one whose pixel can be matched without its neighbours' help.
    """
    ### BEGIN SOLUTION
    return {
        "A": "edge",
        "B": "wall",
        "C": "texture",
        "what the ridge of A shows": "the edge's direction",
        "which can be matched by itself": "C",
    }
    ### END SOLUTION


# %%
check("likenet.aperture")

# %% [markdown]
# Does it hold in numbers? *Undecided* is the entropy of a map. The *axis* is the direction in which it is widest:


# %%
def main_axis(p):
    """Direction of the greatest spread of a likelihood map: a unit vector (x, y), y not negative"""
    spots = likelihood.candidates(round(len(p) ** 0.5) // 2).float()
    centred = spots - p @ spots
    axis = torch.linalg.eigh((centred.T * p) @ centred)[1][:, 1]
    return axis * (1 if axis[1] >= 0 else -1)


undecided = {name: entropy(p) for name, p in at_place.items()}
for name, value in undecided.items():
    print(f"{name:>8}: {value:.2f} of at most {torch.tensor(121.0).log():.2f}")
axis, along = main_axis(at_place["edge"]), F.normalize(torch.tensor([-0.5, 1.0]), dim=0)
angle = torch.rad2deg(torch.arccos((axis @ along).abs().clamp(max=1))).item()
print(f"the ridge and the edge differ by {angle:.1f}°")
outcome(
    "wall, then edge, then texture",
    undecided["wall"] > undecided["edge"] + 0.5 > undecided["texture"] + 1,
)
outcome("the ridge runs along the edge", angle < 10)

# %% [markdown]
# That is the **aperture problem**. Through a small hole one sees only the motion *across* an edge; along it
# everything looks the same. On a wall one sees nothing. A classifier can say so: it has a whole map to say it
# with. A regression has two numbers.

# %% [markdown]
# ### Look for yourself
#
# Now a rendered pair, at 1/8 of its size, and a network that was trained without truth. On the left the
# surroundings of a pixel, then $\exp(-D/T)$, then the network's own $P$. The cross is the true motion, as far as it
# is left over from the coarser scale.
#
# The $D$ of this network compares *random* features: filters of 9 × 9 pixels that nobody trained. It averages $D$ over
# 13 × 13 pixels. Why that works, we will see.

# %%
net = zoo.load("likenet")
card = zoo.card("likenet")
print(f"{card['parameters']:,} parameters at {net.width:.0%} of the channels")
print(f"trained for {card['minutes']:.0f} minutes, on images only")


@torch.no_grad()
def coarse_scales(net, image1, image2):
    """(P, D, flow so far in pixels of the scale) at 1/8, the second coarsest scale, of full-size images"""
    small = [F.avg_pool2d(image, 8) for image in (image1, image2)]
    net.active = 2  # images are at the scale of the last one in use
    (flow, P, D), _ = net.scales(*small)
    net.active = 5
    return small[0], P, D, flow - likelihood.expected(P)


small, P8, D8, so_far = coarse_scales(net, frame1, frame2)
left_over = F.avg_pool2d(pair.flow, 8) / 8 - so_far
T8 = 0.001

# %% [markdown]
# Which pixels are on texture, on an edge, on a wall? The picture tells. Around a pixel of texture the grey changes
# along both axes, at an edge along one, on a wall along none. We leave out pixels whose true motion is not among the
# candidates, or whose neighbours move otherwise.

# %%
slopes = likelihood.gradients(likelihood.grey(small))[:, [0, 2]]
products = torch.stack([slopes[:, 0] ** 2, slopes[:, 1] ** 2, slopes[:, 0] * slopes[:, 1]], 1)
xx, yy, xy = F.avg_pool2d(products, 9, 1, 4)[0]  # together: the structure tensor
half, root = (xx + yy) / 2, ((xx - yy) ** 2 / 4 + xy**2).sqrt()
strong, weak = half + root, half - root  # how much the picture changes along its two axes
inner = torch.zeros_like(strong, dtype=torch.bool)
inner[8:-8, 8:-8] = True
inner &= left_over[0].norm(dim=0) < 5  # the true motion is among the candidates
spread = F.max_pool2d(left_over, 5, 1, 2) + F.max_pool2d(-left_over, 5, 1, 2)
inner &= spread[0].norm(dim=0) < 1  # and neighbours move alike


def at_most(measure, share):
    """The lowest `share` of the inner pixels"""
    return inner & (measure <= measure[inner].quantile(share))


kinds_of_place = {
    "texture": at_most(-weak, 0.15),  # changes along both axes
    "edge": at_most(-strong, 0.4) & (weak < 0.1 * strong),  # along one
    "wall": at_most(strong, 0.15),  # along none
}

# %% [markdown]
# We begin with the pixel that is most typical of its kind.

# %%
spots = {}
for name, measure in (("texture", weak), ("edge", strong), ("wall", -strong)):
    best = measure.masked_fill(~kinds_of_place[name], -torch.inf).argmax().item()
    spots[name] = (best % small.shape[-1], best // small.shape[-1])


def look_at(place, right, down):
    x, y = spots[place][0] + right, spots[place][1] + down
    fits, says = likelihood_map(D8, x, y, T8), P8[0, :, y, x]
    pictures = {
        f"exp(-D/T): undecided {entropy(fits):.1f}": fits,
        f"the network's P: {entropy(says):.1f}": says,
    }
    return draw_likelihood.place(small[0], x, y, pictures, left_over[0, :, y, x].tolist())


explore(
    look_at,
    "Surroundings of a pixel ({place}, moved by {right} to the right and {down} down), the likelihood of its 169 candidates "
    "by D, and the network's probabilities, with a cross at the true motion.",
    place=list(spots),
    right=(-6, 6, 0),
    down=(-6, 6, 0),
)

# %% [markdown]
# Try *edge* and move along it, then across. Try *wall*. The network may be more decided than $D$: it sees further.
#
# Three pixels prove nothing. So all pixels of each kind: how undecided is $D$ there, and how undecided is the network?

# %%
all_fits = (-D8[0] / T8).softmax(0)
mean_entropy = {}
print(f"{'':>8}{'pixels':>8}{'by D':>8}{'by the network':>16}   (at most 5.1)")
for name, mask in kinds_of_place.items():
    by_D, by_net = (-torch.xlogy(p, p).sum(0)[mask].mean().item() for p in (all_fits, P8[0]))
    mean_entropy[name] = by_D
    print(f"{name:>8}{int(mask.sum()):>8}{by_D:>8.2f}{by_net:>16.2f}")
edge_turn = 0.5 * torch.atan2(2 * xy, xx - yy) + torch.pi / 2  # the edge runs across the slope
off = []
for y, x in kinds_of_place["edge"].nonzero().tolist():
    along = torch.stack([edge_turn[y, x].cos(), edge_turn[y, x].sin()])
    likeness = (main_axis(all_fits[:, y, x]) @ along).abs().clamp(max=1)
    off.append(torch.rad2deg(torch.arccos(likeness)).item())
off_by = sorted(off)[len(off) // 2]
print(f"at edges, ridge and edge differ by {off_by:.0f}° (median)")
outcome(
    "walls are more undecided than edges, and edges than texture",
    mean_entropy["wall"] > mean_entropy["edge"] + 0.5 > mean_entropy["texture"] + 1,
)
outcome("here, too, the ridge runs along the edge", off_by < 25)

# %% [markdown]
# For $D$ the same order as in the drawn scene. The network is sure nearly everywhere. That says how sure it is, not
# whether it is right.

# %% [markdown]
# ## Probabilities
#
# The network gives each candidate a **score**. A softmax turns scores into $P$. But a candidate that leaves the
# frame is not allowed: nobody can say whether it fits.
#
# > **Exercise 6 · `likenet.probabilities`** · medium · 15 minutes · 10 points
# >
# > Softmax over the candidates that are allowed. The others get exactly 0. Where *nothing* is allowed (the flow so far
# > points far outside already), all of $P$ is 0, without a NaN, and without a NaN in the gradient.
# >
# > *NaN in the gradient only?* A NaN that is overwritten later still reaches the gradient. Use a very low *finite* number
# > in place of $-\infty$, and multiply by `free` at the end.


# %%
@exercise("likenet.probabilities", points=10)
def probabilities(scores, free):
    """scores: (B, n², h, w), free: bool, the same shape, True where allowed -> P, the same shape"""
    ### BEGIN SOLUTION
    low = torch.full_like(scores, -1e30)
    masked = torch.where(free, scores, low)
    P = torch.softmax(masked, dim=1)
    return P * free
    ### END SOLUTION


# %%
check("likenet.probabilities")

# %% tags=["expect"]
scores = torch.tensor([2.0, 1.0, 5.0]).view(1, 3, 1, 1)
for allowed in ([True, True, False], [False, False, False]):
    free = torch.tensor(allowed).view(1, 3, 1, 1)
    P = probabilities(scores, free).flatten()
    print(allowed, [round(v, 3) for v in P.tolist()])

# %% [markdown]
# The third candidate has the best score, and gets nothing: it is not allowed.

# %% [markdown]
# ### From probabilities to a flow
#
# > **Exercise 7 · `likenet.expected`** · easy · 10 minutes · 10 points
# >
# > The flow is the *expected* motion: $\sum_m P(m)\, m$ at each pixel. (A mean again? Yes. More below.)
# >
# > *Only whole numbers come out?* That is the likeliest candidate. Take the weighted mean of all.


# %%
@exercise("likenet.expected", points=10)
def expected_motion(P, M):
    """P: (B, n², h, w), M: (n², 2) floats, rows (dx, dy) -> flow (B, 2, h, w)"""
    ### BEGIN SOLUTION
    dx, dy = M[:, 0], M[:, 1]
    u = (P * dx[None, :, None, None]).sum(1)
    v = (P * dy[None, :, None, None]).sum(1)
    return torch.stack([u, v], dim=1)
    ### END SOLUTION


# %%
check("likenet.expected")

# %% tags=["expect"]
M = candidates(3).float()


def belief(**chances):
    """P of one pixel from {right_of_centre: probability}, names such as r2 or l3"""
    P = torch.zeros(1, 49, 1, 1)
    for name, chance in chances.items():
        P[0, 24 + (1 if name[0] == "r" else -1) * int(name[1])] = chance
    return P


for told, P in (
    ("sure of (2, 0)", belief(r2=1.0)),
    ("between (1, 0) and (2, 0)", belief(r1=0.5, r2=0.5)),
    ("either (3, 0) or (-3, 0)", belief(r3=0.5, l3=0.5)),
):
    u, v = expected_motion(P, M).flatten().tolist()
    print(f"{told:>26}: expected ({u:.1f}, {v:.1f})")

# %% [markdown]
# The second line is why one takes the expectation: it speaks between whole numbers, and argmax cannot. The third
# line is what it costs: of two opposite opinions comes a motion that nobody believes in.
#
# Which weighs more? We ask the trained network, and beside it a **twin**: the same network, which has learned from
# true flow. At each scale we take once the expectation, once the likeliest candidate (*argmax*).

# %%
nets = {
    name: zoo.load(name)
    for name in (
        "likenet",
        "likenet-smooth",
        "likenet-occlusion",
        "likenet-census",
        "likenet-supervised",
    )
    if name in zoo.names()
}
size = budget(quick=(96, 128), laptop=(192, 256), gpu=(192, 256))
pairs_compared = budget(quick=2, laptop=8, gpu=8)
fresh = rendered("chairs+things", size=size, split="test", seed=11)
sample = [fresh.batch(i, 1) for i in range(pairs_compared)]


# %%


@torch.no_grad()
def two_answers(net):
    """EPE of expectation and of argmax at each scale, coarsest first, in full-size pixels"""
    errors = torch.zeros(5, 2)
    for p in sample:
        for k, (flow, P, _) in enumerate(reversed(net.scales(p.image1, p.image2))):
            step = STEPS[k]
            M = candidates(REACHES[k]).float()
            likeliest = F.one_hot(P.argmax(1), len(M)).permute(0, 3, 1, 2) * (
                P.sum(1, keepdim=True) > 0
            )
            argmax = flow + step * (
                expected_motion(likeliest.float(), M) - expected_motion(P, M)
            )
            truth = F.avg_pool2d(p.flow, step)
            errors[k] += torch.tensor([epe(f, truth).item() for f in (flow, argmax)]) / len(
                sample
            )
    return errors


# %%
print(f"{'':>20}  after scale " + "".join(f"{f'1/{s}':>8}" for s in STEPS))
for name in ("likenet", "likenet-supervised"):
    if name in nets:
        by_scale = two_answers(nets[name])
        for n, way in enumerate(("expectation", "argmax")):
            told = name if n == 0 else ""
            print(f"{told:>20} {way:>12} " + "".join(f"{e:>8.2f}" for e in by_scale[:, n]))

# %% [markdown]
# The numbers are end-point errors in full-size pixels. In each column compare the two lines of a network. For LikeNet
# they are nearly the same: its $P$ is sure. For the twin argmax is useless at the coarse scales. Its loss asks only
# for the right *mean*, and it reaches that with probabilities far apart.

# %% [markdown]
# ## The loss
#
# Now we have all that the lecture's formula needs:
#
# $$C(I; \theta) = \sum_i \sum_{m_k \in M} P(L_i = m_k \mid I, \theta)\; D(i, m_k)$$
#
# In words: **the network pays $D$ for each candidate, in proportion to the probability that it puts on it.** No
# true flow occurs in it. $P$ comes from the network and has gradients. $D$ comes from the images and has none.
#
# > **Exercise 8 · `likenet.cost`** · easy · 10 minutes · 10 points
# >
# > Write $C$, as a mean over the pixels $i$ instead of a sum. Pixels whose $P$ is all zero do not count. If none
# > counts, $C$ is 0.


# %%
@exercise("likenet.cost", points=10)
def cost(P, D):
    """P, D: (B, n², h, w) -> scalar"""
    ### BEGIN SOLUTION
    paid = (P * D).sum(1)
    counts = P.sum(1) > 0
    number = counts.sum().clamp(min=1)
    return (paid * counts).sum() / number
    ### END SOLUTION


# %%
check("likenet.cost")

# %% tags=["expect"]
D = distances(as_distributions(one), as_distributions(two), R)
free = likelihood.allowed(torch.zeros(1, 2, *one.shape[-2:]), R)
guess = probabilities(torch.zeros_like(D), free)  # all scores alike
oracle = likelihood.best(D, free)  # all probability on the least D
print(f"all candidates alike: C = {cost(guess, D):.4f}")
print(f"all on the least D:   C = {cost(oracle, D):.4f}")

# %% [markdown]
# What does $C$ want? It is *linear* in $P$. So it is least if all probability lies on the candidate of least $D$,
# however small its lead. We call that flow the **oracle**. (Of the truth it knows nothing.) A network that made $C$
# least at every pixel would give exactly this flow.
#
# How good is it? On the drawn scene all moves by (3, -2):

# %%
truth_here = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, *one.shape[-2:])
inside = F.pad(torch.ones(1, 1, 40, 68, dtype=torch.bool), [8] * 4)
of_oracle = expected_motion(oracle, candidates(R).float())
columns = torch.arange(one.shape[-1]).expand(1, 1, *one.shape[-2:])
parts = {"texture": columns < 24, "elsewhere": columns > 30}
found = {}
for name, part in parts.items():
    found[name] = epe(of_oracle, truth_here, inside & part).item()
    print(f"oracle, {name}: EPE {found[name]:.2f} px; zero flow: {13**0.5:.2f} px")
outcome("on texture the oracle is nearly exact", found["texture"] < 0.3)
outcome("on wall and edge it is worse than zero flow", found["elsewhere"] > 13**0.5)

# %% [markdown]
# On texture it is right. On the wall it picks whatever the noise favours. So a perfect minimum of $C$ would be bad
# flow! Keep that in mind: **we do not want a network that minimises $C$ pixel by pixel.** We want one that has to
# use the same weights everywhere, sees the surroundings, and cannot learn the noise.

# %% [markdown]
# ## The network
#
# What is known of LikeNet, and what is not? No text or code of the paper was at hand when this course was written.
# So:
#
# | documented (by the lecture) | reconstructed (by us) |
# |---|---|
# | motion as dense classification, quantised | the layers, below |
# | unsupervised: the loss $C$, with $D$ by JSD | how $F$ becomes a distribution: softmax at a temperature |
# | features work better than values | which features; that $D$ gets no gradient |
# | Siamese: both frames through the same weights | that all scales share them, too |
# | 121, 169, 49, 9, 9 branches at several scales | which number belongs to which scale; that branches share weights |
# | | greys with normalised contrast; $D$ averaged over a window |
# | 697,028 learned parameters | all sizes, chosen so that this number comes out |
# | better than *other unsupervised* methods, generalises without fine-tuning | training data, schedule, candidates that leave the frame |
#
# Our layers: **features** are two convolutions of 5 × 5, from 1 grey channel to 64, and from 64 to 64. A **branch**
# takes the features of frame 1 and those of frame 2 shifted by its candidate, 128 channels, and has four
# convolutions of 3 × 3: to 64, 64, 64, and 1 score. All branches of a scale share their weights, and so do the two
# scales with nine. That makes four different branches.
#
# The number comes out exactly. That proves nothing: other layouts have it as well.
#
# > **Exercise 9 · `likenet.shared`** · easy · 10 minutes · 10 points
# >
# > An *extractor* is the two 5 × 5 convolutions, 1 → c → c channels. A *branch* is the four 3 × 3 convolutions,
# > 2c → c → c → c → 1. How many weights and biases have `extractors` of the one and `branches` of the other together?


# %%
@exercise("likenet.shared", points=10)
def count_parameters(c, extractors, branches):
    """c: channels (64 in LikeNet) -> number"""
    ### BEGIN SOLUTION
    extractor = (25 * 1 * c + c) + (25 * c * c + c)
    branch = (9 * 2 * c * c + c) + 2 * (9 * c * c + c) + (9 * c + 1)
    return extractors * extractor + branches * branch
    ### END SOLUTION


# %%
check("likenet.shared")

# %% tags=["expect"]
lecture = 697_028
for told, numbers in (
    ("LikeNet", (64, 1, 4)),
    ("not Siamese: an extractor for each frame", (64, 2, 4)),
    ("branches of all five scales different", (64, 1, 5)),
    ("an extractor for each scale and frame", (64, 10, 5)),
    ("each of the 357 branches different", (64, 1, 357)),
):
    print(f"{told:>41}: {count_parameters(*numbers):>10,}")

# %% [markdown]
# Being Siamese saves 104,128 numbers, an eighth of what it would be otherwise. That is not the main point of it: if
# each frame had its own features, equal places would no longer have equal features, and comparing them would say
# nothing.
#
# Sharing among the branches saves far more. And it says something true: to score a motion is the same task for
# every motion.

# %%
with torch.device("meta"):  # shapes only
    whole = LikeNet()
learned = sum(p.numel() for p in whole.parameters())
print(f"the library's network: {learned:,}")
outcome("it has the lecture's number", learned == lecture)
outcome(
    "and so has your count",
    count_parameters(64, 1, 4) == lecture,
)

# %% [markdown]
# ## Values or features?
#
# The lecture: «$D$ could be a function of image values, but with features works better. Any idea why?»
#
# **Write down your idea.** Then we measure. Five ways to look at a pixel:
#
# | view | what is compared |
# |---|---|
# | difference | the grey value itself: $\lvert \Delta I \rvert$ |
# | values | the 3 × 3 greys around it, as a distribution |
# | gradients | slopes in four directions |
# | random | features of 9 × 9 pixels, which *nobody trained* |
# | features | the same, as the shipped network has learned them |
#
# The last three look at greys whose **contrast is normalised**: minus the mean of 7 × 7 pixels, divided by their
# standard deviation. Why? Take a photograph, and the same one with a tenth of the contrast:

# %%
photos = (
    Chairs(size=(192, 256), split="test", seed=3, motion=0, chairs=(0, 0)).batch(0, 6).image1
)
VIEWS = ("difference", "values", "gradients", "random", "features")


@torch.no_grad()
def typical_D(image, prepare):
    """The median D between pixels and those 3 px beside them, with random features"""
    p = likelihood.distributions(net.random(prepare(likelihood.grey(image))), net.temperature)
    return likelihood.jsd(p, p.roll(3, -1)).median().item()


faint, fewer = 0.5 + 0.1 * (photos - 0.5), {}
for told, prepare in (
    ("greys as they are", lambda g: g / 0.23),
    ("contrast normalised", likelihood.contrast),
):
    full, tenth = (typical_D(image, prepare) for image in (photos, faint))
    fewer[told] = full / tenth
    print(f"{told:>20}: D {full:.5f}, at a tenth of the contrast {tenth:.7f}")
outcome(
    "of greys as they are, D falls to less than a thirtieth", fewer["greys as they are"] > 30
)
outcome("of normalised ones it stays above a tenth", fewer["contrast normalised"] < 10)

# %% [markdown]
# $D$ falls with the *square* of the contrast. A network that pays by such a $D$ learns from the strong edges of the
# training pictures, and nothing from faint texture. Normalised, faint texture counts, too. (Not all of it: a deviation
# below .005 is taken for noise. Normalising is ours; what the paper does we do not know. The network itself sees
# normalised greys as well.)
#
# Now photographs that move by 6 pixels to the right, in the same light or in another:


# %%
@torch.no_grad()
def seen(view, image):
    """What a view makes of an image, (1, 3, H, W) -> (1, C, H, W)"""
    grey = likelihood.grey(image)
    return grey if view == "difference" else net.look(grey, view)


def compare(view, p, q):
    return (p - q).abs().mean(1) if view == "difference" else likelihood.jsd(p, q)


def dim(image):
    """Other light: less contrast, and brighter"""
    return 0.75 * image + 0.2


generator = torch.Generator().manual_seed(0)
DX = 6


def photo_pair(n, light=False):
    """A photograph moved by 6 px to the right, with noise; perhaps in other light"""
    first, second = photos[n : n + 1, :, :, 20:-20], photos[n : n + 1, :, :, 20 - DX : -20 - DX]
    second = dim(second) if light else second
    noisy = (i + 0.02 * torch.randn(i.shape, generator=generator) for i in (first, second))
    return [i.clamp(0, 1) for i in noisy]


# %% [markdown]
# One pixel of a photograph. We go along a line of candidates:

# %%
first, second = photo_pair(1)
X, Y, FAR = 100, 90, 30
along = {}
for view in ("difference", "values", "random"):
    p, q = seen(view, first), seen(view, second)
    line = compare(view, p[..., Y, X : X + 1], q[..., Y, X - FAR : X + FAR + 1])[0]
    along[view] = (list(range(-FAR, FAR + 1)), (line / line.max()).tolist())
show(
    draw_likelihood.lines(along, DX, "dx of the candidate", "D, as part of its greatest"),
    "D along a row of candidates from -30 to 30 px, for difference, values and random features; a dotted line marks the true "
    "motion of 6 px. "
    + " ".join(
        f"{view}: {sum(v <= ys[FAR + DX] for v in ys) - 1} other candidates are at or below the D of the true one."
        for view, (_, ys) in along.items()
    ),
)

# %% [markdown]
# A good $D$ has one deep valley, at the dotted line. One pixel is an anecdote. So we count, over many pixels of all
# photographs: **rivals** are wrong candidates that look at least as good as the true one.
#
# **Guess first:** which view has the fewest? And which suffers most, if the light changes?

# %%
REACH = 10


def rivals(view, light):
    """Share of wrong candidates, of a square of ± 10 px, with D at most that of the true motion"""
    shares = []
    for n in range(len(photos)):
        first, second = photo_pair(n, light)
        p, q = seen(view, first), seen(view, second)
        ys = torch.randint(20, p.shape[-2] - 20, (100,), generator=generator)
        xs = torch.randint(30, p.shape[-1] - 30, (100,), generator=generator)
        windows = (
            q[0].unfold(1, 21, 1).unfold(2, 21, 1)[:, ys - REACH, xs - REACH]
        )  # (C, N, 21, 21)
        D = compare(view, p[0][None, :, ys, xs, None, None], windows[None])[0]
        true = D[:, REACH, REACH + DX][:, None, None]
        shares.append(((true >= D).sum((1, 2)) - 1) / 440)
    return torch.cat(shares).mean().item()


shares = {light: [rivals(view, light) for view in VIEWS] for light in (False, True)}
print(f"{'':>12}{'same light':>12}{'other light':>13}")
for n, view in enumerate(VIEWS):
    print(f"{view:>12}{shares[False][n]:>12.1%}{shares[True][n]:>13.1%}")
outcome(
    "random features have fewer rivals than single greys",
    shares[False][3] < 0.9 * shares[False][0],
)
outcome("other light ruins the plain difference", shares[True][0] > 1.6 * shares[False][0])
outcome("features suffer far less", max(shares[True][3:]) < 1.4 * max(shares[False][3:]))

# %% [markdown]
# A grey value is shared by very many pixels. Nine of them are more of a name, and so are features of 9 × 9 pixels, even
# if *nobody trained* them: it is the surroundings that count. (Gradients see four pixels, and are no better than
# greys.) But in the same light features are hardly ahead of the nine values: where contrast is normalised, noise counts
# for more as well.
#
# And in other light? A brighter pixel has another grey, and the rivals of the plain difference double. In *values* the
# softmax cancels what is added to all nine, not what they are multiplied with. *Random* is not touched. The others lose a
# little: less contrast leaves more of the noise.

# %% [markdown]
# ### And the flow?
#
# Now the oracle of all five scales: the flow of least $D$, on rendered pairs. Once with the lecture's $D$, which looks
# at a single pixel. Once averaged over a window of 13 × 13 pixels, which is our addition (`support=6`): neighbours
# mostly move alike.
#
# **Guess first:** is the oracle of a single pixel better than no flow at all?

# %%
oracle_pairs = sample[: budget(quick=2, laptop=6, gpu=6)]
true = torch.cat([p.flow for p in oracle_pairs])
still = epe(torch.zeros_like(true), true).item()


def oracle_error(view, support, light):
    flows, kept, net.support = [], net.support, support
    for p in oracle_pairs:
        flows.append(net.oracle(p.image1, dim(p.image2) if light else p.image2, view))
    net.support = kept
    return epe(torch.cat(flows), true).item()


# %%
oracle_errors = {
    f"{window}, {light_name} light": [oracle_error(view, support, light) for view in VIEWS]
    for support, window in ((0, "one pixel"), (6, "window"))
    for light, light_name in ((False, "same"), (True, "other"))
}
show(
    figures.bars(
        oracle_errors, VIEWS, "EPE of the oracle in px", [("zero flow", still)], log=True
    ),
    f"Bars on a logarithmic scale, for each view and four settings. Zero flow: {still:.1f} px. "
    + " ".join(
        f"{told}: "
        + ", ".join(f"{v} {e:.1f}" for v, e in zip(VIEWS, errors, strict=True))
        + "."
        for told, errors in oracle_errors.items()
    ),
)
print(f"{len(oracle_pairs)} pairs of {size[0]} × {size[1]}; zero flow {still:.2f} px")
for told, errors in oracle_errors.items():
    print(
        f"{told:>24}: " + ", ".join(f"{v} {e:.1f}" for v, e in zip(VIEWS, errors, strict=True))
    )

# %%
single, window = (oracle_errors[f"{w}, same light"] for w in ("one pixel", "window"))
other_light = oracle_errors["window, other light"]
outcome("with one pixel random features beat single greys", single[3] < 0.8 * single[0])
outcome("but even then zero flow is better", single[3] > still)
outcome("a window helps every view", all(w < s for w, s in zip(window, single, strict=True)))
outcome("and takes most of the features' lead away", window[0] < 2 * window[3])
outcome("in other light the plain difference fails", other_light[0] > 2 * window[0])
outcome("all others do not", max(other_light[1:]) < 1.5 * max(window[1:]))

# %% [markdown]
# <details><summary>So why do features work better?</summary>
#
# First, they see the **surroundings**. With one pixel and the same light they are ahead of single greys (*difference*)
# by far. The 3 × 3 greys see surroundings, too, and are not far behind. And give the difference a window: most of the
# lead is gone.
#
# Second, features *can* be made blind to what does not matter, such as the light. Here normalised contrast does that,
# for slopes and for filters that nobody trained.
#
# What does not follow from our numbers: that features have to be *learned* for that. Compare *random* with
# *features*.
# </details>

# %% [markdown]
# ## Training without truth, live
#
# Now we train, on images alone. To see something within minutes, the world is small: 24 × 32 pixels, one scale, 49
# candidates, an eighth of the channels. A piece of a photograph moves by whole pixels, and a patch of another one
# flies over it. Noise and light differ between the frames.
#
# $D$ compares gradients at a single pixel: the lecture's equation as it stands. All other pieces are yours:
# `distances`, `probabilities`, `cost`, `expected_motion`.

# %%
SMALL, REACH3 = (24, 32), 3
M49 = candidates(REACH3).float()


def photographs(split, count):
    source = Chairs(size=(96, 128), split=split, seed=5, motion=0, chairs=(0, 0))
    return source.batch(0, count).image1


library = {
    "train": photographs("train", budget(quick=8, laptop=32, gpu=32)),
    "test": photographs("test", budget(quick=4, laptop=16, gpu=16)),
}


def camera(frames, g):
    """Frames as a camera sees them: each in its own light, with noise"""
    contrast, brightness = (torch.rand(2, len(frames), 1, 1, 1, generator=g) * 2 - 1).unbind(0)
    noise = 0.02 * torch.randn(frames.shape, generator=g)
    return ((frames - 0.5) * (1 + 0.2 * contrast) + 0.5 + 0.1 * brightness + noise).clamp(0, 1)


# %%
def collage(split, count, g):
    """count pairs -> frame 1, frame 2, flow; motions of up to 3 px to each side"""

    def draw_number(low, high):
        return int(torch.randint(low, high, (), generator=g))

    h, w = SMALL
    frames1, frames2, flows = [], [], []
    for _ in range(count):
        back, front = (library[split][draw_number(0, len(library[split]))] for _ in range(2))
        dx, dy, u, v = (draw_number(-REACH3, REACH3 + 1) for _ in range(4))
        y, x = draw_number(3, 96 - h - 3), draw_number(3, 128 - w - 3)
        one, two = (
            back[:, y : y + h, x : x + w],
            back[:, y - dy : y - dy + h, x - dx : x - dx + w],
        )
        flow = torch.tensor([dx, dy]).float()[:, None, None].repeat(1, h, w)
        height, width = draw_number(10, 16), draw_number(10, 18)
        top, left = draw_number(3, h - height - 2), draw_number(3, w - width - 2)
        patch = front[:, 20 : 20 + height, 30 : 30 + width]
        one, two = one.clone(), two.clone()
        one[:, top : top + height, left : left + width] = patch
        two[:, top + v : top + v + height, left + u : left + u + width] = patch
        flow[:, top : top + height, left : left + width] = torch.tensor([u, v])[:, None, None]
        frames1.append(one)
        frames2.append(two)
        flows.append(flow)
    return *(camera(torch.stack(frames), g) for frames in (frames1, frames2)), torch.stack(
        flows
    )


# %%
examples = collage("train", 3, torch.Generator().manual_seed(1))
show(
    draw.panels(
        {
            f"{kind} {n + 1}": examples[k][n]
            for n in range(2)
            for k, kind in enumerate(("frame 1, pair", "frame 2, pair", "flow, pair"))
        },
        columns=4,
        width=1.7,
    ),
    "Two training pairs of 24 × 32 pixels: frame 1, frame 2, and the flow, which training does not see. A rectangle moves "
    "differently from the ground. " + describe(examples[2][0]),
)


# %%
def maps_of(image):
    """Features for D: slopes as a distribution"""
    return likelihood.distributions(
        likelihood.gradients(likelihood.contrast(likelihood.grey(image))), 3.0
    )


def step_of(net, image1, image2):
    """P and D of all candidates, from two images and nothing else"""
    free = likelihood.allowed(torch.zeros(len(image1), 2, *SMALL), REACH3)
    first, second = (likelihood.contrast(likelihood.grey(image)) for image in (image1, image2))
    first, second = net.features(first), net.features(second)  # Siamese
    P = probabilities(net.branches["49"](first, second, REACH3), free)
    with torch.no_grad():  # D is given by the images
        D = distances(maps_of(image1), maps_of(image2), REACH3)
    return P, D, free


# %% [markdown]
# From time to time we look at pairs that are not trained on. There, and only there, the true flow is used: to see how
# good the network's flow is.

# %%
exam = collage("test", budget(quick=8, laptop=24, gpu=24), torch.Generator().manual_seed(2))


@torch.no_grad()
def marks_of(net):
    P, D, _ = step_of(net, *exam[:2])
    return cost(P, D).item(), epe(expected_motion(P, M49), exam[2]).item()


# %% [markdown]
# Remember the oracle, and what a single pixel was worth to it. **Guess first:** can a network that follows *this* loss
# become better than no flow at all?

# %%
seed(0)
learner = LikeNet(1 / 8)
optimiser = torch.optim.Adam(learner.parameters(), 5e-3)
g = torch.Generator().manual_seed(torch.initial_seed() % 2**31)
steps, marks = budget(quick=10, laptop=300, gpu=300), {}
for step in tqdm(
    range(steps + 1), desc="images only", file=sys.stdout, ncols=80, mininterval=1
):
    if step % (steps // 10) == 0:
        marks[step] = marks_of(learner)
    if step < steps:
        image1, image2, _ = collage("train", 4, g)  # the flow is thrown away
        P, D, _ = step_of(learner, image1, image2)
        loss = cost(P, D)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

# %%
_, D, free = step_of(learner, *exam[:2])
oracle_live = epe(expected_motion(likelihood.best(D, free), M49), exam[2]).item()
zero_live = epe(torch.zeros_like(exam[2]), exam[2]).item()
(C_first, E_first), (C_last, E_last) = marks[0], marks[steps]
at_best = min(marks, key=lambda step: marks[step][1])
C_best, E_best = marks[at_best]
show(
    figures.curves(
        {
            "network": (list(marks), [e for _, e in marks.values()]),
        },
        "step",
        "held-out EPE in px",
        [("zero flow", zero_live), ("oracle: least D", oracle_live)],
    ),
    f"Held-out end-point error against steps: from {E_first:.2f} to {E_last:.2f} px. Lines: zero flow at {zero_live:.2f} px, "
    f"the oracle at {oracle_live:.2f} px.",
)
print(f"C on held-out pairs: {C_first:.5f} before, {C_last:.5f} after {steps} steps")
print(
    f"EPE: {E_first:.2f} px before, {E_last:.2f} px after; at best {E_best:.2f} px, after {at_best} steps"
)
print(f"zero flow {zero_live:.2f} px, oracle {oracle_live:.2f} px")
outcome("C falls to less than half", C_last < 0.5 * C_first, needs="laptop")
outcome(
    "at its best step the network beats zero flow", E_best < 0.85 * zero_live, needs="laptop"
)
outcome(
    "there it beats the oracle, too, the very minimum of its loss",
    E_best < 0.85 * oracle_live,
    needs="laptop",
)
outcome(
    "trained on, it follows C better, and its flow is worse",
    C_last < 0.8 * C_best and E_last > E_best + 0.1,
    needs="laptop",
)

# %% [markdown]
# Look at the last lines again. The oracle is what the loss pulls towards, pixel by pixel. It is no better than
# standing still, as a slope of one pixel is a poor name. **And the network, trained on that very loss, is better
# than its minimum.**
#
# <details><summary>How can that be?</summary>
#
# The noise in $D$ is different in each pair. The network cannot learn it by heart, with the same few weights for all
# pixels of all pairs. What it *can* learn is what is common to all: the surroundings of a pixel tell how it moves.
# Averaged over many pairs, the true candidate has the least $D$.
#
# The same happens with wrong labels in classification: if mistakes have no pattern, the network does better than its
# teacher. And, as there, training too long undoes it: the weights begin to follow the noise, $C$ falls on, and the
# flow creeps back towards the oracle. (The quick profile stops long before that: its few steps only show that the
# code runs.) The best step we found by looking at the truth. $C$ alone would have let us go on: when to stop, this
# loss does not tell.
# </details>
#
# The limits: motions here are whole-numbered and within reach, and nothing turns or changes its size.

# %% [markdown]
# ### What if $D$ had a gradient, too?
#
# In our training $D$ compares fixed features. Why not let the features of $D$ learn, so that they become the best
# for this task? **What would you do, as the network, to make $C$ small?** Here $D$ compares the network's own features,
# and gradients go through.

# %%
seed(0)
cheat = LikeNet(1 / 8)
optimiser = torch.optim.Adam(cheat.parameters(), 5e-3)
g = torch.Generator().manual_seed(torch.initial_seed() % 2**31)


def own_features(image):
    return likelihood.distributions(
        cheat.features(likelihood.contrast(likelihood.grey(image))), 1.0
    )


# %%
def cheat_marks():
    """C, how much the features differ between pixels, EPE: on the exam"""
    with torch.no_grad():
        P, _, _ = step_of(cheat, *exam[:2])
        first, second = own_features(exam[0]), own_features(exam[1])
        differ = likelihood.jsd(first, first.roll((7, 9), (2, 3))).mean().item()
        C = likelihood.expected_distance(P, likelihood.distances(first, second, REACH3)).item()
        return C, differ, epe(expected_motion(P, M49), exam[2]).item()


# %%
before = cheat_marks()
for _ in range(budget(quick=3, laptop=60, gpu=60)):
    image1, image2, _ = collage("train", 4, g)
    P, _, _ = step_of(cheat, image1, image2)
    # the library's distances, since their gradients stay finite
    loss = cost(P, likelihood.distances(own_features(image1), own_features(image2), REACH3))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
after = cheat_marks()
print(f"{'':>10}{'C':>11}{'features differ':>18}{'EPE':>8}")
for told, (C, differ, error) in (("before", before), ("after", after)):
    print(f"{told:>10}{C:>11.6f}{differ:>18.6f}{error:>8.2f}")
print(f"zero flow: {zero_live:.2f}")
outcome(
    "the features have lost most of their differences",
    after[1] < 0.3 * before[1],
    needs="laptop",
)
outcome(
    "C falls, and the flow does not get good",
    after[0] < 0.5 * before[0] and after[2] > 0.85 * zero_live,
    needs="laptop",
)

# %% [markdown]
# The features become more and more **the same everywhere**. Then every place is like every other one, $D$ is nearly 0
# for all candidates, and so is $C$. Nothing has been learned. That is why we keep the features inside $D$ fixed, or
# freeze a copy of them for a while. How the paper avoids it we do not know.

# %% [markdown]
# ### The recorded run
#
# The shipped network has five scales and learned from rendered chairs, on images only, from coarse to fine: two scales
# first, then three, then five.

# %%
recorded, ends = {}, []
for stage in card["stages"]:
    log = [
        r
        for r in read_log(data_path("runs", "likenet", f"{stage['stage']}.csv"))
        if r["loss"] is not None
    ]
    lately = running_mean([r["loss"] for r in log])
    thin = slice(0, None, max(1, len(log) // 40))
    recorded[stage["stage"]] = ([r["step"] / stage["steps"] for r in log][thin], lately[thin])
    ends.append(f"{stage['stage']} from {lately[0]:.4f} to {lately[-1]:.4f}")
    print(
        f"{stage['stage']:>7}: {stage['minutes']:5.1f} minutes, {stage['steps']:6,} steps of {stage['batch']} pairs"
    )
show(
    figures.curves(
        recorded, "part of the stage that is done", "C, mean over ten rows of the log", log=True
    ),
    "The cost C in each stage of the recorded run, on a logarithmic scale: "
    + "; ".join(ends)
    + ".",
)

# %% [markdown]
# $C$ of different stages cannot be compared: it is a sum over their scales. In the last stage it falls little. Its new
# scales have small steps, and the coarse ones have learned already. `cvdl train likenet` repeats the run.

# %% [markdown]
# ## Side by side
#
# One pair, four answers: the oracle of the same $D$, the network that followed $D$, its twin that saw the truth, and
# the truth.

# %%
p = sample[0]
with torch.no_grad():
    answers = {
        "oracle: least D": net.oracle(p.image1, p.image2),
        "LikeNet, images only": net(p.image1, p.image2),
    }
    if "likenet-supervised" in nets:
        answers["twin, with truth"] = nets["likenet-supervised"](p.image1, p.image2)
errors = {name: epe(flow, p.flow).item() for name, flow in answers.items()}
pictures = {"frame 1": p.image1[0], "truth": p.flow[0]}
pictures |= {f"{name}: {errors[name]:.1f} px": flow[0] for name, flow in answers.items()}
show(
    draw.panels(pictures, max_flow=p.flow.norm(dim=1).max().item(), width=2.3),
    "Frame 1, the true flow, and the flows of "
    + ", ".join(f"{name} (EPE {error:.1f} px)" for name, error in errors.items())
    + f". {describe(p.flow[0])}",
)

# %% [markdown]
# How ragged are they? That is how much a flow changes from one pixel to the next, on average:

# %%
for name, flow in (answers | {"truth": p.flow}).items():
    ragged = flow.diff(dim=-1).norm(dim=1).mean().item()
    print(f"{name:>20}: {ragged:.2f} px from column to column")

# %% [markdown]
# The oracle decides each pixel by itself. But its $D$ is averaged over 13 × 13 pixels already, so the network need not
# be smoother than it, and here it is not. Its twin, which saw the truth, is.

# %% [markdown]
# ## The comparison
#
# The lecture's table, and what our networks are measured to do. First the parameters:

# %%
for name, count in (
    ("FlowNetS", 32_070_472),
    ("FlowNetC", 32_561_032),
    ("SPyNet", 1_200_250),
    ("LikeNet", lecture),
):
    print(f"{name:>9}: {count:>10,} {count / 32_070_472:>7.1%} of FlowNetS")
print(
    f"shipped with this course, at {net.width:.0%} of LikeNet's channels: {card['parameters']:,}"
)

# %% [markdown]
# The FlowNet numbers are the lecture's; the released FlowNets have more (notebook 7). Now all that ships, on the same
# pairs: end-point error, time of the fastest pair, and the most memory that intermediate results take at once.

# %%
rivals_by_name = {
    name: zoo.load(name) for name in ("spynet", "flownet-s", "flownet-c") if name in zoo.names()
}
flows, milliseconds, megabytes = {}, {}, {}


@torch.no_grad()
def measure(name, method):
    flows[name], took = [], []
    for p in sample:
        start = time.process_time()
        flows[name].append(method(p.image1[0], p.image2[0])[None])
        took.append(1000 * (time.process_time() - start))
    flows[name], milliseconds[name] = torch.cat(flows[name]), min(took)
    if name in nets or name in rivals_by_name:
        with PeakMemory() as memory:
            method(sample[0].image1[0], sample[0].image2[0])
        megabytes[name] = memory.peak / 1e6


for name, method in evaluate.classical().items():
    measure(name, method)
measure("oracle", evaluate.networks("likenet", net)["oracle"])
for name, network in (rivals_by_name | nets).items():
    measure(name, evaluate.networks(name, network)[name])

# %%
true = torch.cat([p.flow for p in sample])
error = {name: epe(flow, true).item() for name, flow in flows.items()}
print(f"{len(sample)} pairs of {size[0]} × {size[1]}, half chairs, half things")
print(f"{'':>20}{'parameters':>12}{'EPE px':>9}{'ms':>7}{'MB':>7}")
for name in flows:
    about = f"{zoo.card(name)['parameters']:,}" if name in megabytes else "–"
    taken = f"{megabytes[name]:.0f}" if name in megabytes else "–"
    print(f"{name:>20}{about:>12}{error[name]:>9.2f}{milliseconds[name]:>7.0f}{taken:>7}")

# %% [markdown]
# LikeNet has the fewest weights, and is not the fastest: each of its branches works at every pixel. Few weights are
# not little time (notebook 7).
#
# The others were trained at other lengths and sizes. The fair comparison is the one among those of the same net,
# with the same data, steps and machine:
#
# | name | loss |
# |---|---|
# | likenet | $C$ |
# | likenet-smooth | $C$, and flow that changes only where the image does |
# | likenet-occlusion | $C$, pixels that get hidden in frame 2 left out |
# | likenet-census | frame 2 warped back should look like frame 1, by census; smoothness; hidden pixels left out |
# | likenet-supervised | the end-point error: it sees the truth |
#
# *Census* describes a pixel by which neighbours are brighter. It is what most unsupervised flow networks use. In $C$
# smoothness, and leaving out hidden pixels, are options of ours: off unless the name says so.
#
# *likenet-smooth* and *likenet-occlusion* have their option in the last of three stages only; until then they are
# *likenet*. In *likenet-census*, too, hidden pixels are left out in the last stage only: one needs a fairly good flow
# to tell which are hidden.

# %%
outcome(
    "LikeNet, trained on images only, beats zero flow",
    error["likenet"] < 0.95 * error["zero flow"],
)

# %% [markdown]
# ### Which wins where?
#
# We cut the pixels into groups, by the truth and by the picture: hidden in frame 2, near a motion edge, and of all
# others the flattest and the most textured third.

# %%
occlusion = torch.cat([p.occlusion for p in sample])
contrast = torch.cat(
    [
        likelihood.gradients(likelihood.grey(p.image1))[:, [0, 2]].norm(dim=1, keepdim=True)
        for p in sample
    ]
)
contrast = F.avg_pool2d(contrast, 9, 1, 4)
jump = F.pad((true[..., 1:] - true[..., :-1]).norm(dim=1, keepdim=True), [0, 1]) > 1
jump |= (
    F.pad((true[..., 1:, :] - true[..., :-1, :]).norm(dim=1, keepdim=True), [0, 0, 0, 1]) > 1
)
near = F.max_pool2d(jump.float(), 9, 1, 4) > 0
calm = ~occlusion & ~near
low, high = (contrast[calm].quantile(q) for q in (1 / 3, 2 / 3))
groups = {
    "hidden in frame 2": occlusion,
    "near motion edges": near & ~occlusion,
    "flat": calm & (contrast < low),
    "textured": calm & (contrast > high),
}

# %%
compared = ["zero flow", "oracle", *nets]
by_group = {
    name: [epe(flows[name], true, mask).item() for mask in groups.values()] for name in compared
}
print(f"{'':>20}" + "".join(f"{name:>19}" for name in groups))
for name, errors in by_group.items():
    print(f"{name:>20}" + "".join(f"{e:>19.2f}" for e in errors))
without_truth = [name for name in nets if name != "likenet-supervised"]
for n, group in enumerate(groups):
    best = min(without_truth, key=lambda name: by_group[name][n])
    print(f"{group}: lowest without truth is {best}")

# %% [markdown]
# Hidden pixels are hard for all: no candidate is right there, since the point is not to be seen in frame 2. In flat
# parts the window of $D$ still finds something.
#
# A few pairs decide little. Each network comes with a *card*, which has more of them, at full size, and six of
# public benchmarks (the column `real`), with standard errors:

# %%
cards = {name: zoo.card(name) for name in nets}
kinds = [k for k in ("chairs", "things", "real") if k in card["measured"]]
count = {kind: card["measured"][kind]["pairs"] for kind in kinds}
print(f"{'EPE in px':>20}" + "".join(f"{f'{kind}, {count[kind]} pairs':^20}" for kind in kinds))


def cell(measured, key):
    if not measured or key not in measured["epe"]:
        return "–"
    spread = measured["standard_error"].get(key)
    return f"{measured['epe'][key]:.2f}" + ("" if spread is None else f" ± {spread:.2f}")


for key in card["measured"][kinds[0]]["epe"]:
    if key != "net":
        print(f"{key:>20}" + "".join(f"{cell(card['measured'][k], key):^20}" for k in kinds))
for name, about in cards.items():
    print(
        f"{name:>20}" + "".join(f"{cell(about['measured'].get(k), 'net'):^20}" for k in kinds)
    )

# %% [markdown]
# Behind the ± is one standard error. Two errors that differ by less than that tell nothing.
#
# By that rule neither option of $C$ makes a difference, smoothness no more than leaving out hidden pixels.
#
# Compare *likenet* with its twin that saw the truth. By the same rule only *things*, with its large motions, tells them apart:
# there the twin is behind. On chairs it points the same way, on the six `real` ones, whose motions are small, the other way.
# Both learned from frames of half the size. If $C$ does carry over to larger motions better than the end-point error,
# then perhaps since it asks about every candidate, so that all of them get something to learn from in every pair.
#
# And *likenet-census*? Here is its held-out error while it learned, beside that of $C$, from the logs of the recorded runs:

# %%
if "likenet-census" in nets:
    for stage in ("coarse", "middle", "fine"):
        told = []
        for name in ("likenet", "likenet-census"):
            marks = [
                r for r in read_log(data_path("runs", name, f"{stage}.csv")) if r["held_out"]
            ]
            told.append(f"{name} {marks[0]['held_out']:.2f} -> {marks[-1]['held_out']:.2f} px")
        print(f"{stage:>7}: " + ", ".join(told))
    by_census, by_C = (
        cards[name]["measured"]["chairs"] for name in ("likenet-census", "likenet")
    )
    outcome(
        "with the same steps C gets further than census",
        by_C["epe"]["net"] < 0.8 * by_census["epe"]["net"],
    )

# %% [markdown]
# With these steps census does not even reach zero flow. Its error is still falling at the end, so this is no verdict on
# census: it is one on a *short* training of a network that begins with all candidates equally probable. Census sees the
# surroundings of the present answer only, and creeps. $C$ sees all candidates. (The errors are in pixels of each stage's
# finest scale, so those of different stages cannot be compared.)
#
# ### And on real pictures?
#
# Real pairs with known flow may not be passed on. The card has what was measured on some; Middlebury's are the ones
# whose motions are within reach and whose truth is dense:

# %%
each = card["measured"].get("real", {}).get("each", {})
middlebury = {name: each[name] for name in ("Grove2", "RubberWhale", "Venus") if name in each}
for name, errors in middlebury.items():
    print(f"{name:>12}: " + ", ".join(f"{method} {e:.2f}" for method, e in errors.items()))
if middlebury:
    own, nothing = (sum(e[m] for e in middlebury.values()) for m in ("net", "zero flow"))
    print(f"LikeNet leaves {own / nothing:.0%} of the error of zero flow")
    outcome("at most half of zero flow's error is left on Middlebury", own <= 0.5 * nothing)

# %% [markdown]
# Where real pairs are at hand (`CVDL_REAL`), this cell measures on them, network and oracle, and prints numbers only.
# Otherwise it takes another rendered pair.

# %%
try:
    samples = evaluate.pairs_of("real", budget(quick=1, laptop=6, gpu=6))
except CourseError:
    print("no real pairs here; a rendered pair takes their place")
    samples = evaluate.pairs_of("things", 1, budget(quick=(192, 256), laptop=FULL, gpu=FULL))
methods = evaluate.networks("LikeNet", net) | {"zero flow": evaluate.zero}
for s in samples:
    told = {k: epe(m(s.image1, s.image2), s.flow, s.valid).item() for k, m in methods.items()}
    print(f"{s.name}: " + ", ".join(f"{k} {error:.2f} px" for k, error in told.items()))

# %% [markdown]
# The lecture says of the paper's LikeNet that it performs better than other unsupervised methods and generalises
# without fine-tuning. Ours never saw a real picture with motion. Whether it generalises, the cards say; they need not
# agree with the paper. (A single rendered pair of large motions, if one stands here, says little: the network may be
# worse there than no flow at all.)

# %% [markdown]
# ## Your points

# %%
progress()

# %% [markdown]
# ## Questions
#
# <details><summary>«How many branches would be required for 50 values in t_x and t_y each?»</summary>
#
# 50 · 50 = 2,500. The five scales need 357 and reaches 143 pixels far.
# </details>
#
# <details><summary>A pixel of frame 1 is hidden in frame 2. What does C tell the network about it?</summary>
#
# Something wrong. No candidate is right, yet one of them has the least $D$. Leaving such pixels out needs to know which
# they are: one follows the flow forward and back, and sees whether it comes home.
# </details>
#
# <details><summary>Census warps frame 2 by one flow and compares. C asks about all candidates. What is the difference for learning?</summary>
#
# Warping sees the surroundings of the *present* flow. If that is far off, its gradient says nothing useful. $C$ looks at
# every candidate at once, and so also at the right one, however far it is from the present answer.
#
# In return $C$ has whole-numbered candidates only.
# </details>
#
# <details><summary>In the live training a candidate outside the frame has P = 0, so it costs nothing. What if it cost ln 2?</summary>
#
# At the right border a motion to the right leaves the frame. If it costs $\ln 2$, the network learns that things
# there do not move to the right. If what stands outside were zeros, dark pixels would be drawn outwards. So such candidates
# are not asked about.
# </details>

# %% [markdown]
# ## What to take away
#
# - Motion can be a class. Then the network can say «I do not know», and along which line.
# - A loss needs no truth if it asks how alike two places are.
# - $C$ is linear in $P$: its minimum is the candidate of least $D$. A network can do better than that minimum,
#   as long as it has not learned the noise: in the live training it did. The shipped one, whose $D$ has little noise
#   left by its window, is about as good as its oracle.
# - Surroundings make a place recognisable: by features, or by a window.
# - What $D$ compares must not learn to please $D$.
#
# ## Further reading
#
# - A. Ahmadi, I. Marras, I. Patras, *LikeNet: A Siamese Motion Estimation Network Trained in an Unsupervised Way*, BMVC
#   2018: the network of this notebook.
# - A. Ahmadi, I. Patras, *Unsupervised Convolutional Neural Networks for Motion Estimation*, ICIP 2016, [arXiv
#   1601.06087](https://arxiv.org/abs/1601.06087): its forerunner.
# - J. Lin, *Divergence Measures Based on the Shannon Entropy*, IEEE Transactions on Information Theory 37 (1991): the
#   Jensen-Shannon divergence.
# - S. Meister, J. Hur, S. Roth, *UnFlow: Unsupervised Learning of Optical Flow with a Bidirectional Census Loss*, AAAI
#   2018, [arXiv 1711.07837](https://arxiv.org/abs/1711.07837): census and occlusion.
# - R. Jonschkowski et al., *What Matters in Unsupervised Optical Flow*, ECCV 2020, [arXiv
#   2006.04902](https://arxiv.org/abs/2006.04902): what helps, measured piece by piece.
# - The data and their licences: `data/README.md`.
