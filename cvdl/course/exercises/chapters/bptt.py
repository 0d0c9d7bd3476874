"""Exercises of notebook 02."""

from functools import cache

import torch
import torch.nn.functional as F

from cvdl.course.exercises.case_helpers import around, normal, shape_only
from cvdl.course.exercises.comparison import difference
from cvdl.course.exercises.scoring import Case, Exercise, Mistake
from cvdl.sequence import bptt

PLACES = ("V", "W", "b_h", "U", "b_y")


def _network(g, T, B, D, H, K):
    """Inputs, first state, targets and weights of a run, float64."""
    sizes = (H, D), (H, H), (H,), (K, H), (K,)
    weights = [0.6 * normal(g, *size).double() for size in sizes]
    return (
        normal(g, T, B, D).double(),
        torch.tanh(normal(g, B, H)).double(),
        torch.randint(K, (T, B), generator=g),
        weights,
    )


def _logits(xs, h0, V, W, b_h, U, b_y):
    """-> h_0 … h_T and o_1 … o_T, one step after the other."""
    hs = [h0]
    for x in xs:
        hs.append(torch.tanh(x @ V.T + hs[-1] @ W.T + b_h))
    return torch.stack(hs), torch.stack([h @ U.T + b_y for h in hs[1:]])


def _forward_oracle(xs, h0, targets, V, W, b_h, U, b_y):
    hs, os = _logits(xs, h0, V, W, b_h, U, b_y)
    losses = torch.stack([F.cross_entropy(o, y) for o, y in zip(os, targets, strict=True)])
    return hs, torch.softmax(os, -1), losses, losses.sum()


@cache
def _one_run():
    """A run in float64 with everything that is known of it, by autograd, and its gradients by central differences."""
    xs, h0, targets, weights = _network(torch.Generator().manual_seed(2), 5, 2, 3, 4, 3)
    hs, os = _logits(xs, h0, *weights)
    known = {"xs": xs, "hs": hs, "ys": torch.softmax(os, -1), "targets": targets, "W": weights[1], "U": weights[3]}

    def loss(*weights):
        return sum(F.cross_entropy(o, y) for o, y in zip(_logits(xs, h0, *weights)[1], targets, strict=True))

    nudged = torch.zeros_like(os, requires_grad=True)  # added to o_t: its gradient is do
    pushed = torch.zeros_like(hs[1:], requires_grad=True)  # added to a_t: its gradient is da
    h, total = h0, 0.0
    for t, x in enumerate(xs):
        h = torch.tanh(x @ weights[0].T + h @ weights[1].T + weights[2] + pushed[t])
        total = total + F.cross_entropy(h @ weights[3].T + weights[4] + nudged[t], targets[t])
    known["do"], known["da"] = torch.autograd.grad(total, (nudged, pushed))
    known["dh"] = known["da"] / (1 - hs[1:] ** 2)
    for i, name in enumerate(PLACES):
        known["d" + name] = bptt.central_differences(
            lambda w, i=i: loss(*weights[:i], w, *weights[i + 1 :]), weights[i]
        )
    return known


def _exactly(got, want):
    """To six digits."""
    wrong = difference(got, want)
    if wrong:
        return wrong
    error = ((got.double() - want).norm() / want.norm()).item()
    return None if error < 1e-6 else f"relative error {error:.0e}, and float64 allows 1e-6: is something made float32?"


def _differences(points, target, *names):
    """The case against central differences of L, nudged weight by weight, in the whole network."""
    return Case(
        f"central differences of L by {target}",
        points,
        "Here every weight of a complete network was moved slightly up and down, and the change in the loss was measured. Your formula must agree to six digits: keep the dtype of the arguments, which is float64 here.",
        make=lambda g: tuple(_one_run()[n].clone() for n in names),
        want=lambda *_: _one_run()["d" + target],
        test=_exactly,
    )


def _sums(meant):
    """Oracle of dU, dW, dV: the gradient of M in out = M in, by autograd.  meant: the slice of the inputs."""

    def oracle(d_out, inputs):
        inputs = inputs[meant]
        weight = torch.zeros(d_out.shape[-1], inputs.shape[-1], dtype=d_out.dtype, requires_grad=True)
        return torch.autograd.grad((F.linear(inputs, weight) * d_out).sum(), weight)[0]

    return oracle


def _bias_oracle(d_out):
    bias = torch.zeros(d_out.shape[-1], dtype=d_out.dtype, requires_grad=True)
    return torch.autograd.grad(((torch.zeros_like(d_out) + bias) * d_out).sum(), bias)[0]


# --- bptt.forward -------------------------------------------------------------------------------------


def _forward_args(*sizes):
    def make(g):
        xs, h0, targets, weights = _network(g, *sizes)
        return tuple(a.float() if a.is_floating_point() else a for a in (xs, h0, targets, *weights))

    return make


def _forward_like(change):
    def like(xs, h0, targets, *weights):
        hs, os = _logits(xs, h0, *weights)
        each = torch.stack([F.cross_entropy(o, y) for o, y in zip(os, targets, strict=True)])
        return change(hs, os, each, targets)

    return like


forward = Exercise(
    id="bptt.forward",
    title="the forward pass",
    library=bptt.forward,
    oracle=_forward_oracle,
    parts=("hs", "ys", "losses", "L"),
    cases=(
        Case(
            "shapes",
            2,
            "Return four things, in this order: hs (T + 1, B, H), beginning with h_0; ys (T, B, K); losses (T,), one mean over the batch per step; and L, a single number.",
            make=_forward_args(4, 3, 2, 5, 6),
            test=shape_only,
        ),
        Case(
            "one step",
            3,
            "One step: hs holds h_0 and h_1, ys is softmax(U h_1 + b_y), losses has one number, F.cross_entropy of the logits (it applies softmax itself), and L equals that number. The message names the first of the four that differs, so start there.",
            make=_forward_args(1, 2, 3, 4, 3),
        ),
        Case(
            "random, against torch's cross-entropy",
            4,
            "Your answer is right for one step but not for several. Does step t read xs[t] and hs[t]? Is each loss the mean over the batch, and L the *sum* of the losses? The message names the first of the four that differs.",
            make=around(_forward_args, 6, 3, 4, 5, 7),
        ),
        Case(
            "all sizes equal",
            3,
            "All sizes are equal here, so a swapped axis or matrix gives no error, only wrong numbers: x @ V.T, h @ W.T, h @ U.T, and softmax over the last axis.",
            make=_forward_args(4, 4, 4, 4, 4),
        ),
    ),
    mistakes=(
        Mistake(
            "h0 left out",
            "hs must begin with h_0, so that hs[t] is h_t. The backward pass needs it.",
            like=_forward_like(lambda hs, os, each, y: (hs[1:], torch.softmax(os, -1), each, each.sum())),
        ),
        Mistake(
            "mean over time",
            "L is the sum over time, not the mean.",
            like=_forward_like(lambda hs, os, each, y: (hs, torch.softmax(os, -1), each, each.mean())),
        ),
        Mistake(
            "no softmax",
            "ys are probabilities: softmax of o_t. You keep o_t itself.",
            like=_forward_like(lambda hs, os, each, y: (hs, os, each, each.sum())),
        ),
        Mistake(
            "softmax over the batch",
            "The softmax runs over the wrong axis. The classes are the last one.",
            like=_forward_like(lambda hs, os, each, y: (hs, torch.softmax(os, 1), each, each.sum())),
        ),
        Mistake(
            "sum over the batch",
            "Each L_t is the mean over the samples of the batch, not their sum.",
            like=_forward_like(
                lambda hs, os, each, y: (hs, torch.softmax(os, -1), each * y.shape[1], each.sum() * y.shape[1])
            ),
        ),
    ),
    hints=(
        "Begin with hs = [h0]. In a loop over xs and targets, append the new state.",
        "In the same loop: o = h @ U.T + b_y, then torch.softmax(o, -1) and F.cross_entropy(o, y).",
        "Stack the three lists along time; L is the sum of the losses.",
    ),
)

# --- bptt.do ------------------------------------------------------------------------------------------


def _do_args(T, B, K):
    return lambda g: (torch.softmax(normal(g, T, B, K), -1), torch.randint(K, (T, B), generator=g))


def _do_oracle(ys, targets):
    os = ys.log().requires_grad_()  # softmax(log y) = y
    return torch.autograd.grad(sum(F.cross_entropy(o, y) for o, y in zip(os, targets, strict=True)), os)[0]


def _hot(ys, targets):
    return torch.zeros_like(ys).scatter(-1, targets[..., None], 1)


do = Exercise(
    id="bptt.do",
    title="from the loss to the outputs",
    library=bptt.output_gradient,
    oracle=_do_oracle,
    axes=("t", "sample", "class"),
    cases=(
        Case(
            "by hand: two classes, even odds",
            2,
            "With ŷ = (½, ½), one sample and the right class 0, do is ŷ minus the one-hot target (1, 0): (½ - 1, ½ - 0) = (-½, ½).",
            make=lambda g: (torch.tensor([[[0.5, 0.5]]]), torch.tensor([[0]])),
            want=lambda *_: torch.tensor([[[-0.5, 0.5]]]),
        ),
        Case(
            "random, against autograd",
            4,
            "Your answer is right for one sample and one step. With B samples, L_t is a mean, so the *whole* difference ŷ - one-hot is divided by B; with T steps L is a sum, so there is no division by T.",
            make=around(_do_args, 5, 3, 4),
        ),
        Case(
            "all sizes equal",
            2,
            "T, B and K are equal here. The class is the last axis: F.one_hot(targets, K) has the shape of ys, and the divisor is ys.shape[1].",
            make=_do_args(4, 4, 4),
        ),
    ),
    mistakes=(
        Mistake(
            "batch forgotten",
            "L_t is the mean over the batch, so a factor 1/B is missing.",
            like=lambda ys, y: ys - _hot(ys, y),
        ),
        Mistake(
            "wrong sign",
            "The sign is reversed. A right class with too low a probability must get a *negative* gradient: raising o lowers the loss.",
            like=lambda ys, y: (_hot(ys, y) - ys) / ys.shape[1],
        ),
        Mistake(
            "target forgotten",
            "You have the probabilities; subtract the one-hot target.",
            like=lambda ys, y: ys / ys.shape[1],
        ),
        Mistake(
            "mean over time",
            "L is a sum over time: divide by the batch only, not by the steps.",
            like=lambda ys, y: (ys - _hot(ys, y)) / ys.shape[0] / ys.shape[1],
        ),
        Mistake(
            "derivative by y",
            "That is -1/ŷ_t, the derivative with respect to ŷ_t. Continue through the softmax, down to o_t.",
            like=lambda ys, y: -_hot(ys, y) / ys / ys.shape[1],
        ),
    ),
    hints=(
        "For one sample, log-softmax and cross-entropy together have a very short derivative.",
        "F.one_hot(targets, K) gives the one-hot targets, (T, B, K).",
        "Subtract them from ys, and divide by the batch size.",
    ),
)

# --- bptt.dU, bptt.dW, bptt.dV: products summed over time -----------------------------------------------


def _pair_args(T, B, N, M, extra):
    return lambda g: (normal(g, T, B, N), torch.tanh(normal(g, T + extra, B, M)))


ALL = slice(None)
NOW, BEFORE = slice(1, None), slice(None, -1)
MEAN = "L sums over time, and so does its gradient: no mean over the steps."
LAST = (
    "Your gradient covers only the last step. The same weights are used at every step: add the gradients of all steps."
)
BATCH = "The incoming gradient already contains the factor 1/B, because each L_t is a mean. Sum over the batch."


def _product(d, inputs, axis="nm"):
    return torch.einsum(f"tbn,tbm->{axis}", d, inputs)


def _weight(name, d, inputs, points, meant, special, hints, library):
    """The exercise on one of the weight matrices: sum over t of d_t times inputs_t."""
    extra = int(meant != ALL)
    a, b, c = points
    return Exercise(
        id=f"bptt.d{name}",
        title=f"the gradient of {name}",
        library=library,
        oracle=_sums(meant),
        axes=("row", "column"),
        cases=(
            Case(
                "shape",
                a,
                f"The gradient has the shape of {name}: its rows belong to d{d}, its columns to what {name} was multiplied with. Time and batch are summed over.",
                make=_pair_args(4, 2, 3, 3 if name == "W" else 5, extra),  # W is square
                test=shape_only,
            ),
            Case(
                "random, against autograd",
                b,
                f"Compare with the loop: for each step t and sample b add torch.outer(d{d}[t, b], v), where v is what {name} was multiplied with at that step. Sum over steps and samples; do not take a mean.",
                make=around(lambda T, B, N, M: _pair_args(T, B, N, M, extra), 5, 3, 4, 4),
            ),
            _differences(c, name, f"d{d}", inputs),
        ),
        mistakes=(
            *special,
            Mistake(
                "transposed",
                f"Rows and columns are swapped: rows belong to d{d}, columns to the input.",
                like=lambda x, y: _product(x, y[meant], "mn"),
            ),
            Mistake("mean over time", MEAN, like=lambda x, y: _product(x, y[meant]) / len(x)),
            Mistake("last step only", LAST, like=lambda x, y: _product(x[-1:], y[meant][-1:])),
            Mistake("batch divided twice", BATCH, like=lambda x, y: _product(x, y[meant]) / x.shape[1]),
        ),
        hints=hints,
    )


STEPS = "Loop over t and add d[t].T @ inputs[t], or write torch.einsum with the letters t, b and two more."

dU = _weight(
    "U", "o", "hs", (2, 3, 3), NOW,
    (Mistake("state before", "U reads h_t, the state of its own step: hs[t + 1] goes with do[t], because hs begins with h_0.", like=lambda x, y: _product(x, y[BEFORE])),),
    ("o_t = U h_t + b_y: which state is U multiplied by at step t?", "hs[1:] are h_1 … h_T, which go with do for o_1 … o_T.", STEPS),
    lambda do, hs: bptt.weight_gradient(do, hs[1:]),
)  # fmt: skip

dW = _weight(
    "W", "a", "hs", (2, 5, 5), BEFORE,
    (Mistake("h_t for h_{t-1}", "You used h_t. W is multiplied by the *previous* state: a_t = V x_t + W h_{t-1} + b_h.", like=lambda x, y: _product(x, y[NOW])),
     Mistake("h_0 left out", "The first step is missing: there W is multiplied by h_0.", like=lambda x, y: _product(x[1:], y[1:-1]))),
    ("a_t = V x_t + W h_{t-1} + b_h: which state is W multiplied by at step t?", "hs[:-1] are h_0 … h_{T-1}, which go with da for a_1 … a_T.", STEPS),
    lambda da, hs: bptt.weight_gradient(da, hs[:-1]),
)  # fmt: skip

dV = _weight(
    "V", "a", "xs", (1, 2, 3), ALL,
    (Mistake("inputs one step late", "V is multiplied by the input of its own step, x_t.", like=lambda x, y: _product(x[1:], y[:-1])),),
    ("a_t = V x_t + W h_{t-1} + b_h: what is V multiplied by at step t?", "xs has no row for a step 0, so xs and da fit as they are.", STEPS),
    lambda da, xs: bptt.weight_gradient(da, xs),
)  # fmt: skip

# --- bptt.db_y, bptt.db_h -----------------------------------------------------------------------------


def _bias(name, d, library):
    def make(T, B, N):
        return lambda g: (normal(g, T, B, N),)

    return Exercise(
        id=f"bptt.d{name}",
        title=f"the gradient of {name}",
        library=library,
        oracle=_bias_oracle,
        axes=("unit",),
        cases=(
            Case(
                "shape",
                1,
                f"The gradient has the shape of {name}: one number per unit, so sum over the axes of time and batch and keep the last one.",
                make=make(5, 3, 4),
                test=shape_only,
            ),
            Case(
                "random, against autograd",
                2,
                f"{name} is added at every step and to every sample: sum over axes 0 and 1. Each unit gets T · B terms, one from every step and sample; do not take a mean. All sizes are equal here, so check which axis remains.",
                make=around(make, 4, 4, 4),
            ),
            _differences(3, name, f"d{d}"),
        ),
        mistakes=(
            Mistake("mean over time", MEAN, like=lambda x: x.sum(1).mean(0)),
            Mistake("last step only", LAST, like=lambda x: x[-1].sum(0)),
            Mistake("mean over the batch", BATCH, like=lambda x: x.sum(0).mean(0)),
            Mistake("batch kept", "Sum over the samples, too, not only over time.", like=lambda x: x.sum(0)),
            Mistake("time kept", "Sum over time, too, not only over the samples.", like=lambda x: x.sum(1)),
        ),
        hints=(
            "A bias is a weight whose input is always 1.",
            "So each step and each sample adds its incoming gradient, times 1.",
            ".sum takes a tuple of axes: x.sum((0, 1)).",
        ),
    )


db_y = _bias("b_y", "o", lambda do: bptt.bias_gradient(do))
db_h = _bias("b_h", "a", lambda da: bptt.bias_gradient(da))

# --- bptt.dh ------------------------------------------------------------------------------------------


def _dh_args(T, B, H, K):
    return lambda g: (normal(g, T, B, K), torch.tanh(normal(g, T + 1, B, H)), 0.6 * normal(g, H, H), normal(g, K, H))


def _dh_oracle(do, hs, W, U):
    """Autograd on the run that has exactly these states: the inputs are what is missing to them."""
    inputs = torch.atanh(hs[1:].double()) - hs[:-1].double() @ W.double().T
    h, outputs, states = hs[0].double(), [], []
    for x in inputs:
        h = torch.tanh(x + h @ W.double().T).requires_grad_()
        states.append(h)
        outputs.append(h @ U.double().T)
    return torch.stack(torch.autograd.grad((torch.stack(outputs) * do).sum(), states)).to(do.dtype)


def _dh_like(slope=lambda hs, t: 1 - hs[t + 1] ** 2, back=lambda da, W: da @ W, total=True):
    """The recursion, with one thing in it replaced."""

    def like(do, hs, W, U):
        dh, later = [], 0.0
        for t in reversed(range(len(do))):
            own = do[t] @ U
            dh.insert(0, own + later)
            later = back((dh[0] if total else own) * slope(hs, t), W)
        return torch.stack(dh)

    return like


def _dh_slope_late(do, hs, W, U, at):
    """The recursion with the slope of tanh, at hs[at(t)], behind W."""
    dh, later = [], 0.0
    for t in reversed(range(len(do))):
        dh.insert(0, do[t] @ U + later)
        later = (dh[0] @ W) * (1 - hs[at(t)] ** 2)
    return torch.stack(dh)


dh = Exercise(
    id="bptt.dh",
    title="back through time",
    library=bptt.state_gradient,
    oracle=_dh_oracle,
    axes=("t", "sample", "unit"),
    cases=(
        Case(
            "shape",
            2,
            "One gradient per state h_1 … h_T: (T, B, H), in the order of time, although the loop runs backwards.",
            make=_dh_args(4, 3, 5, 2),
            test=shape_only,
        ),
        Case(
            "a single step",
            1,
            "With one step, nothing comes from later steps: dh is do[0] @ U. Compare the two.",
            make=_dh_args(1, 2, 4, 3),
        ),
        Case(
            "two steps by hand",
            4,
            "Two units, U = (1, 1), W = [[2, 0], [1, 4]], h_2 = (0.5, 0), do_1 = 2 and do_2 = 1. So dh_2 = (1, 1); through the tanh of step 2 it becomes da_2 = (0.75, 1); through W, (2.5, 4). Added to (2, 2) from the output of h_1, that makes dh_1 = (4.5, 6). Which of these is the first that is different in yours?",
            make=lambda g: (
                torch.tensor([[[2.0]], [[1.0]]]),
                torch.tensor([[[0.3, 0.6]], [[0.8, -0.6]], [[0.5, 0.0]]]),
                torch.tensor([[2.0, 0.0], [1.0, 4.0]]),
                torch.tensor([[1.0, 1.0]]),
            ),
            want=lambda *_: torch.tensor([[[4.5, 6.0]], [[1.0, 1.0]]]),
        ),
        Case(
            "random, against autograd",
            5,
            "Your answer is right for two steps of one sample, but not for six steps of several. What comes from the next step must be the *complete* dh_{t+1}, with everything that it received itself: da_{t+1} = dh_{t+1} * (1 - h_{t+1}^2), then W^T da_{t+1}, added to U^T do_t.",
            make=around(_dh_args, 6, 3, 4, 4),
        ),
        Case(
            "all sizes equal",
            4,
            "All sizes are equal here, so a transposed matrix gives no error, only wrong numbers. Gradients are rows and are multiplied by U and W as they are, without .T.",
            make=_dh_args(4, 4, 4, 4),
        ),
    ),
    mistakes=(
        Mistake(
            "nothing from t+1",
            "What comes back from h_{t+1} is missing: h_t acts on its own output *and* on the next state.",
            like=lambda do, hs, W, U: do @ U,
        ),
        Mistake(
            "one step back only",
            "Carry the *complete* dh_{t+1} back, including what it received from later steps, not only the part from its own output.",
            like=_dh_like(total=False),
        ),
        Mistake(
            "W not transposed",
            "In the forward pass, a row of states is multiplied by W.T; in the backward pass, a row of gradients is multiplied by W.",
            like=_dh_like(back=lambda da, W: da @ W.T),
        ),
        Mistake(
            "square forgotten",
            "The derivative of tanh is 1 - h_{t+1}^2; the square is missing.",
            like=_dh_like(slope=lambda hs, t: 1 - hs[t + 1]),
        ),
        Mistake(
            "tanh' after W",
            "You multiply by the derivative of tanh *after* W. On its way back from h_{t+1}, the gradient passes through tanh first, then W: (dh * (1 - h^2)) @ W.",
            like=lambda do, hs, W, U: _dh_slope_late(do, hs, W, U, lambda t: t + 1),
        ),
        Mistake(
            "tanh' after W, one step early",
            "You multiply by the derivative of tanh at h_t, after W. It must be the derivative at h_{t+1}, and come before W: (dh * (1 - h_{t+1}^2)) @ W.",
            like=lambda do, hs, W, U: _dh_slope_late(do, hs, W, U, lambda t: t),
        ),
        Mistake(
            "tanh' forgotten",
            "On its way from h_{t+1} to h_t, the gradient passes through tanh: multiply by 1 - h_{t+1}^2.",
            like=_dh_like(slope=lambda hs, t: 1.0),
        ),
        Mistake(
            "tanh' one step early",
            "Take the derivative at the state that the gradient comes from: 1 - h_{t+1}^2.",
            like=_dh_like(slope=lambda hs, t: 1 - hs[t] ** 2),
        ),
        Mistake(
            "tanh' at the pre-activation",
            "hs are already the outputs of tanh: the derivative is 1 - h^2, without another tanh.",
            like=_dh_like(slope=lambda hs, t: 1 - torch.tanh(hs[t + 1]) ** 2),
        ),
        Mistake(
            "forwards in time",
            "Your loop runs forwards. The gradient of the last state is known first: work backwards from there.",
            like=lambda do, hs, W, U: _dh_like()(do.flip(0), hs.flip(0), W, U).flip(0),
        ),
    ),
    hints=(
        "Loop over t backwards. Keep one variable for the gradient that comes back from the next step; it starts at zero.",
        "dh[t] = do[t] @ U + later. Then compute `later` for the step before.",
        "later = (dh[t] * (1 - hs[t + 1] ** 2)) @ W. Remember that hs begins with h_0, so hs[t + 1] is the state of row t of do.",
    ),
)

# --- bptt.da ------------------------------------------------------------------------------------------


def _da_args(T, B, H):
    return lambda g: (normal(g, T, B, H), torch.tanh(normal(g, T + 1, B, H)))


def _da_oracle(dh, hs):
    a = torch.atanh(hs[1:].double()).requires_grad_()
    return torch.autograd.grad((torch.tanh(a) * dh).sum(), a)[0].to(dh.dtype)


da = Exercise(
    id="bptt.da",
    title="through the tanh",
    library=bptt.preactivation_gradient,
    oracle=_da_oracle,
    axes=("t", "sample", "unit"),
    cases=(
        Case(
            "where tanh is flat and where it is steep",
            3,
            "The derivative of tanh is 1 - h^2: 1 where h = 0, 0.75 where h = -0.5, 0 where h = 1. With dh = 2, 4 and 3 there, da must be 2, 3 and 0. hs begins with h_0, which is 0.5.",
            make=lambda g: (
                torch.tensor([[[2.0]], [[4.0]], [[3.0]]]),
                torch.tensor([[[0.5]], [[0.0]], [[-0.5]], [[1.0]]]),
            ),
            want=lambda *_: torch.tensor([[[2.0]], [[3.0]], [[0.0]]]),
        ),
        Case(
            "random, against autograd",
            5,
            "Your answer is right for one sample and one unit. da has the shape of dh, (T, B, H): da_t = dh_t * (1 - h_t^2), element by element, without a sum.",
            make=around(_da_args, 5, 3, 4),
        ),
    ),
    mistakes=(
        Mistake(
            "tanh' at the pre-activation",
            "1 - tanh(·)^2 takes the pre-activation a_t; hs are already the outputs of tanh, so the derivative is 1 - h_t^2.",
            like=lambda d, hs: d * (1 - torch.tanh(hs[1:]) ** 2),
        ),
        Mistake(
            "state before",
            "Take the derivative at h_t, the state whose gradient is dh_t: use hs[1:].",
            like=lambda d, hs: d * (1 - hs[:-1] ** 2),
        ),
        Mistake(
            "square forgotten",
            "The derivative of tanh is 1 - h^2; the square is missing.",
            like=lambda d, hs: d * (1 - hs[1:]),
        ),
        Mistake(
            "square of the difference",
            "You square 1 - h. Only h is squared: 1 - h ** 2.",
            like=lambda d, hs: d * (1 - hs[1:]) ** 2,
        ),
        Mistake(
            "brackets forgotten",
            "dh * 1 - h ** 2 is dh minus h^2. The derivative needs brackets: dh * (1 - h ** 2).",
            like=lambda d, hs: d * 1 - hs[1:] ** 2,
        ),
        Mistake(
            "sign of the slope",
            "You have h^2 - 1. The derivative of tanh is never negative: 1 - h^2.",
            like=lambda d, hs: d * (hs[1:] ** 2 - 1),
        ),
        Mistake(
            "slope of the sigmoid",
            "h (1 - h) is the derivative of the sigmoid. That of tanh is 1 - h^2.",
            like=lambda d, hs: d * hs[1:] * (1 - hs[1:]),
        ),
    ),
    hints=(
        "tanh'(a) = 1 - tanh(a)^2, and tanh(a_t) is h_t, which you have.",
        "hs begins with h_0, dh with the gradient of h_1.",
        "One line: dh times (1 - hs[1:] ** 2).",
    ),
)

# --- bptt.jacobian ------------------------------------------------------------------------------------


def _jacobian_args(H):
    return lambda g: (torch.tanh(normal(g, H)), normal(g, H, H))


def _jacobian_oracle(h, W):
    before = torch.zeros_like(h)
    return torch.autograd.functional.jacobian(lambda b: torch.tanh(torch.atanh(h) + W @ b), before)


jacobian = Exercise(
    id="bptt.jacobian",
    title="the Jacobian of a step",
    library=lambda h, W: bptt.jacobians(torch.stack([h, h]), W)[0],
    oracle=_jacobian_oracle,
    axes=("row", "column"),
    cases=(
        Case(
            "shape",
            1,
            "Each of the H new units depends on each of the H old ones: (H, H), a matrix.",
            make=_jacobian_args(4),
            test=shape_only,
        ),
        Case(
            "by hand",
            3,
            "h = (0, 0.5), so the derivatives 1 - h² are 1 and 0.75. Row j belongs to unit j of the new state: row 0 is 1 · (1, 2), row 1 is 0.75 · (4, 8) = (3, 6).",
            make=lambda g: (torch.tensor([0.0, 0.5]), torch.tensor([[1.0, 2.0], [4.0, 8.0]])),
            want=lambda *_: torch.tensor([[1.0, 2.0], [3.0, 6.0]]),
        ),
        Case(
            "random, against autograd",
            6,
            "Your answer is right for the two units computed by hand. Entry (j, k) is (1 - h_j²) · W_jk: compare your entry (0, 1) with that, and check whether j or k selects the derivative.",
            make=around(_jacobian_args, 5),
        ),
    ),
    mistakes=(
        Mistake(
            "slope on the columns",
            "Your derivatives scale the columns of W. They belong to the new state and must scale the rows: diag(1 - h^2) W.",
            like=lambda h, W: W * (1 - h**2),
        ),
        Mistake(
            "transposed",
            "Rows and columns are swapped: the row is the new state, the column the old one.",
            like=lambda h, W: (torch.diag(1 - h**2) @ W).T,
        ),
        Mistake(
            "tanh' forgotten",
            "The derivative of tanh is missing: W alone is the Jacobian of the pre-activation.",
            like=lambda h, W: W.clone(),
        ),
        Mistake(
            "tanh' at the pre-activation",
            "h is already the output of tanh: the derivative is 1 - h^2.",
            like=lambda h, W: torch.diag(1 - torch.tanh(h) ** 2) @ W,
        ),
    ),
    hints=(
        "Write down one entry: the derivative of tanh(Σ_k W_jk h_k + …), unit j of the new state, with respect to h_k, unit k of the old one.",
        "It is W_jk times the derivative of tanh at unit j.",
        "torch.diag makes a matrix of the derivatives; multiply W by it from the left.",
    ),
)

# --- bptt.clip ----------------------------------------------------------------------------------------


def _clip_oracle(gradients, limit):
    parameters = [torch.zeros_like(g, requires_grad=True) for g in gradients]
    for p, g in zip(parameters, gradients, strict=True):
        p.grad = g.clone()
    torch.nn.utils.clip_grad_norm_(parameters, limit)
    return [p.grad for p in parameters]


def _common(gradients):
    return torch.cat([g.flatten() for g in gradients]).norm()


clip = Exercise(
    id="bptt.clip",
    title="clipping by norm",
    library=bptt.clip_by_norm,
    oracle=_clip_oracle,
    cases=(
        Case("by hand: 3 and 4 to norm 1", 2, "3 and 4 together have the norm √(9 + 16) = 5, and the limit is 1: one factor of 1/5 for both, so 0.6 and 0.8. Print your norm: is it 5?", make=lambda g: ([torch.tensor([3.0]), torch.tensor([4.0])], 1.0), want=lambda *_: [torch.tensor([0.6]), torch.tensor([0.8])]),
        Case("large, against torch's clip_grad_norm_", 3, "Here are three tensors of different shapes: the norm is the root of the sum of *all* their squares, and every tensor is multiplied by limit / norm. Does your function take a list of any length?", make=lambda g: ([10 * normal(g, 3, 2), 10 * normal(g, 4), 10 * normal(g, 2, 2, 3)], 2.0)),
        Case("small ones stay", 2, "There is one tensor here. Its norm is 1.5 and the limit 2: it must come back unchanged, as a list of one. Compare the norm with `limit`, not its square, and not with 1.", make=lambda g: ([1.5 * F.normalize(normal(g, 4), dim=0)], 2.0)),
        Case("zero stays zero", 1, "All gradients are 0, so the norm is 0, and 0 / 0 is nan. Divide only if the norm is above the limit.", make=lambda g: ([torch.zeros(2), torch.zeros(1)], 1.0), want=lambda *_: [torch.zeros(2), torch.zeros(1)]),
    ),
    mistakes=(
        Mistake("each by its own norm", "You clipped each tensor by its own norm. That changes the direction: take *one* norm of all of them.", like=lambda gs, c: [g * min(1.0, c / max(g.norm().item(), 1e-12)) for g in gs]),
        Mistake("clipped by value", "You cut every number at the limit. That changes the direction; with clipping by norm, all numbers shrink by the same factor.", like=lambda gs, c: [g.clamp(-c, c) for g in gs]),
        Mistake("small ones enlarged", "You enlarged gradients that were below the limit. The factor must not exceed 1.", like=lambda gs, c: [g * c / _common(gs).clamp(min=1e-12) for g in gs]),
        Mistake("squares compared", "You compare the *square* of the norm with the limit. Take the root first.", like=lambda gs, c: [g * min(1.0, c / max(_common(gs).item() ** 2, 1e-12)) for g in gs]),
        Mistake("sum of the norms", "Norms do not add up: square them, add, and take the root.", like=lambda gs, c: [g * min(1.0, c / max(sum(x.norm().item() for x in gs), 1e-12)) for g in gs]),
    ),
    hints=(
        "All gradients together are one long vector. What is its norm?",
        "The root of the sum of all squares. If it is above the limit, the factor is limit / norm; otherwise it is 1.",
        "Return a list: every gradient times that factor.",
    ),
)  # fmt: skip

EXERCISES = [forward, do, dU, db_y, dh, da, dW, dV, db_h, jacobian, clip]
