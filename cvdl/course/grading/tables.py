"""Tables of marks: what `cvdl grade` writes for nbgrader, Moodle, Canvas and spreadsheets.

A hand-in that was not judged has no mark: its cells are empty and do not count in sums.
"""

import csv
import io
import re
from collections import Counter

from cvdl.course.grading.gradebook import earned, in_part, mark, remarks, status
from cvdl.course.grading.names import shown
from cvdl.errors import CourseError

FORMATS = ("moodle", "canvas")
# Columns of nbgrader's own `nbgrader export` (its CsvExportPlugin).
NBGRADER = "assignment duedate timestamp student_id last_name first_name email raw_score late_submission_penalty score max_score"
# Columns of the grading worksheet of Moodle's assignments; its import reads Identifier, Grade, Last modified (grade)
# and the feedback.
MOODLE = (
    "Identifier,Full name,Email address,Status,Grade,Maximum grade,Grade can be changed,"
    "Last modified (submission),Last modified (grade),Feedback comments"
)
CANVAS = "Student,ID,SIS User ID,SIS Login ID,Section"
# What a spreadsheet treats as a formula: at the beginning, or after a possible separator or quotation mark.
FORMULA = re.compile(r"(^|[,;|\"'\t\r\n])([\s\x00-\x1f]*)(?=[=+\-@＝＋－＠﹢﹣﹦﹫])")
CELL = 30_000  # characters; Excel takes 32,767


# --- the tables: each is a list of rows, of which the first is the header ------------------------------------------


def nbgrader_table(gradebook):
    rows = [NBGRADER.split()]
    for student, notebook, result in gradebook:
        points = 0 if result is None else earned(result)
        when = (result and result["submitted"]) or ""
        penalty = "" if points == "" else 0
        of = gradebook.maximum(notebook)
        rows.append(
            [notebook, gradebook.dues.get(notebook) or "", when, student, "", "", "", points, penalty, points, of]
        )
    return rows


def exercise_table(gradebook):
    """A row for each student; for each notebook its status, its exercises, its points and remarks."""
    rows = [["student"]]
    for notebook, exercises in gradebook.points.items():
        titles = [f"{id} (of {points})" for id, points in exercises.items()]
        rows[0] += [notebook, *titles, f"{notebook}: points (of {gradebook.maximum(notebook)})", f"{notebook}: remarks"]
    rows[0].append("handed in, too")
    others = {s: remarks(r) for s, n, r in gradebook if n not in gradebook.points}
    for student in gradebook.students:
        row = [student]
        for notebook, exercises in gradebook.points.items():
            result = gradebook.by.get((student, notebook))
            there, asked = status(result) != "missing", result or notebook in gradebook.asked_for
            known = there and (result["judged"] or in_part(result))
            marks = {e["id"]: mark(e) for e in result["exercises"]} if known else {}
            row += [status(result) if asked else "", *(marks.get(id, "") for id in exercises)]
            row += [earned(result), remarks(result)] if there else ["", ""]
        rows.append([*row, others.get(student, "")])
    return rows


def moodle_table(gradebook, notebook):
    """Moodle numbers participants, and puts the number into the folder name of each downloaded hand-in.

    A team's folder has the team's number, which may also be the number of an unrelated participant, so rows that appear
    to be teams get no Identifier.
    """
    rows = [MOODLE.split(",")]
    results = {student: gradebook.by.get((student, notebook)) for student in gradebook.students}
    numbers = unambiguous({s: r["number"] for s, r in results.items() if r and r["platform"] == "moodle"})
    for student, result in results.items():
        number = numbers.get(student, "")
        identifier = f"Participant {number}" if number and gradebook.is_person(student, number) else ""
        state, points, when, comment = "No submission", "", "", ""
        if status(result) != "missing":
            state = "Submitted for grading" + (" - late" if result["late"] else "")
            points, when = earned(result), result["submitted"] or ""
        if points != "":
            comment = "; ".join(f"{e['id']}: {e['earned']} of {e['points']}, {e['state']}" for e in result["exercises"])
        rows.append([identifier, student, "", state, points, gradebook.maximum(notebook), "Yes", when, "", comment])
    return rows


def unambiguous(numbers):
    """{student: number}, without numbers that several students share, since marks would go to only one of them."""
    count = Counter(numbers.values())
    return {student: number for student, number in numbers.items() if count[number] == 1}


def canvas_table(gradebook):
    """Canvas numbers students, and puts the number into the file name of each hand-in: name_[LATE_]STUDENT_FILE_…

    File names in anonymous assignments have no number: anon_CODE_FILE_…
    """
    rows = [[*CANVAS.split(","), *gradebook.notebooks]]
    rows.append(["    Points Possible", "", "", "", "", *(gradebook.maximum(n) for n in gradebook.notebooks)])
    found = {s: {r["number"] for r in gradebook.of(s) if r["platform"] == "canvas"} - {""} for s in gradebook.students}
    numbers = unambiguous({student: of.pop() for student, of in found.items() if len(of) == 1})
    for student in gradebook.students:
        own = [gradebook.by.get((student, n)) for n in gradebook.notebooks]
        marks = ["" if status(r) == "missing" else earned(r) for r in own]
        rows.append([student, numbers.get(student, ""), "", "", "", *marks])
    return rows


# --- writing --------------------------------------------------------------------------------------------


def harmless(cell):
    """Text with invisible characters shown and a ' before what a spreadsheet would treat as a formula; numbers are kept."""
    return FORMULA.sub(r"\1\2'", shown(cell, most=CELL)) if isinstance(cell, str) else cell


def as_csv(rows):
    text = io.StringIO(newline="")
    csv.writer(text).writerows([harmless(cell) for cell in row] for row in rows)
    return text.getvalue()


def known(formats):
    """Raises CourseError for a format that is not in FORMATS."""
    if unknown := set(formats) - set(FORMATS):
        raise CourseError(f"There is no format {', '.join(sorted(unknown))}; choose {' or '.join(FORMATS)}.")
