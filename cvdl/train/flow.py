"""The recipes of optical flow, cut into stages.

Each stage starts from the weights of the one before.  A recipe has three sizes: `quick` shows that it runs, `laptop`
is for two cores (100 minutes a stage at most), `gpu` for one H100 (25 minutes a stage at most).
"""

import math
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from cvdl.flow.data.augment import Augment
from cvdl.flow.data.chairs import FULL
from cvdl.flow.data.rendered import rendered
from cvdl.flow.losses import WEIGHTS, multiscale_epe
from cvdl.flow.metrics import epe
from cvdl.flow.nets.flownet import FlowNetC, FlowNetS
from cvdl.flow.nets.flownet2 import FlowNetStack
from cvdl.flow.nets.likenet import LikeNet
from cvdl.flow.nets.spynet import SPyNet
from cvdl.flow.unsupervised import census_loss, likelihood_loss
from cvdl.train.stages import Recipe, Stage, all_free
from cvdl.train.zoo import begin, load

PIXELS = 2**23  # of frames that a GPU renders in one go; it takes some 4 GB for it


def every(net, pairs):
    """FlowNet's loss, at every resolution of the network; where there are fewer than five, with its coarsest weights."""
    flows = net(pairs.image1, pairs.image2)
    with torch.no_grad():
        truth = torch.nn.functional.interpolate(pairs.flow, flows[0].shape[-2:], mode="nearest")
        valid = torch.nn.functional.interpolate(pairs.valid.float(), flows[0].shape[-2:], mode="nearest") > 0
        error = epe(flows[0], truth, valid)
    weights = WEIGHTS[len(WEIGHTS) - len(flows) :]
    return multiscale_epe(flows, pairs.flow, pairs.valid, weights), error


def up_to_level(net, pairs, k):
    """End-point error of SPyNet's flow at level k, in pixels of that level.

    The pairs are rendered at the size of this level, so that the coarse levels cost next to nothing.
    """
    flow = net.climb(net.normalise(pairs.image1), net.normalise(pairs.image2), k + 1)[-1]
    error = epe(flow, pairs.flow, pairs.valid)
    return error, error.detach()


def without_truth(net, pairs, loss):
    """Training without ground truth: the loss gets both images and nothing else.

    loss: (net, image1, image2) -> the loss, and the flow at full size.  In training, pairs hold images only, and the
    error is NaN; held-out pairs hold the flow, too, to measure with.
    """
    value, flow = loss(net, pairs.image1, pairs.image2)
    with torch.no_grad():
        return value, flow.new_tensor(math.nan) if pairs.flow is None else epe(flow, pairs.flow, pairs.valid)


def use_scales(net, count):
    """LikeNet's `count` coarsest scales, on images of the size of the last of them."""
    net.active = count


def free_levels(net, first, last):
    """Only SPyNet's levels first … last learn."""
    net.requires_grad_(False)
    net.levels[first : last + 1].requires_grad_(True)


def free_new_level(net, k):
    """Only level k learns, and it begins as the level below ended."""
    free_levels(net, k, k)
    if k:
        net.levels[k].load_state_dict(net.levels[k - 1].state_dict())


@dataclass(frozen=True)
class FlowStage(Stage):
    """A stage on pairs of frames; its error is the end-point error in pixels.  Sizes are (height, width)."""

    truth: bool = True  # False: pairs come as images only
    kind: str = "chairs"  # a kind of `rendered`: "things", "things-final", "even", or "chairs+things": half and half
    size: tuple = FULL  # of the frames that are rendered
    window: tuple | None = None  # part of them that is seen
    motion: float = 1.0
    augment: Augment | None = field(default_factory=Augment)

    measure = "epe"

    def source(self, split, seed, device):
        """Held-out pairs are not augmented, so they come at the size that is cut."""
        window = self.augment.size if split == "test" and self.augment and self.augment.size else self.window
        options = dict(size=self.size, split=split, seed=seed, device=device, motion=self.motion)
        return rendered(self.kind, window=window, **options)

    def at_once(self, device):
        """A GPU draws many small frames in the time of one: what takes long is to launch some thousand kernels."""
        height, width = self.window or self.size
        return 1 if device.type == "cpu" else max(1, PIXELS // (height * width))

    def vary(self, batch, numbers):
        pairs = self.augment(batch, numbers) if self.augment else batch
        return pairs if self.truth else pairs.images_only()

    def shown(self, error):
        return f"EPE {error:.2f} px" if self.truth else "no ground truth"

    def data(self):
        return {"kind": self.kind, "size": self.size, "window": self.window, "motion": self.motion}

    def summary(self, errors, source):
        still = source.pairs(range(len(errors))).flow.norm(dim=1).mean()
        return super().summary(errors, source) | {"zero_flow": round(still.item(), 4), "pairs": len(errors)}


def spynet_stages(steps, batch, window, rate):
    """Level by level as in the paper, section 3: lower levels fixed, each initialised from the one below.

    steps: of each stage, by name; besides level0 … level4 there are "coarse", in which levels 0 to 2 learn together
    before level 3 comes, and "joint", in which all do at last.  batch: of each level.  window: the most that is seen
    of a frame, None for all of it; small windows serve single levels, but spoil the coarse ones in a joint stage.

    Motions are exaggerated at first: with those of the chairs, most of which are far below a pixel at 24 × 32, the
    first level does not begin to learn for long, or never.
    """
    light = Augment(places=False, noise=0.05, contrast=(-0.4, 0.4), brightness=0.1)
    motion = {"level0": 3.0, "level1": 2.0, "level2": 1.5}

    def stage(name, k, prepare, rate=rate, window=window):
        size = (24 * 2**k, 32 * 2**k)
        return FlowStage(
            name,
            steps[name],
            partial(up_to_level, k=k),
            prepare,
            size=size,
            window=window if window and size > window else None,
            motion=motion.get(name, 1.0),
            batch=batch[k],
            rate=rate,
            schedule="cosine",
            warmup=steps[name] // 50,
            decay=0.0,
            augment=light,
        )

    stages = [stage(f"level{k}", k, partial(free_new_level, k=k)) for k in range(5)]
    stages.insert(3, stage("coarse", 2, partial(free_levels, first=0, last=2), rate / 2))
    if "joint" in steps:
        stages.append(stage("joint", 4, all_free, rate / 4, window=None))
    return stages


def flownet_stages(steps, size, window, cut, compare=None, **options):
    """Chairs, finely on chairs, things, at last chairs with short motions, as in FlowNet 2.0; only what `steps` names.

    steps: of each stage, by name.  cut: (height, width) of what augmentation cuts out of a window.

    compare: for FlowNetC, (height, width) and batch of two more stages.  Before these, "compare", with motions of up to
    80 px and the light as it is; and later the light changes less.  A correlation grows with the square of the contrast:
    with the augmentation of FlowNetS this network had learned nothing on a processor after 12,000 steps.  After things,
    "whole": in a window of 128 px most displacements lead out of the frame, so that their channels are zero and nothing
    is learned of them; on whole frames the network was then worse than zero flow.  The last stage has whole frames, too,
    and all of the light's changes: on a picture at night the network had seen everything move.
    """
    every_light = Augment(size=cut, scale=(0.8, 1.6))
    less = dict(contrast=(-0.4, 0.4), colour=(0.8, 1.25), gamma=(0.8, 1.25), noise=0.02, brightness=0.1)
    options |= dict(size=size, window=window, augment=replace(every_light, **less) if compare else every_light)
    later = options | dict(schedule="cosine")
    stages = [
        FlowStage("chairs", steps["chairs"], every, rate=3e-4, **options),
        FlowStage("fine", steps.get("fine", 0), every, rate=2e-4, **later),
        FlowStage("things", steps["things"], every, rate=1e-4, kind="things", **later),
    ]
    if compare:
        cut, batch = compare
        first = dict(size=cut, batch=batch, reuse=4, augment=None, kind="even", warmup=steps["compare"] // 20)
        stages.insert(0, FlowStage("compare", steps["compare"], every, rate=3e-4, schedule="constant", **first))
        later |= dict(window=None, batch=batch // 2, augment=replace(later["augment"], size=cut))
        stages.append(FlowStage("whole", steps.get("whole", 0), every, rate=2e-4, kind="chairs+things", **later))
        later |= dict(batch=batch // 4, augment=replace(every_light, size=cut))
    stages.append(FlowStage("small", steps.get("small", 0), every, rate=2e-4, motion=0.4, **later))
    return [stage for stage in stages if stage.steps]


def stand_on(net):
    """A stack begins with weights of the zoo; only its last net learns."""
    begin(net)
    net.nets[:-1].requires_grad_(False)


def stand_on_with_a_start(net):
    """Its last net begins as the FlowNetS before it ended, or as the zoo's, to which the channels it adds are zero."""
    stand_on(net)
    first = "conv1.0.weight"
    tensors = (net.nets[-2] if len(net.nets) > 2 else load("flownet-s")).state_dict()
    missing = net.nets[-1].channels - tensors[first].shape[1]
    net.nets[-1].load_state_dict(tensors | {first: torch.nn.functional.pad(tensors[first], (0, 0, 0, 0, 0, missing))})


def stack_recipe(title, nets, before):
    """The next net of FlowNet 2.0's stack, on the shipped weights of those before it, which are frozen.

    On a processor it begins with trained weights, since its steps are few; the paper's begins with random ones.
    """

    def stages(steps, size, window, cut, prepare=stand_on, **options):
        augment = Augment(size=cut, scale=(0.8, 1.6))
        options |= dict(size=size, window=window, augment=augment, schedule="cosine")
        every_stage = [
            FlowStage("chairs", steps["chairs"], every, prepare, rate=3e-4, **options),
            FlowStage("things", steps["things"], every, stand_on, rate=1e-4, kind="things", **options),
            FlowStage("small", steps.get("small", 0), every, stand_on, rate=1e-4, motion=0.4, **options),
        ]
        return [stage for stage in every_stage if stage.steps]

    return Recipe(
        f"{title}, on {before}, at a quarter of the width",
        partial(FlowNetStack, nets, 1 / 4, before=before),
        {
            "quick": stages(dict(chairs=4, things=4, small=4), (72, 96), None, (64, 64), batch=2),
            "laptop": stages(
                dict(chairs=2000, things=2000, small=1500),
                (288, 384),
                (160, 192),
                (128, 128),
                stand_on_with_a_start,
                batch=8,
                reuse=6,
            ),
            "gpu": stages(dict(chairs=30000, things=30000), FULL, None, (320, 448), batch=8),
        },
    )


def order_recipe(title, first, then):
    """The same small network under the same schedule, on other data.  first, then: kinds of pairs, of both stages.

    As in FlowNet 2.0, section 3, whose S_long is followed by a shorter S_fine at a lower rate.  On a processor frames are
    small, so that motions are, and the light stays as it is: else, in so few steps, the network learns next to nothing.
    """

    def stages(steps, size, cut, batch, reuse=1, light=True):
        same = dict(noise=0.0, contrast=(0.0, 0.0), colour=(1.0, 1.0), gamma=(1.0, 1.0), brightness=0.0, grey=0.0)
        augment = Augment(size=cut, scale=(0.8, 1.6), **({} if light else same))
        options = dict(size=size, augment=augment, batch=batch, reuse=reuse)
        return [
            FlowStage(
                "first", steps[0], every, kind=first, rate=5e-4, schedule="S_long", warmup=steps[0] // 20, **options
            ),
            FlowStage("then", steps[1], every, kind=then, rate=1e-4, schedule="S_fine", **options),
        ]

    small = partial(FlowNetS, 1 / 8)
    return Recipe(
        f"the order of the data: {title}",
        {"quick": small, "laptop": small, "gpu": partial(FlowNetS, 1 / 4)},
        {
            "quick": stages((4, 4), (72, 96), (64, 64), 2),
            "laptop": stages((1600, 800), (160, 192), (128, 128), 8, 16, light=False),
            "gpu": stages((14000, 6000), FULL, (256, 320), 8),
        },
    )


def reach_recipe(title, net):
    """How far does a correlation reach?  Small networks, alike but for that, on motions of all lengths up to 80 px.

    The light does not change: a correlation grows with the square of the contrast, and with changing light FlowNetC
    had learned nothing after 1,400 steps; without, it begins after 400.
    """

    def stages(steps, batch):
        options = dict(kind="even", size=(256, 320), augment=None, batch=batch, reuse=4, warmup=steps // 20)
        return [FlowStage("even", steps, every, rate=3e-4, schedule="cosine", decay=0.0, **options)]

    return Recipe(
        f"{title}, an eighth of the width, on motions up to 80 px",
        net,
        {"quick": stages(4, 2), "laptop": stages(5000, 8), "gpu": stages(40000, 8)},
    )


def likenet_stages(steps, batch, size, motion, rate, losses, truth=False):
    """From coarse to fine: the two coarsest scales first, then three, then all five.

    steps, batch, losses: of each stage.  size: of the whole frame, of which a stage sees a reduced one, so that the
    first stages cost little; later ones begin with coarse scales that know something already.  In small frames everything
    moves less, and coarse scales would see next to nothing but rest: `motion` makes up for that.

    Frames have to be large: at 1/16 of the size candidates reach 80 pixels far, and in a small frame nearly all of them
    lead out of it.  Augmentation changes the light only: the black beyond a turned frame would be one more thing to
    be matched.
    """
    light = Augment(places=False, noise=0.02, contrast=(-0.4, 0.4), brightness=0.1)
    return [
        FlowStage(
            name,
            count,
            loss,
            partial(use_scales, count=scales),
            truth=truth,
            size=tuple(side // 2 ** (5 - scales) for side in size),
            motion=motion,
            batch=pairs,
            rate=rate,
            schedule="cosine",
            warmup=count // 30,
            decay=0.0,
            augment=light,
        )
        for name, scales, count, pairs, loss in zip(
            ("coarse", "middle", "fine"), (2, 3, 5), steps, batch, losses, strict=True
        )
    ]


def likenet_recipe(title, loss, last=None):
    """LikeNet and its stages.  loss: (net, image1, image2) -> loss, flow; None: the true flow teaches.

    last: what the last stage has instead, such as what needs a flow that is not too bad.  On a processor the network has
    a quarter of the width.  D compares features that nobody trained: in our runs their least D was nearer to the truth
    than that of trained ones, and they stay what they are.
    """
    if loss is None:
        options = dict(losses=[every] * 3, truth=True)
    else:
        options = dict(losses=[partial(without_truth, loss=each) for each in (loss, loss, last or loss)])
    small = partial(LikeNet, 1 / 4, view="random", support=6)
    return Recipe(
        f"{title}, 0.7 M parameters on a GPU",
        {"quick": small, "laptop": small, "gpu": partial(LikeNet, view="random", support=6)},
        {
            "quick": likenet_stages((4, 4, 4), (2, 2, 2), (128, 192), 1.5, 2e-3, **options),
            "laptop": likenet_stages((300, 500, 600), (8, 4, 2), (192, 256), 1.5, 2e-3, **options),
            "gpu": likenet_stages((4000, 4000, 1500), (16, 8, 8), FULL, 1.0, 1e-3, **options),
        },
    )


FLOW = {
    "spynet": Recipe(
        "SPyNet, five levels, 1.2 M parameters",
        SPyNet,
        {
            "quick": spynet_stages(
                dict(level0=4, level1=4, level2=4, coarse=4, level3=4, level4=4), (2,) * 5, (48, 64), 2e-4
            ),
            "laptop": spynet_stages(
                dict(level0=11200, level1=4800, level2=2800, coarse=8000, level3=2250, level4=2250),
                (16, 8, 4, 2, 2),
                (128, 192),
                2e-4,
            ),
            "gpu": spynet_stages(
                dict(level0=60000, level1=50000, level2=40000, coarse=40000, level3=30000, level4=25000, joint=15000),
                (32, 32, 32, 16, 8),
                None,
                2e-4,
            ),
        },
    ),
    "flownet-s": Recipe(
        "FlowNetS at a quarter of the width, 2.4 M parameters",
        partial(FlowNetS, 1 / 4),
        {
            "quick": flownet_stages(dict(chairs=4, fine=4, things=4, small=4), (72, 96), None, (64, 64), batch=2),
            "laptop": flownet_stages(
                dict(chairs=18000, fine=24000, things=9000, small=6000),
                (288, 384),
                (160, 192),
                (128, 128),
                batch=8,
                reuse=4,
            ),
            "gpu": flownet_stages(dict(chairs=50000, fine=50000, things=50000), FULL, None, (320, 448), batch=8),
        },
    ),
    "flownet-c": Recipe(
        "FlowNetC at a quarter of the width, 2.7 M parameters",
        partial(FlowNetC, 1 / 4),
        {
            "quick": flownet_stages(
                dict(compare=4, chairs=4, things=4, whole=4, small=4), (72, 96), None, (64, 64), ((64, 64), 8), batch=2
            ),
            "laptop": flownet_stages(
                dict(compare=2400, chairs=12000, things=8000, whole=4000, small=8000),
                (288, 384),
                (160, 192),
                (128, 128),
                ((256, 320), 8),
                batch=8,
                reuse=6,
            ),
            "gpu": flownet_stages(
                dict(compare=10000, chairs=45000, fine=45000, things=45000),
                FULL,
                None,
                (320, 448),
                ((256, 320), 8),
                batch=8,
            ),
        },
    ),
    "flownet-cs": stack_recipe("FlowNet2-CS, its second net", "cs", "flownet-c"),
    "flownet-css": stack_recipe("FlowNet2-CSS, its third net", "css", "flownet-cs"),
    **{
        f"order-{name}": order_recipe(title, first, then)
        for name, title, first, then in (
            ("chairs", "chairs only", "chairs", "chairs"),
            ("things", "things only", "things", "things"),
            ("mixed", "both, mixed", "chairs+things", "chairs+things"),
            ("chairs-things", "chairs, then things", "chairs", "things"),
            ("things-chairs", "things, then chairs", "things", "chairs"),
        )
    },
    "reach-s": reach_recipe("FlowNetS", partial(FlowNetS, 1 / 8)),
    **{
        f"reach-c{points}": reach_recipe(
            f"FlowNetC that compares up to {8 * points} px", partial(FlowNetC, 1 / 8, points, 1)
        )
        for points in (2, 4, 8)
    },
    "likenet": likenet_recipe("LikeNet without ground truth", likelihood_loss),
    "likenet-smooth": likenet_recipe(
        "LikeNet, and its flow is smooth at last", likelihood_loss, partial(likelihood_loss, smoothness=0.01)
    ),
    "likenet-occlusion": likenet_recipe(
        "LikeNet, and what gets hidden does not count at last",
        likelihood_loss,
        partial(likelihood_loss, occlusion=True),
    ),
    "likenet-census": likenet_recipe(
        "the same network, by census and smoothness", partial(census_loss, occlusion=False), census_loss
    ),
    "likenet-supervised": likenet_recipe("the same network, by ground truth", None),
}
