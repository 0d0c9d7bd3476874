"""Right and wrong answers to the exercises of notebook 04, as students write them."""

import math
from fractions import Fraction
from itertools import groupby

import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence

from cvdl.course.exercises.chapters.gesture import shapes, what_order_does

# --- gesture.resample


def _seen(count, fps, rate):
    return [int(tick * fps / rate) for tick in range(math.ceil(count * rate / fps))]


def _seen_while(count, fps, rate):
    frames, tick = [], 0
    while tick / rate < count / fps:
        frames.append(int(tick * fps // rate))
        tick += 1
    return frames


def _seen_tensor(count, fps, rate):
    """From the frames' side: the newest frame at a tick is the last one that began before it or with it."""
    ticks = torch.arange(math.ceil(count * rate / fps), dtype=torch.double)
    begins = torch.arange(count, dtype=torch.double) * rate / fps - 1e-9
    return (torch.searchsorted(begins, ticks, right=True) - 1).tolist()


def _seen_nearest(count, fps, rate):
    return [round(tick * fps / rate) for tick in range(math.ceil(count * rate / fps))]


def _seen_half_up(count, fps, rate):
    return [math.floor(tick * fps / rate + 0.5) for tick in range(math.ceil(count * rate / fps))]


def _seen_step(count, fps, rate):
    return list(range(0, count, int(fps // rate)))


def _seen_step_of_one(count, fps, rate):
    return list(range(0, count, max(int(fps // rate), 1)))


def _seen_too_many(count, fps, rate):
    frames, tick = [], 0
    while tick / rate <= count / fps:
        frames.append(int(tick * fps / rate))
        tick += 1
    return frames


def _seen_whole_fps(whole):
    return lambda count, fps, rate: _seen(count, whole(fps), rate)


def _seen_linspace(count, fps, rate):
    return torch.linspace(0, count - 1, math.ceil(count / fps * rate)).int().tolist()


def _seen_linspace_open(count, fps, rate):
    n = math.ceil(count / fps * rate)
    return [int(count * k / n) for k in range(n)]


def _seen_too_few(count, fps, rate):
    return [int(tick * fps / rate) for tick in range(int(count * rate / fps))]


def _seen_floats(count, fps, rate):
    return [int(tick / rate * fps) for tick in range(math.ceil(count * rate / fps))]


def _seen_per_frame(count, fps, rate):
    return [int(tick * fps / rate) for tick in range(count)]


# --- gesture.shapes and gesture.order


def _changed(answers, **changes):
    return lambda: {**answers(), **changes}


def _shapes_lists():
    return {name: list(shape) for name, shape in shapes().items()}


def _order(**changes):
    named = {key.replace("_", ", "): answer for key, answer in changes.items()}
    return lambda: {**what_order_does(), **named}


# --- gesture.soft_argmax


def _place(scores):
    p = scores.flatten(1).softmax(1).view(scores.shape)
    x = (p.sum(1) * torch.arange(scores.shape[2])).sum(1)
    y = (p.sum(2) * torch.arange(scores.shape[1])).sum(1)
    return torch.stack([x, y], 1)


def _place_loops(scores):
    places = []
    for one in scores.double():
        p = torch.exp(one - one.max())
        p = p / p.sum()
        x = sum(x * p[:, x].sum() for x in range(one.shape[1]))
        y = sum(y * p[y].sum() for y in range(one.shape[0]))
        places.append(torch.stack([x, y]))
    return torch.stack(places)


def _place_einsum(scores):
    p = (scores - torch.logsumexp(scores, (1, 2), keepdim=True)).exp()
    h, w = p.shape[1:]
    x = torch.einsum("nyx,x->n", p, torch.arange(w, dtype=p.dtype))
    y = torch.einsum("nyx,y->n", p, torch.arange(h, dtype=p.dtype))
    return torch.stack((x, y), dim=-1)


def _place_of(softmax, order=(0, 1), first=0):
    def place(scores):
        p = softmax(scores)
        y, x = torch.meshgrid(*(torch.arange(n) + first for n in scores.shape[1:]), indexing="ij")
        both = [(p * x).sum((1, 2)), (p * y).sum((1, 2))]
        return torch.stack([both[n] for n in order], 1)

    return place


def _soft(scores):
    return scores.flatten(1).softmax(1).view_as(scores)


def _place_argmax(scores):
    best = scores.flatten(1).argmax(1)
    return torch.stack([best % scores.shape[2], best // scores.shape[2]], 1).float()


def _exp_above_least(scores):
    weights = (scores - scores.amin((1, 2), keepdim=True)).exp()
    return weights / weights.sum((1, 2), keepdim=True)


def _exp_of_all(scores):
    return scores.exp() / scores.exp().sum((1, 2), keepdim=True)


# --- gesture.pad


def _pad(clips):
    T, B, D = max(len(c) for c in clips), len(clips), clips[0].shape[1]
    padded, mask = torch.zeros(T, B, D), torch.zeros(T, B, dtype=torch.bool)
    for b, clip in enumerate(clips):
        padded[: len(clip), b] = clip
        mask[: len(clip), b] = True
    return padded, mask


def _pad_torch(clips):
    lengths = torch.tensor([len(c) for c in clips])
    return [pad_sequence(clips), torch.arange(max(lengths))[:, None] < lengths]


def _pad_columns(clips):
    T = max(map(len, clips))
    padded = torch.stack([torch.cat([c, c.new_zeros(T - len(c), c.shape[1])]) for c in clips], 1)
    mask = torch.stack([torch.tensor([t < len(c) for t in range(T)]) for c in clips], 1)
    return padded.double(), mask


def _pad_front(clips):
    T = max(map(len, clips))
    padded = torch.stack([F.pad(c, (0, 0, T - len(c), 0)) for c in clips], 1)
    return padded, torch.stack([torch.arange(T) >= T - len(c) for c in clips], 1)


def _pad_batch_first(clips):
    padded, mask = _pad(clips)
    return padded.transpose(0, 1), mask.T


def _pad_values(clips):
    padded = pad_sequence(clips)
    return padded, padded.abs().sum(2) > 0


def _pad_inverted(clips):
    padded, mask = _pad(clips)
    return padded, torch.logical_not(mask)


def _pad_floats(clips):
    padded, mask = _pad(clips)
    return padded, mask.float()


def _pad_cut(clips):
    T = min(map(len, clips))
    return torch.stack([c[:T] for c in clips], 1), torch.ones(T, len(clips), dtype=torch.bool)


# --- gesture.many_to_one


def _one(logits, mask, labels):
    last = mask.sum(0) - 1
    return F.cross_entropy(logits[last, torch.arange(len(labels))], labels)


def _one_loop(logits, mask, labels):
    total = 0
    for b in range(len(labels)):
        row = logits[mask[:, b], b][-1].double()
        total = total - torch.log_softmax(row, 0)[labels[b]]
    return total / len(labels)


def _one_gather(logits, mask, labels):
    at = (mask.int().sum(0) - 1)[None, :, None].expand(1, -1, logits.shape[2])
    return F.nll_loss(logits.gather(0, at)[0].log_softmax(-1), labels)


def _one_last(logits, mask, labels):
    return F.cross_entropy(logits[-1], labels)


def _one_late(logits, mask, labels):
    return F.cross_entropy(logits[mask.sum(0), torch.arange(len(labels))], labels)


def _one_mean(logits, mask, labels):
    losses = [
        F.cross_entropy(logits[mask[:, b], b], labels[b].repeat(int(mask[:, b].sum()))) for b in range(len(labels))
    ]
    return torch.stack(losses).mean()


def _one_every(logits, mask, labels):
    T = len(logits)
    return F.cross_entropy(logits.flatten(0, 1), labels.repeat(T))


def _one_sum(logits, mask, labels):
    return _one(logits, mask, labels) * len(labels)


def _one_softmax(logits, mask, labels):
    return _one(torch.softmax(logits, -1), mask, labels)


# --- gesture.many_to_many


def _many(logits, mask, labels):
    return F.cross_entropy(logits[mask], labels[mask])


def _many_loop(logits, mask, labels):
    total, count = 0, 0
    for t in range(mask.shape[0]):
        for b in range(mask.shape[1]):
            if mask[t, b]:
                total = total + F.cross_entropy(logits[t, b].double(), labels[t, b])
                count += 1
    return total / count


def _many_where(logits, mask, labels):
    losses = F.cross_entropy(logits.permute(0, 2, 1), labels, reduction="none")
    return torch.where(mask, losses, 0.0).sum() / mask.sum()


def _many_ignored(logits, mask, labels):
    return F.cross_entropy(logits.flatten(0, 1), labels.masked_fill(~mask, -100).flatten())


def _many_of(reduce):
    def many(logits, mask, labels):
        return reduce(F.cross_entropy(logits.transpose(1, 2), labels, reduction="none"), mask)

    return many


def _many_zeroed(logits, mask, labels):
    return F.cross_entropy((logits * mask.unsqueeze(2)).transpose(1, 2), labels)


def _per_clip(losses, mask):
    return sum(losses[mask[:, b], b].mean() for b in range(mask.shape[1])) / mask.shape[1]


# --- gesture.observed


def _at(probabilities, labels, fraction):
    right = 0
    for rows, label in zip(probabilities, labels, strict=True):
        seen = max(1, math.ceil(fraction * len(rows) - 1e-6))
        right += int(rows[seen - 1].argmax() == label)
    return right / len(labels)


def _at_rounded(probabilities, labels, fraction):
    ends = [math.ceil(round(len(rows) * fraction, 6)) for rows in probabilities]
    named = torch.stack([rows[end - 1] for rows, end in zip(probabilities, ends, strict=True)]).argmax(1)
    return (named == torch.tensor(labels)).double().mean()


def _at_fractions(probabilities, labels, fraction):
    part, right = Fraction(fraction).limit_denominator(1000), []
    for rows, label in zip(probabilities, labels, strict=True):
        row = rows[math.ceil(part * len(rows)) - 1].tolist()
        right.append(max(range(len(row)), key=row.__getitem__) == label)
    return right.count(True) / len(right)


def _at_with(seen, name=lambda rows, seen: rows[seen - 1]):
    def at(probabilities, labels, fraction):
        right = [
            int(name(rows, seen(fraction * len(rows))).argmax()) == label
            for rows, label in zip(probabilities, labels, strict=True)
        ]
        return sum(right) / len(right)

    return at


def _up(frames):
    return math.ceil(frames - 1e-6)


def _at_first_length(probabilities, labels, fraction):
    seen = _up(len(probabilities[0]) * fraction)
    named = torch.stack([rows[seen - 1] for rows in probabilities]).argmax(1)
    return (named == torch.tensor(labels)).float().mean().item()


def _at_count(probabilities, labels, fraction):
    return round(_at(probabilities, labels, fraction) * len(labels))


# --- gesture.decide


def _decide(probabilities, threshold, hold):
    none = probabilities.shape[1] - 1
    before, count = none, 0
    for t, row in enumerate(probabilities):
        kind = int(row.argmax())
        if kind == none or row[kind] < threshold:
            count = 0
        elif kind == before and count:
            count += 1
        else:
            count = 1
        before = kind
        if count == hold:
            return kind, t
    return none, len(probabilities)


def _decide_back(probabilities, threshold, hold):
    """At each step, look back."""
    T, K = probabilities.shape
    for t in range(hold - 1, T):
        back = probabilities[t + 1 - hold : t + 1]
        kinds = set(back.argmax(1).tolist())
        if len(kinds) == 1 and K - 1 not in kinds and bool((back.amax(1) >= threshold).all()):
            return [kinds.pop(), t]
    return [K - 1, T]


def _decide_runs(probabilities, threshold, hold):
    chance, leader = probabilities.max(1)
    none, t = probabilities.shape[1] - 1, 0
    leader = torch.where(chance >= threshold, leader, none)
    for kind, run in groupby(leader.tolist()):
        length = len(list(run))
        if kind != none and length >= hold:
            return torch.tensor(kind), torch.tensor(t + hold - 1)
        t += length
    return none, t


def _decide_counting(counts_none=False, strict=False, same=True, resets=True, begin=False, last=False):
    def decide(probabilities, threshold, hold):
        none, found = probabilities.shape[1] - 1, None
        before, count = None, 0
        for t in range(len(probabilities)):
            p, kind = float(probabilities[t].max()), int(probabilities[t].argmax())
            sure = p > threshold if strict else p >= threshold
            if sure and (counts_none or kind != none):
                count = count + 1 if (kind == before or not same) else 1
                before = kind
            elif resets:
                before, count = None, 0
            if count >= hold and (last or found is None) and sure:
                found = (before, t - hold + 1 if begin else t)
        return found or (none, len(probabilities))

    return decide


def _decide_unsure(probabilities, threshold, hold):
    return _decide(probabilities, 0, hold)


def _decide_among_gestures(probabilities, threshold, hold):
    K = probabilities.shape[1]
    before, count = None, 0
    for t in range(len(probabilities)):
        p, kind = probabilities[t, : K - 1].max(0)
        if p < threshold:
            before, count = None, 0
            continue
        count = count + 1 if kind == before else 1
        before = kind
        if count == hold:
            return int(kind), t
    return K - 1, len(probabilities)


def _decide_above(probabilities, threshold, hold):
    T, K = probabilities.shape
    counts = [0] * K
    for t in range(T):
        for k in range(K - 1):
            counts[k] = counts[k] + 1 if probabilities[t, k] >= threshold else 0
            if counts[k] == hold:
                return k, t
    return K - 1, T


def _decide_from_hold(probabilities, threshold, hold):
    """Looks back for the first time one step too late."""
    none = probabilities.shape[1] - 1
    for t in range(hold, len(probabilities)):
        back = probabilities[t + 1 - hold : t + 1]
        kinds = set(back.argmax(1).tolist())
        if len(kinds) == 1 and none not in kinds and bool((back.amax(1) >= threshold).all()):
            return kinds.pop(), t
    return none, len(probabilities)


def _decide_of_four(probabilities, threshold, hold):
    kind, step = _decide(probabilities, threshold, hold)
    return (kind, step) if step < len(probabilities) else (3, step)


def _decide_skipping(probabilities, threshold, hold):
    none = probabilities.shape[1] - 1
    before, count = None, 0
    for t, row in enumerate(probabilities):
        kind = int(row.argmax())
        if kind != none:
            sure = row[kind] >= threshold
            count = 0 if not sure else count + 1 if kind == before else 1
            before = kind if sure else None
            if count == hold:
                return kind, t
    return none, len(probabilities)


def _decide_unsure_skipped(probabilities, threshold, hold):
    """«None» interrupts, an unsure step does not."""
    none = probabilities.shape[1] - 1
    before, count = None, 0
    for t, row in enumerate(probabilities):
        kind = int(row.argmax())
        if kind == none:
            before, count = None, 0
        elif row[kind] >= threshold:
            count, before = (count + 1 if kind == before else 1), kind
            if count == hold:
                return kind, t
    return none, len(probabilities)


def _decide_frames(probabilities, threshold, hold):
    kind, t = _decide(probabilities, threshold, hold)
    return (kind, t) if kind == probabilities.shape[1] - 1 else (kind, t + 1)


RIGHT = {
    "gesture.resample": [_seen, _seen_while, _seen_tensor],
    "gesture.shapes": [shapes, _shapes_lists],
    "gesture.soft_argmax": [_place, _place_loops, _place_einsum, _place_of(_soft)],
    "gesture.pad": [_pad, _pad_torch, _pad_columns],
    "gesture.many_to_one": [_one, _one_loop, _one_gather],
    "gesture.many_to_many": [_many, _many_loop, _many_where, _many_ignored],
    "gesture.order": [what_order_does, lambda: dict(reversed(what_order_does().items()))],
    "gesture.observed": [_at, _at_rounded, _at_fractions],
    "gesture.decide": [_decide, _decide_back, _decide_runs, _decide_counting()],
}
WRONG = {
    "gesture.resample": {
        "to the nearest": _seen_half_up,
        "to the nearest even": _seen_nearest,
        "a tick too many": _seen_too_many,
        "a tick too few": _seen_too_few,
        "as many ticks as frames": _seen_per_frame,
        "a whole step": _seen_step,
        "a whole step, at least 1": _seen_step_of_one,
        "fps made whole": [_seen_whole_fps(int), _seen_whole_fps(round)],
        "spread evenly": _seen_linspace,
        "a hair below": _seen_floats,
    },
    "gesture.shapes": {
        "«nowhere» forgotten": _changed(shapes, scores=(128, 1200)),
        "scores as a map": _changed(shapes, scores=(128, 1, 30, 40)),
        "sequences in the CNN": _changed(shapes, first=(32, 4, 16, 60, 80)),
        "width first": _changed(shapes, maps=(128, 64, 20, 15)),
        "one answer for a clip": _changed(shapes, logits=(4, 11)),
        "«none» forgotten": _changed(shapes, logits=(32, 4, 10)),
        "batch first": _changed(shapes, features=(4, 32, 5), logits=(4, 32, 11)),
        "only the place": _changed(shapes, features=(32, 4, 2)),
    },
    "gesture.soft_argmax": {
        "y first": _place_of(_soft, order=(1, 0)),
        "the likeliest cell": _place_argmax,
        "counted from 1": _place_of(_soft, first=1),
        "softmax along rows": _place_of(lambda scores: scores.softmax(-1)),
        "softmax along columns": _place_of(lambda scores: scores.softmax(1)),
        "softmax over the batch": _place_of(lambda scores: scores.softmax(0)),
        "maps mixed": _place_of(lambda scores: scores.flatten().softmax(0).view_as(scores)),
        "not normalised": _place_of(torch.exp),
        "overflow": [_place_of(_exp_of_all), _place_of(_exp_above_least)],
    },
    "gesture.pad": {
        "zeros in front": _pad_front,
        "batch first": _pad_batch_first,
        "mask from the values": _pad_values,
        "mask inverted": _pad_inverted,
        "cut to the shortest": _pad_cut,
        "mask not bool": _pad_floats,
    },
    "gesture.many_to_one": {
        "the last step of the batch": _one_last,
        "one step too late": _one_late,
        "mean of the losses over steps": _one_mean,
        "mean of the losses over padding, too": _one_every,
        "sum over the batch": _one_sum,
        "softmax twice": _one_softmax,
    },
    "gesture.many_to_many": {
        "padding counted": _many_of(lambda losses, mask: losses.mean()),
        "divided by all steps": _many_of(lambda losses, mask: (losses * mask).sum() / losses.numel()),
        "multiplied by the mask": _many_of(lambda losses, mask: (losses * mask).sum() / mask.sum()),
        "mean of the clips' means": _many_of(_per_clip),
        "divided by the batch": _many_of(lambda losses, mask: losses[mask].sum() / losses.shape[1]),
        "mean of the steps' means": _many_of(
            lambda losses, mask: torch.stack([l[m].mean() for l, m in zip(losses, mask, strict=True) if m.any()]).mean()
        ),
        "divided by the number of steps": _many_of(lambda losses, mask: losses[mask].sum() / len(losses)),
        "clips' sums divided by the longest": _many_of(lambda losses, mask: (losses * mask).mean(0).sum()),
        "logits of the padding set to zero": _many_zeroed,
    },
    "gesture.order": {
        "the mean minds the order": _order(mean_b="may change"),
        "the last frame remembers": _order(last_a="may change"),
        "the last frame does not mind": _order(last_b="same"),
        "an LSTM sums up": _order(LSTM_a="same", LSTM_b="same"),
    },
    "gesture.observed": {
        "a hair above": _at_with(math.ceil),
        "down": _at_with(int),
        "down, at least one": _at_with(lambda frames: max(int(frames), 1)),
        "to the nearest": _at_with(round),
        "one row too late": _at_with(_up, lambda rows, seen: rows[seen]),
        "the length of the first clip": _at_first_length,
        "the mean of the rows": _at_with(_up, lambda rows, seen: rows[:seen].sum(0)),
        "always the last row": _at_with(_up, lambda rows, seen: rows[-1]),
        "counted, not divided": _at_count,
    },
    "gesture.decide": {
        "«none» counts": _decide_counting(counts_none=True),
        "different classes in a row": _decide_counting(same=False),
        "more than the threshold": _decide_counting(strict=True),
        "the threshold forgotten": _decide_unsure,
        "where the run began": _decide_counting(begin=True),
        "counted from 1": _decide_frames,
        "an unsure step keeps the count": _decide_counting(resets=False),
        "the last decision": _decide_counting(last=True),
        "the leader among the gestures": [_decide_among_gestures, _decide_above],
        "«none» does not interrupt": _decide_skipping,
        "the step first": lambda *args: _decide(*args)[::-1],
    },
}
OTHERS = {
    "gesture.resample": [(_seen_linspace_open, "0, 2.5, 5, 7.5 and 10")],
    "gesture.many_to_many": [
        (_many_of(lambda losses, mask: losses[mask].max()), "0.389"),
        (_many_of(lambda losses, mask: losses[mask].sum() / (mask.sum() - 1)), "4 real steps"),
        (_many_of(lambda losses, mask: losses[mask].median()), "0.389"),
    ],
    "gesture.order": [(_order(mean_a="May Change"), "A mean over the same frames")],
    "gesture.decide": [
        (_decide_of_four, "Take the number of classes from the shape"),
        (_decide_from_hold, "at step hold - 1"),
        (_decide_unsure_skipped, "an unsure step both set the count back"),
    ],
}
