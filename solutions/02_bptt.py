# %% [markdown]
# # 2 · Backpropagation through time
#
# **About two and a half hours**, more than half of it exercises. Afterwards you can
#
# - follow the derivation of all five gradients of a recurrent network, write them, and check each in three ways,
# - say when gradients vanish or explode, and measure it,
# - clip a gradient, cut a long sequence into chunks, and say what both cost,
# - name six remedies, and say which of them helped in your own runs.
#
# You need notebook 1, and the chain rule for matrices.
#
# Stuck? `hint("bptt.dh")` helps, again and again. To go on without an exercise: `use_library("bptt.dh")`.

# %% tags=["bootstrap"]

# %%
import sys

import torch
import torch.nn.functional as F
from tqdm import tqdm

from cvdl import (
    budget,
    check,
    exercise,
    explore,
    hint,
    outcome,
    progress,
    seed,
    show,
    use_library,
)
from cvdl.sequence import bptt, remedies, tasks
from cvdl.sequence.plotting import draw_bptt

torch.set_num_threads(1)  # the matrices are small: more threads would wait for each other

# %% [markdown]
# ## A belief to lose
#
# A recurrent network carries its state from step to step. So what it read 100 steps ago can still change its answer,
# and the gradient says how. PyTorch computes gradients exactly. One might think: **then it can learn from 100 steps ago
# as well as from just now.**
#
# **Write down a guess.** A tanh network reads noise for 100 steps. By what factor is the gradient smaller 100 steps
# back than at the last step? The matrix $W$ is a random rotation times a *gain*.

# %%
for gain in (0.9, 1.0, 1.1):
    draws = seed(0)
    states, W = bptt.driven_run(gain, steps=100, generator=draws)
    unit = F.normalize(torch.randn(8, 128, generator=draws, dtype=torch.float64), dim=1)
    norm = bptt.norm_by_lag(states, W, unit)[-1].median().item()
    print(f"gain {gain}: the gradient is {norm:.1e} times as large, 100 steps back")

# %% [markdown]
# Even a pure rotation, gain 1, loses nearly all of it, and even gain 1.1 keeps only a fifth. With gain 0.9 about a millionth is left. The gradient is exact; it
# is just very small. This notebook first derives it, then explains these numbers, then looks for help.

# %% [markdown]
# ## The graph
#
# The network of notebook 1, with a name for each value on the way:
#
# $$a_t = V x_t + W h_{t-1} + b_h \qquad h_t = \tanh(a_t)$$
# $$o_t = U h_t + b_y \qquad \hat y_t = \mathrm{softmax}(o_t) \qquad \mathbf L = \sum_t \mathcal L_t(\hat y_t, y_t)$$
#
# $\mathcal L_t$ is the cross-entropy at step $t$, averaged over the batch.

# %%
show(
    draw_bptt.graph("forward"),
    "The computation graph of three steps t-1, t, t+1. In each column x leads through V to a, a to h, "
    "h through U to o, and o to the loss of the step; the three losses lead to the total loss L. W leads "
    "from each h to the a of the next column.",
)

# %% [markdown]
# The **forward pass** goes along the arrows and keeps what the way back will need: all states, the probabilities
# $\hat y_t$, the losses $\mathcal L_t$, and their sum.

# %% [markdown]
# > **Exercise 1 · `bptt.forward`** · easy · 15 minutes · 12 points
# >
# > Run the network. Return `hs` **from $h_0$ on**, so that `hs[t]` is $h_t$; then `ys`, `losses`, and `L`.
# >
# > *Are all states off by one?* `hs` has $T + 1$ rows; `xs`, `ys` and `losses` have $T$.


# %%
@exercise("bptt.forward", points=12)
def forward(xs, h0, targets, V, W, b_h, U, b_y):
    """The forward pass, and all that the backward pass needs.

    xs: (T, B, D), h0: (B, H), targets: (T, B) long; V: (H, D), W: (H, H), b_h: (H,), U: (K, H), b_y: (K,)
    -> hs (T + 1, B, H), probabilities ys (T, B, K), losses (T,), L
    """
    ### BEGIN SOLUTION
    hs, ys, losses = [h0], [], []
    for x, target in zip(xs, targets, strict=True):
        h = torch.tanh(x @ V.T + hs[-1] @ W.T + b_h)
        o = h @ U.T + b_y
        hs.append(h)
        ys.append(torch.softmax(o, dim=-1))
        losses.append(F.cross_entropy(o, target))
    losses = torch.stack(losses)
    return torch.stack(hs), torch.stack(ys), losses, losses.sum()
    ### END SOLUTION


# %%
check("bptt.forward")

# %% [markdown]
# We run it on real input: eight family names of six letters. At each letter the network is to guess the next one.
# Everything is in `float64`, since we are going to compare to many digits.

# %% tags=["expect"]
people = [name for name, _ in tasks.names().train if len(name) == 6][:8]
ids = torch.tensor([[ord(letter) - ord("a") for letter in name] for name in people]).T  # (6, 8)
xs, targets = F.one_hot(ids[:-1], 26).double(), ids[1:]
draws = seed(0)


def normal(*shape):
    return torch.randn(*shape, generator=draws, dtype=torch.float64)


H = 12
h0, V, W, b_h = normal(8, H), normal(H, 26), 0.4 * normal(H, H), 0.1 * normal(H)
U, b_y = 0.5 * normal(26, H), 0.1 * normal(26)
hs, ys, losses, L = forward(xs, h0, targets, V, W, b_h, U, b_y)
print("hs", tuple(hs.shape), "· ys", tuple(ys.shape), "· losses", tuple(losses.shape))
print("L_t:", [f"{loss:.2f}" for loss in losses.tolist()], f"· L = {L:.2f}")

# %% [markdown]
# Nothing is learned yet, so each step costs more than $\ln 26 \approx 3.26$, the price of not knowing.

# %% [markdown]
# ## Backwards, step 1: the outputs
#
# The **backward pass** goes against the arrows, from $\mathbf L$ down. Each value gets the derivative of $\mathbf L$ by it. The
# first are the outputs.

# %%
show(
    draw_bptt.graph("do"),
    "The same graph in grey; one thick arrow leads back from the loss of step t to o_t.",
)

# %% [markdown]
# Softmax and cross-entropy together have a short derivative. For one sample it is the probabilities less the one-hot target,
#
# $$\frac{\partial \mathcal L_t}{\partial o_t} = \hat y_t - y_t$$
#
# and with the mean over a batch of $B$ samples it is divided by $B$.

# %% [markdown]
# > **Exercise 2 · `bptt.do`** · easy · 10 minutes · 8 points
# >
# > Compute $\partial \mathbf L / \partial o_t$ for all steps at once.
# >
# > *Off by a factor?* Each $\mathcal L_t$ is a mean over the batch, and $\mathbf L$ is a sum over time.


# %%
@exercise("bptt.do", points=8)
def output_gradient(ys, targets):
    """dL/do_t.  ys: (T, B, K) probabilities, targets: (T, B) long -> (T, B, K)"""
    ### BEGIN SOLUTION
    wanted = F.one_hot(targets, ys.shape[-1])
    return (ys - wanted) / len(targets[0])
    ### END SOLUTION


# %%
check("bptt.do")

# %% tags=["expect"]
do = output_gradient(ys, targets)
print(f"first step, first sample: {do[0, 0].min():.4f} … {do[0, 0].max():.4f}")
print(f"its 26 numbers add up to zero: {abs(do[0, 0].sum()) < 1e-12}")

# %% [markdown]
# Only the right letter has a negative gradient: it should become likelier, all others less likely.

# %% [markdown]
# ## Step 2: $\partial\mathbf L/\partial U$ and $\partial\mathbf L/\partial b_y$
#
# The same $U$ works at every step. So every step contributes to it, and the contributions are **added up**:
#
# $$\frac{\partial \mathbf L}{\partial U} = \sum_t \frac{\partial \mathbf L}{\partial o_t}\, h_t^\top
# \qquad\qquad \frac{\partial \mathbf L}{\partial b_y} = \sum_t \frac{\partial \mathbf L}{\partial o_t}$$

# %%
show(
    draw_bptt.graph("dU"),
    "The graph with all o and all h lit; thick arrows lead from the three losses to their o.",
)

# %% [markdown]
# For one sample, the summand is an *outer product*: column times row. Over a batch, rows are samples, and `do[t].T @ h` adds up their
# outer products.

# %% [markdown]
# > **Exercise 3 · `bptt.dU`** · medium · 10 minutes · 8 points
# >
# > Compute $\partial \mathbf L/\partial U$.
# >
# > *Which rows of `hs` belong to `do`?* `hs` begins with $h_0$, `do` with $o_1$.


# %%
@exercise("bptt.dU", points=8)
def gradient_U(do, hs):
    """dL/dU.  do: (T, B, K), hs: (T + 1, B, H) from h_0 on -> (K, H)"""
    ### BEGIN SOLUTION
    return sum(step.T @ h for step, h in zip(do, hs[1:], strict=True))
    ### END SOLUTION


# %%
check("bptt.dU")

# %% tags=["expect"]
dU = gradient_U(do, hs)
print(f"dU {tuple(dU.shape)}, norm {dU.norm():.4f}")

# %% [markdown]
# > **Exercise 4 · `bptt.db_y`** · easy · 5 minutes · 6 points
# >
# > Compute $\partial \mathbf L/\partial b_y$.
# >
# > *You get shape `(B, K)`?* Each sample contributes, as well as each step.


# %%
@exercise("bptt.db_y", points=6)
def gradient_b_y(do):
    """dL/db_y.  do: (T, B, K) -> (K,)"""
    ### BEGIN SOLUTION
    return do.sum(dim=0).sum(dim=0)
    ### END SOLUTION


# %%
check("bptt.db_y")

# %% tags=["expect"]
db_y = gradient_b_y(do)
print(f"db_y {tuple(db_y.shape)}, norm {db_y.norm():.4f}")

# %% [markdown]
# ## Step 3: the states
#
# Now the heart of it. Look at the arrows that *leave* $h_t$: one goes up to $o_t$, one on to $a_{t+1}$. So the gradient comes
# back along both, and the two are added:

# %%
show(
    draw_bptt.graph("dh"),
    "The graph with h_t lit; two thick arrows lead into it, one down from o_t, one back from a_{t+1} of the next column.",
)

# %% [markdown]
# $$\frac{\partial \mathbf L}{\partial h_t} = U^\top \frac{\partial \mathbf L}{\partial o_t}
# + W^\top \frac{\partial \mathbf L}{\partial a_{t+1}},
# \qquad \frac{\partial \mathbf L}{\partial a_{t+1}} = \frac{\partial \mathbf L}{\partial h_{t+1}} \odot (1 - h_{t+1}^2)$$
#
# After the last step nothing comes, so there the second term is zero. One starts at the end and goes back. Hence the name:
# backpropagation *through time*.
#
# The factor $1 - h^2$ is the slope of tanh: $\tanh'(a) = 1 - \tanh^2(a)$, and $\tanh(a)$ is $h$. In rows, $U^\top g$ is written `g @ U`.

# %% [markdown]
# > **Exercise 5 · `bptt.dh`** · hard · 25 minutes · 16 points
# >
# > Compute $\partial \mathbf L/\partial h_t$ for $t = T, \dots, 1$, and return them in the order of time.
# >
# > *Only the last step is right?* Then what comes back from the next step is wrong or missing.


# %%
@exercise("bptt.dh", points=16)
def state_gradient(do, hs, W, U):
    """dL/dh_t.  do: (T, B, K), hs: (T + 1, B, H), W: (H, H), U: (K, H) -> (T, B, H) for h_1 … h_T"""
    ### BEGIN SOLUTION
    later, found = 0.0, []
    for d, h in zip(do.flip(0), hs.flip(0), strict=False):
        dh = d @ U + later
        later = (dh * (1 - h**2)) @ W
        found.append(dh)
    return torch.stack(found[::-1])
    ### END SOLUTION


# %%
check("bptt.dh")

# %% tags=["expect"]
dh = state_gradient(do, hs, W, U)
own = do @ U
print("norm of dL/dh_t, and of its two parts")
for t in range(len(dh)):
    later = dh[t] - own[t]
    parts = f"own output {own[t].norm():.2f}, later steps {later.norm():.2f}"
    print(f"h_{t + 1}: {dh[t].norm():.2f}   {parts}")

# %% [markdown]
# The last state gets a gradient from its own output only. The others get one from later steps too, and it is not small.

# %% [markdown]
# ## Step 4: through the tanh
#
# $$\frac{\partial \mathbf L}{\partial a_t} = \frac{\partial \mathbf L}{\partial h_t} \odot (1 - h_t^2)$$
#
# You used this inside the last exercise. The weights need it for all steps.

# %% [markdown]
# > **Exercise 6 · `bptt.da`** · easy · 5 minutes · 8 points
# >
# > Compute $\partial \mathbf L/\partial a_t$ for all steps.
# >
# > *Nearly right, but not quite?* `hs` are already past the tanh.


# %%
@exercise("bptt.da", points=8)
def preactivation_gradient(dh, hs):
    """dL/da_t.  dh: (T, B, H) for h_1 … h_T, hs: (T + 1, B, H) from h_0 on -> (T, B, H)"""
    ### BEGIN SOLUTION
    slope = 1 - hs[1:].square()
    return slope * dh
    ### END SOLUTION


# %%
check("bptt.da")

# %% tags=["expect"]
da = preactivation_gradient(dh, hs)
print(
    f"da {tuple(da.shape)}; on its way through tanh the norm shrank from {dh.norm():.3f} to {da.norm():.3f}"
)

# %% [markdown]
# tanh is steepest at zero, and there its slope is 1. So it can shrink a gradient, and never enlarge it. Keep that in mind.

# %% [markdown]
# ## Step 5: $\partial\mathbf L/\partial W$, $\partial\mathbf L/\partial V$, $\partial\mathbf L/\partial b_h$
#
# Again, all steps add up. The gradient has come down to $a_t$, and there $W$ met the state of the step **before**:

# %%
show(
    draw_bptt.graph("dW"),
    "The graph with a_t, a_{t+1} and the states before them, h_{t-1} and h_t, lit; thick arrows lead down into a_t and a_{t+1}; W joins each a to the h of the column before.",
)

# %% [markdown]
# $$\frac{\partial \mathbf L}{\partial W} = \sum_t \frac{\partial \mathbf L}{\partial a_t} h_{t-1}^\top
# \qquad \frac{\partial \mathbf L}{\partial V} = \sum_t \frac{\partial \mathbf L}{\partial a_t} x_t^\top
# \qquad \frac{\partial \mathbf L}{\partial b_h} = \sum_t \frac{\partial \mathbf L}{\partial a_t}$$

# %% [markdown]
# > **Exercise 7 · `bptt.dW`** · medium · 10 minutes · 12 points
# >
# > Compute $\partial \mathbf L/\partial W$.
# >
# > *Right shape, wrong numbers?* $h_t$ and $h_{t-1}$ have the same shape.


# %%
@exercise("bptt.dW", points=12)
def gradient_W(da, hs):
    """dL/dW.  da: (T, B, H), hs: (T + 1, B, H) from h_0 on -> (H, H)"""
    ### BEGIN SOLUTION
    return sum(step.T @ before for step, before in zip(da, hs[:-1], strict=True))
    ### END SOLUTION


# %%
check("bptt.dW")

# %% tags=["expect"]
dW = gradient_W(da, hs)
print(f"dW {tuple(dW.shape)}, norm {dW.norm():.4f}")

# %% [markdown]
# > **Exercise 8 · `bptt.dV`** · easy · 5 minutes · 6 points
# >
# > Compute $\partial \mathbf L/\partial V$.
# >
# > *An error about shapes?* The gradient has the shape of $V$, $H \times D$.


# %%
@exercise("bptt.dV", points=6)
def gradient_V(da, xs):
    """dL/dV.  da: (T, B, H), xs: (T, B, D) -> (H, D)"""
    ### BEGIN SOLUTION
    return sum(step.T @ x for step, x in zip(da, xs, strict=True))
    ### END SOLUTION


# %%
check("bptt.dV")

# %% tags=["expect"]
dV = gradient_V(da, xs)
print(f"dV {tuple(dV.shape)}, norm {dV.norm():.4f}")

# %% [markdown]
# > **Exercise 9 · `bptt.db_h`** · easy · 5 minutes · 6 points
# >
# > Compute $\partial \mathbf L/\partial b_h$.
# >
# > *Seen before?* Yes: in exercise 4, one layer higher.


# %%
@exercise("bptt.db_h", points=6)
def gradient_b_h(da):
    """dL/db_h.  da: (T, B, H) -> (H,)"""
    ### BEGIN SOLUTION
    return da.sum(dim=0).sum(dim=0)
    ### END SOLUTION


# %%
check("bptt.db_h")

# %% tags=["expect"]
db_h = gradient_b_h(da)
print(f"db_h {tuple(db_h.shape)}, norm {db_h.norm():.4f}")

# %% [markdown]
# ## Three ways to be sure
#
# A wrong gradient often still trains, only worse. So one checks. All your functions in a row:


# %%
def backward(xs, targets, hs, ys, W, U):
    do = output_gradient(ys, targets)
    dh = state_gradient(do, hs, W, U)
    da = preactivation_gradient(dh, hs)
    return {
        "do": do,
        "dU": gradient_U(do, hs),
        "db_y": gradient_b_y(do),
        "dh": dh,
        "da": da,
        "dW": gradient_W(da, hs),
        "dV": gradient_V(da, xs),
        "db_h": gradient_b_h(da),
    }


ours = backward(xs, targets, hs, ys, W, U)

# %% [markdown]
# **First way: autograd**, PyTorch's own backward pass. **Second way: central differences.** Nudge one number $w$ up and down and look at the loss,
# $\big(\mathbf L(w + \varepsilon) - \mathbf L(w - \varepsilon)\big) / 2\varepsilon$. That is slow, but it needs no derivation at all.

# %%
weights = {"V": V, "W": W, "b_h": b_h, "U": U, "b_y": b_y}
leaves = {name: w.clone().requires_grad_() for name, w in weights.items()}
by_autograd = torch.autograd.grad(
    bptt.forward(xs, h0, targets, **leaves)[-1], list(leaves.values())
)
worst = {"autograd": 0.0, "differences": 0.0}
for (name, w), gradient in zip(weights.items(), by_autograd, strict=True):

    def loss_at(value, name=name):
        return bptt.forward(xs, h0, targets, **{**weights, name: value})[-1]

    mine = ours["d" + name]
    error = bptt.relative_error(mine, gradient)
    nudged = bptt.relative_error(mine, bptt.central_differences(loss_at, w))
    worst = {
        "autograd": max(worst["autograd"], error),
        "differences": max(worst["differences"], nudged),
    }
    print(f"dL/d{name:<3}: relative error {error:.0e} to autograd, {nudged:.0e} to differences")
outcome("all five agree with autograd to 9 digits", worst["autograd"] < 1e-9)
outcome("and with central differences to 6", worst["differences"] < 1e-6)

# %% [markdown]
# The differences agree to fewer digits, since the step $\varepsilon$ is not zero and a loss has only 16 digits.
#
# **Third way**, if something is wrong: compare the values in the order in which they are computed. The *first* one that differs is where the
# mistake is. As a test we forget the slope of tanh:

# %%
broken = {**ours, "da": dh, "dW": gradient_W(dh, hs)}
right = bptt.backward(xs, targets, hs, ys, W, U)
print("yours:  ", bptt.first_difference(ours, right))
print("broken: ", bptt.first_difference(broken, right))

# %% [markdown]
# `dW` is wrong too, but `da` comes before it, and there the mistake is.

# %% [markdown]
# ## How far does a gradient get?
#
# From $h_{i-1}$ to $h_i$ leads one matrix, the **Jacobian** $\partial h_i / \partial h_{i-1}$. From $h_k$ to $h_t$ leads the product of all
# between, and the gradient of one loss is a sum over the way:
#
# $$\frac{\partial \mathcal L_t}{\partial W} = \sum_{k \le t} \frac{\partial \mathcal L_t}{\partial h_t}
# \Big( \prod_{i=k+1}^{t} \frac{\partial h_i}{\partial h_{i-1}} \Big) \frac{\partial^+ h_k}{\partial W}$$
#
# $\partial^+$ means: with $h_{k-1}$ held fixed.
#
# **Rows or columns?** In steps 1 to 5 the formulas had gradients as columns, hence $U^\top$ and $W^\top$. From here on
# they are **rows**, as they always were in the code: $\partial \mathcal L_t / \partial h_t$ stands on the left, and each Jacobian is
# multiplied from the right, the latest, $i = t$, first.
#
# <details><summary>Misprints on the lecture's slides</summary>
#
# - The loss there is $\sum_i$ of terms with the index $t$. The sum runs over $t$.
# - The formula above sums over $i$ there, multiplies up to $y$, and begins without $\partial \mathcal L_t/\partial h_t$. The sum runs over $k$,
#   the product up to $t$.
# </details>

# %% [markdown]
# > **Exercise 10 · `bptt.jacobian`** · medium · 10 minutes · 10 points
# >
# > Write the Jacobian of one step, $\mathrm{diag}(1 - h_i^2)\,W$.
# >
# > *Rows or columns?* Row $j$ is about unit $j$ of the *new* state.


# %%
@exercise("bptt.jacobian", points=10)
def jacobian(h, W):
    """dh_i/dh_{i-1} of one sample.  h: (H,) the new state h_i, W: (H, H) -> (H, H)"""
    ### BEGIN SOLUTION
    return torch.diag(1 - h**2) @ W
    ### END SOLUTION


# %%
check("bptt.jacobian")

# %% tags=["expect"]
J = jacobian(hs[3, 0], W)
print(
    f"singular values from {torch.linalg.svdvals(J)[-1]:.3f} to {torch.linalg.matrix_norm(J, 2):.3f}"
)

# %% [markdown]
# The largest singular value is the norm $\|\partial h_i/\partial h_{i-1}\|_2$: the most by which one step can stretch a gradient.

# %% [markdown]
# ### The gain
#
# Here is the network of the beginning again: 128 units, 100 steps of noise, $W$ a rotation times a gain. `drive` says how strong the noise is
# that goes in. **Move the gain first, then the drive.**


# %%
def norms(gain, drive):
    draws = torch.Generator().manual_seed(0)
    states, W = bptt.driven_run(gain, drive=drive, generator=draws)
    start = F.normalize(torch.randn(8, 128, generator=draws, dtype=torch.float64), dim=1)
    return bptt.norm_by_lag(states, W, start)


explore(
    lambda gain, drive: draw_bptt.norm_by_lag(
        {f"gain {gain:.1f}": norms(gain, drive), "gain 1.0": norms(1.0, drive)},
        f"drive {drive:.2f}",
    ),
    "Norm of the gradient against the lag from 0 to 100, log axis, for gain {gain:.1f} and for gain 1, at drive {drive:.2f}.",
    gain=(0.5, 2.0, 1.1, 0.1),
    drive=(0.05, 1.0, 0.1, 0.05),
)

# %%
at_100 = {gain: norms(gain, 0.1)[-1].median().item() for gain in (0.5, 0.9, 1.0, 1.1, 1.5, 2.0)}
for gain, norm in at_100.items():
    print(f"gain {gain}: {norm:.0e}")
strong = norms(1.1, 0.5)[-1].median().item()
print(f"gain 1.1 with a strong drive, 0.5: {strong:.0e}")
outcome("gain 0.9 vanishes, gain 1.5 explodes", at_100[0.9] < 1e-5 and at_100[1.5] > 10)
outcome("at gain 1.1 a strong drive makes it vanish", strong < 1e-6)

# %% [markdown]
# Mostly straight lines on a log axis: the gradient is multiplied by about the same factor at each step. (A bend at the right
# is the beginning of the run: it starts from $h_0 = 0$, where tanh is steep.) Below some gain it **vanishes**, above it
# **explodes**, and the narrow place between depends on the input too.

# %% [markdown]
# ### Norms above 1, and yet it vanishes
#
# The slide has two cases: all $\|\partial h_i/\partial h_{i-1}\|_2 < 1$, and the gradient vanishes; all $> 1$, and it explodes. **The second is not so.**


# %%
def along(gain, drive):
    """Singular values of each Jacobian (T, H), and the norm of the product against lag (T + 1,)."""
    draws = torch.Generator().manual_seed(0)
    states, W = bptt.driven_run(gain, hidden=64, drive=drive, batch=1, generator=draws)
    J = bptt.jacobians(states, W)[:, 0]
    return torch.linalg.svdvals(J), torch.linalg.matrix_norm(bptt.products(J), 2)


explore(
    lambda gain, drive: draw_bptt.singular_values(
        *along(gain, drive), f"gain {gain:.1f}, drive {drive:.1f}"
    ),
    "Left: greatest, median and smallest singular value of the Jacobian at each of 100 steps; right: the norm of their product against lag, log axis; gain {gain:.1f}, drive {drive:.1f}.",
    gain=(0.5, 2.0, 1.1, 0.1),
    drive=(0.1, 1.0, 0.5, 0.1),
)

# %%
values, product = along(1.1, 0.5)
print(f"norm of every Jacobian: at least {values.amax(1).min():.2f}")
print(f"median singular value: {values.median():.2f}")
print(f"norm of the product of all 100: {product[-1]:.0e}")
outcome("all norms are above 1", bool((values.amax(1) > 1).all()))
outcome("and the product vanishes", product[-1].item() < 1e-5)

# %% [markdown]
# The norm is the *greatest* stretch, in one direction. Somewhere there is always a unit near zero, where tanh is steep. But it is another unit at
# each step, and most directions shrink. Here is the smallest example: each factor has norm 2, the product is zero.

# %%
J = torch.tensor([[0.0, 2.0], [0.0, 0.0]])
print("norm:", torch.linalg.matrix_norm(J, 2).item(), "· product of two:", (J @ J).tolist())

# %% [markdown]
# So norms below some $\gamma < 1$ **suffice** for vanishing, since a product's norm is at most the product of the norms. To explode,
# at least some norms *must* be above 1: that is **necessary**, not sufficient.
#
# <details><summary>Can the gradient of a tanh network explode if every singular value of $W$ is below 1?</summary>
#
# No. The slope of tanh is at most 1, so every Jacobian has norm below 1, and the product vanishes.
# </details>

# %% [markdown]
# ## Against exploding: clipping
#
# If the gradient gets too long, shorten it. The *direction* is worth keeping, so all gradients are shrunk by the same factor, until their
# common norm is the limit (Pascanu, Mikolov, Bengio 2013).

# %% [markdown]
# > **Exercise 11 · `bptt.clip`** · easy · 10 minutes · 8 points
# >
# > Shrink the gradients to the common norm `limit` if they are longer; else return them as they are.
# >
# > *Did the direction change?* Then there is more than one factor.


# %%
@exercise("bptt.clip", points=8)
def clip_by_norm(gradients, limit):
    """gradients: list of tensors, limit > 0 -> list of tensors whose common norm is at most limit"""
    ### BEGIN SOLUTION
    norm = sum((g**2).sum() for g in gradients).sqrt()
    factor = limit / norm if norm > limit else 1.0
    return [factor * g for g in gradients]
    ### END SOLUTION


# %%
check("bptt.clip")

# %% tags=["expect"]
long_ones = [torch.tensor([30.0, 0.0]), torch.tensor([40.0])]
print([[round(v, 3) for v in g.tolist()] for g in clip_by_norm(long_ones, 1.0)])

# %% [markdown]
# Clipping helps against exploding only. What has vanished, no factor brings back.

# %% [markdown]
# ## Against endless sequences: truncation
#
# The backward pass needs all states, so memory grows with $T$. **Truncated** BPTT cuts the sequence into chunks. The state is handed on from
# chunk to chunk; the gradient is not.

# %%
seed(0)
net = remedies.NETWORKS["tanh RNN"](2, 16, 1)
long_xs, _ = tasks.adding_problem(60, 4, seed(0))
long_xs.requires_grad_()
for first, outputs in remedies.truncated(net, long_xs, 20):
    long_xs.grad = None
    outputs[-1].sum().backward()
    reached = long_xs.grad.abs().sum((1, 2)).nonzero().flatten() + 1
    print(
        f"chunk from step {first + 1}: the gradient reaches steps {reached.min()} to {reached.max()}"
    )

# %% [markdown]
# The state was carried on, but **detached**: PyTorch keeps its value and forgets how it came about. What happens without `detach`?

# %%
memory = None
try:
    for first in range(0, 60, 20):
        outputs, memory = net(long_xs[first : first + 20], memory)
        outputs[-1].sum().backward()
except RuntimeError as error:
    print(f"chunk from step {first + 1}: {str(error)[:60]} …")

# %% [markdown]
# The second `backward()` runs on into the first chunk, whose graph is already freed.
#
# The price of cutting: what lies before a chunk, the network can remember, but no gradient teaches it to. At a chunk's first step that is
# everything.

# %% [markdown]
# ## Against vanishing: six remedies
#
# All change the *way* on which the gradient goes back. Each is one small network with the same interface, and differs in one step:
#
# | network | what changes |
# |---|---|
# | tanh RNN | nothing: $h_t = \tanh(a_t)$ |
# | skip connections | one more matrix leads from $h_{t-10}$ to $a_t$: ten steps in one |
# | no length-1 | half of the units see $h_{t-10}$ *in place of* $h_{t-1}$ |
# | leaky units | $h_t = \alpha h_{t-1} + (1-\alpha)\tanh(a_t)$, $\alpha = 0.9$ |
# | gated units | the same, and $\alpha_t$ is computed by the network: one $\alpha$ per unit and step |
# | identity start | ReLU, and $W$ starts as the identity |
# | LSTM | a cell state with three gates: notebook 3 |
#
# Here is a whole one. It will run below, with the others, which stand in `cvdl/sequence/remedies.py`.


# %%
class LeakyUnits(remedies.TanhRNN):
    alpha = 0.9

    def step(self, a, memory):
        (h,) = memory
        return (self.alpha * h + (1 - self.alpha) * torch.tanh(a + self.W(h)),)


NETWORKS = remedies.NETWORKS | {"leaky units": LeakyUnits}

# %% [markdown]
# <details><summary>What is the Jacobian of a leaky step, and why does it help?</summary>
#
# $\alpha I + (1-\alpha)\,\mathrm{diag}(1 - \tanh^2 a_t)\,W$. The first term does not depend on $W$ or on any slope. Along it alone, the gradient shrinks by $\alpha$ per
# step, no more: $0.9^{20} \approx 0.12$.
# </details>

# %% [markdown]
# ### Two tasks that ask for memory
#
# **Adding problem.** At each step a random number comes in, and with it a mark, 0 or 1. Two numbers are marked, one in each half of the
# sequence. At the end: what is their sum? Who always says 1 has the mean squared error $1/6 \approx 0.167$, the variance of a sum of two
# uniform numbers. (The paper by Le and others prints 0.1767.)
#
# **Copy memory.** First come $n$ symbols, each one of $K$, then a blank of `lag` steps, then a signal: say the symbols again. So each is said
# lag + $n$ steps after it was read, and a sequence has $T$ = lag + $2n$ steps. Who knows when to speak, and guesses what, has the
# cross-entropy $n \ln K / T$ per step.
#
# Each network has 32 units and learns from three seeds, with Adam and clipping. Each of the two cells below trains all of them, which takes a
# minute or two. (The quick profile takes two seeds and 50 steps: enough to see that everything runs, too few to compare the networks.) Meanwhile, **predict**: which will solve it?

# %%
SEEDS, WINDOW = budget(quick=(2, 25), laptop=(3, 50), gpu=(3, 50))


def learn(title, loss_of, inputs, outputs, steps):
    """Losses {network: (seeds, steps / WINDOW)}, each the mean over a window of training steps."""
    curves = {}
    with tqdm(
        total=len(NETWORKS) * SEEDS * steps,
        desc=title,
        file=sys.stdout,
        ncols=90,
        mininterval=1,
    ) as bar:
        for name, network in NETWORKS.items():
            runs = []
            for n in range(SEEDS):
                draws = seed(n)
                net = network(inputs, 32, outputs)
                # fused: one pass over all weights, which are few and small
                optimiser = torch.optim.Adam(net.parameters(), 1e-2, fused=True)
                losses = []
                for _ in range(steps):
                    loss = loss_of(net, draws)
                    optimiser.zero_grad()
                    loss.backward()
                    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                    optimiser.step()
                    losses.append(loss.item())
                    bar.update()
                runs.append(torch.tensor(losses).reshape(-1, WINDOW).mean(1))
            curves[name] = torch.stack(runs)
    return curves


def solved(runs, baseline):
    """For each seed, whether the loss at the end is below a fifth of the baseline: (seeds,) bool."""
    return runs[:, -1] < baseline / 5


def table(curves, baseline):
    print(
        f"{'':>16}   loss at the end, mean and range of {SEEDS} seeds (baseline {baseline:.3f})"
    )
    for name, runs in curves.items():
        end, count = runs[:, -1], int(solved(runs, baseline).sum())
        print(
            f"{name:>16}   {end.mean():.4f} ({end.min():.4f} … {end.max():.4f})   solved: {count} of {SEEDS}"
        )


# %% [markdown]
# We say that a network *solves* a task if its loss falls below a fifth of the baseline.

# %%
T_ADD = budget(quick=15, laptop=20, gpu=20)


def adding_loss(net, draws):
    xs, sums = tasks.adding_problem(T_ADD, 32, draws)
    return F.mse_loss(net(xs)[0][-1, :, 0], sums)


steps = budget(quick=50, laptop=600, gpu=600)
adding = learn("adding", adding_loss, 2, 1, steps)
table(adding, tasks.ADDING_BASELINE)
show(
    draw_bptt.learning_curves(
        adding, "mean squared error", ("always 1", tasks.ADDING_BASELINE), WINDOW
    ),
    f"Learning curves of the seven networks on the adding problem with {T_ADD} steps, a panel each, with the range over {SEEDS} seeds and the baseline at 0.167. "
    + "; ".join(f"{name} ends at {runs[:, -1].mean():.3f}" for name, runs in adding.items())
    + ".",
)


# %%
always_1 = tasks.ADDING_BASELINE
outcome(
    "gated units and identity start: solved from every seed",
    all(solved(adding[name], always_1).all() for name in ("gated units", "identity start")),
    needs="laptop",
)
outcome(
    "skip connections and leaky units: from none",
    not any(
        solved(adding[name], always_1).any() for name in ("skip connections", "leaky units")
    ),
    needs="laptop",
)
outcome(
    "the LSTM is far below the baseline",
    adding["LSTM"][:, -1].mean() < always_1 / 2,
    needs="laptop",
)
outcome(
    "the tanh RNN is not, from any seed",
    adding["tanh RNN"][:, -1].min() > always_1 / 2,
    needs="laptop",
)

# %% [markdown]
# The tanh RNN stays near the baseline: it has learned little more than to say 1. Those that let the state pass unchanged solve the task. A
# shorter way by skips, or a constant leak, is not enough here in so few steps. The LSTM begins later than the gated units; these
# runs do not say why.

# %%
LAG, N, K = 8, 3, 4


def copying_loss(net, draws):
    ids, targets = tasks.copy_memory(LAG, 32, draws, symbols=K, length=N)
    return F.cross_entropy(net(tasks.one_hot(ids, K + 2))[0].flatten(0, 1), targets.flatten())


steps = budget(quick=50, laptop=300, gpu=300)
copying = learn("copying", copying_loss, K + 2, K + 1, steps)
guessing = tasks.copying_baseline(LAG, K, N)
table(copying, guessing)
show(
    draw_bptt.learning_curves(
        copying, "cross-entropy per step", ("guessing", guessing), WINDOW, log=True
    ),
    f"Learning curves of the seven networks on copying {N} symbols over a blank of {LAG} steps, a panel each, with the range over {SEEDS} seeds and the baseline at {guessing:.3f}. "
    + "; ".join(f"{name} ends at {runs[:, -1].mean():.3f}" for name, runs in copying.items())
    + ".",
)

# %%
shortcuts = ("skip connections", "no length-1")
outcome(
    "skip connections and no length-1: solved from every seed",
    all(solved(copying[name], guessing).all() for name in shortcuts),
    needs="laptop",
)
outcome(
    "the others: from none",
    not any(solved(copying[name], guessing).any() for name in copying if name not in shortcuts),
    needs="laptop",
)

# %% [markdown]
# Another task, another order: compare the two tables line by line. What to remember comes back after lag + $n$ = 11 steps here, always, and our skips are
# ten steps long. So this lag suits them. In the adding problem the way has another length in each sequence. Which remedy is best depends on what is to be
# remembered, and for how long.
#
# <details><summary>What if the lag does not suit them? Set <code>LAG = 10</code> and <code>steps = 600</code>, and run the cell again.</summary>
#
# Then a symbol comes back after 13 steps: a skip, and three steps more. In our runs skip connections mostly stayed between guessing and solving. The
# networks without length 1 needed more steps than before, and solved it.
# </details>
#
# The LSTM is the remedy that became the standard. Notebook 3 builds it.

# %% [markdown]
# ## Your points

# %%
progress()

# %% [markdown]
# ## What to take away
#
# - Every weight is used at every step, so its gradient is a **sum over time**.
# - A state's gradient comes from two sides: from its own output, and from the next step.
# - Back through many steps it is multiplied by many Jacobians. Norms below 1 make it vanish; norms above 1 *may* make it explode.
# - Clipping helps against exploding. Truncation saves memory and cuts the reach.
# - Against vanishing, change the way: pass the state on, and let the network decide how much of it.
#
# ## Further reading
#
# - P. Werbos, *Backpropagation through time: what it does and how to do it*, Proceedings of the IEEE 78 (1990).
# - Y. Bengio, P. Simard, P. Frasconi, *Learning long-term dependencies with gradient descent is difficult*, IEEE Transactions on Neural Networks 5 (1994).
# - R. Pascanu, T. Mikolov, Y. Bengio, *On the difficulty of training recurrent neural networks*, ICML 2013: necessary and sufficient, and clipping.
# - Q. Le, N. Jaitly, G. Hinton, *A simple way to initialize recurrent networks of rectified linear units* (2015): the identity start.
# - I. Goodfellow, Y. Bengio, A. Courville, *Deep Learning* (2016), sections 10.2 and 10.7 to 10.11.
