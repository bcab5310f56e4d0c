"""The test cases as files, so that any other editor can be measured on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffwright.bench.editing_cases import TASKS, Case
from diffwright.bench.editing_metrics import mean, measure
from diffwright.bench.harness import Figure
from diffwright.core.atomic import directory, write_json, write_text
from diffwright.core.errors import InputError
from diffwright.core.images import load_image, save_png
from diffwright.editing.result import described

README = """Edits with known truth, {count} cases of 64 x 64 pixels.

Each folder is one case: source.png is the picture, case.json says what is asked for (masks and references are files
beside it; points x y and shifts dx dy are pixels, scales are relative to now), and truth.png is the exact re-render,
which an editor must not see. Write your picture as result.png into each folder, 64 x 64 RGB, and run

    diffwright bench editing --score THIS_FOLDER
"""
MEASURED = (
    *("psnr_destination", "psnr_vacated", "psnr_background", "psnr_whole", "rmse_touched", "iou", "residue"),
    *("centroid_px", "scale_error", "handle_px", "delta_e"),
)
RISING = ("psnr", "iou")


def export_cases(folder: Path, chosen: Sequence[Case]) -> dict[str, Figure]:
    """Write cases as folders of files.

    Args:
        folder: a new or empty folder.
        chosen: the cases.

    Returns:
        ``cases``, how many.

    Raises:
        InputError: the folder holds other files.
    """
    with directory(folder) as root:
        for case in chosen:
            place = root / case.name
            place.mkdir()
            plain, files = described([case.operation])
            save_png(case.picture, place / "source.png")
            save_png(case.truth, place / "truth.png")
            for name, array in files.items():
                picture = (
                    array if array.ndim == 3 else array[..., None].repeat(3, axis=2).astype("uint8") * 255
                )
                save_png(picture, place / name)
            record: dict[str, Any] = {"task": case.task, "hard": case.hard, "caption": case.caption}
            write_json(place / "case.json", {**record, "operation": plain[0]})
        write_text(root / "README.txt", README.format(count=len(chosen)))
    return {"cases": Figure(len(chosen), "", "higher", str(folder))}


def score_folder(folder: Path, chosen: Sequence[Case]) -> dict[str, Figure]:
    """Measure what another editor wrote.

    Args:
        folder: what ``export_cases`` wrote, with a ``result.png`` in the folders of all its cases.
        chosen: the cases, drawn again.

    Returns:
        Means by task.

    Raises:
        InputError: a picture is missing or of another size, or the folder holds other cases.
    """
    figures: dict[str, Figure] = {}
    known = {case.name: case for case in chosen}
    found = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not set(found) & set(known):
        raise InputError(f"{folder} holds no exported case; write them with bench editing --export DIR")
    for task in TASKS:
        mine = [known[name] for name in found if name in known and known[name].task == task]
        rows = [measure(case, _result(folder, case)) for case in mine]
        for name in MEASURED:
            value = mean(rows, name)
            if value == value:
                better = "higher" if name.startswith(RISING) else "lower"
                figures[f"{task}_{name}"] = Figure(value, _unit(name), better, f"{len(rows)} cases")
    return figures


def _result(folder: Path, case: Case) -> Any:
    path = folder / case.name / "result.png"
    if not path.is_file():
        raise InputError(f"{path} is missing; write the edited picture there")
    if (load_image(folder / case.name / "source.png") != case.picture).any():
        raise InputError(f"{folder / case.name} is of another version of the bench; export the cases again")
    return load_image(path)


def _unit(name: str) -> str:
    if name.startswith("psnr"):
        return "dB"
    return {"rmse_touched": "levels", "centroid_px": "px", "handle_px": "px"}.get(name, "")
