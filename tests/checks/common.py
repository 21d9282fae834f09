"""What the house checks share: which files there are, code without comments, one way to report."""
import os
import re
import sys
from pathlib import Path

LIBRARY = ("core", "autograd", "layers", "optim")
ROOMS = LIBRARY + ("examples", "tests")


def folders(root):
    """Every folder of the project (relative), without git's and what builds and runs leave behind."""
    for top, names, _ in os.walk(root):
        here = Path(top).relative_to(root)
        names[:] = sorted(n for n in names if n not in (".git", "__pycache__")
                          and not (here == Path(".") and re.match(r"build|out", n)))
        yield here


def files(root, *suffixes, rooms=("",)):
    """The project's files (relative) with one of the suffixes (none named: all) under the rooms."""
    for folder in folders(root):
        for path in sorted((root / folder).iterdir()):
            name = path.relative_to(root)
            if path.is_file() and (not suffixes or name.name.endswith(suffixes)):
                if "" in rooms or name.parts[0] in rooms:
                    yield name


def text(root, name):
    return (root / name).read_text(encoding="utf-8", errors="replace")


def code(root, name):
    """A C++ file with its comments blanked out; strings and line numbers stay."""
    token = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|//[^\n]*|/\*.*?\*/', re.S)
    blank = lambda m: re.sub(r"[^\n]", " ", m[0]) if m[0].startswith("/") else m[0]
    return token.sub(blank, text(root, name))


def line_of(source, position):
    return source.count("\n", 0, position) + 1


def is_private(name):
    """Private headers are not installed: they end in -inl.h."""
    return name.name.endswith("-inl.h")


def main(check):
    """Runs check(root), a generator of problems; the root is the first argument or the checkout. Exits 1 if there is one."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2]).resolve()
    problems = list(check(root))
    for problem in problems:
        print(problem)
    print(f"{Path(sys.argv[0]).stem}: {len(problems) or 'no'} problem{'s' * (len(problems) != 1)}")
    sys.exit(1 if problems else 0)
