"""AdamW and Muon of torch without the decorators that load its compiler.

torch decorates methods of its optimizers so that `torch.compile` does not trace them. The first call of such a method imports
`torch._dynamo`, which takes 1.1 s and 70 MB, and the constructor makes such a call. Training compiles layers of the model and
never an optimizer. The classes below run without these decorators. (`torch.distributed.checkpoint` imports
`torch._dynamo` as well, at the first checkpoint.)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from torch.optim import Optimizer

from worldmodel.training.orthogonalise import adjusted_lr, orthogonalise, smoothed_gradient


class AdamW(torch.optim.AdamW):
    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))
    zero_grad = inspect.unwrap(Optimizer.zero_grad)


if hasattr(torch.optim, "Muon"):  # since torch 2.9

    class Muon(torch.optim.Muon):
        add_param_group = inspect.unwrap(Optimizer.add_param_group)
        load_state_dict = inspect.unwrap(Optimizer.load_state_dict)
        state_dict = inspect.unwrap(Optimizer.state_dict)
        zero_grad = inspect.unwrap(Optimizer.zero_grad)

        @torch.no_grad()
        def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
            loss = None if closure is None else torch.enable_grad()(closure)()
            for group in self.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is None:
                        continue
                    state = self.state[parameter]
                    if "momentum_buffer" not in state:
                        state["momentum_buffer"] = torch.zeros_like(parameter.grad)
                    direction = orthogonalise(smoothed_gradient(parameter.grad, state["momentum_buffer"], group), group)
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(direction, alpha=-adjusted_lr(group["lr"], parameter.shape))
            return loss
