"""Shows that the house checks can fail: plants one violation of each kind in a small tree and looks for the complaint."""
import contextlib
import io
import sys
import tempfile
from pathlib import Path

import errors
import headers
import layering
import op_coverage
import refusals
import snippets
import words

CLEAN = {
    "README.md": "./tests/run.sh\n./examples/quickstart.sh\n```cpp\n#include <vector>\nint main() {}\n```\n"
                 "<!-- snippet: fragment -->\n```cpp\nVar v;\n```\n<!-- snippet: none -->\n```cpp\n...\n```\n",
    "meson.build": "project('tapegrad', 'cpp', version: '0.3.1')\n",
    "core/meson.build": "'tensor.h', 'a.h'\n",
    "autograd/meson.build": "'parameters.h', 'tape.h'\n",
    "optim/meson.build": "'a.h'\n",
    "core/tensor.h": "#pragma once\nnamespace tapegrad { struct Tensor {}; }\n",
    "core/secret-inl.h": "#pragma once\n#include <fmt/core.h>\n",
    "core/fail-inl.h": "#pragma once\nstruct ShapeError {};\ninline void fail() { throw ShapeError(); }\n",
    "core/tensor.cpp": 'void f() { fail<ShapeError>("Tensor"); }  // throw ShapeError("no")\n',
    "core/kernels/openblas.cpp": "#include <cblas.h>\n",
    "core/kernels/per_target-inl.h": '#include "hwy/highway.h"\nHWY_BEFORE_NAMESPACE();\n',
    "autograd/tape.h": '#pragma once\n#include "../core/tensor.h"\n',
    "autograd/ops/maths.cpp": 'Node n("tanh", {x});  // Node n("no", {})\n'
                              'Var one(const char* op, Var x) { Node n(op, {x}); }\nVar e = one("exp", x);\n',
    "autograd/parameters.h": '#pragma once\n#include "../core/tensor.h"\n',
    "optim/sgd.cpp": '#include "../autograd/parameters.h"\n#include "../core/tensor.h"\n',
    "tests/test_maths.cpp": 'gradcheck("tanh"); check_op("exp");\n',
    "tests/autograd/test_torch_ops.cpp": '// not "exp"\nops = {"tanh of x"};\n',
    "docs/performance.md": "| long | 1.25 | 2 |\n",
    "build/release/include/tapegrad/tapegrad.h": "namespace tapegrad { struct Var {}; }\n",
}
NAMED = "./tests/run.sh\n./examples/quickstart.sh\n"
READING = NAMED + "## Reading order\nin {1} lines:\n\n1. `autograd/tape.h` ({0})\n"
CPP = "```cpp\n{}\n```\n"
PLANTED = [  # check, file, its text, part of the complaint
    (layering, "core/a.cpp", '#include "../autograd/tape.h"\n', "core/a.cpp:1: core may not include autograd/tape.h"),
    (layering, "autograd/a.cpp", '#include "../layers/a.h"\n', "layers/a.h\" is not there"),
    (layering, "optim/a.h", '\n#include "../autograd/tape.h"\n', "optim/a.h:2: optim may not include"),
    (layering, "core/a.h", "#include <fmt/core.h>\n", "public header; move"),
    (layering, "core/a.h", '#include "hwy/highway.h"\n', "public header; move"),
    (layering, "core/a.h", '#include "secret-inl.h"\n', "includes the private core/secret-inl.h"),
    (layering, "core/a.h", "#include <tapegrad/core/tensor.h>\n", "relative path"),
    (layering, "core/a.cpp", "/* */ \n#  include <openblas/cblas.h>\n", "core/a.cpp:2: <openblas/cblas.h>"),
    (layering, "core/b.h", "", "core/meson.build does not list this header"),
    (layering, "core/meson.build", "'tensor.h', 'secret-inl.h'\n", "lists this private header"),
    (layering, "core/kernels/deep/a-inl.h", "", "at most 2 levels"),
    (layering, "docs/long.md", "x\n" * 501, "501 lines"),
    (layering, "autograd/tape.cpp", "\n" * 370, "372 lines, at most 370"),
    (layering, "autograd/node.cpp", "\n" * 1300, "the engine has 1302 lines, at most 1250"),
    (layering, "core/kernels/a.cpp", "// as autograd does\n", "mentions autograd"),
    (layering, "autograd/tape.cpp", "bool LSTM;\n", "mentions LSTM"),
    (headers, "core/a.h", "#pragma once\nstruct A { std::string s; };\n", "core/a.h:1: does not compile alone"),
    (headers, "core/cxx20.h", "#pragma once\n", "has 0 lines of errors in C++17"),
    (snippets, "docs/a.md", CPP.format("Var v = 1 +;"), "docs/a.md:2: block does not compile (docs/a.md:2"),
    (snippets, "docs/a.md", "<!-- snippet: skip -->\n" + CPP.format(""), "write fragment or none"),
    (snippets, "CONTRIBUTING.md", CPP.format("int main() { return x; }"), "CONTRIBUTING.md:2"),
    (op_coverage, "layers/a.cpp", 'Node n("lstm", {x});\n', '"lstm" is in no gradient test'),
    (op_coverage, "layers/a.cpp", 'Var e = one("sin", x);\n', 'layers/a.cpp:1: op "sin"'),
    (op_coverage, "layers/a.cpp", "Node n(name_, {x});\n", "not to be seen"),
    (op_coverage, "tests/test_maths.cpp", 'gradcheck("tanh"); // "exp"\n', 'op "exp"'),
    (op_coverage, "tests/test_maths.cpp", 'check_op("tanh"); check_op("exp");\n', 'op "tanh"'),
    (op_coverage, "tests/autograd/test_torch_ops.cpp", 'ops = {"tanh"};\n', 'op "exp" is not in tests/autograd/test_torch_ops.cpp'),
    (op_coverage, "autograd/ops/a.h", "\nVar sine(const Var& x);\n", "autograd/ops/a.h:2: sine is in no program"),
    (op_coverage, "optim/a.h", "class Walk : public Optimizer {\n};\n", "optim/a.h:1: Walk is in no program"),
    (op_coverage, "layers/a.h", "class GRU {\n  int b;\n  Var operator()(Tape& t) const;\n};\n", "layers/a.h:1: GRU is in no program"),
    (errors, "core/a.cpp", '\nthrow ShapeError("[Tensor] x");\n', "core/a.cpp:2: throws a ShapeError itself"),
    (errors, "core/a.cpp", 'fail<ShapeError>("tensor");\n', "core/a.cpp:1: [tensor] is not declared"),
    (errors, "layers/a.cpp", 'tape.require_same_tape(x,\n"linear");\n', "layers/a.cpp:2: [linear] is not declared"),
    (refusals, "layers/model/walk.h", "", "double is refused as a member"),
    (words, "README.md", "./tests/run.sh\n", "does not name ./examples/quickstart.sh"),
    (words, "README.md", READING.format(3, 2), "'(3)' in the reading order, but these files have 2 lines"),
    (words, "README.md", READING.format(2, 3), "'in 3 lines' to read, but the list has 2"),
    (words, "docs/a.md", "```\n" + "x" * 131 + "\n```\n|" + "x" * 131 + "\n" + "x" * 131, "docs/a.md:5: 131 columns"),
    (words, "README.md", READING.format(2, 1001) + "2. `core/tensor.h`, about 999\n", "1001 lines to read, at most 1000"),
    (words, "README.md", NAMED + "`tests/no*.cpp`\n", "README.md:3: tests/no*.cpp is not there"),
    (words, "README.md", NAMED + "## Speed\n\n| long | 1.5 |\n", "README.md:5: '| long | 1.5 |' is no row"),
    (words, "README.md", NAMED + "find_package(tapegrad 0.2)\n", "README.md:3: asks for tapegrad 0.2, but this is 0.3"),
    (words, "core/a.h", "/// The sum.\nint sum(int a);\n", "core/a.h:1: 'The sum.': a function's docstring begins with a verb"),
    (words, "core/a.h", "\n/// What is summed.\nstruct A {};\n", "core/a.h:2: 'What is summed.': begin with a noun"),
    (words, "core/a.h", "/// Returns the\n/// stranger's sum.\nint sum(int a);\n", "core/a.h:1: 'stranger' is a word of our own"),
    (words, "docs/design.md", "* **All is a decision.**\n* but this\n", "docs/design.md:2: '* but this'"),
    (words, "docs/a.md", "see\n/ho" + "me/me/data\n", "docs/a.md:2: /ho" + "me/me is a path"),
]


def complaints(check, planted):
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        for name, text in (CLEAN | planted).items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return list(check.check(Path(folder)))


failed = 0
for module in (layering, headers, snippets, op_coverage, refusals, errors, words):
    for said in complaints(module, {}):
        failed += 1
        print(f"selftest: {module.__name__} complains about a clean tree: {said}")
for module, name, text, expected in PLANTED:
    said = complaints(module, {name: text})
    if not said or expected not in said[0]:
        failed += 1
        print(f"selftest: {module.__name__}, planted {name} {text[:40]!r}: expected '...{expected}...', got {said}")
print(f"selftest: {len(PLANTED)} planted violations, {failed} surprises")
sys.exit(1 if failed else 0)
