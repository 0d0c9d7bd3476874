"""What the cases of several chapters are made of."""

import numpy as np
import pytest
import torch

from cvdl.course.exercises import chapters, scoring
from cvdl.course.exercises.api import caller
from cvdl.course.exercises.case_helpers import answered, choice_case, misordered

SHAPES = ("one-to-one", "many-to-many in step", "many-to-many encoder-decoder")
CASE = choice_case("video", "hint", "another one", SHAPES, "is not one of the three")


@pytest.mark.parametrize("answer", ["many-to-many in step", " Many-to-many IN step "])
def test_a_choice_may_be_written_in_capitals_and_with_spaces_around_it(answer):
    assert CASE.test({"video": answer}, {"video": "many-to-many in step"}) is None
    assert CASE.test({"video": answer}, {"video": "one-to-one"}) == "another one"
    assert answered("video", "many-to-many in step")({"video": answer}, None)


@pytest.mark.parametrize(
    ("answer", "suggested"),
    [
        ("many-to-many", ["many-to-many in step", "many-to-many encoder-decoder"]),
        ("In Step", ["many-to-many in step"]),
        ("one to one", ["one-to-one"]),
        ("not one-to-one", []),
        (True, []),
        ("", []),
    ],
)
def test_what_is_no_choice_is_told_which_ones_are_near(answer, suggested):
    message = CASE.test({"video": answer}, {"video": "one-to-one"})
    assert message.startswith(f"{answer!r} is not one of the three")
    assert [choice for choice in SHAPES if f"{choice!r}" in message.partition(";")[2]] == suggested


# What is right but for its form, and words of the advice on the form.
FORMS = {
    ("start.to_unit", lambda a: a.tolist()): "Return a tensor.",
    ("start.to_unit", lambda a: a.numpy()): "torch.from_numpy",
    ("rnn.unroll", list): "torch.stack",
    ("rnn.parameters", str): "Return a number, not text",
    ("rnn.teacher", lambda a: a.float()): ".long()",
    ("rnn.match", lambda a: {k: v.replace("-", " ") for k, v in a.items()}): "Write it exactly as the exercise does: ",
    ("rnn.match", lambda a: [*a.values()]): "Return a dict",
    ("bptt.dW", lambda a: (a, "done")): "Return that tensor and nothing else.",
    ("lstm.output", lambda a: a.half()): "leave out .half()",
    ("lstm.shapes", lambda a: [*a.values()]): "Return a dict",
    ("lstm.shapes", lambda a: {k: str(v) for k, v in a.items()}): "Write a shape as Python does",
    ("lstm.torch", lambda a: {k: v.half() for k, v in a.items()}): "leave out .half()",
    ("gesture.order", lambda a: dict.fromkeys(a, "change")): "Write it exactly as the exercise does: 'may change'.",
    ("gesture.pad", lambda a: {"padded": a[0], "mask": a[1]}): "Return 2 values",
    ("flownet.picture", lambda a: a | {"sign of dy in A": "neg"}): "Write it exactly as the exercise does: 'negative'",
    ("flownet.picture", lambda a: dict.fromkeys(a, "F")): "Choose one of the answers that the exercise lists",
    ("flownet2.spread", lambda a: tuple(f"{v:.3f}" for v in a)): "Return a number, not text",
    ("likenet.aperture", lambda a: dict.fromkeys(a, "the edge")): "Write it exactly as the exercise does",
    ("likenet.branches", lambda a: {k: str(v) for k, v in a.items()}): "Return a number, not text",
    ("spynet.pyramid", lambda a: dict(enumerate(a))): "Return a list of tensors",
    ("spynet.parameters", lambda a: tuple(map(str, a))): "Return a number, not text",
}


@pytest.mark.parametrize(("slip", "advice"), FORMS.items(), ids=lambda v: v[0] if isinstance(v, tuple) else "")
def test_what_is_right_but_for_its_form_is_told_of_the_form_only(slip, advice):
    id, changed = slip
    spec = chapters.find(id)
    score = scoring.score(chapters.find(id), caller(id, lambda *args: changed(spec.library(*args))))
    assert score.earned < score.points
    assert advice in score.hint
    assert score.mistake or (score.hint not in {c.hint for c in spec.cases} and not score.relation)


@pytest.mark.parametrize("id", ["flownet2.spread", "flownet2.bands", "gesture.resample"])
def test_a_numpy_array_is_a_list_of_numbers(id):
    library = chapters.find(id).library
    assert scoring.score(chapters.find(id), caller(id, lambda *args: np.array(library(*args)))).state == "right"


def test_an_answer_in_another_order_is_recognised_only_if_all_of_it_is_there():
    a, b, c = torch.zeros(2), torch.ones(2), torch.ones(3)
    assert misordered((b, a, c), (a, b, c)) and misordered((b, c, a), (a, b, c))
    assert not misordered((a, b, c), (a, b, c))
    assert not misordered((b, a, 2 * c), (a, b, c)) and not misordered((b, a), (a, b, c))
    assert not misordered((b, b, c), (a, b, c)) and not misordered(a, (a, b, c))
