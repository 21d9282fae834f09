"""What an installed tapegrad shows. usage: exports.py PREFIX SHARED_LIBRARY STATIC_LIBRARY

The shared library exports what installed headers declare, all of it and nothing else; every type that is thrown is exported;
installed headers include only each other and the C++ standard library. A line for each problem; exits 1 if there is one."""
import re
import subprocess
import sys
from pathlib import Path

prefix, library, static = (Path(argument).resolve() for argument in sys.argv[1:])
include = prefix / "include"
headers = {path: re.sub(r"//[^\n]*|/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.S)
           for path in sorted(include.rglob("*.h"))}
source = "\n".join(headers.values())
CURE = ("hide it: #pragma GCC visibility push(hidden) after the includes of its private header, or an anonymous namespace; "
        "or install its header")


def components(mangled):
    """The names in a nested Itanium name, `_ZN8tapegrad4Tape8backwardE...`: ["tapegrad", "Tape", "backward"]."""
    rest = re.sub(r"^_Z(T[A-Z])?NK?[RO]?", "", mangled)
    names = []
    while found := re.match(r"\d+", rest):
        end = found.end() + int(found[0])
        names.append(rest[found.end():end])
        rest = rest[end:]
    return names


def is_scope(name):
    return re.search(r"\b(class|struct)\s+(?:\[\[\w+\]\]\s+)?(?:\w+::)*%s\b[^;{()]*\{|\bnamespace\s+(\w+::)*%s\s*\{" % (name, name), source)


def is_public(names):
    *scopes, last = names
    return all(map(is_scope, scopes)) and (is_scope(last) or re.search(r"\b%s\s*[(<]" % last, source))


def symbols(*arguments, kinds=""):
    listing = subprocess.run(["nm", "-P", *arguments], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listing.splitlines()]
    return {row[0] for row in rows if len(row) > 2 and row[1] in (kinds or row[1])}


def shown(name):
    return subprocess.run(["c++filt", name], capture_output=True, text=True, check=True).stdout.strip()


problems = []
exported = symbols("-D", "--defined-only", library)
for name in exported:
    names = components(name)
    if names[:1] != ["tapegrad"] or not is_public(names):
        problems.append(f"{library.name}: {shown(name)} is exported but no installed header declares it: {CURE}")
# A type that headers name and never define is hidden, and so is each function that takes it: g++ sees to that.
opaque = [name for name in set(re.findall(r"\b(?:class|struct) (\w+);", source)) if not is_scope(name)]
hidden = lambda name: any(re.search(r"\b%s\b" % o, shown(name)) for o in opaque)
# A public header that is read while a private one's #pragma is still on would be hidden too. (T: not inline.)
for name in symbols("--defined-only", static, kinds="T"):
    names = components(name)
    if names[:1] == ["tapegrad"] and is_public(names) and name not in exported and not hidden(name):
        problems.append(f"{library.name}: {shown(name)} is declared in an installed header but not exported: "
                        "is there a #pragma GCC visibility pop missing, or a kind of name in exports.map?")
thrown = re.findall(r"class (\w+) : public (?:Error|std::runtime_error)\b", source)
for name in thrown:
    if f"_ZTIN8tapegrad{len(name)}{name}E" not in exported:
        problems.append(f"{library.name}: typeinfo for tapegrad::{name} is not exported: it cannot be caught by type everywhere")

for path, text in headers.items():
    for found in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^">]+)', text, re.M):
        known = (path.parent / found[2]).resolve() in headers if found[1] == '"' else re.fullmatch(r"[a-z_]+", found[2])
        if not known:
            problems.append(f"{path.relative_to(include)}: includes {found[2]}, which is not installed: list it in meson.build")

# A check that sees nothing finds nothing.
if len(exported) < 100 or len(headers) < 40 or len(thrown) < 6:
    problems.append(f"{len(exported)} names, {len(headers)} headers, {len(thrown)} exceptions: fewer than there must be")
print("\n".join(problems) or f"{len(exported)} names, {len(headers)} headers, {len(thrown)} exceptions")
sys.exit(1 if problems else 0)
