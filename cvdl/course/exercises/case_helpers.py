"""Building blocks for the cases of several chapters: arguments, tests, and answers that are chosen or counted."""

import difflib

import torch

from cvdl.course.exercises.comparison import Misfit, difference, no_dict_with, quoted
from cvdl.course.exercises.scoring import Case

GRADIENT = "The values are right, but their derivatives are not: the message names the argument whose derivative differs. Something cuts the graph there, such as .detach(), .item() or torch.no_grad()."


def given(*args):
    """`make` of a case whose arguments are not random."""
    return lambda generator: args


def normal(generator, *shape):
    return torch.randn(*shape, generator=generator)


def around(make, *sizes):
    """`make(*sizes)` of a case whose sizes are random, too: the same number from 0 to 3 is added to all of them.

    Since it is the same number, square shapes stay square, and others do not become square.
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


def misordered(got, want):
    """`when` of a mistake: all values are there, but in the wrong order."""
    if not isinstance(got, tuple) or len(got) != len(want) or difference(got, want) is None:
        return False
    rest = list(got)
    for one in want:
        at = next((n for n, other in enumerate(rest) if difference(other, one) is None), None)
        if at is None:
            return False
        del rest[at]
    return True


COPY = "Choose one of the answers that the exercise lists, and write it exactly as it is written there."


def answer_case(key, hint, wrong, problem, read=lambda answer: answer):
    """Two points for one entry of a dict of answers.

    problem(answer) -> why it is no answer at all, or None.  wrong: what is said of an answer that is not the right one.
    read: what is made of an answer before.
    """

    def test(got, want):
        if fault := no_dict_with(got, [key], want):
            return fault
        if got[key] is None:
            return "not answered yet"
        answer = read(got[key])
        return problem(answer) or (None if answer == want[key] else wrong)

    return Case(key, 2, hint, test=test)


def shape_cases(asked, example):
    """A case for each shape in {key: (shape, hint)}; example: a shape, as it is written."""
    return tuple(answer_case(key, hint, "not this shape", shape_like(example)) for key, (_, hint) in asked.items())


def choice_case(key, hint, wrong, choices, told):
    """Two points for an entry that is chosen from `choices`, in upper or lower case.

    told: the message after an entry that is not one of them: "'tree' is not …; did you mean 'three'?".
    """

    def problem(answer):
        if answer in choices:
            return None
        said = str(answer)[:100] if isinstance(answer, str | int | float) else ""  # long text would take seconds
        part = _words(said)
        near = [choice for choice in choices if len(part) > 2 and part in _words(choice)]
        if not near and "not" not in part.split():  # 'not found' is nearest to 'found', and means the opposite
            near = difflib.get_close_matches(said, choices, n=1)
        if not near:
            return Misfit(f"{quoted(answer)} {told}", COPY)
        message = f"{quoted(answer)} {told}; did you mean {' or '.join(map(repr, near))}?"
        if len(near) > 1:  # which one, the hint of the case helps to decide
            return message
        return Misfit(message, f"Write it exactly as the exercise does: {near[0]!r}.")

    def read(answer):
        return next((choice for choice in choices if _words(choice) == _words(answer)), answer)

    return answer_case(key, hint, wrong, problem, read)


def _words(answer):
    """Text in lower case, without surrounding spaces; anything else unchanged."""
    return answer.strip().casefold() if isinstance(answer, str) else answer


def answered(key, *answers):
    """`when` of a mistake: this entry is one of these answers, in upper or lower case."""
    meant = [_words(answer) for answer in answers]
    return lambda got, want: isinstance(got, dict) and _words(got.get(key)) in meant


def shape_like(example):
    """`problem` of an answer that should be a shape: "a shape is a tuple of whole numbers, such as (11, 3, 5)"."""

    def problem(answer):
        if isinstance(answer, tuple) and all(type(n) is int for n in answer):
            return None
        return Misfit(
            f"a shape is a tuple of whole numbers, such as {example}; this is {quoted(answer)}",
            "Write a shape as Python does: the sizes in round brackets, as whole numbers, with commas between them.",
        )

    return problem
