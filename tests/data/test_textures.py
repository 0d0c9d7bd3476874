"""Photographs and procedural textures: the same each time, different in each split, and all of them are used."""

import hashlib

import numpy as np
import pytest
import torch

from cvdl.data import procedural
from cvdl.data.textures import photo_bank, rows
from cvdl.flow.data.chairs import Chairs
from cvdl.flow.data.rendered import RENDERED, rendered
from cvdl.flow.data.things3d import Things

SMALL = (72, 96)


def digest(*parts):
    return hashlib.sha256(b"".join(part.contiguous().numpy().tobytes() for part in parts)).hexdigest()


def level0(bank):
    """Textures of a bank at full size: (count, h, w, 4)"""
    return bank.texels[: bank.table[1, 0]].view(bank.count, *bank.size, 4)


@pytest.mark.parametrize("index", range(len(procedural.KINDS)))
def test_a_texture_depends_on_split_and_number_only(index):
    texture = procedural.texture("train", index, SMALL)
    assert texture.shape == (*SMALL, 4) and texture.dtype == np.uint8 and (texture[..., 3] == 255).all()
    np.testing.assert_array_equal(texture, procedural.texture("train", index, SMALL))
    other = procedural.texture("train", index + len(procedural.KINDS), SMALL)
    assert (texture != other).mean() > 0.3


def test_some_textures_have_strong_contrast_and_few_have_hardly_any():
    rgb = procedural.textures("train", 60, SMALL)[..., :3]
    contrast = rgb.std((1, 2)).mean(-1)
    assert 3 <= (contrast < 6).sum() <= 12 and (contrast > 30).sum() >= 12


@pytest.fixture(scope="module", params=["train", "test"])
def banks(request):
    return request.param, photo_bank(request.param), photo_bank(request.param, varied=True)


def test_textures_follow_the_photographs(banks):
    split, plain, varied = banks
    more = len(rows("photos", f"{split}-extra"))
    assert varied.size == plain.size and varied.count == plain.count + more + procedural.COUNT[split]
    assert torch.equal(level0(varied)[: plain.count], level0(plain))
    last = procedural.texture(split, procedural.COUNT[split] - 1, plain.size)
    np.testing.assert_array_equal(level0(varied)[-1], last)
    assert photo_bank(split, varied=True) is varied


def test_splits_share_no_texture():
    train, test = ({t.tobytes() for t in procedural.textures(split, 30, SMALL)} for split in ("train", "test"))
    assert len(train) == len(test) == 30 and not train & test


# The next two tests compare with values recorded before varied pairs existed (2026-11-30).


@pytest.mark.parametrize(
    "split, count, expected",
    [
        ("train", 34, "f258dc554f26c8366d3b61963c2558046837bbc27a7fef7dc33c4dc85450e542"),
        ("test", 9, "3d32e5d02c759f0c26273eebf0dcaf82bdb13f7032c5532eaa5e27cb05afd0ff"),
    ],
)
def test_without_varied_the_bank_is_as_before(split, count, expected):
    bank = photo_bank(split)
    assert bank.count == count and digest(bank.texels, bank.table) == expected


@pytest.mark.parametrize(
    "kind, split, textures, colour, flow",
    [
        ("chairs", "train", "c2685e670f1f578f", (0.5121, 0.5469, 0.4137), (-4.7152, 0.1222)),
        ("chairs", "test", "8d2c7730ab7894a8", (0.2314, 0.2600, 0.2745), (-0.3098, -0.0178)),
        ("things", "train", "8f72b0f0b422fda1", (0.5236, 0.3322, 0.4068), (4.9668, 1.0286)),
        ("things", "test", "1912810e4a3b854e", (0.5313, 0.4320, 0.4030), (5.1247, -3.6409)),
    ],
)
def test_without_varied_pairs_are_as_before(kind, split, textures, colour, flow):
    # Which textures, exactly; colours and flow as means, because CPUs round differently.
    source = rendered(kind, size=(48, 64), split=split)
    assert digest(source.scene(range(64)).texture).startswith(textures)
    pairs = source.batch(0, 1)
    torch.testing.assert_close(pairs.image1.mean((0, 2, 3)), torch.tensor(colour), rtol=0, atol=3e-4)
    torch.testing.assert_close(pairs.flow.mean((0, 2, 3)), torch.tensor(flow), rtol=0, atol=3e-3)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("source", [Chairs, Things])
def test_varied_pairs_use_all_textures(source, split):
    source = source((16, 16), split=split, varied=True)
    texture = source.scene(range(1500)).texture
    used = (texture[:, 0] if texture.dim() == 2 else texture).unique()
    assert used.tolist() == list(range(source.photos.count))


@pytest.mark.parametrize("kind", ["chairs", "things", "things-final", "small", "chairs+things"])
def test_varied_pairs_move_as_the_others_do(kind):
    plain, varied = (rendered(kind, size=(48, 64), split="test", varied=varied).batch(0, 4) for varied in (False, True))
    assert torch.equal(plain.flow, varied.flow) and torch.equal(plain.occlusion, varied.occlusion)
    assert not torch.equal(plain.image1, varied.image1)


def test_small_motions():
    assert "small" in RENDERED
    length = rendered("small", split="test").batch(0, 8).flow.norm(dim=1)
    assert 0.4 < length.median() < 1.2 and (length < 2).float().mean() > 0.6
