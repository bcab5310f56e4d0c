"""Train in float16 with a GradScaler: the fused kernel unscales the gradient itself and skips infinite steps."""

import torch

from diffwright import DiffGrad


def main(steps: int = 40, fused: bool = True) -> list[float]:
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    inputs = torch.randn(256, 8, device=device)
    targets = inputs.sum(1, keepdim=True) / 3
    model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1)).to(device)
    optimizer = DiffGrad(model.parameters(), lr=1e-2, fused=fused)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-2, total_steps=steps, cycle_momentum=False)
    scaler = torch.amp.GradScaler(device, init_scale=2.0**10)
    losses = []
    for _ in range(steps):
        with torch.autocast(device, torch.float16 if device == "cuda" else torch.bfloat16):
            loss = torch.nn.functional.mse_loss(model(inputs), targets)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    path = main()
    print(f"loss {path[0]:.3f} -> {path[-1]:.3f}")
