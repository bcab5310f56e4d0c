"""``diffwright doctor``: versions, devices, supported models, and whether the shipped weights are whole."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from diffwright.cli.flags import OutputFlags
from diffwright.core.errors import WeightsCorrupt, WeightsError

PACKAGES = (
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "safetensors",
    "numpy",
    "pillow",
    "matplotlib",
)
MILLIONS = {"Stable Diffusion 1.x": 1066.3, "Stable Diffusion 2.x": 1290.0, "Stable Diffusion XL": 3469.0}
"""Parameters of all networks of a published model."""


@dataclass(frozen=True, kw_only=True)
class Doctor(OutputFlags):
    """Show versions, devices, supported models with their memory, and whether the shipped weights are whole.

    diffwright doctor --json -
    """

    def run(self) -> None:
        """Print the findings.

        Raises:
            WeightsCorrupt: A shipped model differs from its recorded sha256.
        """
        from diffwright.diffusion.backbones import table

        findings = {
            "versions": versions(),
            "devices": devices(),
            "memory": memory(),
            "models": models(),
        }
        lines = [f"{name:<14} {value}" for name, value in findings["versions"].items()]
        lines += ["", *(f"{name:<14} {value}" for name, value in findings["devices"].items())]
        lines += ["", "Supported text-to-image models:", table().rstrip()]
        lines += [f"{name:<22} {need}" for name, need in findings["memory"].items()]
        lines += ["A verb above that diffwright --help does not list is prepared, not built yet.", ""]
        lines += ["Shipped models:", *(f"{name:<22} {state}" for name, state in findings["models"].items())]
        self.say(findings, "\n".join(lines if findings["models"] else [*lines, "none"]))
        damaged = [name for name, state in findings["models"].items() if not state.startswith("whole")]
        if damaged:
            raise WeightsCorrupt(f"{', '.join(damaged)} cannot be used; install the package again")


def versions() -> dict[str, str]:
    """Return the version of Python, of this package and of what it stands on."""
    found = {"python": platform.python_version()}
    for name in ("diffwright", *PACKAGES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def devices() -> dict[str, str]:
    """Return what can compute: cores and threads, and the accelerators that torch sees."""
    import torch

    found: dict[str, str] = {
        "cpu": f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, {platform.machine()}"
    }
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory / 2**30
        found[f"cuda:{index}"] = f"{torch.cuda.get_device_name(index)}, {memory:.0f} GiB"
    if torch.backends.mps.is_available():
        found["mps"] = "Apple GPU"
    return found


def memory() -> dict[str, str]:
    """Predict the memory that the weights of a published model take; what painting adds grows with the picture."""
    gib = {name: millions * 1e6 / 2**30 for name, millions in MILLIONS.items()}
    return {
        name: f"weights take {4 * of_one:.1f} GiB in float32, {2 * of_one:.1f} GiB in float16 or bfloat16"
        for name, of_one in gib.items()
    }


def models() -> dict[str, str]:
    """Return the state of each shipped model, its files compared with the recorded sha256."""
    from diffwright.weights.names import shipped_names

    return {name: _state(name) for name in shipped_names()}


def _state(name: str) -> str:
    from diffwright.weights.names import POCKET
    from diffwright.weights.verify import check_shipped, shipped_files

    try:
        check_shipped(POCKET, name)
    except WeightsError as error:
        return f"DAMAGED: {error}"
    size = sum(path.stat().st_size for path in shipped_files(POCKET, name).values())
    return f"whole, {size / 2**20:.1f} MiB, every sha256 as recorded"
