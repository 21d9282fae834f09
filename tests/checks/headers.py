"""Every header of the library compiles alone; before C++20 a public one ends in one line that says so. Skipped: Highway's per-target headers, which need its macros around them."""
import os
import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor

from common import LIBRARY, files, is_private, main, text

FLAGS = ["-std=c++20", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c++", "-"]
PACKAGES = ("openblas", "fmt", "libhwy", "nlohmann_json", "CLI11")  # private headers may include these


def package_flags():
    found = [p for p in PACKAGES if subprocess.run(["pkg-config", "--exists", p]).returncode == 0]
    return subprocess.run(["pkg-config", "--cflags", *found], capture_output=True, text=True).stdout.split()


def compiler():
    return shlex.split(os.environ.get("CXX", "g++"))


def check(root):
    flags = package_flags() + FLAGS
    per_target = lambda name: name.name.endswith("-inl.h") and re.search(r"HWY_|hwy/", text(root, name))
    headers = list(files(root, ".h", rooms=LIBRARY))
    skipped = [name for name in headers if per_target(name)]

    def alone(name, flags=flags):
        # Through stdin, because #pragma once warns in a file that is compiled itself.
        return subprocess.run(compiler() + flags, input=f'#include "{root / name}"\n', capture_output=True, text=True)

    compiled = [name for name in headers if name not in skipped]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, run in zip(compiled, pool.map(alone, compiled)):
            if run.returncode:
                said = next((l for l in run.stderr.splitlines() if re.search(r"error:", l)), run.stderr)
                yield f"{name}:1: does not compile alone ({said.replace(str(root) + '/', '')}); include what it uses"
    public = [name for name in compiled if not is_private(name) and (root / "core/cxx20.h").exists()]
    old = [("-std=c++17" if flag == "-std=c++20" else flag) for flag in flags]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, run in zip(public, pool.map(lambda name: alone(name, old), public)):
            errors = re.findall(r"error:.*", run.stderr)
            if len(errors) != 1 or "needs C++20" not in errors[0]:
                yield f"{name}:1: has {len(errors)} lines of errors in C++17; include core/cxx20.h first"
    print(f"headers: {len(compiled)} compiled; skipped: {', '.join(map(str, skipped)) or 'none'}")


if __name__ == "__main__":
    main(check)
