"""README.md names its two commands, counts its reading order right, and takes its figures from docs/performance.md; docstrings
begin as CONTRIBUTING.md says (a function's in a public header with a verb) and keep to the glossary of docs/design.md; files
that README.md and docs/guarantees.md name are there; no document has lines that are too long; no file holds a path of
somebody's machine."""
import re

from common import LIBRARY, files, is_private, line_of, main, text

COMMANDS = ("./tests/run.sh", "./examples/quickstart.sh")
# The brackets keep this file from finding itself.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:wor[k]|hom[e]|roo[t]|User[s])/[\w.-]+|bash[_]jobs")
MAX_COLUMNS = 130
MAX_READING = 1000  # lines
# How no docstring begins: a relative clause, or a pronoun without its noun.
UNCLEAR = re.compile(r"(?:Who|What|Whether|Which|Where|Why|How|It|They|This|That|Those|And)\b|The same\b")
VERB = re.compile(r"[A-Z][a-z]+s\b")
# Words of our own, for which design.md's glossary has one of the field's.
OWN_WORDS = re.compile(r"\b(?:doors?|stranger|nobody's|somebody's|believed|hands free)\b")
TYPE = re.compile(r"\s*(?:struct|class|enum|using|namespace|concept)\b")


def reading_order(root, readme):
    """In its list, "`a.h`, `b.h` (12 lines)" counts these files; the sum of all such numbers is the one above the list."""
    section = re.search(r"^##+ Reading order\n(.*?)(?=^##+ |\Z)", readme, re.M | re.S)
    if not section:
        return
    where, total = f"README.md:{line_of(readme, section.start())}", 0
    for item in re.split(r"^(?=\d+\. )", section[1], flags=re.M)[1:]:
        lines = 0
        for found in re.finditer(r"`([\w/]+\.(?:h|cpp))`|\((\d+)(?: lines)?\)|\b(?:first|about) (\d+)\b", item):
            if found[1]:
                lines += len(text(root, found[1]).splitlines()) if (root / found[1]).exists() else 0
                continue
            total += int(found[2] or found[3])
            if found[2] and int(found[2]) != lines:
                yield f"{where}: '{found[0]}' in the reading order, but these files have {lines} lines; count again"
            lines = 0
    said = re.search(r"\bin (\d+) lines", section[1])
    if said and int(said[1]) != total:
        yield f"{where}: '{said[0]}' to read, but the list has {total}; add again"
    if total > MAX_READING:
        yield f"{where}: {total} lines to read, at most {MAX_READING}; name the parts that matter"


def long_lines(root):
    for name in files(root, ".md"):
        code = False
        for number, line in enumerate(text(root, name).splitlines(), 1):
            code ^= line.lstrip().startswith("```")
            if len(line) > MAX_COLUMNS and not code and not line.startswith("|"):
                yield f"{name}:{number}: {len(line)} columns, at most {MAX_COLUMNS} outside of code and tables; wrap it"


def docstrings(source):
    """(line, first line, whole text, what it is of) of each /// block that something is declared behind."""
    for block in re.finditer(r"^([ \t]*///[^\n]*\n)+", source, re.M):
        lines = [line.strip().removeprefix("///").strip() for line in block[0].splitlines()]
        declared = re.split(r"[;{]", source[block.end():], maxsplit=1)[0]
        declared = re.sub(r"^\s*(?:template\s*<[^>]*>\s*)?(?:requires [^\n]*\n)?", "", declared)
        is_function = "(" in declared.split("=")[0] and "std::function<" not in declared
        kind = "type" if TYPE.match(declared) else "function" if is_function else "member"
        yield line_of(source, block.start()), lines[0], " ".join(lines), kind


def language(root):
    for name in files(root, ".h", ".cpp", rooms=LIBRARY):
        public = name.suffix == ".h" and not is_private(name)
        for line, first, whole, kind in docstrings(text(root, name)):
            if public and kind == "function" and not VERB.match(first):
                yield f"{name}:{line}: '{first[:40]}': a function's docstring begins with a verb (Returns, Computes, ...)"
            elif UNCLEAR.match(first):
                yield f"{name}:{line}: '{first[:40]}': begin with a noun (a type) or a verb (a function)"
            if own := OWN_WORDS.search(whole):
                yield f"{name}:{line}: '{own[0]}' is a word of our own; see the glossary of docs/design.md"


def decisions(root):
    """Each bullet of design.md begins with its decision, in bold; those of its contents are links."""
    if (root / "docs/design.md").exists():
        for number, line in enumerate(text(root, "docs/design.md").splitlines(), 1):
            if line.startswith("* ") and not line.startswith(("* **", "* [")):
                yield f"docs/design.md:{number}: '{line[:40]}': begin with the decision, in bold"


def named_files(root, name):
    """What stands in backquotes and looks like a path of the checkout is one (* stands for anything)."""
    source = text(root, name) if (root / name).exists() else ""
    for found in re.finditer(r"`((?:core|autograd|layers|optim|examples|tests|docs)/[\w./*-]*)`", source):
        if not any(root.glob(found[1].rstrip("/"))):
            yield f"{name}:{line_of(source, found.start())}: {found[1]} is not there"


def version(root, readme):
    """README asks CMake for the version that meson.build gives: before 1.0 another minor one is refused."""
    given = re.search(r"version: '(\d+\.\d+)", text(root, "meson.build")) if (root / "meson.build").exists() else None
    asked = re.search(r"find_package\(tapegrad ([\d.]+)", readme)
    if given and asked and asked[1] != given[1]:
        yield f"README.md:{line_of(readme, asked.start())}: asks for tapegrad {asked[1]}, but this is {given[1]}"


def figures(root, readme):
    """Each row of README's table of speed begins a row of docs/performance.md."""
    section = re.search(r"^## Speed\n(.*?)(?=^## |\Z)", readme, re.M | re.S)
    measured = text(root, "docs/performance.md").splitlines() if section else []
    for row in re.findall(r"^\| (?!cell).*\|$", section[1], re.M) if section else []:
        if not any(line.startswith(row) for line in measured):
            yield f"README.md:{line_of(readme, readme.index(row))}: '{row}' is no row of docs/performance.md"


def check(root):
    readme = text(root, "README.md") if (root / "README.md").exists() else ""
    for command in COMMANDS:
        if command not in readme:
            yield f"README.md:1: does not name {command}; tell the reader to run it"
    yield from reading_order(root, readme)
    yield from long_lines(root)
    yield from language(root)
    yield from decisions(root)
    yield from figures(root, readme)
    yield from version(root, readme)
    for name in ("README.md", "docs/guarantees.md"):
        yield from named_files(root, name)
    for name in files(root):
        if name.parts[0] not in (".ci", ".git") and b"\0" not in (root / name).read_bytes()[:4096]:
            source = text(root, name)
            for found in MACHINE_PATH.finditer(source):
                yield f"{name}:{line_of(source, found.start())}: {found[0]} is a path of one machine; write a relative one"


if __name__ == "__main__":
    main(check)
