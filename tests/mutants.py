#!/usr/bin/env python3
"""Would the tests notice if a rule of our own backward code were wrong? Puts the faults that are listed in tests/mutants/
one at a time into a copy of the checkout, builds what changed there, and runs the tests until one fails.

usage: python3 tests/mutants.py [--check] [WORD...]
--check only looks whether each fault still has its place; a WORD chooses the faults with it in their file or description.
The last line is "N killed, N survived, N stale"; fails if a fault survived that is not explained, or if one is stale: its
text is not found exactly once, or what results does not compile.

The lists: "## FILE: PATTERNS" begins the faults of a file and says which test cases are tried first; then for each fault
  # what it is
  -the text, of one line or more, as it stands in the file exactly once
  +what takes its place
  = why no test can notice it (then it must survive)
"""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LISTS = ROOT / "tests" / "mutants"
WORK = ROOT / "build" / "mutants"
COPY, BUILD = WORK / "checkout", WORK / "build"
SECONDS = 120  # the tests take 20; a fault that makes them hang is noticed


@dataclass
class Fault:
    file: str
    first: str  # patterns of test cases
    what: str
    old: list = field(default_factory=list)
    new: list = field(default_factory=list)
    reason: str = ""

    def planted(self, text):
        """The text with the fault in it; None if there is not exactly one place for it."""
        old = "\n".join(self.old)
        return text.replace(old, "\n".join(self.new)) if old and text.count(old) == 1 else None


def faults():
    found = []
    for path in sorted(LISTS.glob("*.txt")):
        file = first = ""
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if line.startswith("## "):
                file, _, first = line[3:].partition(": ")
            elif line.startswith("# "):
                found.append(Fault(file, first, line[2:]))
            elif line[:1] == "-":
                found[-1].old.append(line[1:])
            elif line[:1] == "+":
                found[-1].new.append(line[1:])
            elif line.startswith("= "):
                found[-1].reason = line[2:]
            elif line:
                sys.exit(f"{path}:{number}: begins with none of '## ', '# ', '-', '+', '= '")
    return found


def ninja():
    return subprocess.run(["ninja", "-C", BUILD, "tapegrad_tests"], capture_output=True, text=True)


def copy_checkout():
    """Brings the copy up to date. Files that are the same keep their dates, so that they are not compiled again."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    names = {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    for path in [p for p in COPY.rglob("*") if p.is_file() and str(p.relative_to(COPY)) not in names]:
        path.unlink()
    for name in names:
        data, to = (ROOT / name).read_bytes(), COPY / name
        if not to.exists() or to.read_bytes() != data:
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(data)
    if not (BUILD / "build.ninja").exists():
        setup = ["meson", "setup", BUILD, COPY, "--buildtype=release", "-Dexamples=false"]
        subprocess.run(setup, check=True, stdout=subprocess.DEVNULL)
    built = ninja()
    if built.returncode != 0:
        sys.exit(built.stdout[-4000:])


def failure(program, *selection):
    """The test case that failed first; None if none did."""
    try:
        command = [program, "--abort-after=1", "--no-colors=true", *selection]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return "(hangs)"
    if run.returncode == 0:
        return None
    case = "before any test case"
    for line in run.stdout.splitlines():
        if line.startswith("TEST CASE:"):
            case = line.partition(":")[2].strip()
        elif "ERROR: " in line:
            return case
    return f"(ends with {run.returncode} in or after: {case})"


def killer(program, first):
    try:
        if first:
            failed = failure(program, f"--test-case={first}")
            if failed is not None:
                return failed
        return failure(program, *([f"--test-case-exclude={first}"] if first else []))
    finally:
        program.unlink()


def build(fault, number):
    """The tests with the fault in them, as a program of its own; None if they do not compile."""
    path = COPY / fault.file
    text = path.read_text()
    path.write_text(fault.planted(text))
    try:
        if ninja().returncode != 0:
            return None
        program = BUILD / f"mutant_{number}"
        program.write_bytes((BUILD / "tapegrad_tests").read_bytes())
        program.chmod(0o755)
        return program
    finally:
        path.write_text(text)


def main(arguments):
    words = [a for a in arguments if not a.startswith("-")]
    unknown = [a for a in arguments if a.startswith("-") and a != "--check"]
    if unknown:
        sys.exit(__doc__ if unknown[0] in ("-h", "--help") else f"no option {unknown[0]}\n\n{__doc__}")
    chosen = [f for f in faults() if not words or any(w in f.file or w in f.what for w in words)]
    texts = {f.file: (ROOT / f.file).read_text() if (ROOT / f.file).is_file() else "" for f in chosen}
    stale = [f for f in chosen if f.planted(texts[f.file]) is None]
    if "--check" in arguments:
        for f in stale:
            print(f"{f.file}: {f.what}: its text is not there exactly once")
        print(f"{len(chosen)} faults, {len(stale)} stale")
        return 1 if stale or not chosen else 0

    start = time.monotonic()
    copy_checkout()
    healthy = failure(BUILD / "tapegrad_tests")
    if healthy is not None:
        sys.exit(f"without any fault, this fails: {healthy}")
    print(f"copy built and tested, {time.monotonic() - start:.0f} s", flush=True)

    results = []
    with ThreadPoolExecutor(1) as tester:  # tests one fault while the next one is compiled
        running = []
        for number, fault in enumerate(chosen):
            program = None if fault in stale else build(fault, number)
            if program is None and fault not in stale:
                stale.append(fault)
            running.append((fault, program and tester.submit(killer, program, fault.first)))
            if number > 0:
                results.append(report(*running[-2]))
        results += [report(*running[-1])] if running else []
    ninja()

    counts = {verdict: results.count(verdict) for verdict in ("killed", "survived", "explained", "wrong", "stale")}
    print(f"{time.monotonic() - start:.0f} s; of those that survived, {counts['explained']} are explained; "
          f"{counts['wrong']} killed against their explanation")
    print(f"{counts['killed'] + counts['wrong']} killed, {counts['survived'] + counts['explained']} survived, "
          f"{counts['stale']} stale")
    return 0 if counts["killed"] + counts["explained"] == len(results) > 0 else 1


def report(fault, test):
    by = test.result() if test else None
    if test is None:
        verdict, note = "stale", "no place for it, or it does not compile"
    elif by is not None:
        verdict, note = ("wrong" if fault.reason else "killed"), by
    else:
        verdict, note = ("explained" if fault.reason else "survived"), fault.reason
    print(f"{verdict:9} {fault.file:32} {fault.what}  |  {note}", flush=True)
    return verdict


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
