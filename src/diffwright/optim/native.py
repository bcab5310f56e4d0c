"""Build, cache and load ``kernel.cpp``: a C interface without torch headers, compiled on first use."""

import ctypes
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

SOURCE = Path(__file__).with_name("kernel.cpp")
FLAGS = (
    "-std=c++17",
    "-O3",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-shared",
    "-fPIC",
    "-pthread",
)


class KernelRule(ctypes.Structure):
    """Mirror of ``DiffgradRule`` in ``kernel.cpp``."""

    _fields_ = [
        *((name, ctypes.c_double) for name in ("lr", "beta1", "beta2", "eps", "weight_decay")),
        *((name, ctypes.c_double) for name in ("grad_factor", "gain", "offset")),
        *((name, ctypes.c_int32) for name in ("decoupled", "amsgrad", "reference_eps")),
        *((name, ctypes.c_int32) for name in ("rectify", "is_signed", "relative")),
    ]


NAMES = {
    torch.float32: "float",
    torch.float64: "double",
    torch.bfloat16: "Bfloat16",
    torch.float16: "Float16",
}
"""Types of parameters that have a kernel -> their names in ``kernel.cpp``."""


@cache
def load_kernel(dtype: torch.dtype, previous_dtype: torch.dtype) -> Callable[..., None]:
    """Return the compiled kernel for one pair of types, building it if no build for this machine is cached.

    The library lies in ``$DIFFWRIGHT_CACHE`` (default ``~/.cache/diffwright``) under a name that holds the
    hash of the source, the compiler and the processor; ``$CXX`` names another compiler than ``c++``.

    Args:
        dtype: Type of the parameters, their gradients and moments.
        previous_dtype: Type of the previous gradients: the same, or ``torch.bfloat16``.

    Returns:
        ``diffgrad_step(count, table, rule, threads)`` of ``kernel.cpp``.

    Raises:
        RuntimeError: There is no compiler, the build failed, or the cache is unusable; the reason is given.
    """
    math = "double" if dtype == torch.float64 else "float"
    types = [f"-DDIFFGRAD_PARAM={NAMES[dtype]}", f"-DDIFFGRAD_PREVIOUS={NAMES[previous_dtype]}"]
    step = ctypes.CDLL(str(_built([*FLAGS, *types, f"-DDIFFGRAD_MATH={math}"]))).diffgrad_step
    step.restype = None
    step.argtypes = [ctypes.c_int64, ctypes.c_void_p, ctypes.POINTER(KernelRule), ctypes.c_int32]
    return step


def _built(flags: list[str]) -> Path:
    name = os.environ.get("CXX", "c++")
    compiler = shutil.which(name)
    if compiler is None:
        raise RuntimeError(
            f"fused=True on the CPU builds a kernel with the C++ compiler {name!r}, which is not on the PATH;"
            " install one (Debian: apt install g++), set CXX, or use fused=False."
        )
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    key = "\0".join([SOURCE.read_text(), *flags, compiler, version, platform.machine(), _processor()])
    folder = _cache_folder()
    path = folder / f"diffgrad-{hashlib.sha256(key.encode()).hexdigest()[:24]}.so"
    if not path.exists():
        _build([compiler, *flags], path)
    _refuse_foreign(path)
    return path


def _build(command: list[str], path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        command = [*command, str(SOURCE), "-o", str(made)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(
                f"fused=True could not build its kernel: {' '.join(command)} failed with\n"
                f"{done.stderr.strip()}\nSet CXX to another compiler, or use fused=False."
            )
        with made.open("rb") as file:
            os.fsync(file.fileno())
        made.replace(path)


def _cache_folder() -> Path:
    named = os.environ.get("DIFFWRIGHT_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(named) if named else base / "diffwright"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise RuntimeError(
            f"fused=True caches its kernel in {folder}, which cannot be made ({error.strerror}); set"
            " DIFFWRIGHT_CACHE to a folder of your own."
        ) from error
    _refuse_foreign(folder)
    return folder


def _refuse_foreign(path: Path) -> None:
    """Refuse to load code that another user could have put there."""
    status = path.stat()
    foreign = hasattr(os, "getuid") and status.st_uid not in (os.getuid(), 0)
    if foreign or status.st_mode & stat.S_IWOTH:
        raise RuntimeError(
            f"fused=True will not load code from {path}, which another user can write; set DIFFWRIGHT_CACHE"
            " to a folder of your own."
        )


def _processor() -> str:
    """Describe the processor: a home folder may be shared by machines with different instruction sets."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor()
    lines = info.read_text(errors="replace").splitlines()
    names = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(names)}))
