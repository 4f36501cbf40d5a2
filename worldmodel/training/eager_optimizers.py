"""AdamW and Muon of torch without the decorators that load its compiler.

torch decorates methods of its optimizers so that `torch.compile` does not trace them. The first call of such a method imports
`torch._dynamo`, which takes 1.1 s and 70 MB, and the constructor makes such a call. Training compiles layers of the model and
never an optimizer. The classes below run the same code without these decorators. (`torch.distributed.checkpoint` imports
`torch._dynamo` as well, at the first checkpoint.)
"""

from __future__ import annotations

import inspect

import torch
from torch.optim import Optimizer


class AdamW(torch.optim.AdamW):
    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))
    zero_grad = inspect.unwrap(Optimizer.zero_grad)


if hasattr(torch.optim, "Muon"):  # since torch 2.9

    class Muon(torch.optim.Muon):
        add_param_group = inspect.unwrap(Optimizer.add_param_group)
        load_state_dict = inspect.unwrap(Optimizer.load_state_dict)
        state_dict = inspect.unwrap(Optimizer.state_dict)
        step = torch.no_grad()(inspect.unwrap(torch.optim.Muon.step))
        zero_grad = inspect.unwrap(Optimizer.zero_grad)
