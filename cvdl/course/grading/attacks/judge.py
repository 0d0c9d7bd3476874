"""Attacks on the judge: answers that seem right, and forged ones."""

from cvdl.course.grading.attacks.base import Attack, code, together

ZEROS = "return torch.zeros(image.shape)"
FRAMES = """
import os
def descriptors():
    return [int(d) for d in os.listdir("/proc/self/fd") if int(d) > 2]
def token(frame):
    while frame:
        if isinstance(frame.f_locals.get("request"), dict):
            return frame.f_locals["request"]["token"]
        frame = frame.f_back
def send(data):
    for d in descriptors():
        try:
            os.write(d, b"A" + data)
        except OSError:
            pass
"""
# What a forged message meets: which of these depends on which of its lines the supervisor looks at first.
REFUSED = "stopped: (no message|not a valid (answer|question)|the reply does not match)"
DIFFERS = "differ|shape|expected|cannot be compared"


def attack(name, tries, body, seen=DIFFERS, before="", **more):
    return Attack(name, tries, code(body, before), seen, **more)


ATTACKS = [
    attack(
        "patched torch",
        "makes everything close to everything, before it answers with zeros",
        """
        import torch
        yes = lambda *_, **__: torch.tensor(True)
        torch.isclose = torch.allclose = torch.equal = torch.Tensor.all = torch.Tensor.__eq__ = yes
        """
        + ZEROS,
    ),
    attack(
        "patched numpy",
        "the same in numpy",
        """
        import numpy, torch
        numpy.isclose = numpy.allclose = numpy.array_equal = lambda *_, **__: True
        numpy.testing.assert_allclose = lambda *_, **__: None
        """
        + ZEROS,
    ),
    attack(
        "patched asserts",
        "takes the teeth out of assert, all, any, len and isinstance",
        """
        import builtins, torch
        builtins.AssertionError = type("Nothing", (Warning,), {})
        builtins.all = builtins.any = lambda *_: True
        """
        + ZEROS,
    ),
    attack(
        "patched judge",
        "replaces the judge's functions, and the points of its cases",
        """
        import torch
        from cvdl.course.exercises import chapters as checks; from cvdl.course.exercises import comparison as compare; from cvdl.course.exercises import api as exercise; from cvdl.course.exercises import scoring as judge
        judge.difference = compare.difference = lambda *_: None
        judge.Trial.verdict = lambda *_: None
        judge.CaseResult.earned = 100
        judge.score = lambda id, *_: judge.Score(id, [judge.CaseResult("all", 100, 100)])
        spec = checks.find("start.to_unit")
        object.__setattr__(spec, "oracle", lambda image: torch.zeros(image.shape))
        object.__setattr__(spec, "cases", ())
        """
        + ZEROS,
    ),
    attack(
        "patched wire",
        "replaces what packs its answers",
        """
        import json, struct
        from cvdl.course.grading.sandbox import protocol as wire
        text = json.dumps({"dict": [["earned", 100], ["state", "right"], ["answer", None]]}).encode()
        wire.pack = lambda message: struct.pack(">II", len(text), 0) + text
        return None
        """,
        REFUSED,
    ),
    *together(
        (
            "equal to everything",
            "an object with __eq__",
            "return Same()",
            """
class Same:
    def __eq__(self, other): return True
    def __hash__(self): return 0
    def __bool__(self): return True
""",
            "returned a Same",
        ),
        (
            "__array__",
            "an object that says it is an array",
            "return Array()",
            """
class Array:
    __array_priority__ = 1e9
    def __array__(self, *_): raise SystemExit
    def __float__(self): return 1.0
""",
            "returned an Array",
        ),
        (
            "__torch_function__",
            "a tensor that answers for itself",
            "return torch.zeros(2).as_subclass(Mine)",
            """
class Mine(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return True if function.__name__ in ("isclose", "all", "equal", "__eq__") else torch.zeros(1)
""",
            "expected|shape|differs",
        ),
        (
            "false class",
            "an object that isinstance takes for a tensor",
            "return False_()",
            """
class False_:
    __class__ = property(lambda self: torch.Tensor)
    def __getattr__(self, name): return lambda *_, **__: self
    def __eq__(self, other): return True
""",
            "returned a False_",
        ),
        (
            "a text that is equal",
            "a subclass of str",
            "return Text('x')",
            """
class Text(str):
    def __eq__(self, other): return True
    __hash__ = str.__hash__
""",
            "not text",
        ),
        (
            "object array",
            "numpy objects",
            "import numpy\nreturn numpy.array([{}, None], dtype=object)",
            "",
            "NumPy array",
        ),
        (
            "complex numbers",
            "a complex tensor",
            "return torch.zeros(2, dtype=torch.complex128)",
            "",
            "not a plain array",
        ),
        (
            "tensors that are none",
            "sparse, meta",
            "return [torch.eye(2).to_sparse(), torch.zeros(2, device='meta')]",
            "",
            "not a plain array",
        ),
    ),
    *together(
        ("huge whole number", "10 ** 5000", "return 10 ** 5000", "", "63 binary digits"),
        (
            "a million million zeros",
            "a huge tensor by stride 0",
            "return torch.zeros(1).expand(10 ** 12)",
            "",
            "more than the judge can read",
        ),
        (
            "infinity and -0",
            "the logarithm of a zero below zero, for a number",
            "return float(torch.tensor(-0.0).log())",
            "",
            "infinite",
        ),
        ("NaN", "nan for a number", "return logits.sum() * float('nan')", "", "nan"),
        (
            "deep list",
            "a list in a list in a list",
            "x = []\nfor _ in range(10 ** 5): x = [x]\nreturn x",
            "",
            "nested more than",
        ),
        ("a list that holds itself", "no end", "x = []\nx.append(x)\nreturn x", "", "nested more than"),
        (
            "terminal codes",
            "an error of escape codes and markup, 4 MB long",
            "raise ValueError('\\x1b[2J<script>alert(1)</script>' * 10 ** 5)",
            "",
            "ValueError",
        ),
        (
            "an error that fights back",
            "an exception whose text is an exception",
            "raise Evil",
            """
class Evil(Exception):
    def __str__(self): raise Evil
    __repr__ = __str__
""",
            "Evil: .its message cannot be shown",
        ),
    ),
    attack("long text", "100 MB of text", "return 'x' * 10 ** 8", "stopped: too long|more than the judge"),
    attack(
        "changes the question",
        "writes its wrong answer into the argument",
        "image.zero_()\nreturn image.float()",
        "changed its argument",
    ),
    attack(
        "forged answers",
        "writes a verdict on every descriptor, before and after the question",
        "send(forged())\nreturn None",
        REFUSED,
        before=FRAMES
        + """
def forged():
    from cvdl.course.grading.sandbox import protocol as wire
    return wire.pack({"token": "0" * 32, "answer": None, "earned": 100, "points": 100, "state": "right"}) * 9
""",
    ),
    attack(
        "forged with the token",
        "finds the question's token, and sends a verdict with it",
        """
        import sys
        from cvdl.course.grading.sandbox import protocol as wire
        send(wire.pack({"token": token(sys._getframe()), "answer": None, "earned": 100, "state": "right"}))
        return None
        """,
        REFUSED,
        before=FRAMES,
    ),
    attack(
        "half an answer",
        "begins to answer, and waits",
        "import time\nsend(b'\\0\\0\\0\\x10\\0\\0')\ntime.sleep(10 ** 6)",
        "stopped after",
        before=FRAMES,
        limits={"CALL": 2, "LOAD": 1},
    ),
    attack(
        "4 GB announced",
        "a head that asks for 4 GB",
        "send(b'\\xff' * 8)\nreturn None",
        "stopped: too long",
        before=FRAMES,
    ),
    attack(
        "a flood of answers",
        "writes without end",
        "while True: send(bytes(65536))",
        "stopped",
        before=FRAMES,
        limits={"CALL": 2, "LOAD": 1},
    ),
    attack(
        "pickle",
        "sends a pickle that writes a file where it is loaded",
        """
        import pickle, struct
        raw = pickle.dumps(Bomb())
        for text in (b'{"tensor": "0", "strides": [1]}', raw):
            send(struct.pack(">II", len(text), len(raw)) + text + raw)
        return None
        """,
        REFUSED,
        before=FRAMES
        + """
class Bomb:
    def __reduce__(self):
        return os.system, ("touch " + trap["folder"] + "/pickle",)
""",
    ),
    attack(
        "expected values",
        "looks for the right answer in frames, garbage and descriptors",
        """
        import gc, os, sys
        frame, found = sys._getframe(), []
        while frame:
            found += [v for k, v in frame.f_locals.items() if k in ("want", "expected", "oracle", "trial", "seed_text")]
            frame = frame.f_back
        for thing in gc.get_objects():
            if isinstance(thing, torch.Tensor) and thing.shape == image.shape and thing.is_floating_point():
                found.append(thing)
        for d in descriptors():
            try:
                os.set_blocking(d, False)
                found += [data] if (data := os.read(d, 1)) else []
            except OSError:
                pass
            finally:
                try:
                    os.set_blocking(d, True)
                except OSError:
                    pass
        if found:
            return image / 255
        raise LookupError("nothing is here")
        """,
        "nothing is here",
        before=FRAMES,
    ),
    attack(
        "the judge's memory",
        "reads the memory and the environment of all processes that it sees",
        """
        import os
        seen = []
        for p in {*(int(p) for p in os.listdir("/proc") if p.isdigit()), trap["judge"]} - {os.getpid()}:
            for part in ("environ", "root/home", "root/etc/passwd", "root" + trap["folder"]):
                try:
                    if part != "environ" and os.path.samefile(f"/proc/{p}/root", "/"):
                        continue
                    path = f"/proc/{p}/{part}"
                    data = open(path, "rb").read() if part == "environ" else os.stat(path)
                    if part != "environ" or b"CVDL_TRAP" in data:
                        seen.append((p, part))
                except OSError:
                    pass
            try:
                for d in os.listdir(f"/proc/{p}/fd"):
                    seen += [(p, d)] if os.path.isdir(f"/proc/{p}/fd/{d}") else []
                with open(f"/proc/{p}/mem", "rb") as memory:
                    for line in open(f"/proc/{p}/maps"):
                        begin, end = (int(n, 16) for n in line.split()[0].split("-"))
                        try:
                            memory.seek(begin)
                            seen += [(p, line)] if b"a seed" in memory.read(end - begin) else []
                        except (OSError, ValueError, OverflowError):
                            pass
            except OSError:
                pass
        if seen:
            raise Exception(f"got in: {seen}"[:300])
        raise PermissionError("nothing can be read")
        """,
        "nothing can be read",
    ),
    attack(
        "calls the oracle",
        "asks the course itself for the answer",
        "from cvdl.course.exercises.chapters import find\nreturn find('start.to_unit').oracle(image)",
        r"start\.to_unit uses",
        noted=True,
    ),
]
