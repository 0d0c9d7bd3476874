"""Tables of marks: what goes in comes out, and no spreadsheet runs it."""

import csv
import io
import json

import pytest

from cvdl.course.exercises import chapters
from cvdl.course.grading import gradebook, publish, tables
from cvdl.errors import CourseError
from tests.course.grading.graded import nothing, result, unjudged

NAMES = ["Ana Pérez", "李小龍", "محمد علي", 'Zoë\n"Z" O\'Neil; a,b', "\u202eevil", "x\x00y"]
SHOWN = ["Ana Pérez", "李小龍", "محمد علي", 'Zoë\\u{a}"Z" O\'Neil; a,b', "\\u{202e}evil", "x\\u{0}y"]
FORMULAS = [
    *("=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1"),
    *("x = (;=1+cmd|' /C calc'!A0", "mallory;=1+1", "a, +1", 'he said "=1"', "a\t=1", "a;\u200b=1", "a|@b", "\u00ad=1"),
]


def read(path, encoding="utf-8"):
    with open(path, encoding=encoding, newline="") as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def rnn():
    """Answers to notebook 01: all right, all wrong, and one right, one missing, one not attempted."""
    ids = list(chapters.chapter("rnn"))
    some = dict.fromkeys(ids, 1) | {ids[0]: 0, ids[1]: "missing", ids[2]: "not attempted"}
    return {"right": 0, "wrong": 1, "some": some}


@pytest.fixture(scope="module")
def published(tmp_path_factory, rnn):
    """A class of four who are known, one of whom never came, in two notebooks; marks are published in all formats."""
    tmp_path = tmp_path_factory.mktemp("out")
    results = [result(name, numbers, "rnn") for name, numbers in rnn.items()]
    results[0]["file"] = "right_4711_assignsubmission_file_/01.ipynb"
    results[1] |= {"late": True, "file": "download/wrong_LATE_815_99_01.ipynb"}
    results += [result("right"), unjudged("some", "the file is empty"), nothing("nobody")]
    results.append(unjudged("nobody", "no notebook: essay.docx") | {"notebook": "unknown", "exercises": []})
    run = {"format": 1, "seed_sha256": "abc", "dues": {"01_rnn_from_scratch": "2026-11-21T00:00:00+00:00"}}
    run["names"] = ["right", "wrong", "some", "nobody"]
    (tmp_path / "run.json").write_text(json.dumps(run))
    return (
        tmp_path,
        publish.publish(results, tmp_path, tables.FORMATS),
        {(r["student"], r["notebook"]): r for r in results},
    )


def test_nbgraders_columns(published):
    out, _, results = published
    header, *rows = read(out / "grades.csv")
    assert ",".join(header) == (
        "assignment,duedate,timestamp,student_id,last_name,first_name,email,raw_score,late_submission_penalty,score,max_score"
    )
    found = {(r["student_id"], r["assignment"]): r for r in (dict(zip(header, row, strict=True)) for row in rows)}
    assert len(found) == len(rows) == 4 * 2 + 1
    for (student, notebook), row in found.items():
        result = results.get((student, notebook))
        if result is None or result["file"] == "":
            assert (row["timestamp"], row["score"], row["max_score"]) == ("", "0", "100")
        elif not result["judged"]:
            assert (row["raw_score"], row["score"]) == ("", "")
        else:
            assert row["score"] == row["raw_score"] == str(sum(e["earned"] for e in result["exercises"]))
            assert row["timestamp"] == result["submitted"]
        assert row["duedate"][:10] == ("2026-11-21" if notebook == "01_rnn_from_scratch" else "")


def test_a_row_per_student_and_a_column_per_exercise(published):
    out, _, _ = published
    header, *rows = read(out / "exercises.csv", "utf-8-sig")
    by = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    assert set(by) == {"right", "wrong", "some", "nobody"} and len(rows) == 4
    first = header.index("01_rnn_from_scratch") + 1
    ids = list(chapters.chapter("rnn"))
    assert header[first : first + len(ids)] == [f"{id} (of {chapters.find(id).points})" for id in ids]
    assert by["right"]["rnn.step (of 15)"] == "15"
    assert by["some"]["rnn.unroll (of 15)"] == "missing" and by["some"]["rnn.parameters (of 10)"] == "not attempted"
    assert by["wrong"]["01_rnn_from_scratch"] == "late" and by["nobody"]["00_start_here"] == "missing"
    assert by["some"]["00_start_here"] == "not judged" and by["some"]["00_start_here: remarks"] == "the file is empty"
    assert by["nobody"]["handed in, too"] == "no notebook: essay.docx" and by["right"]["handed in, too"] == ""
    assert by["some"]["00_start_here: points (of 100)"] == ""
    assert (out / "exercises.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert not (out / "grades.csv").read_bytes().startswith(b"\xef\xbb\xbf")


def test_moodle(published):
    out, said, _ = published
    header, *rows = read(out / "moodle-01_rnn_from_scratch.csv")
    by = {r["Full name"]: r for r in (dict(zip(header, row, strict=True)) for row in rows)}
    assert {"Identifier", "Grade", "Maximum grade", "Last modified (grade)", "Feedback comments"} <= set(header)
    assert (by["right"]["Identifier"], by["right"]["Grade"]) == ("Participant 4711", "100")
    assert by["wrong"]["Identifier"] == "" and by["wrong"]["Status"].endswith("late")
    assert (by["nobody"]["Status"], by["nobody"]["Grade"]) == ("No submission", "")
    assert any("Rows without Identifier: 3 (" in line for line in said)


def test_canvas(published):
    out, said, _ = published
    header, points, *rows = read(out / "canvas.csv")
    assert header == [*tables.CANVAS.split(","), "00_start_here", "01_rnn_from_scratch"]
    assert points == ["    Points Possible", "", "", "", "", "100", "100"]
    by = {row[0]: row for row in rows}
    assert (
        by["wrong"][1] == "815" and by["right"][5:] == ["100", "100"] and by["some"][5] == "" and by["nobody"][6] == ""
    )
    assert any("Rows without ID: 3 (" in line for line in said)


def test_canvas_knows_who_handed_in_something_else(tmp_path):
    other = unjudged("bo", "no notebook: essay.docx") | {"notebook": "unknown", "file": "in/bo_4711_99_essay.docx"}
    publish.publish([result("anna"), other | {"exercises": []}], tmp_path, ["canvas"])
    assert read(tmp_path / "canvas.csv")[3][:2] == ["bo", "4711"]


def test_only_what_was_asked_for(tmp_path):
    publish.publish([result("a")], tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"grades.csv", "exercises.csv", "overview.html", "pages"}
    with pytest.raises(CourseError, match="no format excel; choose moodle or canvas"):
        publish.publish([], tmp_path, ["excel"])


def test_an_empty_class(tmp_path):
    publish.publish([], tmp_path, tables.FORMATS)
    assert len(read(tmp_path / "grades.csv")) == 1


def test_names_of_any_script(tmp_path):
    publish.publish([result(name) for name in NAMES], tmp_path, tables.FORMATS)
    for file, column, skip in (("grades", 3, 1), ("moodle-00_start_here", 1, 1), ("canvas", 0, 2)):
        assert {row[column] for row in read(tmp_path / f"{file}.csv")[skip:]} == set(SHOWN)
    assert {row[0] for row in read(tmp_path / "exercises.csv", "utf-8-sig")[1:]} == set(SHOWN)


def test_formulas_are_defused(tmp_path):
    results = [result(name, notes=[name]) for name in FORMULAS] + [unjudged("b", FORMULAS[0])]
    publish.publish(results, tmp_path, tables.FORMATS)
    for path in tmp_path.glob("*.csv"):
        text = path.read_text(encoding="utf-8-sig")
        for separator in ",;\t|":
            cells = [cell for row in csv.reader(io.StringIO(text), delimiter=separator) for cell in row]
            cells += [cell for line in text.splitlines() for cell in line.split(separator)]  # without a word on quotes
            begin = [cell.strip().strip('"').lstrip()[:1] for cell in cells]
            assert not [c for c, b in zip(cells, begin, strict=True) if b and b in "=+-@＝"], separator
    assert "'=cmd" in (tmp_path / "grades.csv").read_text() and "mallory;'=1+1" in (tmp_path / "grades.csv").read_text()


def test_what_utf_8_cannot_write(tmp_path):
    publish.publish([result("a\ud800")], tmp_path)
    assert read(tmp_path / "grades.csv")[1][3] == "a\\u{d800}"


def test_numbers_stay_numbers():
    assert tables.as_csv([[-1, 0.5, "-1"]]) == "-1,0.5,'-1\r\n"


def test_a_table_that_cannot_be_written(tmp_path):
    (tmp_path / "grades.csv").mkdir()
    with pytest.raises(CourseError, match=r"grades\.csv could not be written"):
        publish.publish([result("a")], tmp_path)


def test_the_tables_of_nbgrader_and_ours_have_the_same_form():
    """As `nbgrader export` writes one line: text without quotes, where nothing needs them."""
    klass = gradebook.Gradebook([result("a")], {})
    line = tables.as_csv(tables.nbgrader_table(klass)).splitlines()[1]
    assert line == "00_start_here,,2026-11-20T10:00:00+00:00,a,,,,100,0,100,100"
    assert next(csv.reader(io.StringIO(line)))[9] == "100"


def numbered(student, number, **changes):
    return result(student, file=f"in/{student}_{number}_assignsubmission_file_/x.ipynb", **changes)


def test_a_teams_number_is_nobodys_identifier():
    handins = [
        ("Anna Ärmel", 1),
        ("Team Rot", 77),
        ("Gruppe 3", 78),
        ("Rot", 79),
        ("Participant 5", 5),
        ("Bo Li (7)", 7),
    ]
    results = [numbered(*handin) for handin in handins]

    def identifiers(run):
        return {row[1]: row[0] for row in tables.moodle_table(gradebook.Gradebook(results, run), "00_start_here")[1:]}

    known = {"Anna Ärmel": "Participant 1", "Participant 5": "Participant 5", "Bo Li (7)": "Participant 7"}
    assert identifiers({}) == dict.fromkeys([n for n, _ in handins], "") | known
    listed = identifiers({"names": ["rot", "anna ärmel"]})
    assert {name for name, identifier in listed.items() if identifier} == {"Rot", "Anna Ärmel"}


def test_canvas_numbers_are_the_platforms_own():
    """Also in results of the first edition, which have the file alone."""
    files = {
        "mallory": ("in/mallory_222_9_my.zip!anna_111_1_x.ipynb", "222"),
        "zoe": ("in/all.zip!zoe_333_9_my.zip!anna_111_1_x.ipynb", "333"),
        "anon_12345": ("in/LATE_anon_12345_67893_x.ipynb", ""),
        "Anna": ("in/Anna_5_assignsubmission_file_/x.ipynb", ""),
    }
    results = [result(name, file=file) for name, (file, _) in files.items()]
    results.append(result("bo", file="in/other_1_2_x.ipynb", platform="canvas", number="444"))
    table = {row[0]: row[1] for row in tables.canvas_table(gradebook.Gradebook(results))[2:]}
    assert table == {name: number for name, (_, number) in files.items()} | {"bo": "444"}


def test_a_number_of_two_students_is_nobodys():
    results = [result(name, platform="canvas", number=number) for name, number in (("a", "1"), ("b", "1"), ("c", "2"))]
    assert [row[1] for row in tables.canvas_table(gradebook.Gradebook(results))[2:]] == ["", "", "2"]
    results = [r | {"platform": "moodle", "student": r["student"] + " b"} for r in results]
    table = tables.moodle_table(gradebook.Gradebook(results), "00_start_here")
    assert [row[0] for row in table[1:]] == ["", "", "Participant 2"]


def test_nobody_is_missing_where_nobody_was_asked():
    """One hand-in of another notebook than the run's."""
    results = [result("a"), result("b"), result("a", 0, "rnn")]
    klass = gradebook.Gradebook(results, {"asked_for": ["00_start_here"]})
    rows = [row[:1] + row[3:4] for row in tables.nbgrader_table(klass)[1:]]
    assert rows == [["00_start_here", "a"], ["01_rnn_from_scratch", "a"], ["00_start_here", "b"]]
    assert "missing" not in tables.exercise_table(klass)[2]


def in_part(student):
    """A hand-in of which one exercise was not judged."""
    told = result(
        student, 0, "rnn", judged=False, problem="rnn.step is not judged: it needs the file a.csv; look at it."
    )
    told["exercises"][0] |= {
        "earned": 0,
        "state": "not judged",
        "cases": [],
        "hint": "it needs the file a.csv; look at it.",
    }
    return told


def test_an_exercise_that_was_not_judged_is_not_0_points(tmp_path):
    publish.publish([in_part("anna"), result("bo", 0, "rnn")], tmp_path, tables.FORMATS)
    header, *rows = read(tmp_path / "exercises.csv", "utf-8-sig")
    anna = dict(zip(header, rows[0], strict=True))
    assert (anna["rnn.step (of 15)"], anna["rnn.unroll (of 15)"]) == ("not judged", "15")
    assert (anna["01_rnn_from_scratch"], anna["01_rnn_from_scratch: points (of 100)"]) == ("not judged", "")
    moodle = {row[1]: row for row in read(tmp_path / "moodle-01_rnn_from_scratch.csv")}
    assert (moodle["anna"][3], moodle["anna"][4], moodle["bo"][4]) == ("Submitted for grading", "", "100")
    assert [row[-1] for row in read(tmp_path / "canvas.csv")[2:]] == ["", "100"]
    (page,) = (tmp_path / "pages/anna").glob("*.html")
    text = " ".join(page.read_text(encoding="utf-8").split())
    assert "not judged (of 15 points)" in text and "15 of 15 points" in text and "has not been judged yet" in text
    assert "Why: <bdi>it needs the file a.csv" in text
