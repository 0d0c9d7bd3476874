"""What the cases of several chapters are made of."""

import pytest
import torch

from cvdl.course.cases import answered, choice_case, misordered

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


def test_an_answer_in_another_order_is_recognised_only_if_all_of_it_is_there():
    a, b, c = torch.zeros(2), torch.ones(2), torch.ones(3)
    assert misordered((b, a, c), (a, b, c)) and misordered((b, c, a), (a, b, c))
    assert not misordered((a, b, c), (a, b, c))
    assert not misordered((b, a, 2 * c), (a, b, c)) and not misordered((b, a), (a, b, c))
    assert not misordered((b, b, c), (a, b, c)) and not misordered(a, (a, b, c))
