"""README.md names its two commands and counts its reading order right; no document has lines that are too long; no file holds
a path of somebody's machine."""
import re

from common import files, line_of, main, text

COMMANDS = ("./tests/run.sh", "./examples/quickstart.sh")
# The brackets keep this file from finding itself.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:wor[k]|hom[e]|roo[t]|User[s])/[\w.-]+|bash[_]jobs")
MAX_COLUMNS = 130


def reading_order(root, readme):
    """In its list, "`a.h`, `b.h` (12 lines)" counts these files; the sum of all such numbers is the one above the list."""
    section = re.search(r"^## Reading order\n(.*?)(?=^## |\Z)", readme, re.M | re.S)
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


def long_lines(root):
    for name in files(root, ".md"):
        code = False
        for number, line in enumerate(text(root, name).splitlines(), 1):
            code ^= line.lstrip().startswith("```")
            if len(line) > MAX_COLUMNS and not code and not line.startswith("|"):
                yield f"{name}:{number}: {len(line)} columns, at most {MAX_COLUMNS} outside of code and tables; wrap it"


def check(root):
    readme = text(root, "README.md") if (root / "README.md").exists() else ""
    for command in COMMANDS:
        if command not in readme:
            yield f"README.md:1: does not name {command}; tell the reader to run it"
    yield from reading_order(root, readme)
    yield from long_lines(root)
    for name in files(root):
        if name.parts[0] not in (".ci", ".git") and b"\0" not in (root / name).read_bytes()[:4096]:
            source = text(root, name)
            for found in MACHINE_PATH.finditer(source):
                yield f"{name}:{line_of(source, found.start())}: {found[0]} is a path of one machine; write a relative one"


if __name__ == "__main__":
    main(check)
