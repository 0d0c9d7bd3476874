# %% [markdown]
# # 4 · First-person gestures: the exercises
#
# Stuck? `hint("gesture.pad")` helps, again and again. To go on without an exercise: `use_library("gesture.pad")`.

# %% tags=["bootstrap"]

# %%
import math

import torch
import torch.nn.functional as F

from cvdl import check, exercise, hint, progress, seed, use_library

torch.set_num_threads(1)  # products as small as these keep several threads waiting

# %% [markdown]
# A camera and a network have clocks of their own. The network ticks `rate` times a second. At tick $k$, which is at the time
# $k/\text{rate}$, it sees the newest frame that is already there. Frames are counted from 0, and frame $n$ is there from
# the time $n/\text{fps}$ on. So it sees frame
#
# $$\Big\lfloor\frac{k\cdot\text{fps}}{\text{rate}}\Big\rfloor,\qquad\text{at all ticks before the clip ends:}\quad
# \frac{k}{\text{rate}}<\frac{\text{count}}{\text{fps}}$$
#
# Two examples with 10 ticks a second. At 25 frames a second, tick 1 is at 0.1 s: frame 2 is there since 0.08 s, and frame 3 will
# come at 0.12 s. The frames seen are 0, 2, 5, 7, 10, … At 5 frames a second each is seen twice: 0, 0, 1, 1, 2, 2, …
#
# > **Exercise 1 · `gesture.resample`** · medium · 15 minutes · 12 points
# >
# > Write the list of frames that are seen. Its members are of type `int`, also where `fps` is 29.97.
# >
# > *One frame is too early?* In floats `23 / 10 * 50` is 114.99999999999999, which becomes 114. Multiply first, then divide
# > once.


# %%
@exercise("gesture.resample", points=12)
def frames_seen(count, fps, rate):
    """count: frames of the clip, int; fps: frames a second, int or float; rate: ticks a second, int -> list of int"""
    ### BEGIN SOLUTION
    frames, tick = [], 0
    while tick / rate < count / fps:
        frames.append(int(tick * fps / rate))
        tick += 1
    return frames
    ### END SOLUTION


# %%
check("gesture.resample")

# %% tags=["expect"]
for fps in (25, 5, 10):
    print(f"{fps:2} frames a second, 0.8 s:", frames_seen(fps * 4 // 5, fps, rate=10))

# %% [markdown]
# Follow a batch through the network: 4 clips of 3.2 s, at 10 ticks a second, in frames of 120 × 160.
#
# 1. Frames of all clips and ticks go into the CNN as *one* batch, (N, 3, 120, 160), N = T · B.
# 2. `first`: its first convolution makes 16 channels, and halves the height and the width.
# 3. `maps`: further on there are 64 channels, at 1/8 of the height and of the width.
# 4. `scores`: a row for each frame, with a number for each cell of 4 × 4 pixels, and one for «nowhere».
# 5. `features`: at each tick, the memory reads of each clip $x$, $y$, two speeds, and how sure the CNN is.
# 6. `logits`: at each tick, for each clip, a number for each of ten gestures and for «none».
#
# > **Exercise 2 · `gesture.shapes`** · easy · 10 minutes · 10 points
# >
# > Without running it: which shapes have these five tensors? The CNN's begin with N, those of the memory with T, B.
# >
# > *`scores` is wrong?* How many cells has a frame? And where else can a finger tip be?


# %%
@exercise("gesture.shapes", points=10)
def shapes():
    """Write a tuple, such as (128, 3, 120, 160), in place of each `...`."""
    ### BEGIN SOLUTION
    return {
        "first": (128, 16, 60, 80),
        "maps": (128, 64, 15, 20),
        "scores": (128, 1201),
        "features": (32, 4, 5),
        "logits": (32, 4, 11),
    }
    ### END SOLUTION


# %%
check("gesture.shapes")

# %% [markdown]
# The CNN gives a map of scores $s_{yx}$. Where is the finger tip? The greatest score tells a cell, but nothing can learn
# through it: when a score changes a little, the cell stays the same. A **soft-argmax** takes the mean place instead. Softmax
# over all cells of a map makes probabilities of its scores:
#
# $$p_{yx}=\frac{e^{s_{yx}}}{\sum_{y'x'}e^{s_{y'x'}}}\qquad
# \bar x=\sum_{yx}p_{yx}\,x\qquad\bar y=\sum_{yx}p_{yx}\,y$$
#
# $x$ is the number of the column, $y$ that of the row, both from 0. In a map of one row with the scores $0$ and $\ln 3$, the
# probabilities are 1/4 and 3/4, so $\bar x=3/4$ and $\bar y=0$: between two cells, nearer to the second.
#
# > **Exercise 3 · `gesture.soft_argmax`** · medium · 15 minutes · 14 points
# >
# > Write it for N maps at once. Gradients have to go through it.
# >
# > *`nan`, where scores are 1000?* $e^{1000}$ is infinite in a computer. `torch.softmax` knows a way round; it runs along
# > one axis, so make one axis of two before.


# %%
@exercise("gesture.soft_argmax", points=14)
def soft_argmax(scores):
    """scores: (N, h, w), a map for each frame -> (N, 2): mean x and mean y, in cells"""
    ### BEGIN SOLUTION
    N, h, w = scores.shape
    p = torch.softmax(scores.flatten(1), dim=1).view(N, h, w)
    x = (p.sum(dim=1) * torch.arange(w)).sum(dim=1)
    y = (p.sum(dim=2) * torch.arange(h)).sum(dim=1)
    return torch.stack([x, y], dim=1)
    ### END SOLUTION


# %%
check("gesture.soft_argmax")

# %% tags=["expect"]
scores = torch.zeros(1, 3, 4)
for height in (0.0, 2.0, 5.0):
    scores[0, 0, 3] = height
    x, y = soft_argmax(scores)[0].tolist()
    print(f"score {height:.0f} in column 3 of row 0, all others 0: x = {x:.2f}, y = {y:.2f}")

# %% [markdown]
# Clips have different lengths; a batch is one tensor. So zeros are put *behind* the shorter ones, and a mask tells which
# steps are real. Time comes first, then the clips. Two clips with one number per step, `[[5]]` and `[[1], [2]]`:
#
# | step | clip 0 | clip 1 | mask |
# |---|---|---|---|
# | 0 | 5 | 1 | True, True |
# | 1 | 0 | 2 | False, True |
#
# > **Exercise 4 · `gesture.pad`** · easy · 10 minutes · 10 points
# >
# > Return both, the padded batch first. The mask is of dtype `torch.bool`. There is at least one clip, and each has a step.
# >
# > *A real row counts as padding?* A real row may consist of zeros. What is real follows from the lengths.


# %%
@exercise("gesture.pad", points=10)
def pad(sequences):
    """sequences: list of B tensors (T_i, D) -> padded (T, B, D), mask (T, B) bool; T is the greatest T_i"""
    ### BEGIN SOLUTION
    T, B, D = max(len(s) for s in sequences), len(sequences), sequences[0].shape[1]
    padded, mask = torch.zeros(T, B, D), torch.zeros(T, B, dtype=torch.bool)
    for b, s in enumerate(sequences):
        padded[: len(s), b] = s
        mask[: len(s), b] = True
    return padded, mask
    ### END SOLUTION


# %%
check("gesture.pad")

# %% tags=["expect"]
padded, mask = pad([torch.ones(2, 3), torch.ones(5, 3), torch.ones(3, 3)])
print("padded", tuple(padded.shape))
print("mask, one row for each clip:")
for row in mask.T.int().tolist():
    print(row)

# %% [markdown]
# The network gives logits at every step, and a clip has **one** label. Many-to-one: only the answer after the clip's last
# real step counts. If clip $b$ has $T_b$ real steps, that is step $T_b-1$:
#
# $$L=\frac1B\sum_{b}\text{cross-entropy}\big(\text{logits at step }T_b-1\text{ of clip }b,\ \text{label}_b\big)$$
#
# An example: if the right class has the probability 3/4 there in one clip, and 1/2 in the other, then
# $L=(\ln\frac43+\ln 2)/2$.
#
# > **Exercise 5 · `gesture.many_to_one`** · medium · 10 minutes · 12 points
# >
# > `mask` is True at the real steps, which come first. There may be padding behind *all* clips. Cross-entropy is
# > `F.cross_entropy`: from logits (B, K) and labels (B,) it makes the mean.
# >
# > *Right for clips of the same length only?* `logits[-1]` is padding for the others.


# %%
@exercise("gesture.many_to_one", points=12)
def many_to_one(logits, mask, labels):
    """logits: (T, B, K), mask: (T, B) bool, labels: (B,) long -> scalar tensor"""
    ### BEGIN SOLUTION
    last = mask.sum(dim=0) - 1
    rows = logits[last, torch.arange(len(labels))]
    return F.cross_entropy(rows, labels)
    ### END SOLUTION


# %%
check("gesture.many_to_one")

# %% tags=["expect"]
logits = torch.zeros(3, 2, 2)
logits[2, 0] = torch.tensor([math.log(3), 0.0])
mask = torch.tensor([[True, True], [True, False], [True, False]])
loss = many_to_one(logits, mask, torch.tensor([0, 1]))
print(f"{loss:.4f}, by hand {(math.log(4 / 3) + math.log(2)) / 2:.4f}")

# %% [markdown]
# In a stream each step has a label of its own: the gesture while it is drawn, «none» else. Many-to-many: every **real** step
# counts, and each weighs the same, whatever clip it is from. The sum runs over these steps only:
#
# $$L=\frac1{\sum_b T_b}\sum_{\text{real }t,\,b}\text{cross-entropy}(\text{logits}_{tb},\text{label}_{tb})$$
#
# An example: one clip of a single step, whose loss is 4, and one of three steps, each with loss 0. Then
# $L=(4+0+0+0)/4=1$, and *not* the mean over the clips, $(4+0)/2=2$.
#
# > **Exercise 6 · `gesture.many_to_many`** · easy · 10 minutes · 10 points
# >
# > What stands in the padding must have no effect. Labels there are some class or other; logits there may even be `nan`.
# >
# > *The loss is `nan`?* $0\cdot$ `nan` is `nan`. Do not multiply by the mask: select with it. What shape has `logits[mask]`?


# %%
@exercise("gesture.many_to_many", points=10)
def many_to_many(logits, mask, labels):
    """logits: (T, B, K), mask: (T, B) bool, labels: (T, B) long -> scalar tensor"""
    ### BEGIN SOLUTION
    return F.cross_entropy(logits[mask], labels[mask])
    ### END SOLUTION


# %%
check("gesture.many_to_many")

# %% tags=["expect"]
logits = torch.zeros(3, 2, 2)
logits[2, 0] = torch.tensor([math.log(3), 0.0])
mask = torch.tensor([[True, True], [True, False], [True, False]])
logits[~mask] = math.nan
loss = many_to_many(logits, mask, labels=torch.zeros(3, 2, dtype=torch.long))
print(f"{loss:.4f}, by hand {(3 * math.log(2) + math.log(4 / 3)) / 4:.4f}")

# %% [markdown]
# Three memories, each with trained weights. They differ in what their answer after frame $t$ is made from:
#
# - `last`: from frame $t$ alone,
# - `mean`: a small network looks at each frame by itself; the answer is made from the mean of what it says, over frames
#   0 … $t$,
# - `LSTM`: from its state after reading frames 0 … $t$, one after the other.
#
# The frames of a clip are shuffled in two ways:
#
# - `a`: the earlier frames are shuffled, and the last one stays the last,
# - `b`: all frames are shuffled.
#
# > **Exercise 7 · `gesture.order`** · easy · 5 minutes · 8 points
# >
# > Is the answer after the **last** frame the same as before? Write `"same"` if it is, whatever the clip; `"may change"` if for
# > some clip it is not. (Rounding errors do not count.)
# >
# > *Unsure about the mean?* Which frames does it average in `a`, and which in `b`?


# %%
@exercise("gesture.order", points=8)
def what_order_does():
    """Write "same" or "may change" in place of each `...`."""
    ### BEGIN SOLUTION
    return {
        "last, a": "same",
        "last, b": "may change",
        "mean, a": "same",
        "mean, b": "same",
        "LSTM, a": "may change",
        "LSTM, b": "may change",
    }
    ### END SOLUTION


# %%
check("gesture.order")

# %% [markdown]
# How early is the network right? One lets it see the first part of each clip only: of a clip of $T_i$ frames the first
# $\lceil\text{fraction}\cdot T_i\rceil$, and at least one. The answer is the class with the greatest probability in the row
# after the last frame that was seen. Row 0 is the one after the first frame.
#
# An example: half of 5 frames are 2.5, so three are seen, and row 2 decides. The **accuracy** is the share of the clips for
# which this answer is the label.
#
# > **Exercise 8 · `gesture.observed`** · medium · 10 minutes · 10 points
# >
# > Write the accuracy. Each clip has a length of its own. The last class is «none»; here it is treated like all others.
# >
# > *Of 25 frames, 28 % are 7, and you see 8?* In floats `0.28 * 25` is 7.000000000000001. Subtract `1e-6` before
# > `math.ceil`.


# %%
@exercise("gesture.observed", points=10)
def accuracy_at(probabilities, labels, fraction):
    """probabilities: list of (T_i, K), labels: list of int, fraction: above 0, at most 1 -> float from 0 to 1"""
    ### BEGIN SOLUTION
    right = 0
    for rows, label in zip(probabilities, labels, strict=True):
        seen = max(1, math.ceil(fraction * len(rows) - 1e-6))
        right += int(rows[seen - 1].argmax()) == label
    return right / len(labels)
    ### END SOLUTION


# %%
check("gesture.observed")

# %% tags=["expect"]
early = torch.tensor([[0.2, 0.8], [0.7, 0.3], [0.8, 0.2], [0.9, 0.1]])
late = torch.tensor([[0.2, 0.8], [0.3, 0.7], [0.4, 0.6], [0.9, 0.1]])
for fraction in (0.25, 0.5, 1.0):
    print(f"after {fraction:.0%}: {accuracy_at([early, late], [0, 0], fraction)}")

# %% [markdown]
# In use, nobody says where a gesture ends. When should a device act? A simple rule: as soon as one and the same class has been
# *sure* for `hold` steps in a row. Sure means that it has the greatest probability of all classes, and that this is at least
# `threshold`. «none» is never decided for.
#
# An example with `threshold` 0.6 and `hold` 2, classes 0, 1 and «none»:
#
# | step | 0 | 1 | none | sure | in a row |
# |---|---|---|---|---|---|
# | 0 | **0.7** | 0.2 | 0.1 | 0 | 1 |
# | 1 | **0.5** | 0.4 | 0.1 | nobody | 0 |
# | 2 | 0.1 | **0.8** | 0.1 | 1 | 1 |
# | 3 | 0.3 | **0.6** | 0.1 | 1 | 2: decided, (1, 3) |
#
# > **Exercise 9 · `gesture.decide`** · hard · 15 minutes · 14 points
# >
# > Return the class, and the first step at which it has been sure for `hold` steps in a row, this step included. What comes
# > later changes nothing. If that never happens, return the number of «none», $K-1$, and the number of steps, $T$.
# >
# > *Decided too early?* A step that is unsure, or at which another class is sure, makes the count begin anew.


# %%
@exercise("gesture.decide", points=14)
def decide(probabilities, threshold, hold):
    """probabilities: (T, K), the last class being «none», threshold: float, hold: int, at least 1 -> class and step, two int"""
    ### BEGIN SOLUTION
    T, K = probabilities.shape
    before, count = None, 0
    for t in range(T):
        kind = int(probabilities[t].argmax())
        if kind == K - 1 or probabilities[t, kind] < threshold:
            before, count = None, 0
            continue
        count = count + 1 if kind == before else 1
        before = kind
        if count == hold:
            return kind, t
    return K - 1, T
    ### END SOLUTION


# %%
check("gesture.decide")

# %% tags=["expect"]
stream = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.1, 0.8, 0.1], [0.3, 0.6, 0.1]])
for hold in (1, 2, 3):
    print(f"hold {hold}: class and step {decide(stream, threshold=0.6, hold=hold)}")

# %%
progress()
