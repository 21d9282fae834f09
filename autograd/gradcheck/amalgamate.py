"""Writes the gradient checker as one header, for users of nothing else in tapegrad.

usage: amalgamate.py [OUTPUT [DEPFILE]]      default: gradcheck.hpp in the current folder; - for stdout

In are all files of this folder but tape_*, which check our own tape. They may include each other and the C++ standard library:
anything else is refused. Headers named -inl.h are private and go behind TAPEGRAD_GRADCHECK_IMPLEMENTATION, with the
sources. As all sources end up in one file, no two of them may give one name to different things, not even in anonymous
namespaces. The namespace gets the version as an inline part, so that a program may hold another version, or the library, too."""
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
MESON = HERE.parents[1] / "meson.build"
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"\n]*)"|(\S*)).*\n', re.M)
LANGUAGE = HERE.parents[1] / "core" / "cxx20.h"
STANDARD = re.compile(r"<[a-z_]+>")
TOP = """\
// tapegrad {version}: numeric gradient checking in one header, made by autograd/gradcheck/amalgamate.py
// SPDX-License-Identifier: Apache-2.0
//
// Needs C++20 and its standard library. Include it wherever you check gradients, and in exactly one .cpp write before that
//
//     #define TAPEGRAD_GRADCHECK_IMPLEMENTATION

#ifdef TAPEGRAD_VERSION
#error "gradcheck.hpp is for users without tapegrad.h, which declares all of it too: include only one of them"
#endif

"""


def part(name, text):
    return f"// ---- {name} {'-' * (90 - len(name))}\n\n{text.strip()}\n\n"


def read():
    """name -> text, each behind what it includes of the others; and the standard headers of each."""
    texts, standard = {}, {}

    def add(name, asked_by):
        if name in texts:
            return
        path = HERE / name
        if name.startswith("tape_") or path.parent != HERE or not path.is_file():
            sys.exit(f"{asked_by}: includes {name}: files of one header may include only each other and <standard> headers")
        text = path.read_text(encoding="utf-8")
        standard[name] = []
        for local, other in INCLUDE.findall(text):
            if (HERE / local).resolve() == LANGUAGE:
                continue  # first in the output
            if local:
                add(local, path)
            elif STANDARD.fullmatch(other):
                standard[name].append(other)
            else:
                sys.exit(f"{path}: includes {other}: it must need nothing but the C++ standard library")
        texts[name] = text

    for suffix in (".h", ".cpp"):
        for path in sorted(HERE.glob("*" + suffix)):
            if not path.name.startswith("tape_"):
                add(path.name, "amalgamate.py")
    return texts, standard


def amalgamate(version):
    texts, standard = read()
    inline = "inline v" + re.sub(r"\W", "_", version)
    public = [n for n in texts if n.endswith(".h") and not n.endswith("-inl.h")]
    private = [n for n in texts if n.endswith(".h") and n not in public]
    sources = [n for n in texts if n.endswith(".cpp")]

    def parts(names):
        yield "".join(f"#include {h}\n" for h in sorted({h for n in names for h in standard[n]})) + "\n"
        for name in names:
            text = INCLUDE.sub("", texts[name]).replace("#pragma once\n", "")
            text = re.sub(r"^namespace tapegrad\b", f"namespace tapegrad::{inline}", text, flags=re.M)
            yield part(name, re.sub(r"\n{3,}", "\n\n", text))

    # Two guards, not #pragma once: the declarations may have been read before somebody asks for the implementation.
    language = LANGUAGE.read_text(encoding="utf-8").replace("#pragma once\n\n", "")
    return (TOP.format(version=version) + language + "\n" +
            "#ifndef TAPEGRAD_GRADCHECK_HPP\n#define TAPEGRAD_GRADCHECK_HPP\n\n" + "".join(parts(public)) +
            "#endif\n\n" +
            "#if defined(TAPEGRAD_GRADCHECK_IMPLEMENTATION) && !defined(TAPEGRAD_GRADCHECK_IMPLEMENTED)\n"
            "#define TAPEGRAD_GRADCHECK_IMPLEMENTED\n\n" + "".join(parts(private + sources)) + "#endif\n")


if __name__ == "__main__":
    output = sys.argv[1] if len(sys.argv) > 1 else "gradcheck.hpp"
    header = amalgamate(re.search(r"\bversion: '([^']+)'", MESON.read_text(encoding="utf-8"))[1])
    if output == "-":
        sys.stdout.write(header)
    else:
        Path(output).write_text(header, encoding="utf-8")
    if len(sys.argv) > 2:  # the folder too, for files that come later
        needed = [MESON, LANGUAGE, HERE, *sorted(HERE.iterdir())]
        Path(sys.argv[2]).write_text(f"{output}: {' '.join(str(p).replace(' ', chr(92) + ' ') for p in needed)}\n")
