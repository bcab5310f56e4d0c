"""What an edit costs: seconds, and floating-point operations counted while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diffwright.bench.editing_cases import Case
from diffwright.bench.harness import Figure, interleaved
from diffwright.editing.editor import ImageEditor
from diffwright.editing.presets import PRESETS


def cost_figures(editor: ImageEditor, case: Case, rounds: int) -> dict[str, Figure]:
    """Seconds of a ``fast`` edit, of the second edit of a picture, and operations of each preset.

    Args:
        editor: any.
        case: a move.
        rounds: repetitions of the timed calls.
    """

    def cold(name: str) -> None:
        editor.set_image(case.picture, case.caption)
        editor.edit([case.operation], preset=name)

    def warm() -> None:
        editor.edit([case.operation], preset="fast")

    times = interleaved({"cold": lambda: cold("fast"), "warm": warm}, rounds)
    counted = {name: operations(lambda name=name: cold(name)) for name in PRESETS}
    notes = ", ".join(f"{name} {value / 1e9:.1f}" for name, value in counted.items())
    return {
        "seconds_per_edit_fast": Figure(times["cold"] / 1e3, "s", "lower", f"cold, {rounds} runs"),
        "second_edit_ratio": Figure(times["warm"] / times["cold"], "x", "lower", "second edit of a picture"),
        "cost_ratio_fast": Figure(
            counted["fast"] / counted["reference"], "x", "lower", f"GFLOP of a cold move: {notes}"
        ),
    }


def operations(run: Callable[[], Any]) -> int:
    """Floating-point operations of a call, forward and backward, two for a multiply and add.

    Args:
        run: the call.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()
