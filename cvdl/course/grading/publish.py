"""Writing the tables and pages of a class to OUT."""

import json

from cvdl.course.grading import reports
from cvdl.course.grading.gradebook import Gradebook
from cvdl.course.grading.results import save
from cvdl.course.grading.tables import as_csv, canvas_table, exercise_table, known, moodle_table, nbgrader_table


def publish(results, out, formats=(), unwritten=None):
    """Write all tables and pages of graded hand-ins to the folder `out` -> list of lines for the teacher.

    results: list of dicts as cvdl.course.grading.results reads them; formats: from FORMATS, for uploading marks; unwritten: list to
    which a line is added for each page that could not be written.  Raises CourseError for an unknown format, or if a table
    cannot be written.
    """
    known(formats)
    path = out / "run.json"
    gradebook = Gradebook(results, json.loads(path.read_text(encoding="utf-8")) if path.exists() else {})
    save(out / "grades.csv", as_csv(nbgrader_table(gradebook)))
    # Excel reads a file as UTF-8 only if it begins with a byte order mark, which confuses programs: only this file has it.
    save(out / "exercises.csv", as_csv(exercise_table(gradebook)), encoding="utf-8-sig")
    said = [f"Marks: {out / 'grades.csv'}, {out / 'exercises.csv'}"]
    tables = {}
    if "moodle" in formats:
        tables |= {
            f"moodle-{n}.csv": moodle_table(gradebook, n) for n in gradebook.notebooks if n in gradebook.asked_for
        }
    if "canvas" in formats:
        tables["canvas.csv"] = canvas_table(gradebook)
    for name, rows in tables.items():
        save(out / name, as_csv(rows))
        said.append(f"To upload: {out / name}")
        place = rows[0].index("Identifier" if name.startswith("moodle") else "ID")
        name_at = rows[0].index("Full name" if name.startswith("moodle") else "Student")
        if unknown := [r[name_at] for r in rows[1:] if not r[place] and r[0].strip() != "Points Possible"]:
            some = ", ".join(unknown[:5]) + (", …" if len(unknown) > 5 else "")
            said.append(
                f"Rows without {rows[0][place]}: {len(unknown)} ({some}). It is taken from the file names in {name[:6].capitalize()}'s "
                f"download; copy what is missing from {name[:6].capitalize()}'s own list."
            )
    return said + reports.write(gradebook, out, [] if unwritten is None else unwritten)
