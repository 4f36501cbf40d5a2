"""Counts what would make a program wait for a GPU, on a machine without one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

READS = {  # operators whose result, or its size, the program needs before it can go on
    "_local_scalar_dense", "nonzero", "masked_select", "_unique", "_unique2", "unique_dim", "unique_consecutive",
    "bincount", "equal", "is_nonzero",
}  # fmt: skip
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}  # with a bool index they call nonzero


class _Operators(TorchDispatchMode):
    def __init__(self, found: Counter[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        result = func(*args, **kwargs)
        if name in READS or (name == "repeat_interleave" and func._overloadname == "Tensor"):
            self.found[name] += 1
        elif name in INDEXING:
            indices = [tensor for tensor in args[1] if tensor is not None]
            self.found[f"{name} by bool"] += any(tensor.dtype == torch.bool for tensor in indices)
            self.found[f"{name} by a tensor of another device"] += any(tensor.device != args[0].device for tensor in indices)
        elif name in ("_to_copy", "copy_", "_copy_from"):
            devices = {leaf.device.type for leaf in tree_leaves((args, result)) if isinstance(leaf, Tensor)}
            is_asynchronous = kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2])
            if len(devices) > 1 and not is_asynchronous:
                self.found[f"{name} between devices"] += 1
        return result


class _Methods(TorchFunctionMode):
    """`tolist` calls no operator on a CPU, and tensors are made of numbers without one."""

    def __init__(self, found: Counter[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is Tensor.tolist:
            self.found["tolist"] += 1
        elif func in (Tensor.__getitem__, Tensor.__setitem__) and args[0].device.type != "cpu":
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            self.found["index of numbers"] += sum(isinstance(part, list | np.ndarray) for part in index)
        elif func in (Tensor.new_tensor, torch.tensor, torch.as_tensor) and result.device.type != "cpu":
            self.found[f"{func.__name__} of numbers"] += 1
        return result


@contextmanager
def count_synchronisations() -> Iterator[Counter[str]]:
    """Count, by name, what waits for a device: reads, and copies between devices that are not asynchronous.

    Run the code on the device "meta", which computes nothing, to count copies: a read of a number is then an error.
    """
    found: Counter[str] = Counter()
    with _Operators(found), _Methods(found):
        yield found
