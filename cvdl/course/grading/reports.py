"""The pages about graded hand-ins: one for each student, and an overview of the class.

Each page is a single file that loads nothing else; its content security policy forbids it.  A page shows what `check`
shows, but never the tests' code, the seed or the output of the hand-in.  All text is escaped, since most of it is the
student's.
"""

import base64
import hashlib
import os
import re
import sys
from collections import Counter
from functools import cache
from io import BytesIO
from statistics import StatisticsError, correlation, mean, median

from cvdl.course.grading import results as on_disk
from cvdl.course.grading.gradebook import earned, in_part, remarks, status
from cvdl.course.grading.names import shown
from cvdl.course.notebook.feedback import LOOKS
from cvdl.settings import ROOT, data_path

STATES = {
    "right": "right",
    "partly right": "partly",
    "wrong": "wrong",
    "not attempted": "open",
    "missing": "open",
    on_disk.UNJUDGED: "open",
}
COMMONEST = 12  # number of mistakes listed
THEMES = {"light": ("#1d1d1f", "#0072B2"), "dark": ("#e8e8ea", "#56B4E9")}  # ink and bars of a figure
TOPS = "|".join(map(re.escape, sorted(os.listdir("/"))))
PATH = re.compile(rf"(?<![\w.])/(?:{TOPS})/(?:[^/'\":;,]*/)*")  # folders of this machine
# Folders that a hand-in can see.
OURS = sorted({sys.prefix, sys.base_prefix, str(ROOT), str(data_path())}, key=len, reverse=True)


def write(gradebook, out, unwritten):
    """Write OUT/pages/STUDENT/NOTEBOOK.html for every hand-in, and OUT/overview.html -> list of lines for the teacher.

    unwritten: list to which a line is added for each page that could not be written.
    """
    begin = len(unwritten)
    for result in filter(lambda r: status(r) != "missing", gradebook.by.values()):
        try:
            on_disk.save(out / page_path(result), student_page(result))
            if (former := page_path(result, first_edition=True)) != page_path(result):
                (out / former).unlink(missing_ok=True)
        except Exception as error:
            unwritten.append(f"The page of {result['student']} ({result['notebook']}) could not be written: {error}")
    on_disk.save(out / "overview.html", overview(gradebook))
    return [*unwritten[begin:], f"Pages: {out / 'overview.html'}, and one for each student in {out / 'pages'}"]


def page_path(result, first_edition=False):
    """Where a student's page is, relative to OUT."""
    student, notebook = (on_disk.slug(result[k], first_edition) for k in ("student", "notebook"))
    return f"pages/{student}/{notebook}.html"


@cache
def templates():
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cvdl.course.grading"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: shown(value, keep="\n\t") if type(value) is str else value,
    )
    style = environment.loader.get_source(environment, "style.css")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment.globals |= {"style": as_html(style), "style_hash": f"sha256-{digest}"}
    return environment


def as_html(text):
    """Mark the course's own text as HTML that must not be escaped."""
    from markupsafe import Markup

    return Markup(text)


def render(name, **values):
    return templates().get_template(name).render(values)


# --- a student's page -----------------------------------------------------------------------------------


def student_page(result):
    """HTML page for one hand-in, as its student may see it."""
    return render(
        "page.html",
        **{key: result[key] for key in ("student", "notebook", "submitted", "late", "judged")},
        problem="" if on_disk.FAULT in (result["problem"] or "") else for_student(result["problem"] or ""),
        notes=[for_student(note) for note in result["notes"] if not note.endswith(on_disk.LOOK)],
        earned=earned(result),
        points=sum(e["points"] for e in result["exercises"]),
        exercises=[_exercise(e) for e in result["exercises"] if result["judged"] or in_part(result)],
        in_part=in_part(result),
    )


def for_student(text):
    """A message without what is not for the student: folders of this machine, and the request to look at it."""
    for folder in OURS:
        text = text.replace(folder, "…")
    return PATH.sub("…/", text).replace(f"; {on_disk.LOOK}", "")


def _exercise(e):
    look = STATES[e["state"]]
    rows, message = [], ""
    for case in e["cases"]:
        same = rows and case["message"] and case["message"] == message
        message = case["message"]
        mark = "✓" if case["earned"] == case["points"] else "✗"
        told = {"message": "the same" if same else for_student(message), "hint": for_student(case["hint"])}
        rows.append(case | told | {"mark": mark})
    return {**e, "look": look, "symbol": LOOKS[look][0], "rows": rows, "hint": for_student(e["hint"])}


# --- the class ------------------------------------------------------------------------------------------


def overview(gradebook):
    """HTML page for the class: distribution of points, exercises, mistakes, and hand-ins that need attention."""
    handins = [
        {
            "student": student,
            "notebook": notebook,
            "status": status(result),
            "points": "" if status(result) == "missing" else earned(result),
            "remarks": remarks(result) if result else "",
            "link": "" if status(result) == "missing" else page_path(result),
        }
        for student, notebook, result in gradebook
    ]
    states = Counter(h["status"] for h in handins)
    attention = [
        (
            title,
            [
                (h["student"], h["remarks"] if state == "not judged" else h["notebook"])
                for h in handins
                if h["status"] == state
            ],
        )
        for title, state in (("Not judged", "not judged"), ("Late", "late"), ("Missing", "missing"))
        if states[state]
    ]
    return render(
        "overview.html",
        counts=f"{counted(gradebook.students, 'student')}, {counted(gradebook.notebooks, 'notebook')}; "
        + ", ".join(f"{count} {state}" for state, count in sorted(states.items())),
        attention=attention,
        notebooks=[_notebook(gradebook, name) for name in gradebook.notebooks],
        handins=handins,
    )


def counted(things, name):
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _notebook(gradebook, name):
    judged = gradebook.judged(name)
    if not judged:
        return {"name": name, "count": 0}
    points, maximum, items = [earned(r) for r in judged], gradebook.maximum(name), item_analysis(judged)
    mistakes = Counter((e["id"], e["mistake"]) for r in judged for e in r["exercises"] if e["mistake"])
    return {
        "name": name,
        "count": len(judged),
        "mean": mean(points),
        "median": median(points),
        "maximum": maximum,
        "exercises": items,
        "mistakes": [{"id": id, "mistake": m, "count": n} for (id, m), n in mistakes.most_common(COMMONEST)],
        "distribution": _distribution(name, points, maximum),
        "quality": _quality(name, items),
    }


def item_analysis(judged):
    """Difficulty and discrimination of each exercise of one notebook.

    judged: its results.  -> [{id, points, share, discrimination, not_attempted, missing}]; share: mean earned / points;
    discrimination: correlation between the exercise's points and the sum of all others (item-rest), None if all values are
    equal or there are fewer than 3 hand-ins.
    """
    table = {}
    for n, result in enumerate(judged):
        for e in result["exercises"]:
            table.setdefault(e["id"], {})[n] = e
    totals = [earned(r) for r in judged]
    items = []
    for id, own in table.items():
        points = next(iter(own.values()))["points"]
        marks = [own[n]["earned"] if n in own else 0 for n in range(len(judged))]
        states = Counter(e["state"] for e in own.values())
        items.append(
            {
                "id": id,
                "points": points,
                "share": mean(marks) / points,
                "discrimination": _correlation(marks, [t - m for t, m in zip(totals, marks, strict=True)]),
                "not_attempted": states["not attempted"],
                "missing": states["missing"] + len(judged) - len(own),
            }
        )
    return items


def _correlation(x, y):
    try:
        return correlation(x, y) if len(x) > 2 else None
    except StatisticsError:  # one of them is constant
        return None


def _distribution(name, points, maximum):
    edges = [maximum * i / 10 for i in range(11)]
    counts = [0] * 10
    for p in points:
        counts[min(9, int(10 * p / maximum))] += 1
    said = ", ".join(f"{n} from {edges[i]:g} to {edges[i + 1]:g}" for i, n in enumerate(counts) if n)

    def draw(figure, colour):
        axes = figure.subplots()
        axes.bar(edges[:-1], counts, 0.94 * maximum / 10, align="edge", color=colour)
        axes.set(xlabel="points", ylabel="hand-ins", xticks=edges, xlim=(0, maximum))
        axes.yaxis.get_major_locator().set_params(integer=True)

    return picture(draw, (6.4, 2.4), f"Histogram of the points in {name}: {said}.", "Distribution of points")


def _quality(name, items):
    said = "; ".join(
        f"{i['id']}: mean share {i['share']:.2f}, item-rest correlation "
        + ("undefined" if i["discrimination"] is None else f"{i['discrimination']:.2f}")
        for i in items
    )

    def draw(figure, colour):
        left, right = figure.subplots(1, 2, sharey=True)
        ids, places = [i["id"] for i in items], range(len(items))
        left.barh(places, [i["share"] for i in items], color=colour)
        left.set(
            xlim=(0, 1), xlabel="mean share of points\n(difficulty: short is hard)", yticks=places, yticklabels=ids
        )
        left.invert_yaxis()
        right.barh(places, [i["discrimination"] or 0 for i in items], color=colour)
        for place, i in zip(places, items, strict=True):
            if i["discrimination"] is None:
                right.text(0.03, place, "–", va="center")
        right.tick_params(axis="y", length=0)
        right.axvline(0, lw=0.8, color=left.spines["left"].get_edgecolor())
        right.set(xlim=(-1, 1), xlabel="item-rest correlation\n(discrimination)")

    alt = f"Bars for each exercise of {name}. {said}."
    return picture(draw, (6.4, 1.2 + 0.32 * len(items)), alt, "Difficulty and discrimination of the exercises")


def picture(draw, size, alt, caption):
    """HTML of a figure in a light and a dark version; draw(figure, colour) draws on an empty figure of `size` inches."""
    from matplotlib.figure import Figure

    from cvdl.figures import style

    sources = {}
    for theme, (ink, colour) in THEMES.items():
        look = dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), ink)
        with style(look | {"font.size": 9, "svg.hashsalt": caption}):
            figure, file = Figure(figsize=size, layout="constrained"), BytesIO()
            draw(figure, colour)
            figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
        sources[theme] = as_html("data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode())
    return as_html(render("figure.html", alt=alt, caption=caption, **sources))
