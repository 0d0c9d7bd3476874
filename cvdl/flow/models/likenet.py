"""LikeNet: which of a few whole-numbered motions is it?  At five scales, trained without ground truth.

Ahmadi, Marras and Patras, *LikeNet: a Siamese motion estimation network trained in an unsupervised way*, BMVC 2018.

Documented (by the lecture): classification, Siamese, the loss (`cvdl.flow.likelihood`), several scales with 121, 169,
49, 9 and 9 branches, 697,028 learned parameters.  The layers are **our reconstruction**: it has that number exactly,
but others do, too.
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from cvdl.errors import InvalidInput
from cvdl.flow import likelihood
from cvdl.flow.models.base import FlowModel, resize
from cvdl.flow.models.flownet import start
from cvdl.flow.models.spynet import pyramid
from cvdl.flow.warp import warp

REACHES = (5, 6, 3, 1, 1)  # at 1/16, 1/8, 1/4, 1/2, 1 of the size: (2 r + 1)² = 121, 169, 49, 9, 9 candidates
DEVIATION = 0.23  # about that of grey photographs
AT_ONCE = 2**26  # numbers in the largest map of branches that are computed together


class LikeNet(FlowModel):
    """697,028 parameters at width 1; `width` scales the 64 channels of all layers.

    One extractor of features serves both frames and all scales: 104,128 parameters.  It sees greys whose contrast is
    normalised (`likelihood.contrast`).  A *branch* scores one candidate m from the features of frame 1 and those of
    frame 2, shifted by m; all branches of a scale share their weights, and so do the two scales with 9 of them: 4 ×
    148,225.  From coarse to fine,

        flow = u(flow) + Σ_m P_m m,    P = softmax over the branches' scores

    with the features of frame 2 warped by the flow so far.  Reach: 5·16 + 6·8 + 3·4 + 1·2 + 1 = 143 pixels.  Each
    scale takes the flow so far as given: no gradient goes through it, and D is a constant.  (The bias of a branch's
    last layer is added to all scores alike, and softmax does not see it: four of the parameters have no effect.)

    view, temperature, support: what the training loss compares, see `scales`.  refresh: training steps after which the
    frozen copy of the features follows the features.  window: the expected motion is taken over the candidates that are at
    most so far from the most probable one (`likelihood.truncated`); None: over all of them, as in the equation.

    `active` is the number of scales in use, the coarsest first: all five, but training begins with fewer of them.  The
    images are at the scale of the last one, then, and small.
    """

    def __init__(self, width=1.0, view="features", temperature=3.0, support=0, refresh=500, window=None):
        super().__init__()
        if not 0 < width <= 4:
            raise InvalidInput(
                f"width is {width}; it is a factor on the numbers of channels above 0, such as 1 or 1/4."
            )
        if refresh < 1 or support < 0:
            raise InvalidInput(
                f"refresh is {refresh}, a number of training steps, 1 or more; support is {support}, a number of pixels, "
                "0 or more. Change the one that is not."
            )
        self.width, self.view, self.temperature = float(width), check_view(view), float(temperature)
        self.support, self.refresh, self.window = int(support), int(refresh), window
        self.active = len(REACHES)
        c = max(1, round(64 * width))
        activation = nn.LeakyReLU(0.1)
        self.features = nn.Sequential(
            nn.Conv2d(1, c, 5, padding=2), activation, nn.Conv2d(c, c, 5, padding=2), activation
        )
        self.branches = nn.ModuleDict({str((2 * r + 1) ** 2): Branch(c) for r in sorted(set(REACHES))})
        start(self)
        for branch in self.branches.values():  # at first all motions are about equally probable
            nn.init.normal_(branch.score.weight, std=0.1 * (9 * c) ** -0.5)
        # Inside D no gradient goes to F, or it would become constant, which makes every D zero.  So D has a copy.
        self.frozen, self.random = buffers(self.features), buffers(self.features)
        self.register_buffer("age", torch.zeros((), dtype=torch.long))  # training steps since the copy was made

    @property
    def multiple(self):
        return 2 ** (self.active - 1)

    def options(self):
        names = ("width", "view", "temperature", "support", "refresh")
        return {name: getattr(self, name) for name in names} | ({"window": self.window} if self.window else {})

    def flows(self, image1, image2):
        return [flow for flow, _, _ in self.coarse_to_fine(image1, image2)][::-1]

    def scales(self, image1, image2, view=None):
        """What the loss needs: at each scale, finest first, (flow, P, D).

        flow: (B, 2, h, w) in full-size pixels.  P: (B, n², h, w), sums to 1 over the allowed candidates, and is all
        zero where none is.  D: the same shape, without gradient; ln 2 (or 1, for "difference") where not allowed.
        Sides have to be divisible by 16.

        view: what D compares; None: the network's own.  "features": a copy of the features which during training
        follows them every `refresh` steps, and otherwise is what they are; "random": the features as they were
        before training; "gradients": fixed filters, of the same normalised greys; "values": greys of 3 × 3 pixels as
        they are; each as a distribution at the temperature.  "difference": |ΔI| of the greys.  With `support` s, D is
        averaged over (2s + 1)² pixels.
        """
        return self.coarse_to_fine(image1, image2, view or self.view)[::-1]

    @torch.no_grad()
    def oracle(self, image1, image2, view=None):
        """The flow of least D, scale by scale, (B, 2, H, W) in pixels: what the loss pulls towards.  For any size.

        No weights but those of the view are used.
        """
        image1, image2 = self.checked(image1, image2)
        return self.padded(
            lambda *images: self.coarse_to_fine(*images, view or self.view, oracle=True)[-1][0], image1, image2
        )

    def coarse_to_fine(self, image1, image2, view=None, oracle=False):
        """All scales, coarsest first: list of (flow, P, D), D None without a view.  oracle: P is that of least D."""
        if view is not None:
            check_view(view)
        if any(side % self.multiple for side in image1.shape[-2:]):
            raise InvalidInput(
                f"Sides have to be divisible by {self.multiple}; these are {tuple(image1.shape[-2:])}. Cut the images, or "
                "call the network in eval mode, which pads them."
            )
        firsts, seconds = (pyramid(likelihood.grey(image), self.active) for image in (image1, image2))
        flow, found = torch.zeros_like(firsts[0]).expand(-1, 2, -1, -1).float(), []
        for k, (first, second, reach) in enumerate(zip(firsts, seconds, REACHES[: self.active], strict=True)):
            step = 2 ** (self.active - 1 - k)  # full-size pixels to a pixel of this scale
            flow = resize(flow.detach(), first.shape[-2:])
            here = flow / step
            free = likelihood.allowed(here, reach)
            D = None if view is None else self.distance(first, second, here, reach, free, view)
            P = likelihood.best(D, free) if oracle else self.likelihood(first, second, here, reach, free)
            flow = flow + step * likelihood.expected(likelihood.truncated(P, self.window) if self.window else P)
            found.append((flow, P, D))
        return found

    def likelihood(self, first, second, flow, reach, free):
        """P of all candidates at one scale.  first, second: grey (B, 1, h, w); flow: (B, 2, h, w), in pixels there."""
        first, second = (self.features(likelihood.contrast(image)) for image in (first, second))  # the same weights
        return likelihood.probabilities(self.branches[str(int(free.shape[1]))](first, warp(second, flow), reach), free)

    @torch.no_grad()
    def distance(self, first, second, flow, reach, free, view):
        """D of all candidates at one scale, arguments as for `likelihood`."""
        with likelihood.full_precision(first.device):
            first, second = first.float(), second.float()
            if view == "difference":
                D = likelihood.distances(first, warp(second, flow), reach, likelihood.difference)
                return likelihood.supported(D, free, self.support, 1.0)
            p, q = self.look(first, view), self.look(second, view)
            D = likelihood.distances(p, warp(q, flow), reach)
            return likelihood.supported(D, free, self.support, likelihood.LN2)

    def look(self, grey, view):
        """F, what a view makes of greys (B, 1, h, w): a distribution over channels, (B, C, h, w)."""
        if view == "values":
            maps = likelihood.patches(grey / DEVIATION)
        else:
            # Outside training nothing runs away, and no copy is needed.
            features = self.frozen if self.training else self.features
            views = {"features": features, "random": self.random, "gradients": likelihood.gradients}
            maps = views[view](likelihood.contrast(grey))
        return likelihood.distributions(maps, self.temperature)

    @torch.no_grad()
    def tick(self):
        """A training step begins: every `refresh` steps, the frozen copy becomes what the features are now."""
        if self.age == 0:
            for kept, now in zip(self.frozen.buffers(), self.features.parameters(), strict=True):
                kept.copy_(now)
        self.age.copy_((self.age + 1) % self.refresh)


class Branch(nn.Module):
    """The score of a candidate m: four 3 × 3 layers on [features of frame 1, those of frame 2 shifted by m].

    The first layer is linear in both, so each half is computed once, and a branch *is defined as* the shift after
    that layer: LeakyReLU(a(first) + shift_m(b(second))).  (Shifting before it would differ at the frame's edge only.)
    """

    def __init__(self, c):
        super().__init__()
        self.conv1 = nn.Conv2d(2 * c, c, 3, padding=1)
        self.conv2 = nn.Conv2d(c, c, 3, padding=1)
        self.conv3 = nn.Conv2d(c, c, 3, padding=1)
        self.score = nn.Conv2d(c, 1, 3, padding=1)

    def forward(self, first, second, reach):
        """(B, c, h, w) twice -> scores (B, n², h, w)"""
        c = first.shape[1]
        first = F.conv2d(first, self.conv1.weight[:, :c], self.conv1.bias, padding=1)
        second = F.conv2d(second, self.conv1.weight[:, c:], padding=1)
        n = 2 * reach + 1
        rows = max(1, min(n, AT_ONCE // max(1, first.numel() * n)))  # of candidates, that are computed together
        # What does not fit at once is not kept for the backward pass either, but computed again.
        again = rows < n and torch.is_grad_enabled()
        parts = []
        for row in range(0, n, rows):
            arguments = first, second, reach, slice(row, row + rows)
            parts.append(checkpoint(self.rows, *arguments, use_reentrant=False) if again else self.rows(*arguments))
        return torch.cat(parts, 1)

    def rows(self, first, second, reach, rows):
        """Scores of the candidates in some rows of the square."""
        B, _, h, w = first.shape
        shifted = likelihood.windows(second, reach)[:, :, rows].permute(0, 2, 3, 1, 4, 5)  # (B, rows, n, c, h, w)
        x = F.leaky_relu(first[:, None, None] + shifted, 0.1, inplace=True).flatten(0, 2)
        for layer in (self.conv2, self.conv3):
            x = F.leaky_relu(layer(x), 0.1, inplace=True)
        return self.score(x).view(B, shifted.shape[1] * shifted.shape[2], h, w)


def check_view(view):
    if view not in likelihood.VIEWS:
        raise InvalidInput(f"There is no view {view!r}; there are {', '.join(likelihood.VIEWS)}.")
    return view


def buffers(module):
    """A copy whose weights are no parameters: nothing trains them, but they are saved and moved with the network."""
    module = copy.deepcopy(module)
    for part in module.modules():
        for name, weight in list(part.named_parameters(recurse=False)):
            delattr(part, name)
            part.register_buffer(name, weight.detach().clone())
    return module
