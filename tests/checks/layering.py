"""Who may include whom, and how big things may be: core -> autograd -> layers -> examples; optim sees Parameters only."""
import os.path
import re
from pathlib import Path

from common import LIBRARY, code, files, folders, is_private, line_of, main, text

FLOORS = {"core": ("core/",), "autograd": ("core/", "autograd/"), "layers": ("core/", "autograd/", "layers/"),
          "optim": ("core/", "autograd/parameter.h", "autograd/parameters.h", "optim/")}
PRIVATE = re.compile(r"(hwy|fmt|nlohmann|Random123|CLI)/|(openblas/)?(f77)?cblas\w*\.h|openblas_config\.h")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^">]+)[">]', re.M)
IDEA = ("var.h", "tape.h", "tape.cpp")  # of the engine: what a reader of the engine reads
# All of the engine: what lies in autograd itself, without the texts of errors, and what uses the engine.
NOT_ENGINE = re.compile(r"autograd/(precompiled|tape_errors|parameters?\b|derivatives)")
MAX_LINES, MAX_IDEA, MAX_ENGINE, MAX_DEPTH = 500, 370, 1250, 2
MENTIONS = (("core/", r"autograd", "kernels know nothing of the tape; say it without that word"),
            ("autograd/tape", r"(?i)lstm", "the tape knows nothing of LSTM; move this to layers or autograd/ops"))


def includes(root):
    for name in files(root, ".h", ".cpp", rooms=LIBRARY):
        room, source = name.parts[0], code(root, name)
        for found in INCLUDE.finditer(source):
            where, target = f"{name}:{line_of(source, found.start())}", found[2]
            if found[1] == "<" or PRIVATE.match(target):
                if target.startswith("tapegrad/"):
                    yield f"{where}: <{target}> inside the library; include it by a relative path in quotes"
                if PRIVATE.match(target) and name.suffix == ".h" and not is_private(name):
                    yield f"{where}: <{target}> in a public header; move it to a .cpp or to a -inl.h"
                if "cblas" in target and name.as_posix() != "core/kernels/gemm.cpp":
                    yield f"{where}: <{target}>; OpenBLAS is called in core/kernels/gemm.cpp only: call that"
                continue
            resolved = Path(os.path.normpath(name.parent / target))
            if not (root / resolved).is_file():
                yield f'{where}: "{target}" is not there; paths in quotes are relative to the file that includes'
            elif not resolved.as_posix().startswith(FLOORS[room]):
                yield f"{where}: {room} may not include {resolved}; {room} may use {', '.join(FLOORS[room])}"
            if name.suffix == ".h" and not is_private(name) and is_private(resolved):
                yield f"{where}: public header includes the private {resolved}; include it from a .cpp"


def sizes(root):
    engine = {name.name: len(text(root, name).splitlines()) for name in files(root, ".h", ".cpp", rooms=("autograd",))
              if len(name.parts) == 2 and not NOT_ENGINE.match(name.as_posix())}
    idea, whole = sum(engine.get(name, 0) for name in IDEA), sum(engine.values())
    print(f"layering: the engine has {whole} lines, {' + '.join(IDEA)} {idea} of them")
    if idea > MAX_IDEA:
        yield f"autograd/tape.h:1: {' + '.join(IDEA)} have {idea} lines, at most {MAX_IDEA}; move out what is no engine"
    if whole > MAX_ENGINE:
        yield f"autograd:1: the engine has {whole} lines, at most {MAX_ENGINE}; move out what is no engine"
    for name in files(root, ".h", ".cpp", ".py", ".sh", ".md", ".build", "run"):
        lines = len(text(root, name).splitlines())
        if lines > MAX_LINES:
            yield f"{name}:{MAX_LINES}: {lines} lines, at most {MAX_LINES}; split it by purpose"
    for folder in folders(root):
        if len(folder.parts) > MAX_DEPTH:
            yield f"{folder}:1: folders are at most {MAX_DEPTH} levels deep; move its files up"


def lists(root):
    """A header is installed, and then its room's meson.build lists it, or it is private."""
    for name in files(root, ".h", rooms=LIBRARY):
        build = Path(name.parts[0], "meson.build")
        listed = text(root, build) if (root / build).exists() else ""
        if (f"'{name.relative_to(name.parts[0]).as_posix()}'" in listed) == is_private(name):
            yield (f"{name}:1: {build} lists this private header; take it out" if is_private(name) else
                   f"{name}:1: {build} does not list this header; list it, or name it -inl.h if it is private")


def mentions(root):
    for name in files(root, ".h", ".cpp", rooms=LIBRARY):
        for prefix, word, cure in MENTIONS:
            source = text(root, name)
            if name.as_posix().startswith(prefix):
                for found in re.finditer(word, source):
                    yield f"{name}:{line_of(source, found.start())}: mentions {found[0]}: {cure}"


def check(root):
    yield from includes(root)
    yield from sizes(root)
    yield from lists(root)
    yield from mentions(root)


if __name__ == "__main__":
    main(check)
