"""Exercises of notebook 06.

The course's own implementations come first, in other forms than the exercises ask for.  The oracles share no code with
them.
"""

import bisect
import math
import statistics

import torch

from cvdl.course.exercises.case_helpers import (
    GRADIENT,
    answered,
    around,
    choice_case,
    given,
    misordered,
    normal,
    shape_only,
)
from cvdl.course.exercises.comparison import difference
from cvdl.course.exercises.scoring import Case, Exercise, Mistake
from cvdl.flow import in_frame, warp
from cvdl.flow.models import flownet2

# --- the library's -------------------------------------------------------------------------------------


def rate_at(step, steps, start, marks, length):
    """The rate at a step of a schedule that is scaled from `length` to `steps` steps; halved at each mark."""
    return start * 0.5 ** bisect.bisect_right([mark * steps for mark in marks], step * length)


def mean_and_error(values):
    """Mean, and standard error of the mean."""
    return statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))


def second_input(image1, image2, flow):
    """The 12 channels: (B, 3, H, W) twice, (B, 2, H, W) in pixels -> (B, 12, H, W)"""
    return flownet2.stack_input(image1, image2, flow)


def count_stack(layers, nets, channels):
    """Parameters of a stack of `nets` networks of these layers, later ones with so many channels at the entrance."""
    one = sum(inputs * outputs * kernel**2 + outputs * bias for inputs, outputs, kernel, bias in layers)
    inputs, outputs, kernel, _ = layers[0]
    return nets * one + (nets - 1) * (channels - inputs) * outputs * kernel**2


def choice_input(image1, image2, flow, small):
    """The 11 channels of the fusion -> (B, 11, H, W)"""
    return flownet2.fusion_input(image1, image2, flow, small)


def error_by_speed(flow, truth, edges):
    """Mean end-point errors between these speeds, as a list; NaN where no pixel moves so.  (B, 2, H, W) twice"""
    errors, speeds = ((v.square().sum(1).sqrt()).flatten() for v in (flow - truth, truth))
    band = torch.bucketize(speeds, torch.tensor(edges), right=True)
    count = torch.bincount(band, minlength=len(edges) + 1)
    return (torch.bincount(band, errors, minlength=len(edges) + 1) / count).tolist()


def pareto_front(methods):
    """Names of the methods, {name: (time, error)}, that no other method beats, the fastest first.

    A method is beaten by another that is no worse in either and better in one; so of two equal ones neither is.
    """
    front, last = [], (-math.inf, math.inf)
    for name, (time, error) in sorted(methods.items(), key=lambda item: tuple(item[1])):
        if error < last[1] or (time, error) == last:
            front.append(name)
            last = time, error
    return front


def clip_error(frames, flows):
    """Warping error of each pair of a clip in grey levels: (T, 3, H, W), (T - 1, 2, H, W) -> (T - 1,)"""
    stays = in_frame(flows)
    gap = (warp(frames[1:], flows) - frames[:-1]).abs().mean(1, keepdim=True).where(stays, 0)
    return 255 * gap.sum((1, 2, 3)) / stays.sum((1, 2, 3))


# --- flownet2.rate --------------------------------------------------------------------------------------


def _rate_oracle(step, steps, start, marks, length):
    rate = start
    for mark in marks:
        if step * length >= mark * steps:
            rate = rate / 2
    return rate


S_SHORT, S_LONG = ([300, 400, 500], 600), ([400, 600, 800, 1000], 1200)


def _rate_args(part, steps, schedule, start=1e-4):
    return given(round(part * steps), steps, start, *schedule)


def _rate_like(fall=0.5, late=False, once=False, scaled=True, power=None):
    def like(step, steps, start, marks, length):
        at = step * length / steps if scaled else step
        passed = sum(at > mark if late else at >= mark for mark in marks)
        passed = min(passed, 1) if once else passed
        return start * fall**passed if power is None else start / (1 + power * passed)

    return like


rate = Exercise(
    id="flownet2.rate",
    title="a schedule, scaled",
    library=rate_at,
    oracle=_rate_oracle,
    cases=(
        Case(
            "the beginning",
            1,
            "A tenth of our steps is done, and the first mark is at a half: the rate must be `start`, unchanged. How many marks do you count as reached? It must be none.",
            make=_rate_args(0.1, 6000, S_SHORT),
        ),
        Case(
            "at a mark",
            2,
            "Step 300 of 600, and a mark at 300 of 600: the rate is halved at the very step at which a mark is reached, so it is start / 2. How many marks do you count? It must be one.",
            make=_rate_args(0.5, 600, S_SHORT),
        ),
        Case(
            "the step before a mark",
            1,
            "Step 299 of 600, and the first mark is at 300: it is not reached, so the rate is `start`. Steps are counted from 0, so do not add 1 in the comparison.",
            make=given(299, 600, 1e-4, *S_SHORT),
        ),
        Case(
            "scaled to 6,000 steps",
            2,
            "Step 4200 of 6000 is 0.7 of our training. The marks are at 300/600 = 0.5, 400/600 = 0.67 and 500/600 = 0.83 of theirs, so two are reached: start / 4. Print how many you count.",
            make=_rate_args(0.7, 6000, S_SHORT),
        ),
        Case(
            "after four marks",
            2,
            "At 0.95 all four marks are reached, the last at 1000/1200 = 0.83. Each mark halves the rate again: start / 2⁴ = start / 16.",
            make=_rate_args(0.95, 3000, S_LONG),
        ),
        Case(
            "a length that marks do not divide",
            2,
            "Step 23 of 70, and the first mark is at 400/1200 of the training, which is step 23.33: it is not reached yet. Do not round marks: compare step / steps with mark / length.",
            make=given(23, 70, 3e-4, *S_LONG),
        ),
    ),
    mistakes=(
        Mistake(
            "not scaled",
            "Your step and the marks are not in the same unit, because our training has a different length from the paper's. Compare the *fractions* of the training, step / steps with mark / length.",
            like=_rate_like(scaled=False),
        ),
        Mistake(
            "halved once",
            "You halve the rate once, however many marks were reached. Each mark halves it again.",
            like=_rate_like(once=True),
        ),
        Mistake(
            "one step late",
            "At the mark itself, your rate is still the old one. It must be lower *from* the mark on: ≥, not >.",
            like=_rate_like(late=True),
        ),
        Mistake(
            "one step early",
            "You halve the rate one step too early. At step 299, a mark at 300 is not reached: compare `step` itself, not step + 1.",
            like=lambda step, *rest: _rate_like()(step + 1, *rest),
        ),
        Mistake(
            "marks rounded",
            "You round a mark down to a whole step. A mark at step 23.33 is not reached at step 23: compare without rounding.",
            like=lambda step, steps, start, marks, length: (
                start / 2 ** sum(step >= mark * steps // length for mark in marks)
            ),
        ),
        Mistake(
            "divided by their number",
            "After three marks you divide by 4. Halving three times means dividing by 8.",
            like=_rate_like(power=1),
        ),
        Mistake(
            "divided by twice their number",
            "Each mark halves what is left, so divide by a power of 2, not by a multiple of 2.",
            like=_rate_like(power=2),
        ),
        Mistake("tenth", "You divide by 10 at each mark. FlowNet 2.0 divides by 2.", like=_rate_like(fall=0.1)),
    ),
    hints=(
        "How would you describe where a mark is, so that the description holds for any number of steps?",
        "Count the marks that have been reached: those where mark / length is at most step / steps.",
        "With n of them, the rate is start / 2**n.",
    ),
)

# --- flownet2.spread ------------------------------------------------------------------------------------


def _spread_oracle(values):
    x = torch.tensor(values, dtype=torch.double)
    return x.mean().item(), (x.var(unbiased=True) / len(values)).sqrt().item()


def _spread_args(count):
    return lambda g: ((5 + normal(g, count)).tolist(),)


def _spread_like(error):
    return lambda values: (sum(values) / len(values), error(values, len(values)))


spread = Exercise(
    id="flownet2.spread",
    title="mean and standard error",
    library=mean_and_error,
    oracle=_spread_oracle,
    parts=("mean", "standard error"),
    cases=(
        Case(
            "by hand: 1, 2, 3",
            3,
            "The mean is 2. The squares of the deviations are 1, 0, 1; their sum, divided by n - 1 = 2, is 1, so the standard deviation is 1. With three runs, the error of the mean is the deviation divided by √3: 0.577. Which of these is the first that is different in yours?",
            make=given([1.0, 2.0, 3.0]),
            want=lambda _: (2.0, 1 / math.sqrt(3)),
        ),
        Case(
            "three seeds",
            3,
            "Your answer is right for 1, 2, 3 but not for other numbers. The message names the first of the two that differs: compare the mean with sum(values) / n, and the error with statistics.stdev(values) / √n.",
            make=_spread_args(3),
        ),
        Case(
            "nine seeds",
            2,
            "Your answer is right for three runs but not for nine: does your code contain a fixed 3 or √3? With nine runs, the error of the mean is the deviation divided by √9 = 3.",
            make=_spread_args(9),
        ),
        Case(
            "no spread at all",
            2,
            "For 4, 4, 4, 4 the mean is 4 and the error is 0; there must be neither nan nor an exception. What do you divide by?",
            make=given([4.0, 4.0, 4.0, 4.0]),
            want=lambda _: (4.0, 0.0),
        ),
    ),
    mistakes=(
        Mistake(
            "in the wrong order",
            "Both are right, but in the wrong order. Return the mean, then its error.",
            when=misordered,
        ),
        Mistake(
            "root of n - 1",
            "n - 1 belongs only in the deviation. The deviation is then divided by √n: for the values 1, 2, 3 it is 1, so the error of the mean of three runs is 1/√3.",
            like=_spread_like(lambda v, n: statistics.stdev(v) / math.sqrt(n - 1)),
        ),
        Mistake(
            "deviation",
            "That is the standard *deviation*: how much single runs differ. How well is their *mean* known? The more runs, the better.",
            like=_spread_like(lambda v, n: statistics.stdev(v)),
        ),
        Mistake(
            "divided by n",
            "You divide by n instead of n - 1. The mean comes from the same few numbers, so their deviations from it are too small.",
            like=_spread_like(lambda v, n: statistics.pstdev(v) / math.sqrt(n)),
        ),
        Mistake(
            "deviation, divided by n",
            "Change two things: use n - 1 in the deviation, and divide by the root of n.",
            like=_spread_like(lambda v, n: statistics.pstdev(v)),
        ),
        Mistake(
            "root of n missing",
            "You divide the deviation by n. The error of a mean falls with the *root* of n.",
            like=_spread_like(lambda v, n: statistics.stdev(v) / n),
        ),
        Mistake(
            "variance",
            "That is in square pixels: the root is missing.",
            like=_spread_like(lambda v, n: statistics.variance(v) / n),
        ),
        Mistake(
            "range",
            "You take half the range from the smallest to the largest value. The range grows with the number of runs, but the error of a mean falls.",
            like=_spread_like(lambda v, n: (max(v) - min(v)) / 2),
        ),
    ),
    hints=(
        "Two questions: how much do single runs differ? And how much would the *mean* of such runs differ if you repeated everything?",
        "First compute the standard deviation: sum the squares of the deviations, divide by n - 1, and take the root.",
        "The standard error is the standard deviation divided by the root of n.",
    ),
)

# --- flownet2.input -------------------------------------------------------------------------------------


def _fetch(image, flow):
    """image at p + flow(p), clamped to the frame, by hats of bilinear interpolation.  (B, C, H, W), in double"""
    _, _, H, W = image.shape
    x = (torch.arange(W) + flow[:, 0].double()).clamp(0, W - 1)
    y = (torch.arange(H)[:, None] + flow[:, 1].double()).clamp(0, H - 1)
    across = (1 - (x[..., None] - torch.arange(W)).abs()).clamp(min=0)
    down = (1 - (y[..., None] - torch.arange(H)).abs()).clamp(min=0)
    return torch.einsum("bchw,byxh,byxw->bcyx", image.double(), down, across)


def _input_oracle(image1, image2, flow):
    back = _fetch(image2, flow)
    error = ((image1.double() - back) ** 2).sum(1, keepdim=True) ** 0.5
    return torch.cat([image1.double(), image2.double(), back, flow.double() / 20, error], 1)


def _input_args(H, W, far=2.0, B=2):
    return lambda g: (
        torch.rand(B, 3, H, W, generator=g),
        torch.rand(B, 3, H, W, generator=g),
        far * normal(g, B, 2, H, W),
    )


def _input_like(unit=20.0, sign=1, of_first=False, order=(0, 1, 2, 3, 4), error="length", against="warped"):
    def like(image1, image2, flow):
        back = warp(image1 if of_first else image2, sign * flow)
        gap = {"warped": back - image1, "unwarped": image2 - image1, "second": back - image2}[against]
        size = {
            "length": lambda: gap.norm(dim=1, keepdim=True),
            "sum": lambda: gap.abs().sum(1, keepdim=True),
            "mean": lambda: gap.abs().mean(1, keepdim=True),
            "square": lambda: gap.square().sum(1, keepdim=True),
            "colours": lambda: gap.abs(),
        }[error]()
        parts = (image1, image2, back, flow / unit, size)
        return torch.cat([parts[n] for n in order], 1)

    return like


stacked = Exercise(
    id="flownet2.input",
    title="what the second network sees",
    library=second_input,
    oracle=_input_oracle,
    axes=("sample", "channel", "y", "x"),
    cases=(
        Case(
            "shape",
            2,
            "3 + 3 + 3 + 2 + 1 = 12 channels, at the size of the images, joined along axis 1. The length of a difference needs keepdim=True to keep its axis.",
            make=_input_args(4, 6),
            test=shape_only,
        ),
        Case(
            "by hand: a grey step",
            3,
            "Channels 0–2 are image 1 (0 0 0), 3–5 image 2 (0 1 1), 6–8 image 2 warped, that is, read at x + 1 (1 1 1), 9–10 flow / 20 = (0.05, 0), 11 the length of the difference between 6–8 and 0–2, √3. See the channel named above.",
            make=lambda g: (
                torch.zeros(1, 3, 1, 3),
                torch.tensor([0.0, 1.0, 1.0]).expand(1, 3, 1, 3).clone(),
                torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 1, 3).clone(),
            ),
        ),
        Case(
            "random",
            5,
            "Your answer is right for the grey step. Here all three colours and both components of the flow vary: channels 0–2 image 1, 3–5 image 2, 6–8 warp(image2, flow), 9–10 flow / 20, 11 the length over the colours of image 1 minus 6–8. See the channel named above.",
            make=around(_input_args, 4, 6),
        ),
        Case(
            "square",
            3,
            "H and W are equal here, so swapped axes give no error: lengths and torch.cat use axis 1, the channels.",
            make=_input_args(5, 5),
        ),
        Case("gradients", 2, GRADIENT, make=_input_args(3, 4, B=1), gradient=True),
    ),
    mistakes=(
        Mistake(
            "20 forgotten",
            "Divide the flow by 20, so that its values are about as large as those of the images.",
            like=_input_like(unit=1.0),
        ),
        Mistake(
            "times 20", "You multiply the flow by 20. Divide instead: 20 px become 1.", like=_input_like(unit=1 / 20)
        ),
        Mistake(
            "wrong direction",
            "You warp by -flow. A point that moves by the flow is found at x + flow in frame 2.",
            like=_input_like(sign=-1),
        ),
        Mistake(
            "frame 1 warped",
            "You warp frame 1. Warp frame 2 to frame 1's grid instead.",
            like=_input_like(of_first=True),
        ),
        Mistake(
            "flow before the warped image",
            "The order is image 1, image 2, warped, flow, error. Yours has the flow before the warped image.",
            like=_input_like(order=(0, 1, 3, 2, 4)),
        ),
        Mistake(
            "error before the flow",
            "The order is image 1, image 2, warped, flow, error: the error comes last.",
            like=_input_like(order=(0, 1, 2, 4, 3)),
        ),
        Mistake(
            "sum of the colours",
            "You add |red|, |green| and |blue|. Use the length of the vector of three.",
            like=_input_like(error="sum"),
        ),
        Mistake(
            "mean of the colours",
            "You take the mean over the colours. Use the length of the vector of three.",
            like=_input_like(error="mean"),
        ),
        Mistake(
            "root forgotten", "That is the square of the length: the root is missing.", like=_input_like(error="square")
        ),
        Mistake(
            "one for each colour",
            "You keep three errors, one for each colour. There must be one for each pixel: their length.",
            like=_input_like(error="colours"),
        ),
        Mistake(
            "not warped in the error",
            "Your error compares frame 1 with the unwarped frame 2, so it does not depend on the flow. Use the warped frame 2.",
            like=_input_like(against="unwarped"),
        ),
        Mistake(
            "compared with frame 2",
            "You compare the warped image with frame 2. It is on frame 1's grid: compare it with frame 1.",
            like=_input_like(against="second"),
        ),
    ),
    hints=(
        "Which image would look like frame 1 if the flow were right? It shows how wrong the flow is.",
        "warp(image2, flow) warps frame 2. The error is the length, over axis 1, of its difference from image1.",
        "torch.cat([image1, image2, warped, flow / 20, error], dim=1), the error with keepdim=True.",
    ),
)

# --- flownet2.frozen ------------------------------------------------------------------------------------

_ALL, _VAIN, _NONE = "it learns", "gradients in vain", "nothing"
_WAYS = {
    "A": (
        _ALL,
        "Follow A line by line: does any line prevent autograd from recording the first network, or the optimiser from having its weights?",
    ),
    "B": (
        _VAIN,
        "The optimiser decides which weights are *changed*. Which setting decides for which weights gradients are computed? Does B change it?",
    ),
    "C": (
        _NONE,
        "Autograd records only what depends on something that requires a gradient. In C, do the first network's weights? Do the images?",
    ),
    "D": (_NONE, "Under torch.no_grad() nothing is recorded. Can loss.backward() then reach the first network?"),
    "E": (
        _ALL,
        "eval() is for layers such as dropout, which behave differently in training. Does it change anything about gradients or about the optimiser?",
    ),
}


def what_is_frozen():
    """What happens to the first network, for each of five ways to train a stack."""
    return {way: happens for way, (happens, _) in _WAYS.items()}


def _way_case(way):
    return choice_case(way, _WAYS[way][1], "think again", (_ALL, _VAIN, _NONE), "is not one of the three")


frozen = Exercise(
    id="flownet2.frozen",
    title="what learns",
    kind="answer",
    library=what_is_frozen,
    oracle=what_is_frozen,
    cases=tuple(map(_way_case, _WAYS)),
    mistakes=(
        Mistake(
            "eval freezes",
            "net.eval() changes how some layers behave. It does not touch gradients.",
            when=answered("E", _VAIN, _NONE),
        ),
        Mistake(
            "the optimiser saves the work",
            "Weights that the optimiser does not have are not changed. But loss.backward() knows nothing about the optimiser.",
            when=answered("B", _NONE),
        ),
        Mistake(
            "left out, and yet it learns",
            "Only the optimiser changes weights. Does this one have them?",
            when=answered("B", _ALL),
        ),
        Mistake(
            "requires_grad_ only hides",
            "If no weight and no input requires a gradient, autograd does not even record. So no gradient is computed in vain.",
            when=answered("C", _VAIN, _ALL),
        ),
        Mistake(
            "no_grad only hides",
            "Under torch.no_grad() nothing is recorded, so nothing can be computed later.",
            when=answered("D", _VAIN, _ALL),
        ),
        Mistake(
            "frozen by itself",
            "In A nothing is frozen. Why should the first network not learn?",
            when=answered("A", _VAIN, _NONE),
        ),
    ),
    hints=(
        "Ask two questions about each variant: will loss.backward() compute gradients for the first network? Will the optimiser use them?",
        "Only two of the five prevent autograd from recording the first network.",
        "Which of the five affect autograd, which only the optimiser, and which neither?",
    ),
)

# --- flownet2.count -------------------------------------------------------------------------------------


def _count_oracle(layers, nets, channels):
    total = 0
    for number in range(nets):
        for place, (inputs, outputs, kernel, bias) in enumerate(layers):
            if number and not place:
                inputs = channels
            total += torch.nn.Conv2d(inputs, outputs, kernel, bias=bias, device="meta").weight.numel() + bias * outputs
    return total


_TOY = [(6, 4, 7, True), (4, 8, 3, True), (8, 2, 3, False)]


def _count_args(g):
    width = torch.randint(3, 9, (4,), generator=g).tolist()
    layers = [
        (6, width[0], 7, True),
        (width[0], width[1], 5, True),
        (width[1], width[2], 3, False),
        (width[2], width[3], 4, True),
    ]
    return layers, 3, 12


def _count_like(bias=True, square=True, wider="later", nets=True, once=True):
    def like(layers, count, channels):
        total = 0
        for number in range(count if nets else 1):
            for place, (inputs, outputs, kernel, has) in enumerate(layers):
                wide = wider == "all" or (wider == "later" and number)
                inputs = channels if wide and (not place or not once) else inputs
                total += inputs * outputs * (kernel**2 if square else kernel) + (
                    outputs if bias == "all" or (bias and has) else 0
                )
        return total

    return like


counting = Exercise(
    id="flownet2.count",
    title="parameters of a stack",
    library=count_stack,
    oracle=_count_oracle,
    cases=(
        Case(
            "by hand: one layer",
            2,
            "One layer with 3 × 3 kernels from 3 channels to 2 has 3 · 2 · 9 = 54 weights, and a bias for each of the 2 outputs. Which of these numbers do you get?",
            make=given([(3, 2, 3, True)], 1, 12),
            want=lambda *_: 56,
        ),
        Case(
            "one network",
            2,
            "6 → 4 by 7 × 7 with bias: 1180. 4 → 8 by 3 × 3 with bias: 296. 8 → 2 by 3 × 3 *without*: 144. Print yours layer by layer. The first network has 6 input channels, not 12.",
            make=given(_TOY, 1, 12),
        ),
        Case(
            "two networks",
            3,
            "Your answer is right for one network. The *first* layer of the second network has 12 input channels instead of 6, so it has 6 · 4 · 49 = 1176 more weights; everything else is the same.",
            make=given(_TOY, 2, 12),
        ),
        Case(
            "three networks",
            3,
            "Your answer is right for two networks. Of three, the second *and* the third have `channels` input channels. Does your code contain a fixed 2, or a size from the example?",
            make=_count_args,
        ),
    ),
    mistakes=(
        Mistake(
            "biases forgotten",
            "The biases are missing: there is one for each output channel.",
            like=_count_like(bias=False),
        ),
        Mistake(
            "a bias everywhere",
            "You count a bias for every layer. Some have none: look at the fourth number.",
            like=_count_like(bias="all"),
        ),
        Mistake(
            "kernel not squared",
            "A kernel of size 7 has 7 · 7 weights for each pair of channels.",
            like=_count_like(square=False),
        ),
        Mistake(
            "all alike",
            "You count every network like the first one. The later ones have more input channels.",
            like=_count_like(wider="none"),
        ),
        Mistake(
            "the first, too",
            "You give the first network the input channels of the later ones. It sees only two images.",
            like=_count_like(wider="all"),
        ),
        Mistake(
            "one network only", "You count only one network. There are `nets` of them.", like=_count_like(nets=False)
        ),
        Mistake(
            "every layer",
            "You change the channels of every layer of a later network. Only its *first* layer sees the input.",
            like=_count_like(once=False),
        ),
    ),
    hints=(
        "What parameters does one convolution have for each output channel? How many are there?",
        "A layer: inputs · outputs · kernel² weights, and `outputs` biases if it has them. Start with one network.",
        "In a later network replace the first layer's `inputs` by `channels`. All other layers stay.",
    ),
)

# --- flownet2.fusion ------------------------------------------------------------------------------------


def _fusion_oracle(image1, image2, flow, small):
    image1, flow, small = image1.double(), flow.double(), small.double()
    root = lambda v: (v**2).sum(1, keepdim=True) ** 0.5  # noqa: E731
    errors = [root(image1 - _fetch(image2, each)) for each in (small, flow)]
    return torch.cat([image1, small, flow, root(small), root(flow), *errors], 1)


def _fusion_args(H, W, B=2):
    return lambda g: (*_input_args(H, W, B=B)(g), 0.5 * normal(g, B, 2, H, W))


def _fusion_like(
    order="small first", unit=1.0, lengths="root", error="root", against="warped", second=False, grouped=True
):
    def like(image1, image2, flow, small):
        first, other = (small, flow) if order == "small first" else (flow, small)
        a, b = first / unit, other / unit
        size = lambda v, how: v.square().sum(1, keepdim=True).sqrt() if how == "root" else v.abs().sum(1, keepdim=True)  # noqa: E731
        square = lambda v: v.square().sum(1, keepdim=True)  # noqa: E731
        lengths_of = [square(v) if lengths == "square" else size(v, lengths) for v in (a, b)]
        seen = image2 if second else image1
        backs = [image2 if against == "unwarped" else warp(image2, v) for v in (first, other)]
        errors = [size(seen - back, error) for back in backs]
        if not grouped:
            return torch.cat([image1, a, lengths_of[0], errors[0], b, lengths_of[1], errors[1]], 1)
        return torch.cat([image1, a, b, *lengths_of, *errors], 1)

    return like


fusing = Exercise(
    id="flownet2.fusion",
    title="what the fusion sees",
    library=choice_input,
    oracle=_fusion_oracle,
    axes=("sample", "channel", "y", "x"),
    cases=(
        Case(
            "shape",
            2,
            "3 + 2 + 2 + 1 + 1 + 1 + 1 = 11 channels, joined along axis 1. Lengths and errors need keepdim=True to keep their axis.",
            make=_fusion_args(4, 6),
            test=shape_only,
        ),
        Case(
            "random",
            4,
            "Channels 0–2 are image 1, 3–4 small, 5–6 flow, 7 |small|, 8 |flow|, 9 the error of small, 10 the error of flow: the length over the colours of image1 - warp(image2, small), and likewise. See the channel named above.",
            make=around(_fusion_args, 4, 6),
        ),
        Case(
            "square",
            2,
            "H and W are equal here, so swapped axes give no error: lengths and torch.cat use axis 1, the channels.",
            make=_fusion_args(5, 5),
        ),
        Case("gradients", 2, GRADIENT, make=_fusion_args(3, 4, B=1), gradient=True),
    ),
    mistakes=(
        Mistake(
            "flow before small",
            "The order is `small`, then `flow`, in all three groups. Yours is reversed.",
            like=_fusion_like(order="flow first"),
        ),
        Mistake(
            "in units of 20",
            "Here flows stay in pixels, as the released network expects.",
            like=_fusion_like(unit=20.0),
        ),
        Mistake(
            "squared lengths",
            "That is the square of the length of a flow: the root is missing.",
            like=_fusion_like(lengths="square"),
        ),
        Mistake(
            "sum of both components",
            "You add |x| and |y| of a flow. Use its length, by Pythagoras.",
            like=_fusion_like(lengths="sum"),
        ),
        Mistake(
            "sum of the colours",
            "The brightness error is the length over the colours, not their sum.",
            like=_fusion_like(error="sum"),
        ),
        Mistake(
            "not warped",
            "Your errors compare frame 1 with the unwarped frame 2: they are the same for both flows and say nothing about them.",
            like=_fusion_like(against="unwarped"),
        ),
        Mistake(
            "frame 2 compared",
            "You compare the warped images with frame 2. They are on frame 1's grid.",
            like=_fusion_like(second=True),
        ),
        Mistake(
            "grouped by flow",
            "You group the channels by flow. Group them by kind instead: flows, lengths, errors.",
            like=_fusion_like(grouped=False),
        ),
    ),
    hints=(
        "What would *you* want to know at a pixel, to choose between two flows?",
        "For each flow: the flow itself, its length, and how far the warped image2 is from image1. Take lengths over axis 1, with keepdim=True.",
        "torch.cat([image1, small, flow, |small|, |flow|, error of small, error of flow], dim=1)",
    ),
)

# --- flownet2.bands -------------------------------------------------------------------------------------


def _bands_oracle(flow, truth, edges):
    found = [[] for _ in range(len(edges) + 1)]
    for f, t in zip(
        flow.permute(0, 2, 3, 1).reshape(-1, 2).tolist(), truth.permute(0, 2, 3, 1).reshape(-1, 2).tolist(), strict=True
    ):
        found[sum(math.hypot(*t) >= edge for edge in edges)].append(math.dist(f, t))
    return [sum(each) / len(each) if each else math.nan for each in found]


def _bands_args(H, W, edges, far=4.0):
    return lambda g: (far * normal(g, 2, 2, H, W), far * normal(g, 2, 2, H, W), list(edges))


def _at_edges(g):
    """Speeds of exactly 0, 5 and 10 px."""
    truth = torch.zeros(1, 2, 1, 3)
    truth[0, :, 0] = torch.tensor([[0.0, 3.0, 6.0], [0.0, 4.0, 8.0]])
    return truth + torch.tensor([1.0, 2.0, 3.0]), truth, [5.0, 10.0]


def _bands_like(by="truth", upper=False, empty=math.nan, over="band", cumulative=False, error="length"):
    def like(flow, truth, edges):
        vector = {"truth": truth, "flow": flow, "error": flow - truth, "x": truth[:, :1]}[by]
        speed, gap = vector.norm(dim=1), flow - truth
        errors = gap.norm(dim=1) if error == "length" else (flow.norm(dim=1) - truth.norm(dim=1)).abs()
        out = []
        for low, high in zip([0.0, *edges], [*edges, math.inf], strict=True):
            low = 0.0 if cumulative else low
            inside = (
                (speed > low) & (speed <= high)
                if upper and low
                else (speed >= low) & (speed <= high if upper else speed < high)
            )
            value = errors[inside].mean().item() if over == "band" else errors[inside].sum().item() / errors.numel()
            out.append(value if inside.any() else empty)
        return out

    return like


bands = Exercise(
    id="flownet2.bands",
    title="error by speed",
    library=error_by_speed,
    oracle=_bands_oracle,
    cases=(
        Case(
            "two bands",
            3,
            "Two maps are needed, errors = length of flow - truth and speed = length of *truth*. With the edge 5, the first number is errors[speed < 5].mean() over all pairs together, the second errors[speed >= 5].mean(). Compare them one by one.",
            make=_bands_args(5, 7, (5.0,)),
        ),
        Case(
            "three bands",
            3,
            "Your answer is right for one edge but not for two: n edges make n + 1 bands. The middle one is (speed >= 3) & (speed < 7), with both conditions.",
            make=_bands_args(6, 6, (3.0, 7.0)),
        ),
        Case(
            "exactly at an edge",
            2,
            "The speeds are exactly 0, 5 and 10, and the edges are 5 and 10: there is one pixel in each of the three bands. A pixel with speed 5 belongs to the band that *begins* at 5: use >= at the lower edge and < at the upper edge.",
            make=_at_edges,
        ),
        Case(
            "an empty band",
            2,
            "No pixel is faster than 1000 px, so the last band is empty and has no mean: return NaN for it, not 0, and do not raise an exception.",
            make=_bands_args(3, 4, (2.0, 1000.0)),
        ),
    ),
    mistakes=(
        Mistake(
            "by the estimate's speed",
            "You sort pixels by the speed of the *estimate*. A method that always predicts zero would then have no fast pixels. Sort by the ground truth.",
            like=_bands_like(by="flow"),
        ),
        Mistake(
            "by the error",
            "You sort pixels by how wrong they are. Sort by how fast they truly move.",
            like=_bands_like(by="error"),
        ),
        Mistake("by x alone", "The speed is the length of the vector, not its x component.", like=_bands_like(by="x")),
        Mistake(
            "upper edge in the band",
            "A pixel of speed exactly 5 belongs to the band that *begins* at 5: use ≥ at the lower edge and < at the upper edge.",
            like=_bands_like(upper=True),
        ),
        Mistake(
            "share of the whole",
            "You divide by the number of all pixels. Divide by the number of pixels in the band.",
            like=_bands_like(over="all"),
        ),
        Mistake(
            "all up to the edge",
            "Your bands all begin at 0. The second begins where the first ends.",
            like=_bands_like(cumulative=True),
        ),
        Mistake(
            "empty is zero",
            "An empty band has no error. With 0 it would look perfect: return NaN.",
            like=_bands_like(empty=0.0),
        ),
        Mistake(
            "difference of lengths",
            "You compare lengths. A flow in the wrong direction would be perfect. Subtract the vectors first.",
            like=_bands_like(error="lengths"),
        ),
    ),
    hints=(
        "You need two maps of numbers, one to sort by and one to average. Which ones?",
        "errors = length of flow - truth; speed = length of truth. A band is a mask: (speed >= low) & (speed < high).",
        "Go through zip([0, *edges], [*edges, inf]). errors[mask].mean() is already NaN if the mask is empty.",
    ),
)

# --- flownet2.front -------------------------------------------------------------------------------------


def _front_oracle(methods):
    def beaten(name):
        time, error = methods[name]
        return any(t <= time and e <= error and (t < time or e < error) for t, e in methods.values())

    return sorted((name for name in methods if not beaten(name)), key=lambda name: methods[name][0])


_FOUR = {"c": (30.0, 4.0), "d": (10.0, 5.0), "a": (40.0, 1.0), "b": (20.0, 3.0)}  # sorted neither by time nor by name


def _front_args(g):
    times, errors = (torch.randperm(9, generator=g) + 1.0 for _ in range(2))
    return ({"abcdefghi"[n]: (times[n].item(), errors[n].item()) for n in range(9)},)


def _front_like(keep="front"):
    def like(methods):
        names = list(methods)
        if keep == "strict":  # beaten only by who is better in both
            names = [n for n in names if not any(t < methods[n][0] and e < methods[n][1] for t, e in methods.values())]
        elif keep == "front":
            names = _front_oracle(methods)
        elif keep == "worse twins":  # beaten by any other that is no worse
            names = [
                n
                for n, (time, error) in methods.items()
                if not any(t <= time and e <= error for o, (t, e) in methods.items() if o != n)
            ]
        elif keep == "beaten":
            names = [n for n in names if n not in _front_oracle(methods)]
        elif keep == "either":  # beaten by who is better in one of them
            names = [n for n in names if not any(t < methods[n][0] or e < methods[n][1] for t, e in methods.values())]
        elif keep == "best":
            names = [min(names, key=lambda n: methods[n][0]), min(names, key=lambda n: methods[n][1])]
        return sorted(names, key=lambda n: methods[n][0])

    return like


def _sweep(methods):
    """Sorted by time, then error: keep each one whose error is below all before it."""
    names, least = [], math.inf
    for name, (_, error) in sorted(methods.items(), key=lambda item: item[1]):
        if error < least:
            names.append(name)
            least = error
    return names


def _either_twin_first(got, want):
    """Two methods that take equally long may come in either order."""
    return None if got == ("b", "a", "c") else difference(got, want)


front = Exercise(
    id="flownet2.front",
    title="who is not beaten",
    library=pareto_front,
    oracle=_front_oracle,
    cases=(
        Case(
            "four methods",
            3,
            "c is slower than b and has a larger error, so b beats it. No method beats d (the fastest), b or a (the most accurate): ['d', 'b', 'a'], sorted by time from the fastest, whatever the order of the dict or of the names.",
            make=given(_FOUR),
        ),
        Case(
            "nine methods",
            2,
            "A method is beaten if *any* other is at least as good in both, and better in one of them. Sort by time and go down the list: along the front the errors must fall, and every name that you left out must have one before it with a smaller error.",
            make=_front_args,
        ),
        Case(
            "equally fast",
            2,
            "x and y take equally long, and y has the smaller error, so y beats x. y and z have the same error, and y is faster, so y beats z. Only y is left: it is enough to be better in one and *equal* in the other.",
            make=given({"x": (10.0, 5.0), "y": (10.0, 4.0), "z": (20.0, 4.0)}),
        ),
        Case(
            "twins",
            2,
            "a and b have the same time and the same error. Neither is better in either of them, so neither beats the other, and both belong to the front: three names.",
            make=given({"a": (1.0, 2.0), "b": (1.0, 2.0), "c": (5.0, 1.0)}),
            test=_either_twin_first,
        ),
        Case(
            "one alone",
            1,
            "If there is only one method, no other beats it: return a list with one name. Do you compare a method with itself?",
            make=given({"only": (1.0, 1.0)}),
        ),
    ),
    mistakes=(
        Mistake(
            "equals are kept",
            "A method that is equal in one and better in the other also beats. Of two equally fast methods, only the more accurate one is kept.",
            like=_front_like("strict"),
        ),
        Mistake(
            "in the wrong order",
            "The names are right, but their order is not: sort them by time, with the fastest first.",
            when=misordered,
        ),
        Mistake("the beaten ones", "You return those that *are* beaten.", like=_front_like("beaten")),
        Mistake(
            "better in one is enough",
            "You drop every method that is worse in *one* of the two. A slower but more accurate method must stay: to be beaten, it must not be better in either.",
            like=_front_like("either"),
        ),
        Mistake(
            "only the two ends",
            "It is true that the fastest and the most accurate are not beaten. But methods between them may also be unbeaten.",
            like=_front_like("best"),
        ),
        Mistake("all", "You return all methods. Some are beaten in both time and error.", like=_front_like("all")),
        Mistake(
            "one of two twins",
            "Of two methods with the same time and the same error, you keep only one. Neither is better in time or error, so neither beats the other: keep both.",
            like=_sweep,
        ),
        Mistake(
            "both twins thrown out",
            "In your code, two methods with the same time and the same error beat each other. To beat another, a method must be better in at least one of the two.",
            like=_front_like("worse twins"),
        ),
    ),
    hints=(
        "Take one method. What would another have to be like so that nobody would choose the first?",
        "It must be no slower *and* no less accurate, and better in at least one of the two.",
        "Or: sort by time, then error, and keep each one whose error is below all before it, or that is equal to the last one kept in both.",
    ),
)

# --- flownet2.warping -----------------------------------------------------------------------------------


def _clip_oracle(frames, flows):
    T, _, H, W = frames.shape
    out = torch.zeros(T - 1)
    for t in range(T - 1):
        back = _fetch(frames[t + 1 : t + 2], flows[t : t + 1])[0]
        gaps = [
            255 * (back[:, y, x] - frames[t, :, y, x].double()).abs().mean().item()
            for y in range(H)
            for x in range(W)
            if 0 <= x + flows[t, 0, y, x] <= W - 1 and 0 <= y + flows[t, 1, y, x] <= H - 1
        ]
        out[t] = sum(gaps) / len(gaps)
    return out


def _clip_args(H, W, far, T=3):
    return lambda g: (torch.rand(T, 3, H, W, generator=g), far * normal(g, T - 1, 2, H, W))


def _pan(g):
    """A texture that moves one pixel to the right: the true flow leaves no error inside."""
    wide = torch.rand(3, 4, 9, generator=g)
    frames = torch.stack([wide[:, :, 2 - t : 8 - t] for t in range(3)])
    flows = torch.zeros(2, 2, 4, 6)
    flows[:, 0] = 1
    return frames, flows


def _clip_like(mask="select", shift=1, sign=1, scale=255.0, square=False, whole=False, warped=True):
    def like(frames, flows):
        first, second = (frames[:-1], frames[1:]) if shift == 1 else (frames[1:], frames[:-1])
        back = warp(second, sign * flows) if warped else second
        gap = scale * (back - first)
        gap = (gap.square() if square else gap.abs()).mean(1, keepdim=True)
        stays = in_frame(sign * flows)
        if mask == "none":
            each = gap.mean((1, 2, 3))
        elif mask == "zero":
            each = gap.where(stays, 0).mean((1, 2, 3))
        else:
            each = gap.where(stays, 0).sum((1, 2, 3)) / stays.sum((1, 2, 3))
        return each.mean() if whole else each

    return like


clip = Exercise(
    id="flownet2.warping",
    title="the warping error of a clip",
    library=clip_error,
    oracle=_clip_oracle,
    axes=("pair",),
    cases=(
        Case(
            "shape",
            2,
            "T frames make T - 1 pairs, with one number each: (T - 1,). Take the mean over the pixels and colours of a pair, not over the pairs.",
            make=_clip_args(4, 6, 0.5),
            test=shape_only,
        ),
        Case(
            "the true flow of a moving texture",
            4,
            "A texture moves 1 px to the right, and the flow is exactly that: both numbers must be 0. If they are not, do you warp frame t + 1 by +flow t and compare with frame t, inside the frame only?",
            make=_pan,
        ),
        Case(
            "small motions",
            4,
            "Your answer is right for the true flow; here the flows are wrong. For each pixel, take 255 · |warped - frame t|, absolute rather than squared, and the mean over the three colours; then take the mean over the pixels where in_frame is True.",
            make=_clip_args(5, 7, 0.4),
        ),
        Case(
            "much leaves the frame",
            3,
            "Many pixels leave the frame, and the number of pixels that stay, stays.sum((1, 2, 3)), is different for each pair. Sum the errors where `stays` is True and divide by that number, pair by pair.",
            make=_clip_args(6, 6, 3.0),
        ),
        Case(
            "four frames",
            2,
            "Your answer is right for three frames but not for four: does your code contain a fixed 2 or 3? Pair t consists of frames t and t + 1, with flow t.",
            make=_clip_args(4, 5, 1.0, T=4),
        ),
    ),
    mistakes=(
        Mistake(
            "mask forgotten",
            "Your mean includes pixels that leave the frame. There the warped image only repeats its border.",
            like=_clip_like(mask="none"),
        ),
        Mistake(
            "divided by all",
            "You set pixels that leave the frame to 0 and divide by all pixels. A flow that leaves the frame everywhere would then be perfect.",
            like=_clip_like(mask="zero"),
        ),
        Mistake(
            "frames swapped",
            "You warp frame t and compare it with frame t + 1. The flow is given at frame t's pixels, so warp frame t + 1.",
            like=_clip_like(shift=-1),
        ),
        Mistake("wrong direction", "You warp by -flow.", like=_clip_like(sign=-1)),
        Mistake(
            "255 forgotten", "Images are in [0, 1] here. In grey levels, white is 255.", like=_clip_like(scale=1.0)
        ),
        Mistake(
            "squared",
            "That is the mean of the squares. Use the mean of the absolute differences.",
            like=_clip_like(square=True),
        ),
        Mistake(
            "one number for the clip",
            "You average over the pairs. Return one number for each pair.",
            like=_clip_like(whole=True),
        ),
        Mistake(
            "not warped",
            "You compare the frames without warping. Every flow would then get the same error.",
            like=_clip_like(warped=False),
        ),
    ),
    hints=(
        "Which frame is warped to which, and at whose pixels is the flow given?",
        "warp(frames[1:], flows) warps all of them at once; in_frame(flows)[:, 0] is the mask without its axis of length 1, (T - 1, H, W).",
        "For each pair: 255 · |warped - frame|, mean over the colours, then the mean over the pixels where the mask is True.",
    ),
)

EXERCISES = (rate, spread, stacked, frozen, counting, fusing, bands, front, clip)
