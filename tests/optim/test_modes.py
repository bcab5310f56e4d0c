"""What each mode promises: nothing written that must not be, nothing stepped that must not be."""

import copy
import io
import pickle

import pytest
import torch

import diffwright as dw
from diffwright.optim.diffgrad import DiffGrad, DiffGradW

IMPLEMENTATIONS = [{"foreach": False}, {"foreach": True}, {"fused": True}]


def params_with_grads(dtype=torch.float32, count=3):
    generator = torch.Generator().manual_seed(7)
    made = []
    for i in range(count):
        param = torch.randn(4, i + 2, generator=generator).to(dtype).requires_grad_()
        param.grad = torch.randn(param.shape, generator=generator).to(dtype)
        made.append(param)
    return made


def test_the_package_exports_both_classes():
    assert dw.DiffGrad is DiffGrad
    assert dw.DiffGradW is DiffGradW
    assert DiffGradW([torch.ones(1)]).defaults["weight_decay"] == 1e-2
    assert DiffGradW([torch.ones(1)]).defaults["decoupled_weight_decay"]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS, ids=str)
@pytest.mark.parametrize(
    "options", [{"weight_decay": 0.1}, {"maximize": True}, {"friction": "mean_std"}], ids=str
)
def test_gradients_are_never_written(implementation, options):
    params = params_with_grads()
    before = [param.grad.clone() for param in params]
    versions = [param.grad._version for param in params]
    optimizer = DiffGrad(params, **options, **implementation)
    for _ in range(3):
        optimizer.step()
    assert all(torch.equal(param.grad, grad) for param, grad in zip(params, before, strict=True))
    assert [param.grad._version for param in params] == versions


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS, ids=str)
def test_a_parameter_without_gradient_keeps_all_its_state(implementation):
    first, second = params_with_grads(count=2)
    optimizer = DiffGrad([first, second], **implementation)
    optimizer.step()
    before = copy.deepcopy(optimizer.state[second])
    second.grad = None
    optimizer.step()
    assert all(torch.equal(before[key], value) for key, value in optimizer.state[second].items())
    assert optimizer.state[first]["step"] == 2


def test_fused_scaling_gives_the_unscaled_step_and_leaves_the_gradient_scaled():
    plain, scaled = params_with_grads(count=1), params_with_grads(count=1)
    scaled[0].grad *= 1024
    before = scaled[0].grad.clone()
    optimizers = [DiffGrad(plain, fused=True), DiffGrad(scaled, fused=True)]
    optimizers[1].grad_scale, optimizers[1].found_inf = torch.tensor(1024.0), torch.tensor(0.0)
    for optimizer in optimizers:
        optimizer.step()
    assert torch.equal(plain[0], scaled[0])
    assert torch.equal(optimizers[1].state[scaled[0]]["previous_grad"], plain[0].grad)
    assert torch.equal(scaled[0].grad, before)


@pytest.mark.parametrize("fused", [False, True])
def test_grad_scaler_skips_an_infinite_step_without_a_trace_and_else_matches(fused):
    param, twin = (params_with_grads(count=1)[0] for _ in range(2))
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    optimizer, plain = DiffGrad([param], fused=fused), DiffGrad([twin], fused=fused)
    assert optimizer._step_supports_amp_scaling == fused
    for step in range(4):
        for p, o in ((param, optimizer), (twin, plain)):
            o.zero_grad()
            loss = (p * (step + 1)).sin().sum()
            (scaler.scale(loss) if o is optimizer else loss).backward()
        if step == 2:
            param.grad[0, 0] = float("inf")
            before = copy.deepcopy((param, optimizer.state[param]))
            scaler.step(optimizer)
            assert torch.equal(param, before[0])
            assert all(torch.equal(before[1][k], v) for k, v in optimizer.state[param].items())
        else:
            scaler.step(optimizer)
            plain.step()
            torch.testing.assert_close(param, twin, rtol=1e-6, atol=1e-7)
        scaler.update()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS, ids=str)
def test_share_grad_takes_only_a_gradient_that_nobody_else_holds(implementation):
    params = params_with_grads()
    kept = params[1].grad
    params[2].grad = torch.zeros(2, *params[2].shape)[0]
    optimizer = DiffGrad(params, share_grad=True, **implementation)
    pointer = params[0].grad.data_ptr()
    optimizer.step()
    assert params[0].grad is None
    assert optimizer.state[params[0]]["previous_grad"].data_ptr() == pointer
    for param in params[1:]:
        assert param.grad is not None
        assert optimizer.state[param]["previous_grad"].data_ptr() != param.grad.data_ptr()
    kept.fill_(float("nan"))
    assert optimizer.state[params[1]]["previous_grad"].isfinite().all()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS, ids=str)
@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1}, {"maximize": True}], ids=str)
def test_share_grad_changes_no_step(implementation, options):
    paths = []
    for share in (False, True):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        optimizer = DiffGrad(model.parameters(), share_grad=share, **options, **implementation)
        for step in range(6):
            optimizer.zero_grad()
            model(torch.ones(2, 3) * step).square().sum().backward()
            optimizer.step()
        paths.append([param.detach().clone() for param in model.parameters()])
        taken = [param.grad is None for param in model.parameters()]
        assert all(taken) if share and not options else not any(taken)
    assert all(torch.equal(a, b) for a, b in zip(*paths, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, torch.float16])
def test_a_bfloat16_previous_gradient_survives_saving(dtype):
    params = params_with_grads(dtype)
    optimizer = DiffGrad(params, prev_grad_dtype=torch.bfloat16, eps=0.1)
    optimizer.step()
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    other = DiffGrad([param.detach().clone().requires_grad_() for param in params], eps=0.1)
    other.load_state_dict(torch.load(file, weights_only=True))
    for param, twin in zip(params, other.param_groups[0]["params"], strict=True):
        found = other.state[twin]["previous_grad"]
        assert found.dtype == torch.bfloat16
        assert torch.equal(found, optimizer.state[param]["previous_grad"])


def test_a_checkpoint_loads_across_implementations_and_precisions_of_the_previous_gradient():
    paths = []
    for second in ({"foreach": True}, {"fused": True}, {"foreach": False}):
        params = params_with_grads(torch.float64)
        first = DiffGrad(params, foreach=False)
        first.step()
        state = first.state_dict()
        state["param_groups"][0].update({"foreach": None, "fused": None, **second})
        other = DiffGrad(params, **second)
        other.load_state_dict(state)
        other.step()
        paths.append(torch.cat([param.detach().flatten() for param in params]))
    torch.testing.assert_close(paths[1], paths[0], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(paths[2], paths[0], rtol=1e-12, atol=1e-14)


def half(previous, grad):
    return torch.full_like(grad, 0.5)


def test_a_friction_function_is_copied_and_pickled_but_kept_out_of_checkpoints():
    params = params_with_grads()
    optimizer = DiffGrad(params, friction=half)
    optimizer.step()
    for copied in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        copied.step()
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    other = DiffGrad(params)
    other.load_state_dict(torch.load(file, weights_only=True))
    with pytest.raises(ValueError, match="friction function"):
        other.step()


@pytest.mark.parametrize("name", ["abs", "scale_free", "mean_std"])
@pytest.mark.parametrize("options", [{}, {"amsgrad": True, "rectify": True}, {"weight_decay": 0.1}], ids=str)
def test_autograd_runs_through_differentiable_steps(name, options):
    def after(start, *grads):
        param = start.clone()
        optimizer = DiffGrad([param], lr=0.1, friction=name, differentiable=True, **options)
        for grad in grads:
            param.grad = grad
            optimizer.step()
        return param

    generator = torch.Generator().manual_seed(1)
    inputs = [torch.randn(3, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(4)]
    assert torch.autograd.gradcheck(after, inputs)


def test_a_tensor_lr_is_differentiable():
    lr = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    param = torch.ones(3, dtype=torch.float64).clone()
    optimizer = DiffGrad([param], lr=lr, differentiable=True)
    param.grad = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    optimizer.step()
    param.sum().backward()
    xi = torch.sigmoid(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    expected = -(xi * torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)).sum()
    torch.testing.assert_close(lr.grad, expected, rtol=1e-6, atol=1e-8)


def test_an_infinite_or_nan_gradient_ends_the_same_way_in_every_implementation():
    found = []
    for implementation in IMPLEMENTATIONS:
        param = torch.ones(4, requires_grad=True)
        optimizer = DiffGrad([param], **implementation)
        for gradient in ([1.0, float("inf"), float("nan"), 3e38], [1.0, 1.0, 1.0, -3e38]):
            param.grad = torch.tensor(gradient)
            optimizer.step()
        found.append(param.detach())
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], equal_nan=True)


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "sliced", "gradient_transposed"])
def test_fused_steps_every_memory_layout(layout):
    def made():
        torch.manual_seed(0)
        base = torch.randn(2, 6, 4, 5)
        param = {
            "channels_last": base.to(memory_format=torch.channels_last),
            "transposed": base.transpose(1, 3),
            "sliced": base[:, ::2],
            "gradient_transposed": base,
        }[layout].requires_grad_()
        grad = torch.randn(param.shape)
        param.grad = grad.transpose(2, 3).contiguous().transpose(2, 3) if layout.startswith("gr") else grad
        return param

    params = [made(), made()]
    for param, fused in zip(params, (False, True), strict=True):
        optimizer = DiffGrad([param], fused=fused)
        for _ in range(3):
            optimizer.step()
    torch.testing.assert_close(params[1], params[0], rtol=1e-6, atol=1e-7)


def test_fused_shares_one_element_range_between_threads():
    before = torch.get_num_threads()
    paths = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            torch.manual_seed(0)
            params = [torch.randn(size).requires_grad_() for size in (300_000, 7, 150_001, 0, 64)]
            optimizer = DiffGrad(params, fused=True, weight_decay=0.1)
            for _ in range(2):
                for param in params:
                    param.grad = torch.randn_like(param)
                optimizer.step()
            paths.append(torch.cat([param.detach() for param in params]))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*paths)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"lr": -1.0}, ValueError, "Invalid learning rate: -1.0"),
        ({"lr": float("nan")}, ValueError, "Invalid learning rate: nan"),
        ({"eps": -1.0}, ValueError, "Invalid epsilon value: -1.0"),
        ({"betas": (0.9, 1.0)}, ValueError, "Invalid beta parameter at index 1: 1.0"),
        ({"friction": "rough"}, ValueError, "Invalid friction: 'rough'"),
        ({"eps_mode": "torch"}, ValueError, "Invalid eps_mode"),
        ({"prev_grad_dtype": torch.int8}, ValueError, "Invalid prev_grad_dtype"),
        ({"fused": True, "foreach": True}, RuntimeError, "cannot be `True` together"),
        ({"fused": True, "differentiable": True}, RuntimeError, "does not support `differentiable`"),
        ({"fused": True, "friction": half}, RuntimeError, "does not support a friction function"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)).partition(" at 0x")[0],
)
def test_wrong_options_are_refused_for_the_optimizer_and_for_a_group(options, error, text):
    with pytest.raises(error, match=text):
        DiffGrad([torch.ones(1)], **options)
    if not callable(options.get("friction")):
        with pytest.raises(error, match=text):
            DiffGrad([{"params": [torch.ones(1)], **options}])


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS, ids=str)
def test_sparse_gradients_and_uncapturable_devices_are_refused_by_reason(implementation):
    param = torch.ones(3, requires_grad=True)
    param.grad = torch.zeros(3).to_sparse()
    with pytest.raises(RuntimeError, match="SparseAdam"):
        DiffGrad([param], **implementation).step()
    param.grad = torch.ones(3)
    with pytest.raises(RuntimeError, match="capturable=True needs"):
        DiffGrad([param], capturable=True, **implementation).step()
