"""The C++ in the documents compiles. A comment on the line before a block says how it is read:
<!-- snippet: fragment --> as the body of a function, <!-- snippet: none --> not at all; otherwise as a file."""
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

from common import files, line_of, main, text
from headers import compiler

DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/")
BLOCK = re.compile(r"^[ \t]*(?:<!-- *snippet: *(\w+) *-->[ \t]*\n\s*)?[ \t]*```cpp[^\n]*\n(.*?)^[ \t]*```", re.M | re.S)
FLAGS = ["-std=c++20", "-Wall", "-Werror", "-Wno-unused", "-fsyntax-only", "-x", "c++", "-"]


def wrapped(kind, block, name, line):
    """The block as a whole file whose error messages name the document's lines."""
    here = f'#line {line} "{name}"\n'
    if "int main" in block:
        return here + block
    top = "#include <tapegrad/tapegrad.h>\nusing namespace tapegrad;\n"
    if kind != "fragment":
        return top + here + block
    keep = lambda wanted: "".join(l if ("#include" in l) == wanted else "\n" for l in block.splitlines(True))
    return top + here + keep(True) + "void snippet() {\n" + here + keep(False) + "}\n"


def check(root):
    blocks, none = [], 0
    for name in files(root, ".md"):
        if name.as_posix().startswith(DOCUMENTS):
            source = text(root, name)
            for found in BLOCK.finditer(source):
                kind, line = found[1], line_of(source, found.start(2))
                if kind not in (None, "none", "fragment"):
                    yield f"{name}:{line}: snippet: {kind}; write fragment or none"
                none += kind == "none"
                if kind != "none":
                    blocks.append((f"{name}:{line}", wrapped(kind, found[2], name, line)))
    include = root / "build/release/include"
    if blocks and not (include / "tapegrad/tapegrad.h").exists():
        yield f"{include.relative_to(root)}/tapegrad/tapegrad.h:1: is not there; build first: ./tests/run.sh"
        return

    def compiled(block):
        return subprocess.run(compiler() + ["-I", include] + FLAGS, input=block[1], capture_output=True, text=True)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for (where, _), run in zip(blocks, pool.map(compiled, blocks)):
            if run.returncode:
                said = next((l for l in run.stderr.splitlines() if "error:" in l), run.stderr)
                yield f"{where}: block does not compile ({said}); mend it, or mark it <!-- snippet: fragment -->"
    print(f"snippets: {len(blocks)} compiled, {none} marked as none")


if __name__ == "__main__":
    main(check)
