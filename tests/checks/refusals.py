"""Members that a module cannot have do not compile, and the compiler's words name the cure."""
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

from common import main
from headers import compiler

PROGRAM = """#include "{root}/layers/linear.h"
#include "{root}/layers/model/clone.h"
#include "{root}/layers/recurrent/lstm.h"
#include <map>
#include <mutex>
#include <optional>
using namespace tapegrad;
struct M {{ Linear a; {member} m; void visit(auto&& v) {{ v("a", a); v("m", m); }} }};
std::size_t f(const M& m) {{ return parameters(m).size(); }}
"""
SHARED = "refers to something that a copy of the module would share"
HIDDEN = "holds Parameters where a walk does not find them"
CASES = [  # type of the member, what the error says; None: compiles
    ("double", None),
    ("std::optional<int>", None),
    ("std::vector<Linear>", None),
    ("Var", SHARED),
    ("LSTMState", SHARED),
    ("std::vector<std::pair<int, LSTMState>>", SHARED),
    ("std::unique_ptr<Linear>", SHARED),
    ("const Linear*", SHARED),
    ("std::string_view", SHARED),
    ("std::optional<Linear>", HIDDEN),
    ("std::map<int, Linear>", HIDDEN),
    ("std::unique_lock<std::mutex>", "a setting that can be copied"),
]


def check(root):
    def compiled(case):
        program = PROGRAM.format(root=root, member=case[0])
        return subprocess.run(compiler() + ["-std=c++20", "-fsyntax-only", "-x", "c++", "-"], input=program,
                              capture_output=True, text=True)

    if not (root / "layers/model/walk.h").exists():
        return
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for (member, words), run in zip(CASES, pool.map(compiled, CASES)):
            if words is None and run.returncode:
                yield f"layers/model/member.h:1: {member} is refused as a member; it is a setting or a module"
            if words is not None and words not in run.stderr:
                yield f"layers/model/member.h:1: {member} as a member of a module is not refused with '{words}'"
    print(f"refusals: {len(CASES)} members")


if __name__ == "__main__":
    main(check)
