"""What all networks accept: values about [0, 1], finite, of any floating-point type, an empty batch; and export."""

import pytest
import torch

from cvdl.errors import InvalidInput, NotFinite
from cvdl.flow import FlowNet2, FlowNet2CS, FlowNet2SD, FlowNetC, FlowNetS, LikeNet, SPyNet

WIDTH = 1 / 16
NETS = {
    "FlowNetS": lambda: FlowNetS(WIDTH),
    "FlowNetC": lambda: FlowNetC(WIDTH),
    "FlowNet2CS": lambda: FlowNet2CS(WIDTH),
    "FlowNet2SD": lambda: FlowNet2SD(WIDTH),
    "FlowNet2": lambda: FlowNet2(WIDTH),
    "SPyNet": lambda: SPyNet(3),
    "published SPyNet": lambda: SPyNet(4, published=True),
    "LikeNet": lambda: LikeNet(WIDTH),
}


@pytest.fixture(params=NETS)
def net(request):
    torch.manual_seed(0)
    return NETS[request.param]().eval()


@pytest.fixture
def pair():
    return torch.rand(2, 1, 3, 64, 80, generator=torch.Generator().manual_seed(1)).unbind()


@torch.no_grad()
def test_values_far_from_the_unit_range_are_refused(net, pair):
    image1, image2 = pair
    for bad in ((255 * image1, 255 * image2), (image1, 255 * image2), (65535 * image1, image2)):
        with pytest.raises(InvalidInput, match=r"values in \[0, 1\].*/ 255"):
            net(*bad)
    with pytest.raises(InvalidInput, match="Undo the normalisation"):
        net((image1 - 0.45) / 0.22, image2)
    assert net(image1 + 0.1, image2 - 0.1).isfinite().all()  # noise and interpolation leave the range by a little


@torch.no_grad()
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("which", [0, 1])
def test_values_that_are_not_finite_are_refused(net, pair, value, which):
    images = [image.clone() for image in pair]
    images[which][0, 1, 3, 4] = value
    with pytest.raises(NotFinite, match=f"image{which + 1} contains NaN or infinite"):
        net(*images)


def test_training_checks_values_too(net, pair):
    with pytest.raises(InvalidInput, match=r"values in \[0, 1\]"):
        net.train()(255 * pair[0], 255 * pair[1])


@torch.no_grad()
def test_images_are_converted_to_the_type_of_the_weights(net, pair):
    wanted = net(*pair)
    for image1, image2 in ((pair[0].double(), pair[1].double()), (pair[0].double(), pair[1])):
        flow = net(image1, image2)
        assert flow.dtype == torch.float32 and torch.equal(flow, wanted)
    halves = [image.half() for image in pair]
    assert torch.equal(net(*halves), net(*(image.float() for image in halves)))
    doubled = net.double()(*pair)
    assert doubled.dtype == (torch.float32 if isinstance(net, LikeNet) else torch.float64)


@torch.no_grad()
def test_an_empty_batch_gives_an_empty_flow(net, pair):
    assert net(*(image[:0] for image in pair)).shape == (0, 2, 64, 80)
    assert net(*(image[:0, :, :33, :47] for image in pair)).shape == (0, 2, 33, 47)


def test_another_device_is_named(net, pair):
    with pytest.raises(InvalidInput, match="image2 is on meta, but the network is on cpu"):
        net(pair[0], pair[1].to("meta"))


@torch.no_grad()
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_export(net, pair):
    """The docstring promises it of every network; checks of values are left out of the graph."""
    wanted = net(*pair)
    torch.testing.assert_close(torch.export.export(net, tuple(pair)).module()(*pair), wanted)
    torch.testing.assert_close(torch.jit.trace(net, tuple(pair), check_trace=False)(*pair), wanted)


@pytest.mark.parametrize("net", [FlowNetS, SPyNet])
def test_on_the_meta_device_only_shapes_count(net):
    """As where the operations of a network are counted without making them."""
    with torch.device("meta"):
        image = torch.empty(1, 3, 64, 64)
        assert net().eval()(image, image).shape == (1, 2, 64, 64)
