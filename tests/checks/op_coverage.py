"""Every op that is recorded stands, by its name in quotes, in a gradient test: a tests/test_*.cpp that calls gradcheck. And
tests/autograd/test_torch_ops.cpp compares it with PyTorch, or says in a comment why not. The random programs of tests/search/ call
every public function that makes values, every layer, and every optimizer."""
import re

from common import code, files, is_private, line_of, main, text

NODE = re.compile(r'\bNode(?:\s+\w+)?\s*[({]\s*(?:"([^"\n]+)"|(\w+)\s*,)')
NAME_PARAMETER = r"(\w+)\s*\(\s*(?:const\s+char\s*\*|std::string_view)\s*%s\b"


def recorded(root):
    """Pairs of where and name. A name passed through a helper, unary("exp", x, ...), is found at the helper's calls."""
    sources = {name: code(root, name) for name in files(root, ".cpp", ".h", rooms=("autograd", "layers"))
               if not name.as_posix().startswith(("autograd/tape", "autograd/var"))}
    helpers = set()
    for name, source in sources.items():
        for found in NODE.finditer(source):
            if found[1]:
                yield f"{name}:{line_of(source, found.start())}", found[1]
            else:
                # The helper is the last function before the Node that takes the name first.
                taking = list(re.finditer(NAME_PARAMETER % found[2], source[: found.start()]))
                if taking:
                    helpers.add(taking[-1][1])
                else:
                    yield f"{name}:{line_of(source, found.start())}", None
    for helper in sorted(helpers):
        for name, source in sources.items():
            for found in re.finditer(r'\b%s\s*(?:<[^;{}]*?>)?\(\s*"([^"\n]+)"' % helper, source):
                yield f"{name}:{line_of(source, found.start())}", found[1]


# What a search would call: functions of ops, clip functions, classes that are called or step.
DECLARED = {
    "autograd/ops/": re.compile(r"^(?:Var|Vars|Tensor|TopK|LSTM\w+|Owned<\S+(?: \w+>+)?) (\w+)\(", re.M),
    "optim/": re.compile(r"^(?:GradNorm|void) (clip\w+)\(|^class (\w+) : public Optimizer\b", re.M),
    "layers/": re.compile(r"^class (\w+) \{(?=(?:(?!^\};).)*operator\(\)\(Tape&)", re.M | re.S),
}


def unsearched(root):
    searched = " ".join(code(root, name) for name in files(root, ".cpp", rooms=("tests",)) if name.parts[1] == "search")
    for name in files(root, ".h", rooms=("autograd", "layers", "optim")):
        source = code(root, name)
        for folder, pattern in DECLARED.items():
            for found in pattern.finditer(source) if name.as_posix().startswith(folder) and not is_private(name) else ():
                function = next(filter(None, found.groups()))
                if not re.search(r"\b%s\b" % function, searched):
                    yield f"{name}:{line_of(source, found.start())}: {function} is in no program of tests/search/; add it there"


def check(root):
    yield from unsearched(root)
    tests = [code(root, name) for name in files(root, ".cpp", rooms=("tests",)) if name.name.startswith("test_")]
    tested = set()
    for source in tests:
        if "gradcheck" in source:
            tested.update(re.findall(r'"([^"\n]*)"', source))
    compared = set(re.findall(r'"(\w+)[^"\n]*"', text(root, "tests/autograd/test_torch_ops.cpp")))
    names = set()
    for where, name in recorded(root):
        if name is None:
            yield f"{where}: the op's name is not to be seen; pass a literal, or a parameter that comes first"
        elif name not in tested:
            yield f'{where}: op "{name}" is in no gradient test; add a line with "{name}" to a tests/test_*.cpp'
        elif name not in compared:
            yield f'{where}: op "{name}" is not in tests/autograd/test_torch_ops.cpp; add a case, or its name to those left out'
        names.add(name)
    print(f"op_coverage: {len(names)} ops")


if __name__ == "__main__":
    main(check)
