"""The recipes for optical flow.

Each stage starts from the weights of the one before.  A recipe has three sizes: `quick` shows that it runs, `laptop` takes
hours on two cores, and `gpu` minutes on an H100-class GPU.  All of them train on random crops of pairs from a pool
(`cvdl.flow.data.pool`) at the size at which networks are judged, and are measured on the common yardstick.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from cvdl.flow.data.augment import Augment
from cvdl.flow.data.chairs import FULL
from cvdl.flow.data.pool import Mixture, Pool
from cvdl.flow.models.flownet import FlowNetC, FlowNetS
from cvdl.flow.models.flownet2 import FlowNet2, FlowNet2SD, FlowNetStack
from cvdl.flow.models.likenet import LikeNet
from cvdl.flow.models.spynet import SPyNet
from cvdl.flow.unsupervised import likelihood_loss, soft_likelihood_loss
from cvdl.train import yardstick
from cvdl.train.recipes import flow_losses as losses
from cvdl.train.stages import Recipe, Stage, mean_text, unfreeze_all
from cvdl.train.yardstick import Yardstick
from cvdl.zoo import begin, load

# Shares of the kinds of pairs (`cvdl.flow.data.rendered`).  Things come once matching is learned, as in FlowNet 2.0.
BASIC = {"chairs": 0.5, "even": 0.35, "small": 0.15}
MIXTURE = {"chairs": 0.35, "things": 0.35, "even": 0.2, "small": 0.1}
# Distinct pairs, of all kinds together.  A thousand take a CPU about 12 minutes to render, on one thread.
ON_CPU, ON_GPU = 2000, 12000
ROBUST = (0.4, 0.01)  # q and epsilon of PWC-Net's fine-tuning (Sun et al., CVPR 2018)
# Crops and flips only: at the border of a rotated frame, black would be one more thing to match.
SHIFTED = Augment(rotation=0.0, scale=(1.0, 1.0), relative=0.0, noise=0.02, contrast=(-0.4, 0.4))


@dataclass(frozen=True, kw_only=True)
class FlowStage(Stage):
    """A stage on pairs of frames; its error is the end-point error in pixels.  Sizes are (height, width)."""

    predict_with: Callable = losses.flows
    ground_truth: bool = True  # False: batches hold images only
    mixture: dict = field(default_factory=lambda: MIXTURE)  # {kind of pairs: share}
    pairs: int = ON_CPU  # distinct ones, of all kinds together
    size: tuple = FULL  # of the frames in the pool
    varied: bool = True  # procedural textures and more photographs, see `photo_bank`
    pool_seed: int = 0  # another seed gives other pairs
    augment: Augment | None = field(default_factory=Augment)
    estimates: tuple = ()  # names in the zoo of networks whose flow on complete frames comes with the pairs
    yardstick_size: tuple = FULL  # of the held-out frames
    held_out: int = yardstick.COUNT
    held_out_per_row: int = 16

    metric = "epe"

    def dataset(self, split, seed, device, pools, deadline=None):
        if split == "test":
            return Yardstick(pools, self.held_out, self.yardstick_size, device, self.varied, deadline)
        total = sum(self.mixture.values())
        counts = {kind: max(1, math.ceil(self.pairs * share / total)) for kind, share in self.mixture.items()}
        options = dict(size=self.size, seed=self.pool_seed, varied=self.varied, device=device, deadline=deadline)
        opened = {kind: Pool.open(pools, kind, count, **options) for kind, count in counts.items()}
        for pool in opened.values():
            for name in self.estimates:
                pool.add_estimates(name, load(name), deadline)
        return Mixture(opened, self.mixture, seed)

    def augment_batch(self, batch, indices):
        batch = self.augment(batch, indices) if self.augment else batch
        return batch if self.ground_truth else batch.images_only()

    def evaluate(self, net, dataset, count):
        net.eval()
        rows = dataset.measure(net, count)
        net.train()
        return rows

    def format_metric(self, error):
        return f"EPE {error:.2f} px" if self.ground_truth else "no ground truth"

    def describe_error(self, rows):
        return f"{mean_text(rows, 'epe', 'EPE', ' px')}, {mean_text(rows, 'zero_flow', 'of zero flow', ' px')}"

    def describe_data(self, dataset):
        crop = self.augment.crop if self.augment else None
        histogram, pairs = dataset.histogram(), {kind: len(pool) for kind, pool in dataset.pools.items()}
        about = {"mixture": self.mixture, "pairs": pairs, "size": self.size, "crop": crop}
        return about | {"speeds": histogram, "ground_truth": self.ground_truth}

    def summarise(self, rows):
        return yardstick.summarise(rows)


def quick(stages, size=(64, 96), crop=(64, 64)):
    """The same stages with four steps each on small frames: they show that a recipe runs, and nothing else."""
    small = dict(steps=4, warmup=0, batch=2, pairs=4, size=size, yardstick_size=size, held_out=2, varied=False)
    return [
        replace(s, **small, augment=replace(s.augment, crop=crop if s.augment.crop else None) if s.augment else None)
        for s in stages
    ]


# FlowNetS and FlowNetC, under the same schedule.


def flownet_stages(steps, batch, crop=(256, 320), lr=8e-4, pairs=ON_CPU, prepare=unfreeze_all):
    """Chairs and large motions, then the mixture, at last the mixture with a robust loss.

    steps: of the three stages.  The order is that of FlowNet 2.0 (Ilg et al., CVPR 2017, section 3); but the mixture stays to
    the end, since a network forgets what it does not see.
    """
    options = dict(batch=batch, augment=Augment(crop=crop, scale=(0.7, 1.5)), schedule="one-cycle", weight_decay=1e-4)
    options |= dict(pairs=pairs, prepare=prepare)
    robust = partial(losses.multiscale_loss, robust=ROBUST)
    return [
        FlowStage(name="basic", steps=steps[0], loss=losses.multiscale_loss, lr=lr, mixture=BASIC, **options),
        FlowStage(name="mixture", steps=steps[1], loss=losses.multiscale_loss, lr=lr / 2, **options),
        FlowStage(name="robust", steps=steps[2], loss=robust, lr=lr / 8, **options),
    ]


def flownet_recipe(title, net):
    on_cpu = flownet_stages((10000, 8000, 2000), 8)
    on_gpu = flownet_stages((16000, 12800, 3200), 32, (320, 448), pairs=ON_GPU)
    return Recipe(title, net, {"quick": quick(on_cpu), "laptop": on_cpu, "gpu": on_gpu})


def later_stages(steps_on_cpu, batch_on_cpu, steps_on_gpu, lr, prepare=unfreeze_all, **changes):
    """The mixture and the robust loss alone, on a CPU and on a GPU, with some fields changed."""
    on_cpu = flownet_stages((0, *steps_on_cpu), batch_on_cpu, lr=lr, prepare=prepare)
    on_gpu = flownet_stages((0, *steps_on_gpu), 32, (320, 448), lr, ON_GPU, prepare)
    return tuple([replace(stage, **changes) for stage in stages[1:]] for stages in (on_cpu, on_gpu))


def stack_on_zoo(net):
    """A stack begins with weights of the zoo, and only its last network learns."""
    begin(net)
    net.nets[:-1].requires_grad_(False)


def stack_with_a_start(net):
    """Its last network begins as the FlowNetS before it, or as that of the zoo, with weights of 0 for added channels."""
    stack_on_zoo(net)
    first = "conv1.0.weight"
    tensors = (net.nets[-2] if len(net.nets) > 2 else load("flownet-s")).state_dict()
    missing = net.nets[-1].channels - tensors[first].shape[1]
    net.nets[-1].load_state_dict(tensors | {first: torch.nn.functional.pad(tensors[first], (0, 0, 0, 0, 0, missing))})


def stack_recipe(title, nets, before):
    """The next network of FlowNet 2.0's stack, on the weights of those before it, which are frozen.

    Their flow is computed once, on complete frames of pairs that they were not trained on.
    """
    options = dict(predict_with=losses.last_of_stack, estimates=(before,), pool_seed=1)
    on_cpu, on_gpu = later_stages((8000, 2000), 8, (10000, 2500), 6e-4, stack_on_zoo, **options)
    on_cpu[0], on_gpu[0] = (replace(stages[0], prepare=stack_with_a_start) for stages in (on_cpu, on_gpu))
    return Recipe(
        f"{title}, on {before}, at a quarter of the width",
        partial(FlowNetStack, nets, 1 / 4, before=before),
        {"quick": quick(on_cpu), "laptop": on_cpu, "gpu": on_gpu},
    )


SMALL_MOTIONS = {"small": 0.6, "chairs": 0.4}


def small_displacements_recipe():
    """FlowNet2-SD, on small motions (FlowNet 2.0, section 5.1)."""
    on_cpu, on_gpu = later_stages((7000, 1500), 4, (10000, 2000), 8e-4, mixture=SMALL_MOTIONS)
    return Recipe(
        "FlowNet2-SD, for small displacements, at a quarter of the width",
        partial(FlowNet2SD, 1 / 4, mean_of="pair"),
        {"quick": quick(on_cpu), "laptop": on_cpu, "gpu": on_gpu},
    )


def only_fusion(net):
    begin(net)
    net.requires_grad_(False)
    net.fusion.requires_grad_(True)


def fusion_recipe():
    """The fusion of FlowNet2-CSS and FlowNet2-SD, both frozen (FlowNet 2.0, section 5.2)."""
    before = ("flownet-css", "flownet2-sd")
    options = dict(predict_with=losses.fusion, estimates=before, pool_seed=1, mixture=MIXTURE | {"small": 0.3})
    on_cpu, on_gpu = later_stages((3000, 1000), 4, (6000, 1500), 4e-4, only_fusion, **options)
    return Recipe(
        "FlowNet2, the fusion of CSS and SD, at a quarter of the width",
        partial(FlowNet2, 1 / 4, before=before),
        {"quick": quick(on_cpu), "laptop": on_cpu, "gpu": on_gpu},
    )


# SPyNet.


def use_levels(net, count, first=0):
    """SPyNet's `count` coarsest levels are in use, and those from `first` on learn."""
    net.active = count
    net.requires_grad_(False)
    net.levels[first:count].requires_grad_(True)


def add_level(net, count):
    """One more level: it begins as the one below ended, and alone learns."""
    use_levels(net, count, count - 1)
    net.levels[count - 1].load_state_dict(net.levels[count - 2].state_dict())


def spynet_stages(steps, batch, lr=3e-4, crop=(256, 320), pairs=ON_CPU):
    """Coarse levels first, together; then each finer level alone, on windows; at last all levels together.

    steps, batch: {stage: number}.  The paper (section 3) trains one level after the other on chairs.  Levels 0 to 2, which
    see frames of 24 × 32 to 96 × 128, cost little, so they learn at once, on crops with full augmentation.
    """
    augment = Augment(crop=crop, scale=(0.7, 1.5), noise=0.05, contrast=(-0.4, 0.4), brightness=0.1)
    common = dict(schedule="one-cycle", weight_decay=0.0, pairs=pairs)
    cropped, whole = dict(augment=augment, **common), dict(augment=replace(augment, crop=None), **common)
    coarse = partial(losses.pyramid_loss, weights=(1.0, 0.5, 0.25))
    joint = partial(losses.pyramid_loss, weights=(1.0, 0.25, 1 / 16, 1 / 64, 1 / 256))
    on_windows = dict(predict_with=losses.finest_level_on_windows, loss=losses.window_loss)

    def stage(name, prepare, **options):
        return FlowStage(name=name, steps=steps[name], batch=batch[name], prepare=prepare, **options)

    return [
        stage("coarse", partial(use_levels, count=3), loss=coarse, lr=lr, **cropped),
        stage("level3", partial(add_level, count=4), lr=lr / 2, **on_windows, **whole),
        stage("level4", partial(add_level, count=5), lr=lr / 2, **on_windows, **whole),
        stage("joint", partial(use_levels, count=5), loss=joint, lr=lr / 3, **cropped),
    ]


def spynet_recipe():
    on_cpu = spynet_stages(
        dict(coarse=6000, level3=2500, level4=2500, joint=1500), dict(coarse=8, level3=2, level4=2, joint=2)
    )
    on_gpu = spynet_stages(
        dict(coarse=15000, level3=8000, level4=8000, joint=6000),
        dict(coarse=32, level3=16, level4=16, joint=8),
        pairs=ON_GPU,
    )
    stages = {"quick": quick(on_cpu), "laptop": on_cpu, "gpu": on_gpu}
    return Recipe("SPyNet, five levels, 1.2 M parameters", SPyNet, stages)


# Experiments: the order of the data, and how far a correlation reaches.


def order_recipe(title, first, then):
    """The same small network under the same schedule, on other data.  first, then: mixtures of the two stages.

    As in FlowNet 2.0, section 3, whose S_long is followed by a shorter S_fine at a lower rate.
    """

    def stages(steps, crop, batch, pairs):
        options = dict(
            augment=Augment(crop=crop, scale=(0.8, 1.6)), batch=batch, pairs=pairs, loss=losses.multiscale_loss
        )
        options |= dict(max_grad_norm=None)
        long = dict(lr=5e-4, schedule="S_long", warmup=steps[0] // 20)
        return [
            FlowStage(name="first", steps=steps[0], mixture=first, **long, **options),
            FlowStage(name="then", steps=steps[1], mixture=then, lr=1e-4, schedule="S_fine", **options),
        ]

    on_cpu, on_gpu = stages((6000, 3000), (192, 256), 8, ON_CPU), stages((14000, 6000), (256, 320), 16, ON_GPU)
    return Recipe(
        f"the order of the data: {title}",
        partial(FlowNetS, 1 / 8),
        {"quick": quick(on_cpu), "laptop": on_cpu, "gpu": on_gpu},
    )


def reach_recipe(title, net):
    """How far does a correlation reach?  Small networks, alike but for that, on motions of all lengths up to 80 px.

    Without augmentation: the question is which motions can be represented.
    """

    def stages(steps):
        options = dict(mixture={"even": 1.0}, pairs=ON_CPU, augment=None, batch=8, weight_decay=0.0)
        return [
            FlowStage(
                name="even",
                steps=steps,
                loss=losses.multiscale_loss,
                size=(256, 320),
                lr=3e-4,
                schedule="cosine",
                warmup=steps // 20,
                **options,
            )
        ]

    small = quick(stages(4), size=(64, 64))
    return Recipe(
        f"{title}, an eighth of the width, on motions up to 80 px",
        net,
        {"quick": small, "laptop": stages(5000), "gpu": stages(40000)},
    )


# LikeNet.


def use_scales(net, count):
    """LikeNet's `count` coarsest scales are in use, on reduced images."""
    net.active, net.reduce = count, 2 ** (5 - count)


def likenet_stages(steps, batch, lr, objectives, crop, ground_truth=False, pairs=ON_CPU):
    """From coarse to fine: the two coarsest scales first, then three, then all five.

    steps, batch, objectives: of each stage.  Crops must not be small: at 1/16 of the size candidates reach 80 pixels
    far, and those that lead out of the crop teach nothing.
    """
    room = min(side - part for side, part in zip(FULL, crop, strict=True)) / 2 / FULL[1]  # the crop stays in the frame
    stages = []
    for name, scales, count, samples, objective in zip(
        ("coarse", "middle", "fine"), (2, 3, 5), steps, batch, objectives, strict=True
    ):
        how = dict(loss=losses.two_hot_loss, predict_with=losses.scales)
        if objective is not None:
            how = dict(loss=losses.given_loss, predict_with=partial(losses.without_ground_truth, objective=objective))
        stages.append(
            FlowStage(
                name=name,
                steps=count,
                batch=samples,
                prepare=partial(use_scales, count=scales),
                ground_truth=ground_truth,
                pairs=pairs,
                lr=lr,
                schedule="cosine",
                warmup=count // 30,
                weight_decay=0.0,
                augment=replace(SHIFTED, crop=crop, translation=room),
                **how,
            )
        )
    return stages


def likenet_recipe(title, objective, last=None, window=None):
    """LikeNet and its stages.

    Args:
        objective: (net, image1, image2) -> loss, flow; None: supervised, with the ground truth.
        last: the objective of the last stage, if it is another one, such as one that needs a flow that is not too bad.
        window: of LikeNet.

    On a CPU the network has a quarter of the width.  D compares features that nobody trained: in our runs their least D
    was nearer to the ground truth than that of trained ones.
    """
    options = dict(objectives=[objective, objective, last or objective], ground_truth=objective is None)
    small = partial(LikeNet, 1 / 4, view="random", support=6, window=window)
    on_cpu = likenet_stages((3000, 3000, 4000), (8, 4, 2), 2e-3, crop=(192, 256), **options)
    on_gpu = likenet_stages((4000, 4000, 3000), (16, 16, 8), 1e-3, crop=(320, 448), pairs=ON_GPU, **options)
    return Recipe(
        f"{title}, 0.7 M parameters on a GPU, 44 k on a CPU",
        {"quick": small, "laptop": small, "gpu": partial(LikeNet, view="random", support=6, window=window)},
        {"quick": quick(on_cpu, (128, 192), (96, 128)), "laptop": on_cpu, "gpu": on_gpu},
    )


CHAIRS, THINGS = {"chairs": 1.0}, {"things": 1.0}
ORDERS = {
    "chairs": ("chairs only", CHAIRS, CHAIRS),
    "things": ("things only", THINGS, THINGS),
    "mixed": ("both, mixed", CHAIRS | THINGS, CHAIRS | THINGS),
    "chairs-things": ("chairs, then things", CHAIRS, THINGS),
    "things-chairs": ("things, then chairs", THINGS, CHAIRS),
}

FLOW = {
    "spynet": spynet_recipe(),
    "flownet-c": flownet_recipe(
        "FlowNetC at a quarter of the width, 2.7 M parameters",
        partial(FlowNetC, 1 / 4, mean_of="pair", normalise=True),
    ),
    "flownet-s": flownet_recipe(
        "FlowNetS at a quarter of the width, 2.4 M parameters", partial(FlowNetS, 1 / 4, mean_of="pair")
    ),
    "likenet": likenet_recipe("LikeNet without ground truth", likelihood_loss),
    "flownet-cs": stack_recipe("FlowNet2-CS, its second net", "cs", "flownet-c"),
    "flownet-css": stack_recipe("FlowNet2-CSS, its third net", "css", "flownet-cs"),
    "flownet2-sd": small_displacements_recipe(),
    "flownet2": fusion_recipe(),
    **{f"order-{name}": order_recipe(*order) for name, order in ORDERS.items()},
    "reach-s": reach_recipe("FlowNetS", partial(FlowNetS, 1 / 8)),
    **{
        f"reach-c{points}": reach_recipe(
            f"FlowNetC that compares up to {8 * points} px", partial(FlowNetC, 1 / 8, points, 1)
        )
        for points in (2, 4, 8)
    },
    "likenet-soft": likenet_recipe(
        "LikeNet with a loss that keeps uncertainty, and sub-pixel motion", soft_likelihood_loss, window=1
    ),
    "likenet-supervised": likenet_recipe("LikeNet, supervised", None, window=1),
    "likenet-smooth": likenet_recipe(
        "LikeNet, with smoothness in the last stage", likelihood_loss, partial(likelihood_loss, smoothness=0.01)
    ),
    "likenet-occlusion": likenet_recipe(
        "LikeNet, without occluded pixels in the last stage", likelihood_loss, partial(likelihood_loss, occlusion=True)
    ),
}
