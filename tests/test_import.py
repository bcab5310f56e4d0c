import subprocess
import sys
import time

import pytest


def fresh(*arguments):
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
    return done, time.perf_counter() - start


def quick_once(seconds, measure, runs=5):
    """Whether one of a few runs is quick enough: other work on the machine only ever adds time."""
    return any(measure() < seconds for _ in range(runs))


def test_the_package_imports_at_once_without_torch_and_without_a_warning():
    code = (
        "import sys, time; start = time.perf_counter(); import diffwright;"
        "print(time.perf_counter() - start, 'torch' in sys.modules, 'numpy' in sys.modules)"
    )

    def seconds():
        taken, *heavy = fresh("-W", "error", "-c", code)[0].stdout.split()
        assert heavy == ["False", "False"]
        return float(taken)

    assert quick_once(0.3, seconds)


def test_help_answers_at_once():
    assert quick_once(1.5, lambda: fresh("-m", "diffwright.cli.main", "--help")[1])


@pytest.mark.parametrize("verb", ["--help", "generate", "trace", "world cache", "demo", "doctor"])
def test_help_imports_no_torch(verb):
    code = (
        "import sys\nfrom diffwright.cli.main import main\n"
        f"try: main([*{verb.split()!r}, '--help'])\n"
        "except SystemExit as done: print('code', done.code, 'torch' in sys.modules)"
    )
    assert fresh("-W", "error", "-c", code)[0].stdout.endswith("code 0 False\n")
