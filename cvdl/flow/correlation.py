"""The correlation layer of FlowNetC: how much does each point of frame 1 look like the points around it in frame 2?

    out[d, x] = mean over channels of f1(x) f2(x + d)

It is written here twice.  `correlation_loop` says what is meant, one displacement after the other.  It moves each
map once per displacement, 441 times, and so waits for memory.  `correlation` computes the same numbers as products
of matrices, which read a feature once and use it for a whole tile of points:

- With stride 2 a point in an even row and odd column meets only points of even rows and odd columns.  So the maps
  fall apart into stride² *residue classes*, which have nothing to do with each other, and in each of which the
  displacements are consecutive: at most r = max_displacement / stride steps to each side.
- In a class, a *tile* of points sees only the tile and r more points on every side, its *neighbourhood*.  One
  product of matrices takes all points of the tile with all points of the neighbourhood.
- Of that product, P[y, x, y', x'], the window of r points around (y, x) is wanted.  A step to the right in the tile
  moves the window a step to the right, so in memory all windows are one strided view of P.

Small tiles compute little that no window wants, large tiles make better products.  Time and memory grow in
proportion to the map, and the working memory beyond that is one P.
"""

from itertools import product

import torch
import torch.nn.functional as F

from cvdl.errors import InvalidInput

TILE = (16, 16)  # rows and columns, of a class; the best of those that `cvdl bench correlation` was tried with


def correlation(f1, f2, max_displacement=20, stride=2):
    """Compare each point of f1 with the points of f2 up to max_displacement away, every stride-th.

    f1, f2: (B, C, H, W) -> (B, n², H, W) with n = 2 max_displacement / stride + 1: 441 maps by default.  Map
    n·i + j belongs to the displacement d = (dx, dy) = stride · (j, i) - max_displacement, so dy changes slowest;
    the middle one is d = 0.  Beyond the frame f2 counts as zero.

    Differentiable twice.  In half precision sums are formed in single precision and rounded once.  Under autocast
    it computes in autocast's type, as a matrix product would.

    Source: Dosovitskiy et al., *FlowNet: Learning Optical Flow with Convolutional Networks*, ICCV 2015, eq. 1, as
    in the released code.  That differs from the equation: patches are single points (k = 0), the product is
    *averaged* over the channels, not summed, and the strides are 1 in the first and 2 in the second map.

    Raises ValueError where the maps differ in shape, type or device or are empty, and where stride does not
    divide max_displacement.
    """
    _check(f1, f2, max_displacement, stride)
    kind = f1.device.type
    if torch.is_autocast_enabled(kind):
        f1, f2 = (f if f.dtype == torch.float64 else f.to(torch.get_autocast_dtype(kind)) for f in (f1, f2))
    if kind == "cpu" and f1.dtype == torch.float16:  # processors multiply float16 some 20 times slower
        return by_tiles(f1.float(), f2.float(), max_displacement, stride).half()
    return by_tiles(f1, f2, max_displacement, stride)


def correlation_loop(f1, f2, max_displacement=20, stride=2):
    """The same, to read and to test against: a product of two maps for each displacement."""
    _check(f1, f2, max_displacement, stride)
    H, W = f1.shape[-2:]
    padded = F.pad(f2, [max_displacement] * 4)
    shifts = range(0, 2 * max_displacement + 1, stride)
    return torch.stack([(f1 * padded[..., y : y + H, x : x + W]).mean(1) for y in shifts for x in shifts], 1)


def by_tiles(f1, f2, max_displacement, stride, tile=TILE):
    """`correlation` without checks, by tiles of a chosen size."""
    B, _, H, W = f1.shape
    out = Correlation.apply(_split(f1, stride), _split(f2, stride), max_displacement // stride, tile)
    return _join(out, stride, B)[..., :H, :W].contiguous()


def _split(f, s):
    """Residue classes as samples of a larger batch.  (B, C, H, W) -> (s s B, C, H / s, W / s), rounded up by zeros."""
    if s == 1:
        return f.contiguous()
    f = F.pad(f, [0, -f.shape[3] % s, 0, -f.shape[2] % s])
    return f.unflatten(3, (-1, s)).unflatten(2, (-1, s)).permute(3, 5, 0, 1, 2, 4).flatten(0, 2).contiguous()


def _join(f, s, B):
    """Undoes _split.  (s s B, C, h, w) -> (B, C, s h, s w)"""
    return f.unflatten(0, (s, s, B)).permute(2, 3, 4, 0, 5, 1).flatten(4, 5).flatten(2, 3)


class Correlation(torch.autograd.Function):
    """The correlation of stride 1 by tiles: f1, f2 (N, C, h, w), displacements up to r -> (N, (2r + 1)², h, w).

    It has a backward of its own, since autograd's for a strided view is slower than all the rest together.
    """

    @staticmethod
    def forward(ctx, f1, f2, r, tile):
        ctx.save_for_backward(f1, f2)
        ctx.how = r, tile
        N, C, h, w = f1.shape
        n, padded = 2 * r + 1, F.pad(f2, [r] * 4)
        out = f1.new_empty(N, n, n, h, w)
        for here, near in _tiles(h, w, r, tile):
            a, b = f1[here], padded[near]  # a tile (N, C, t, u), its neighbourhood (N, C, t + 2r, u + 2r)
            P = _product(a.flatten(2).transpose(1, 2), b.flatten(2), 1 / C)  # (N, t u, (t + 2r)(u + 2r))
            out[here] = _windows(P.view(N, *a.shape[2:], *b.shape[2:]), n)
        return out.flatten(1, 2)

    @staticmethod
    def backward(ctx, grad):
        d1, d2 = Gradients.apply(grad, *ctx.saved_tensors, *ctx.how, ctx.needs_input_grad[:2])
        return d1, d2, None, None


class Gradients(torch.autograd.Function):
    """The gradients for f1 and f2 of the number <grad, Correlation(f1, f2)>; None where not wanted.

    By tiles again.  G takes the place of P: grad in the windows, zero elsewhere.  With the features of a tile
    and of its neighbourhood in the columns of a and b,

        gradient for a = b Gᵀ / C        gradient for b = a G / C

    and the latter add up where neighbourhoods overlap.
    """

    @staticmethod
    def forward(ctx, grad, f1, f2, r, tile, wanted):
        ctx.save_for_backward(grad, f1, f2)
        ctx.how = r, tile
        N, C, h, w = f1.shape
        n, padded = 2 * r + 1, F.pad(f2, [r] * 4)
        grad = grad.unflatten(1, (n, n))
        d1 = torch.empty_like(f1) if wanted[0] else None
        # In single precision at least: each number is a sum over several tiles.
        d2 = torch.zeros_like(padded, dtype=torch.promote_types(f2.dtype, torch.float32)) if wanted[1] else None
        for here, near in _tiles(h, w, r, tile):
            a, b = f1[here], padded[near]
            G = f1.new_zeros(N, *a.shape[2:], *b.shape[2:])
            _windows(G, n).copy_(grad[here])
            G = G.flatten(3).flatten(1, 2)  # (N, t u, (t + 2r)(u + 2r))
            if wanted[0]:
                d1[here] = _product(b.flatten(2), G.transpose(1, 2), 1 / C).view_as(a)
            if wanted[1]:
                d2[near] += _product(a.flatten(2), G, 1 / C).view_as(b)
        return d1, d2[..., r : r + h, r : r + w].to(f2.dtype) if wanted[1] else None

    @staticmethod
    def backward(ctx, v1, v2):
        # <v1, d1> + <v2, d2> = <grad, Correlation(v1, f2) + Correlation(f1, v2)>, linear in each letter.
        grad, f1, f2 = ctx.saved_tensors
        v1 = torch.zeros_like(f1) if v1 is None else v1
        v2 = torch.zeros_like(f2) if v2 is None else v2
        d_grad = Correlation.apply(v1, f2, *ctx.how) + Correlation.apply(f1, v2, *ctx.how)
        return d_grad, *Gradients.apply(grad, v1, v2, *ctx.how, (True, True)), None, None, None


def _tiles(h, w, r, tile):
    """Each tile as an index of f1 (and of out), and its neighbourhood as an index of f2 with r more on every side."""

    def spans(size, points):
        for start in range(0, size, points):
            end = min(start + points, size)
            yield slice(start, end), slice(start, end + 2 * r)

    for (rows, near_rows), (columns, near_columns) in product(spans(h, tile[0]), spans(w, tile[1])):
        yield (..., rows, columns), (..., near_rows, near_columns)


def _product(A, B, scale):
    """scale · A B for a batch of matrices; scaled before it is rounded, so that half precision does not overflow."""
    return torch.baddbmm(A.new_zeros(()), A, B, beta=0, alpha=scale)


def _windows(P, n):
    """All windows of P as a view: result[:, i, j, y, x] = P[:, y, x, y + i, x + j].

    P: (B, h, w, h + n - 1, w + n - 1), contiguous -> (B, n, n, h, w)
    """
    B, h, w = P.shape[:3]
    batch, y, x, i, j = P.stride()
    return P.as_strided((B, n, n, h, w), (batch, i, j, y + i, x + j))


def _check(f1, f2, max_displacement, stride):
    for f, name in ((f1, "f1"), (f2, "f2")):
        if not isinstance(f, torch.Tensor) or f.ndim != 4 or 0 in f.shape[1:] or not f.is_floating_point():
            came = f"{f.dtype} {tuple(f.shape)}" if isinstance(f, torch.Tensor) else type(f).__name__
            raise InvalidInput(
                f"{name} has to be a batch of feature maps, float (B, C, H, W) with nothing but B zero; it is {came}. "
                f"A single map (C, H, W) becomes a batch by {name}[None]."
            )
    alike = f1.dtype == f2.dtype or torch.is_autocast_enabled(f1.device.type)
    if f1.shape != f2.shape or f1.device != f2.device or not alike:
        raise InvalidInput(
            f"f1 and f2 have to agree in shape, type and device; f1 is {tuple(f1.shape)} {f1.dtype} on {f1.device}, "
            f"f2 is {tuple(f2.shape)} {f2.dtype} on {f2.device}. Pad, cut or convert one to match the other."
        )
    if stride < 1 or max_displacement < 0 or max_displacement % stride:
        raise InvalidInput(
            "max_displacement has to be a multiple of stride, or zero displacement would not be compared; they are "
            f"{max_displacement} and {stride}. Choose for instance max_displacement 20 and stride 2."
        )
