"""README.md names its two commands, and no file holds a path of somebody's machine."""
import re

from common import files, line_of, main, text

COMMANDS = ("./tests/run.sh", "./examples/quickstart.sh")
# The brackets keep this file from finding itself.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:wor[k]|hom[e]|roo[t]|User[s])/[\w.-]+|bash[_]jobs")


def check(root):
    readme = text(root, "README.md") if (root / "README.md").exists() else ""
    for command in COMMANDS:
        if command not in readme:
            yield f"README.md:1: does not name {command}; tell the reader to run it"
    for name in files(root):
        if name.parts[0] not in (".ci", ".git") and b"\0" not in (root / name).read_bytes()[:4096]:
            source = text(root, name)
            for found in MACHINE_PATH.finditer(source):
                yield f"{name}:{line_of(source, found.start())}: {found[0]} is a path of one machine; write a relative one"


if __name__ == "__main__":
    main(check)
