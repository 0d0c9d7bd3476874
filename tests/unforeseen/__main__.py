"""Judge the unforeseen wrong answers as `check` does: `python -m tests.unforeseen --json FILE`."""

import json
from pathlib import Path
from typing import Annotated

import torch
import typer

from cvdl.course.exercises import chapters, scoring
from cvdl.course.exercises.api import caller, judged
from tests.unforeseen import answers

app = typer.Typer(add_completion=False)


def report(answer):
    """What a student reads of this answer: a dict for JSON.

    `mistake` is the known mistake that the answer was taken for, or None; `hint` is the one that `check` shows,
    and `relation` the sentence below it on how the answer is related to the right one, or ""; `card` is all of what `check` shows, as text. Where judging fails, there is `error` instead of points and messages.
    """
    torch.manual_seed(0)  # for answers that draw random numbers of their own
    found = {"exercise": answer.exercise, "name": answer.name, "what": answer.what}
    try:
        score = scoring.score(chapters.find(answer.exercise), caller(answer.exercise, answer.function))
        card = judged(answer.exercise, answer.function)
    except Exception as error:
        return {**found, "error": f"{type(error).__name__}: {error}"}
    return {
        **found,
        "points": score.earned,
        "of": score.points,
        "mistake": score.mistake.name if score.mistake else None,
        "hint": score.advice[0],
        "relation": score.advice[1],
        "cases": [
            {
                "name": c.name,
                "points": c.earned,
                "of": c.points,
                "message": c.message,
                "hint": c.hint if c.message else "",
            }
            for c in score.cases
        ],
        "card": repr(card),
    }


@app.command()
def main(
    to: Annotated[Path | None, typer.Option("--json", help="Write the reports to this file.")] = None,
    chapter: Annotated[
        list[str] | None, typer.Option(help="Judge this chapter only; may be repeated. [default: all]")
    ] = None,
):
    """Judge wrong answers of kinds that no exercise lists, and show what a student would read about each of them.

    Exits with status 1 if one was accepted or could not be judged.
    """
    if unknown := set(chapter or ()) - set(chapters.chapters()):
        raise typer.BadParameter(
            f"there is no chapter {', '.join(sorted(unknown))}; choose from {', '.join(chapters.chapters())}."
        )
    reports = [report(answer) for answer in answers(chapter)]
    for r in reports:
        print(f"{r['exercise']} · {r['name']}\n  {r['what']}\n{r.get('card') or r['error']}\n")
    wrong = [r for r in reports if "error" in r or r["points"] == r["of"]]
    named = sum(1 for r in reports if r.get("mistake"))
    print(f"{len(reports)} answers; accepted or not judged: {len(wrong)}; taken for a known mistake: {named}")
    for r in wrong:
        print(f"  {r['exercise']} · {r['name']}: {r.get('error', 'accepted')}")
    if to:
        to.write_text(json.dumps(reports, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    raise typer.Exit(1 if wrong else 0)


if __name__ == "__main__":
    app()
