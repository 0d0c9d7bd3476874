"""Pages of graded hand-ins: what they show, what they never show, and that they carry nothing out."""

import base64
import inspect
import json
import re
from html.parser import HTMLParser

import pytest

from cvdl.course.exercises import chapters
from cvdl.course.grading import grade, gradebook, publish, reports
from cvdl.course.grading import results as on_disk
from cvdl.course.grading.names import shown, unseen
from tests.course.grading.graded import nothing, result, unjudged

EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt; &amp; &#x202e;",
    "\u202eevil\u2066 محمد",
    "nul\x00 and \x1b[31m",
    "]]></style><!-- \ud800",
]


class Page(HTMLParser):
    """Tags with attributes, text, and the text of each figure's alternative."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(text)
        self.close()
        self.text = " ".join(self.words)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def rnn():
    ids = list(chapters.chapter("rnn"))
    return {"right": 0, "some": dict.fromkeys(ids, 3) | {ids[1]: "missing", ids[2]: "not attempted"}}


@pytest.fixture(scope="module")
def out(tmp_path_factory, rnn):
    tmp_path = tmp_path_factory.mktemp("out")
    results = [result(name, numbers, "rnn") for name, numbers in rnn.items()]
    results += [result("late one", 2, "rnn", late=True), unjudged("broken", "the file is empty", "rnn")]
    results.append(nothing("nobody", "rnn"))
    run = {"format": 1, "seed_sha256": "5eed" * 16}
    (tmp_path / "run.json").write_text(json.dumps(run))
    publish.publish(results, tmp_path)
    return tmp_path


def every_page(out):
    return {p: p.read_text(encoding="utf-8") for p in out.rglob("*.html")}


def test_a_student_reads_what_check_says(rnn):
    shown = result("some", rnn["some"], "rnn")
    text = Page(reports.student_page(shown)).text
    for e in shown["exercises"]:
        assert f"{e['id']} – {e['title']}: {e['state']} – {e['earned']} of {e['points']} points" in text
        assert e["state"] == "right" or e["hint"] in text
        for case in e["cases"]:
            assert f"{case['name']}" in text and case["message"] in text
    assert f"{sum(e['earned'] for e in shown['exercises'])} of 100 points" in text


def test_no_code_of_tests_no_seed_no_source(out):
    code = {
        line.strip()
        for chapter in ("rnn", "start")
        for line in inspect.getsource(
            inspect.getmodule(chapters.chapter(chapter).values().__iter__().__next__().oracle)
        ).splitlines()
        if len(line.strip()) > 30 and re.search(r"[=(]", line) and "hint" not in line
    }
    assert len(code) > 100
    for path, text in every_page(out).items():
        words = Page(text).text
        assert "5eed" not in text, path
        assert not [c for c in code if c in words and not c.startswith(('"', 'f"', "Mistake("))], path


def test_not_judged_is_said_without_points(out):
    (path,) = out.glob("pages/broken/*.html")
    text = Page(path.read_text(encoding="utf-8")).text
    assert "was not judged" in text and "the file is empty" in text and "points" not in text


def test_what_is_for_the_teacher_stays_with_the_teacher(tmp_path):
    told = [
        "rnn.step is defined 2 times; the last one counts.",
        *grade.remarks({"id": "a.b", "state": "right", "source": "open('x')"}, ""),
    ]
    publish.publish([result("anna", notes=told)], tmp_path)
    (own,) = tmp_path.glob("pages/*/*.html")
    seen = [
        [note.removesuffix(".") in Page(path.read_text(encoding="utf-8")).text for note in told]
        for path in (own, tmp_path / "overview.html")
    ]
    assert seen == [[True, False], [True, True]]


def test_everything_is_escaped(tmp_path, out):
    known = {tag for text in every_page(out).values() for tag, _ in Page(text).tags}
    results = []
    for evil in EVIL:
        case = {"name": evil, "points": 1, "earned": 0, "message": evil, "hint": evil}
        results += [result(evil, 1, notes=[evil], submitted=evil), unjudged(evil, evil, "rnn")]
        results[-2]["exercises"][0] |= {"cases": [case], "hint": evil, "mistake": evil, "title": evil}
    publish.publish(results, tmp_path)
    assert len(every_page(tmp_path)) == 1 + 2 * len(EVIL)
    for path, text in every_page(tmp_path).items():
        page = Page(text)
        assert {tag for tag, _ in page.tags} <= known | {"ul", "li"}, path
        assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
        assert not [c for c in text if unseen(c) and c != "\n"], path
    for evil in EVIL:
        seen = shown(evil)
        overview, *own = (
            Page(every_page(tmp_path)[tmp_path / p]).text for p in ("overview.html", *map(reports.page_path, results))
        )
        assert seen in overview and sum(seen in text for text in own) == 2


def test_nothing_is_loaded_or_run(out):
    for path, text in every_page(out).items():
        tags = Page(text).tags
        (policy,) = [a["content"] for tag, a in tags if a.get("http-equiv") == "Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy
        assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in tags}
        for _, attributes in tags:
            assert not attributes.get("style")
            for name in ("src", "srcset"):
                assert attributes.get(name, "data:").startswith("data:"), path
            assert re.match(r"pages/[\w/-]+\.html$", attributes.get("href", "pages/a.html")), path


def test_the_overview_names_whom_to_look_after(out):
    text = " ".join(Page((out / "overview.html").read_text(encoding="utf-8")).text.split())
    assert "5 students, 1 notebook; 2 handed in, 1 late, 1 missing, 1 not judged" in text
    assert "Not judged (1): broken (the file is empty)" in text
    assert "Late (1): late one" in text and "Missing (1): nobody" in text


def test_links_lead_to_pages(out):
    links = [a["href"] for tag, a in Page((out / "overview.html").read_text(encoding="utf-8")).tags if tag == "a"]
    assert len(links) == 4 and all((out / link).is_file() for link in links)


def test_figures_have_alternative_text_and_a_dark_version(out):
    tags = Page((out / "overview.html").read_text(encoding="utf-8")).tags
    alternatives = [a["alt"] for tag, a in tags if tag == "img"]
    assert len(alternatives) == 2 and sum(tag == "source" for tag, _ in tags) == 2
    for _, attributes in tags:
        for source in (attributes.get("src"), attributes.get("srcset")):
            if source:
                svg = base64.b64decode(source.partition("base64,")[2], validate=True)
                assert svg.rstrip().endswith(b"</svg>")
    assert "from 90 to 100" in alternatives[0] and "rnn.step: mean share" in alternatives[1]


def graded(*rows):
    """Results of exercises of 10 points each, from their points."""
    return [
        {
            "exercises": [{"id": f"e{i}", "points": 10, "earned": p, "state": "wrong"} for i, p in enumerate(row)],
            "judged": True,
        }
        for row in rows
    ]


def test_difficulty_and_discrimination_by_hand():
    # e0 goes with the rest (e1 + e2: 10, 6, 2), e1 hardly, e2 is the same for all
    first, second, third = reports.item_analysis(graded((10, 10, 0), (5, 6, 0), (0, 2, 0)))
    assert (first["share"], third["share"]) == (0.5, 0)
    assert first["discrimination"] == pytest.approx(1) and second["discrimination"] == pytest.approx(1)
    assert third["discrimination"] is None
    # against the rest: who gets e0 fails e1
    first, second = reports.item_analysis(graded((10, 0), (10, 1), (0, 10), (0, 9)))
    # x = (10, 10, 0, 0), y = (0, 1, 10, 9): covariance -22.5, deviations 5 and sqrt(20.5)
    assert first["discrimination"] == pytest.approx(-22.5 / (5 * 20.5**0.5))
    assert reports.item_analysis(graded((10, 0), (0, 10)))[0]["discrimination"] is None


def test_the_commonest_mistakes_are_counted_by_name():
    results = [result(str(n), 1) for n in range(3)] + [result("x", 2)]
    text = " ".join(Page(reports.overview(gradebook.Gradebook(results))).text.split())
    (first, second) = (r["exercises"][0]["mistake"] for r in (results[0], results[-1]))
    assert f"3 start.to_unit {first} 1 start.to_unit {second}" in text


def test_the_same_class_gives_the_same_page():
    results = [result("a"), result("b", 1)]
    assert reports.overview(gradebook.Gradebook(results)) == reports.overview(gradebook.Gradebook(results))


def test_no_path_of_the_teachers_machine(tmp_path):
    path = f"{tmp_path}/Exam secret/in/x.ipynb"
    notes = [f"Also handed in: {path} (older)", "see /usr/lib/python3/ast.py for it", "a /b/ c"]
    publish.publish([result("anna", notes=notes), unjudged("bo", f"cannot open '{path}'")], tmp_path)
    publish.publish([unjudged("cleo", f"{on_disk.FAULT}: OSError: {path}")], tmp_path)
    for own in tmp_path.glob("pages/*/*.html"):
        text = own.read_text(encoding="utf-8")
        assert "secret" not in text and "/usr" not in text and tmp_path.name not in text
    text = (tmp_path / "pages/anna/00_start_here.html").read_text(encoding="utf-8")
    assert "…/x.ipynb (older)" in text and "…/ast.py for it" in text and "a /b/ c" in text


def test_a_page_that_cannot_be_written_is_named_and_the_others_are(tmp_path):
    unwritten = []
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages/bo").write_text("in the way")
    told = publish.publish([result("anna"), result("bo"), result("cleo")], tmp_path, unwritten=unwritten)
    assert len(unwritten) == 1 and "bo" in unwritten[0] and unwritten[0] in told
    assert {p.parent.name for p in tmp_path.glob("pages/*/*.html")} == {"anna", "cleo"}


def test_pages_are_bounded():
    long = "x" * 1_000_000
    page = reports.student_page(unjudged(long, long, notes=[long]))
    assert len(page) < 100_000
