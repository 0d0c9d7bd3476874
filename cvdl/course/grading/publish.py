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
    uploads = []  # (platform, file, rows, columns of the number and of the name)
    if "moodle" in formats:
        for notebook in (n for n in gradebook.notebooks if n in gradebook.asked_for):
            uploads.append(("Moodle", f"moodle-{notebook}.csv", moodle_table(gradebook, notebook), 0, 1))
    if "canvas" in formats:
        uploads.append(("Canvas", "canvas.csv", canvas_table(gradebook), 1, 0))
    for platform, file, rows, number, name in uploads:
        save(out / file, as_csv(rows))
        said.append(f"To upload: {out / file}")
        if unknown := [r[name] for r in rows[1:] if not r[number] and r[0].strip() != "Points Possible"]:
            some = ", ".join(unknown[:5]) + (", …" if len(unknown) > 5 else "")
            said.append(
                f"Rows without {rows[0][number]}: {len(unknown)} ({some}). It is taken from the file names in {platform}'s "
                f"download; copy what is missing from {platform}'s own list."
            )
    return said + reports.write(gradebook, out, [] if unwritten is None else unwritten)
