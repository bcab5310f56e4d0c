"""What the matching networks are trained on: the right cell among all, the right place in a window, the right field.

All of it is computed in float32, whatever the precision of the networks.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from diffwright.core.geometry import pixel_grid
from diffwright.matching.cost import NEVER, global_cost, window_offsets
from diffwright.matching.fields import field_of_flow, landing, resize_field
from diffwright.matching.nets import Features

QUERIES = 1024  # cells of A that a feature loss looks at, in each pair
JITTER = 2.5  # of the fine window about the truth, in fine cells
SPREAD = 1.5  # pixels by which the flow may differ in the middle of a cell that is learned from
LEAST_LABEL = 0.25  # weight that must lie on cells of B that show the picture
FARTHEST = 6.0  # of the diffused variable, where it is noised
LOG_B = (-5.0, 4.0)


def truth_in_cells(flow: Tensor, visible: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Express exact flow on a grid, with the cells whose middle is visible and moves as one.

    Args:
        flow: In pixels.
        visible: Where the point of A is seen in B.
        stride: Pixels a cell, even.

    Shapes:
        flow (B, 2, H, W), visible bool (B, H, W) -> (B, 2, H/stride, W/stride) in cells, bool (B, H/stride, W/stride)
    """
    first = stride // 2 - 1
    middle = torch.stack(
        [flow[..., first + j :: stride, first + i :: stride] for j in (0, 1) for i in (0, 1)]
    )
    seen = [visible[:, first + j :: stride, first + i :: stride] for j in (0, 1) for i in (0, 1)]
    apart = (middle.amax(0) - middle.amin(0)).amax(1)
    field = field_of_flow(flow, middle.shape[-2:])  # type: ignore[arg-type]
    return field, torch.stack(seen).all(0) & (apart < SPREAD)


def coarse_nll(
    a: Features, b: Features, flow: Tensor, visible: Tensor, temperature: Tensor, dustbin: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Matching loss over all pairs of coarse cells, softmax over B and over A, with a no-match cell in B.

    A visible cell's label is spread over the four cells around the place where it lands, as bilinear sampling
    would weigh them; an invisible one's is the no-match cell.

    Args:
        a: Features of A.
        b: Features of B, perhaps on a larger canvas.
        flow: To that canvas, in pixels, from center to center.
        visible: Where the point of A is seen in B.
        temperature: By which cosines are divided.
        dustbin: Cosine with the no-match cell.
        generator: Chooses ``QUERIES`` cells of A where there are more.

    Shapes:
        flow (B, 2, H, W), visible bool (B, H, W) -> two scalars

    Returns:
        The loss, and the share of visible cells whose likeliest cell is next to the truth.

    Reference:
        Sarlin et al., SuperGlue, 2020, section 3.2, for the no-match cell; the dual softmax of Rocco et al., 2018.
    """
    height, width = a.coarse[0].shape[-2:]
    height_b, width_b = b.coarse[0].shape[-2:]
    size = (height_b, width_b)
    field, seen = truth_in_cells(flow, visible, flow.shape[-1] // width)
    goal = landing(field, size).flatten(2)  # (B, 2, N)
    logits = global_cost(a.coarse, b.coarse).flatten(3).flatten(1, 2) / temperature  # (B, N, M)
    if b.inside is not None:
        logits = logits.masked_fill(~b.inside.flatten(1)[:, None], NEVER)
    seen = seen.flatten(1)
    if height * width > QUERIES:
        chosen = torch.randperm(height * width, generator=generator, device=flow.device)[:QUERIES]
        logits, goal, seen = logits[:, chosen], goal[..., chosen], seen[:, chosen]
    bin_logit = (dustbin / temperature).expand(*logits.shape[:2], 1)
    hidden = ~seen
    over_b = torch.cat([logits, bin_logit], dim=2).log_softmax(2)
    over_a = logits.log_softmax(1)
    corner, weight = _neighbours(goal, size)
    if b.inside is not None:  # a label is shared by those cells only that show the picture
        weight = weight * b.inside.flatten(1).gather(1, corner.flatten(1)).view(corner.shape)
        seen = seen & (weight.sum(2) > LEAST_LABEL)
        weight = weight / weight.sum(2, keepdim=True).clamp(min=LEAST_LABEL)
    matched = -(weight * (over_b.gather(2, corner) + over_a.gather(2, corner))).sum(2) / 2
    best = logits.detach().argmax(2)
    near = (goal - torch.stack([best % size[1], best // size[1]], 1)).abs().amax(1) <= 1
    loss = _mean(matched, seen) + 0.5 * _mean(-over_b[..., -1], hidden)
    return loss, _mean(near.float(), seen)


def fine_nll(
    a: Tensor, b: Tensor, flow: Tensor, visible: Tensor, temperature: Tensor, radius: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Loss of fine features: softmax over a window of B that is not quite centered on the truth.

    Args:
        a: Fine features of A.
        b: Fine features of B, 0 outside the picture.
        flow: In pixels, from center to center.
        visible: Where the point of A is seen in B.
        temperature: By which cosines are divided.
        radius: Of the window, cells.
        generator: Chooses ``QUERIES`` cells a pair, and where their windows are.

    Shapes:
        a (B, D, h, w), b (B, D, h', w'), flow (B, 2, H, W), visible bool (B, H, W) -> two scalars

    Returns:
        The loss, and the share of visible queries whose likeliest place is next to the truth.
    """
    count, _, _, width = a.shape
    size = (b.shape[-2], b.shape[-1])
    field, seen = truth_in_cells(flow, visible, flow.shape[-1] // width)
    cells = seen[0].numel()
    query = torch.randint(cells, (count, QUERIES), generator=generator, device=a.device)
    goal = landing(field, size).flatten(2).gather(2, query[:, None].expand(-1, 2, -1))  # (B, 2, Q)
    jitter = torch.rand(goal.shape, generator=generator, device=a.device) * 2 - 1
    center = (goal + jitter * JITTER).round()
    steps = window_offsets(radius, goal).T  # (2, W)
    place = center[..., None] + steps[:, None]  # (B, 2, Q, W)
    last = goal.new_tensor([size[1] - 1, size[0] - 1])[:, None, None]
    known = ((place >= 0) & (place <= last)).all(1)
    index = place.clamp(min=0).minimum(last).long()
    index = index[:, 1] * size[1] + index[:, 0]  # (B, Q, W)
    own = a.flatten(2).mT.gather(1, query[..., None].expand(-1, -1, a.shape[1]))  # (B, Q, D)
    base = torch.arange(count, device=a.device)[:, None] * (size[0] * size[1])
    others = b.flatten(2).mT.flatten(0, 1)[(index.flatten(1) + base).flatten()]
    cosine = torch.einsum("bqd,bqwd->bqw", own, others.view(*index.shape, -1))
    chance = (cosine / temperature).masked_fill(~known, NEVER).log_softmax(2)
    side = 2 * radius + 1
    within = goal - center + radius
    corner, weight = _neighbours(within, (side, side))
    nll = -(weight * chance.gather(2, corner)).sum(2)
    usable = seen.flatten(1).gather(1, query) & known.gather(2, corner).all(2)
    best = chance.detach().argmax(2)
    near = (within - torch.stack([best % side, best // side], 1)).abs().amax(1) <= 1
    return _mean(nll, usable), _mean(near.float(), usable)


def field_loss(
    field: Tensor, log_b: Tensor, flow: Tensor, visible: Tensor, scale: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of a predicted field at the resolution of the truth, over visible pixels.

    The paper's squared error, half as much of its root for precision, a little of the gradient's, and the
    likelihood of the error under the predicted scale, which does not move the field.

    Args:
        field: Prediction, in cells.
        log_b: Logarithm of its expected error, in cells.
        flow: Truth, in pixels.
        visible: Where the truth counts.
        scale: By which the diffused variable divides cells; errors are measured in it.

    Shapes:
        field (B, 2, h, w), log_b (B, 1, h, w), flow (B, 2, H, W), visible bool (B, H, W) -> a scalar

    Returns:
        The loss, and figures: the root of the squared error and the mean error in pixels, and the likelihood.

    Reference:
        Nam et al., DiffMatch, 2024, equation 13, for the squared error.
    """
    size = flow.shape[-2:]
    cell = flow.shape[-1] / field.shape[-1]
    error = (resize_field(field, size) - flow) / (cell * scale)  # type: ignore[arg-type]
    square = error.square().sum(1)  # (B, H, W)
    mse, root = _mean(square, visible), _mean((square + 1e-6).sqrt(), visible)
    slopes = [
        _mean(step.abs().sum(1), both)
        for step, both in (
            (error[..., 1:] - error[..., :-1], visible[..., 1:] & visible[..., :-1]),
            (error[..., 1:, :] - error[..., :-1, :], visible[..., 1:, :] & visible[..., :-1, :]),
        )
    ]
    truth, seen = truth_in_cells(flow, visible, round(cell))
    distance = (field.detach() - truth).norm(dim=1)
    bounded = log_b[:, 0].clamp(*LOG_B)
    likelihood = _mean(distance * (-bounded).exp() + bounded, seen)
    loss = mse + 0.5 * root + 0.05 * (slopes[0] + slopes[1]) + 0.05 * likelihood
    unit = cell * scale
    return loss, {
        "rmse_px": mse.detach().sqrt() * unit,
        "aepe_px": root.detach() * unit,
        "nll": likelihood.detach(),
    }


def variable_loss(
    x0: Tensor,
    field: Tensor,
    log_b: Tensor,
    flow: Tensor,
    visible: Tensor,
    variable: Callable[[Tensor], Tensor],
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of a prediction in the diffused variable, cell by cell, where that weighs errors as they should.

    Args:
        x0: Prediction in the variable.
        field: The same in cells.
        log_b: Logarithm of its expected error, in cells.
        flow: Truth, in pixels.
        visible: Where the truth counts.
        variable: Turns a field in cells into the variable.

    Shapes:
        x0, field (B, 2, h, w), log_b (B, 1, h, w), flow (B, 2, H, W), visible bool (B, H, W) -> a scalar

    Returns:
        The loss, and figures as of :func:`field_loss`.
    """
    cell = flow.shape[-1] / field.shape[-1]
    truth, seen = truth_in_cells(flow, visible, round(cell))
    square = (x0 - variable(truth)).square().sum(1)
    mse, root = _mean(square, seen), _mean((square + 1e-6).sqrt(), seen)
    distance = (field.detach() - truth).norm(dim=1)
    bounded = log_b[:, 0].clamp(*LOG_B)
    likelihood = _mean(distance * (-bounded).exp() + bounded, seen)
    return mse + 0.5 * root + 0.05 * likelihood, {
        "rmse_px": _mean(distance.square(), seen).sqrt() * cell,
        "aepe_px": _mean(distance, seen) * cell,
        "nll": likelihood.detach(),
    }


def perturbed(field: Tensor, generator: torch.Generator) -> Tensor:
    """Spoil a true field as a bad start would: smooth errors everywhere, and patches that lead anywhere.

    Args:
        field: In cells.
        generator: On the field's device.

    Shapes:
        (B, 2, h, w) -> (B, 2, h, w)
    """
    count, _, height, width = field.shape
    device = field.device

    def drawn(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=device)

    strength = width * torch.exp(drawn(count, 1, 1, 1) * 3.0 - 5.5)  # 0.4 to 8 percent of the width
    noise = torch.randn((count, 2, 6, 6), generator=generator, device=device) * strength
    out = field + F.interpolate(noise, size=(height, width), mode="bicubic", align_corners=False)
    patches = F.interpolate(drawn(count, 1, 8, 8), size=(height, width), mode="nearest")
    lost = patches < drawn(count, 1, 1, 1) * 0.5
    extent = field.new_tensor([width, height])[:, None, None]
    anywhere = F.interpolate(drawn(count, 2, 8, 8), size=(height, width), mode="nearest") * extent
    return torch.where(lost, anywhere - pixel_grid(height, width, like=field), out)


def _neighbours(goal: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Indices (B, N, 4) of the cells around places (B, 2, N), and their bilinear weights; held at the border."""
    height, width = size
    last = goal.new_tensor([width - 1, height - 1])[:, None]
    goal = goal.clamp(min=0).minimum(last)
    low = goal.floor().minimum((last - 1).clamp(min=0))
    x, y = (goal - low).unbind(1)
    first = (low[:, 1] * width + low[:, 0]).long()
    right, down = min(1, width - 1), width * min(1, height - 1)
    index = torch.stack([first, first + right, first + down, first + right + down], dim=2)
    weight = torch.stack([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y], dim=2)
    return index, weight


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """Mean over a mask; 0 for an empty one."""
    return torch.where(where, values, 0.0).sum() / where.sum().clamp(min=1)
