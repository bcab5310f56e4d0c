import subprocess
import sys
import time

import pytest


def fresh(*arguments):
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
    return done, time.perf_counter() - start


def quickest(*arguments, runs=5):
    """The least disturbed of a few runs: other work on the machine only ever adds time."""
    return min(fresh(*arguments)[1] for _ in range(runs))


def test_the_package_imports_at_once_without_torch_and_without_a_warning():
    code = (
        "import sys, time; start = time.perf_counter(); import diffwright;"
        "print(time.perf_counter() - start, 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    runs = [fresh("-W", "error", "-c", code)[0].stdout.split() for _ in range(3)]
    assert min(float(seconds) for seconds, _, _ in runs) < 0.3
    assert runs[0][1:] == ["False", "False"]


def test_help_answers_at_once():
    assert quickest("-m", "diffwright.cli.main", "--help") < 1.5


@pytest.mark.parametrize("verb", ["--help", "generate", "trace", "world cache", "demo", "doctor"])
def test_help_imports_no_torch(verb):
    code = (
        "import sys\nfrom diffwright.cli.main import main\n"
        f"try: main([*{verb.split()!r}, '--help'])\n"
        "except SystemExit as done: print('code', done.code, 'torch' in sys.modules)"
    )
    assert fresh("-W", "error", "-c", code)[0].stdout.endswith("code 0 False\n")
