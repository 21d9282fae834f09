"""Errors go through one function, and what stands in brackets at their beginning is a name that a caller can look up."""
import re
from pathlib import Path

from common import LIBRARY, code, files, is_private, line_of, main

DOOR = Path("core/fail-inl.h")
THROW = re.compile(r"\bthrow\s+(\w*Error)\b")
# A name given as a literal: to fail, to a check, to a text of the engine, to a tape; or the `op` or `type` of what follows.
NAME = re.compile(r'(?:\bfail<\w+>\(|\b(?:check|tape_errors)::\w+\(|\b(?:op|type) =|'
                  r'\b(?:require_tape|check_thread)\(|\b(?:require_same_tape|check_own)\([^"();,]*,)\s*"([^"]*)"')


def declared(root):
    """Every name that a public header declares as a class, or writes before a parenthesis."""
    names = set()
    for name in files(root, ".h", rooms=LIBRARY):
        if not is_private(name):
            source = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', code(root, name))
            names.update(found[1] or found[2] for found in re.finditer(r"\b(?:class|struct)\s+(\w+)|\b(\w+)\(", source))
    return names


def check(root):
    names, count = declared(root), 0
    for name in files(root, ".h", ".cpp", rooms=LIBRARY):
        source = code(root, name)
        for found in THROW.finditer(source):
            if name != DOOR:
                yield f"{name}:{line_of(source, found.start())}: throws a {found[1]} itself; call fail<{found[1]}>(...)"
        for found in NAME.finditer(source):
            count += 1
            if found[1] not in names:
                yield (f"{name}:{line_of(source, found.start(1))}: [{found[1]}] is not declared in a public header; "
                       "name the function or the class that is called")
    print(f"errors: {count} names in brackets")


if __name__ == "__main__":
    main(check)
