"""What the cases of several chapters are made of: arguments, tests, and answers that one chooses or counts."""

import difflib

import torch

from cvdl.course.compare import NOTHING, difference
from cvdl.course.judge import Case

GRADIENT = "Compare the derivative by each argument: something cuts it off, as .detach() or torch.no_grad() would."


def given(*args):
    """`make` of a case whose arguments are no matter of chance."""
    return lambda generator: args


def normal(generator, *shape):
    return torch.randn(*shape, generator=generator)


def around(make, *sizes):
    """`make(*sizes)` of a case whose sizes are a matter of chance, too: all are larger by one number from 0 to 3.

    By the same one, so that what is square stays square, and nothing else becomes it.
    """

    def drawn(generator):
        more = int(torch.randint(4, (), generator=generator))
        return make(*(size + more for size in sizes))(generator)

    return drawn


def of_shape(wrong):
    """What is wrong, if it is a matter of shape or kind; else None."""
    return wrong if wrong and ("expected" in wrong or "returned" in wrong) else None


def shape_only(got, want):
    return of_shape(difference(got, want))


def answer_case(key, hint, wrong, problem, read=lambda answer: answer):
    """Two points for one entry of a dict of answers.

    problem(answer) -> why it is no answer at all, or None.  wrong: what is said of an answer that is not the right one.
    read: what is made of an answer before.
    """

    def test(got, want):
        if got is None:
            return NOTHING
        if not isinstance(got, dict) or key not in got:
            return f"the key {key!r} is missing"
        if got[key] is None:
            return "not answered yet"
        answer = read(got[key])
        return problem(answer) or (None if answer == want[key] else wrong)

    return Case(key, 2, hint, test=test)


def shape_cases(asked, example):
    """A case for each shape in {key: (shape, hint)}; example: a shape, as it is written."""
    return tuple(answer_case(key, hint, "not this shape", shape_like(example)) for key, (_, hint) in asked.items())


def one_of(choices, told):
    """`problem` of an answer that is to be chosen: "'tree' is none of …; did you mean 'three'?"."""

    def problem(answer):
        if answer in choices:
            return None
        near = difflib.get_close_matches(str(answer)[:100], choices, n=1)  # long text would take seconds
        return f"{answer!r} {told}" + (f"; did you mean {near[0]!r}?" if near else "")

    return problem


def answered(key, *answers):
    """`when` of a mistake: this entry is one of these answers."""
    return lambda got, want: isinstance(got, dict) and got.get(key) in answers


def shape_like(example):
    """`problem` of an answer that is to be a shape: «a shape is a tuple of whole numbers, such as (11, 3, 5)»."""

    def problem(answer):
        if isinstance(answer, tuple) and all(type(n) is int for n in answer):
            return None
        return f"a shape is a tuple of whole numbers, such as {example}; this is {answer!r}"

    return problem
