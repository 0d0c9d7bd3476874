"""Attacks on points: right answers by other means than the exercise asks for, and late ones."""

from cvdl.course.grading.attacks.base import RNN, Attack, answer, code, notebook, put, together
from cvdl.course.grading.attacks.judge import FRAMES

STEP = "torch.tanh(x @ V.T + h @ W.T + b_h)"
UNROLL = (
    "hs = []\nfor x in xs:\n    h0 = torch.tanh(x @ V.T + h0 @ W.T + b_h)\n    hs.append(h0)\nreturn torch.stack(hs)"
)
TOO_LONG = "stopped after"


def attack(name, tries, body, seen=".", before="", **more):
    return Attack(name, tries, code(body, before), seen, **more)


def of_rnn(cells):
    """`make` of a hand-in for notebook 01: {exercise: body}, and code before them."""

    def make(folder, trap):
        told = [f"trap = {trap.known!r}", cells.get("before", "")]
        told += [answer(body, id) for id, body in cells.items() if id != "before"]
        put(folder / "mallory" / "mine.ipynb", notebook(*told, stem=RNN))

    return make


def one(name, tries, id, body, seen=".", before="", **more):
    """An attack on one exercise of notebook 01."""
    return Attack(name, tries, of_rnn({"before": before, id: body}), seen, id=id, **more)


# Burns 14 seconds of the processor's time, once; a call has 10.
BURN = """
import time
burnt = []
def burn(seconds=14):
    if not burnt:
        burnt.append(1)
        begin = time.process_time()
        while time.process_time() < begin + seconds: sum(range(1000))
"""

CIRCLE = of_rnn(
    {
        "rnn.step": "return rnn_unroll(x[None], h, V, W, b_h)[0]",
        "rnn.unroll": "hs = []\nfor x in xs:\n    h0 = rnn_step(x, h0, V, W, b_h)\n    hs.append(h0)\nreturn torch.stack(hs)",
    }
)

# The course's own code, by ways that are not an import of it; each answers another exercise.
SPELLINGS = (
    ("library of the attempt", "asks its own decorated function for the course's", "return rnn_step.spec.library(x, h, V, W, b_h)"),
    ("use_library", "switches its own function to the course's", "rnn_unroll.use_library = True\nreturn rnn_unroll(xs, h0, V, W, b_h)"),
    ("oracle of the attempt", "asks its own decorated function for the oracle", "return rnn_parameters.spec.oracle(D, H, K, T)"),
    ("globals of the attempt", "finds the exercises among the globals of its class", "return type(rnn_match).__init__.__globals__['chapters'].find('rnn.match').oracle()"),
    ("globals of the decorator", "finds the exercises among the globals of @exercise", "return exercise.__globals__['chapters'].find('rnn.loss').oracle(logits, targets, mask)"),
    ("modules of torch's sys", "finds the module of the exercises without an import", "return vars(torch)['sys'].modules['cvdl.course.exercises.chapters.rnn'].last.oracle(hs, lengths)"),
    ("all objects", "finds the exercise among all objects", "return next(o for o in torch.utils.weak.__builtins__['__import__']('gc').get_objects() if type(o).__name__ == 'Exercise' and o.id == 'rnn.sample').oracle(logits, temperature, u)"),
    ("closure of the decorator", "finds the exercise in what @exercise closes over", "spec = next(c.cell_contents for c in exercise('rnn.teacher').__closure__ if hasattr(c.cell_contents, 'oracle'))\nreturn spec.oracle(targets, start)"),
)  # fmt: skip

GENTLE = """
class Lying(list):
    def __len__(self): return 2
    def __iter__(self): return iter([torch.zeros(1)] * 2)
    def __getitem__(self, n): return torch.zeros(1)
class Items(dict):
    def items(self): return [("translation", "many")]
    def __getitem__(self, k): return "many-to-one"
    def __contains__(self, k): return True
class Number(int):
    def __eq__(self, other): return True
    def __sub__(self, other): return 0
    def __hash__(self): return 0
class Tall(torch.Tensor):
    shape = property(lambda self: torch.Size([4, 5]))
    dtype = property(lambda self: torch.float32)
    def size(self, *_): return torch.Size([4, 5])
class Boolean:
    def __bool__(self): return True
    def __index__(self): return 1
    def __len__(self): return 1
"""

NUMERIC = """
import torch
from types import SimpleNamespace
def differences(function, args, weights):
    found = []
    for n, a in enumerate(args):
        g = torch.zeros_like(a, dtype=torch.double)
        for i in range(a.numel()):
            two = []
            for e in (1e-6, -1e-6):
                b = [t.detach().double().clone() for t in args]
                b[n].view(-1)[i] += e
                two.append((function(*b) * weights.double()).sum().item())
            g.view(-1)[i] = (two[0] - two[1]) / 2e-6
        found.append(g.float())
    return tuple(found)
def plainly(x, h, V, W, b_h): return torch.tanh(x @ V.T + h @ W.T + b_h)
"""

ATTACKS = [
    attack("complex with garbage", "the right answer as the real part of a complex tensor", "import torch\nr = image / 255\nreturn torch.complex(r, torch.full_like(r, 7.0))"),
    one("complex gradient with garbage", "the same where the derivative is asked for", "rnn.step", f"r = {STEP}\nreturn torch.complex(r, torch.full_like(r, 7.0)) if r.requires_grad else r", most=13),
    attack(
        "complex on the wire",
        "writes a complex tensor to the wire itself",
        """
        import json, struct, sys, safetensors.torch, torch
        r = image / 255
        raw = safetensors.torch.save({"0": torch.complex(r, torch.full_like(r, 7.0))})
        text = json.dumps({"dict": [["token", token(sys._getframe())], ["lacks", ""], ["answer", {"tensor": "0", "strides": [1]}]]}).encode()
        send(struct.pack(">II", len(text), len(raw)) + text + raw)
        while True: pass
        """,
        before=FRAMES,
    ),
    one(
        "derivative replaced",
        "answers under no_grad, and replaces what computes derivatives",
        "rnn.step",
        """
        def grad(result, wanted, weights, **_): return differences(plainly, wanted, weights)
        torch.autograd.grad = grad
        with torch.no_grad():
            r = torch.tanh(x @ V.T + h @ W.T + b_h)
        return r.requires_grad_()
        """,
        before=NUMERIC,
        most=13,
    ),
    one(
        "derivative on the wire",
        "writes derivatives to the wire that it has from differences",
        "rnn.step",
        """
        import sys
        from cvdl.course.grading.sandbox import protocol as wire
        frame = sys._getframe()
        while not isinstance(frame.f_locals.get("request"), dict): frame = frame.f_back
        request = frame.f_locals["request"]
        if request["weights"] is None: return plainly(x, h, V, W, b_h)
        send(wire.pack({"token": request["token"], "lacks": "", "answer": differences(plainly, (x, h, V, W, b_h), request["weights"])}))
        os.kill(os.getpid(), 19)
        """,
        before=FRAMES + NUMERIC,
        most=15,  # known: the right derivative of a right answer, which only was not computed by autograd
    ),
    attack(
        "comparison replaced",
        "writes over its argument, and replaces what would notice",
        "from cvdl.course.exercises import scoring as judge\njudge._changed = lambda *_: False\nr = image / 255\nimage.zero_()\nreturn r",
    ),
    attack(
        "argument restored later",
        "writes over its argument, and has the copy for comparison changed in the same way",
        "import gc\nr = image / 255\nfor o in gc.get_objects():\n    if type(o) is torch.Tensor and o.dtype == image.dtype and o.shape == image.shape: o.zero_()\nreturn r",
    ),
    attack("signal ignored", "ignores the signal of the time limit, then computes for 14 seconds", "import signal\nsignal.signal(signal.SIGPROF, signal.SIG_IGN)\nburn()\nreturn image / 255", TOO_LONG, before=BURN),
    attack("timer stopped", "stops the timer of the time limit", "import signal\nsignal.setitimer(signal.ITIMER_PROF, 0)\nburn()\nreturn image / 255", TOO_LONG, before=BURN),
    attack("exception swallowed", "catches what the time limit raises, again and again", "import time\nend = time.process_time() + 14\nwhile not burnt and time.process_time() < end:\n    try:\n        while time.process_time() < end: sum(range(1000))\n    except BaseException: pass\nburnt.append(1)\nreturn image / 255", TOO_LONG, before=BURN),
    attack("child computes", "a child process, which has no time limit, computes for 14 seconds", "import os\nif not burnt:\n    child = os.fork()\n    if not child:\n        burn()\n        os._exit(0)\n    burnt.append(1)\n    os.waitpid(child, 0)\nreturn image / 255", TOO_LONG, before=BURN),
    attack(
        "thread at the pipe",
        "a thread answers for the process, late",
        """
        import signal, sys, threading
        from cvdl.course.grading.sandbox import protocol as wire
        frame = sys._getframe()
        while "request" not in frame.f_locals or "line" not in frame.f_locals: frame = frame.f_back
        line, request = frame.f_locals["line"], frame.f_locals["request"]
        def serve(request):
            burn()
            while True:
                line.send(b"A", wire.pack({"token": request["token"], "lacks": "", "answer": request["args"][0] / 255}))
                request = wire.unpack(line.receive(limited=False)[1], strides=True)
        signal.setitimer(signal.ITIMER_PROF, 0)
        thread = threading.Thread(target=serve, args=(request,))
        thread.start()
        thread.join()
        """,
        TOO_LONG,
        before=BURN,
    ),
    Attack("a circle of two, step", "rnn.step by the course's rnn_unroll", CIRCLE, ".", id="rnn.step"),
    Attack("a circle of two, unroll", "rnn.unroll by the course's rnn_step, which may earn its points", CIRCLE, ".", id="rnn.unroll", most=15),
    *together(*((name, tries, body, "", ".") for name, tries, body in SPELLINGS)),
    attack("classes of everything", "finds the class of exercises among all classes", "import torch\nfor c in object.__subclasses__():\n    if c.__name__ == 'Attempt': return c.__call__.__globals__['chapters'].find('start.to_unit').library(image)"),
    attack("frames above", "walks up the frames to the course's own modules", "f = [n for n in [1]]\ntry:\n    raise ValueError\nexcept ValueError as e:\n    frame = e.__traceback__.tb_frame\nwhile 'chapters' not in frame.f_globals: frame = frame.f_back\nreturn frame.f_globals['chapters'].find('start.to_unit').oracle(image)"),
    attack("spelled in parts", "puts the name of the module together", "m = getattr(__builtins__, 'get', lambda n: getattr(__builtins__, n))('__imp' + 'ort__')\nreturn m('cv' + 'dl.course.exercises.chapters', fromlist=['x']).find('start.to_unit').oracle(image)"),
    attack("source of the course", "reads the course's own file, and runs it", "import torch, sys\nt = open(torch.__spec__.loader.__class__.__init__ and exercise.__code__.co_filename.replace('api.py', 'chapters/start.py')).read()\ng = {}\ni = t.index('def to_unit')\nexec(t[i:t.index('def _oracle')], g)\nreturn g['to_unit'](image)"),
    Attack("later exercises", "one answer makes the process answer all later ones by the course's code", of_rnn({
        "rnn.step": "m = type(rnn_step).__init__.__globals__\ne = m['sys'].modules['cvdl.course.exercises.api']\nold = e.caller\ne.caller = lambda id, f: old(id, m['chapters'].find(id).library)\nreturn None",
        "rnn.unroll": "return xs",
    }), ".", id="rnn.unroll"),
    Attack("a stand-in that stays", "one answer replaces torch.tanh, for an answer after it", of_rnn({
        "rnn.step": "f = torch.Tensor.__matmul__\ntorch.Tensor.rnn = lambda xs, h0, V, W, b_h: rnn_unroll(xs, h0, V, W, b_h)\nreturn None",
        "rnn.unroll": "return torch.Tensor.rnn(xs, h0, V, W, b_h)",
    }), ".", id="rnn.unroll"),
    Attack("process that answers the next exercise", "leaves a child that reads the next question and answers it", of_rnn({
        "before": FRAMES,
        "rnn.step": """
import sys
from cvdl.course.exercises import chapters as checks; from cvdl.course.grading.sandbox import protocol as wire
frame = sys._getframe()
while "request" not in frame.f_locals or "line" not in frame.f_locals: frame = frame.f_back
line = frame.f_locals["line"]
if os.fork() == 0:
    while True:
        request = wire.unpack(line.receive(limited=False)[1], strides=True)
        try:
            answer = checks.find(request["id"]).library(*request["args"])
            line.send(b"A", wire.pack({"token": request["token"], "lacks": "", "answer": answer}))
        except BaseException:
            pass
return None""",
        "rnn.unroll": "return xs",
    }), ".", id="rnn.unroll"),
    one(
        "four guesses",
        "gives another answer each time the exercise is tried in another way",
        "rnn.match",
        """
        import sys
        n = sys.__dict__.setdefault("asked", 0)
        sys.asked += 1
        right = {"frame-wise video classification": "many-to-many in step", "image captioning": "one-to-many", "image classification": "one-to-one", "sentiment analysis": "many-to-one", "machine translation": "many-to-many encoder-decoder"}
        return right if n // 5 % 2 else dict.fromkeys(right, "many-to-one")
        """,
        most=2,
    ),
    *together(
        ("list that lies about its length", "two values that are none", "x = Lying()\nreturn x", GENTLE, "."),
        ("generator", "values that come one by one", "return (x for x in xs)", "", "generator"),
        ("truth", "an object that is true", "return Boolean()", "", "returned a Boolean"),
        ("dict that lies", "a dict that has every key", "return Items(a=1)", "", "."),
        ("tensor that lies about its shape", "a tensor with a shape of its own", "return Tall(torch.zeros(2))", "", "."),
        ("number that is equal", "a whole number that equals all others", "return Number(7)", "", "."),
        ("bytes", "the memory of an answer", "return memoryview(bytes(8))", "", "returned a"),
        ("zeros of no size", "a tensor with 2^40 rows of nothing", "return torch.zeros(1 << 40, 0)", "", "."),
    ),
    attack("odd JSON on the wire", "keys twice, infinite and not-a-number values, lone surrogates", """
        import struct, sys
        t = token(sys._getframe())
        text = ('{"dict": [["token", "x"], ["token", "%s"], ["lacks", ""], ["failed", "\\\\ud800\\\\u202e\\\\u001b[2J"], ["hint", "\\\\udfff"], ["stopped", false], ["answer", {"tuple": [Infinity, -Infinity, NaN, 1e999]}]]}' % t).encode()
        send(struct.pack(">II", len(text), 0) + text)
        import os
        os.kill(os.getpid(), 19)
        """, before=FRAMES, limits={"CALL": 5, "LOAD": 1}),
    *(attack(f"{kind} on the wire", "a tensor of a type that does not compare", f"""
        import json, struct, sys, torch, safetensors.torch
        raw = safetensors.torch.save({{"0": torch.zeros(image.shape).to(torch.{kind})}})
        text = json.dumps({{"dict": [["token", token(sys._getframe())], ["answer", {{"tensor": "0", "strides": [1]}}]]}}).encode()
        send(struct.pack(">II", len(text), len(raw)) + text + raw)
        import os
        os.kill(os.getpid(), 19)
        """, before=FRAMES, limits={"CALL": 5, "LOAD": 1}) for kind in ("float8_e5m2", "uint64")),
    attack("60,000 references", "one tensor of 16 MB 60,000 times", """
        import json, struct, sys, torch, safetensors.torch
        raw = safetensors.torch.save({"0": torch.zeros(15 << 20, dtype=torch.uint8)})
        one = {"tensor": "0", "strides": [1]}
        text = json.dumps({"dict": [["token", token(sys._getframe())], ["answer", {"tuple": [one] * 60000}]]}, separators=(",", ":")).encode()
        send(struct.pack(">II", len(text), len(raw)) + text + raw)
        import os
        os.kill(os.getpid(), 19)
        """, before=FRAMES, limits={"CALL": 5, "LOAD": 1}),
]  # fmt: skip
