"""Single operations in bfloat16 that a V-JEPA step could use instead of those that it uses: nanoseconds per element.

    OMP_NUM_THREADS=1 python -m benchmarks.operations [--rounds 7] [--out FILE.json]

Least CPU time of several rounds, one thread, with the sizes of the tiny case of benchmarks/step.py.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.measure import add_out, describe_machine, markdown_table, write_results
from worldmodel.models.blocks.rotary import grid_positions, rotary_angles, rotary_table, rotated
from worldmodel.process.arguments import whole_number

CLIPS, TOKENS, WIDTH, HIDDEN, HEAD = 4, 512, 192, 768, 64


def operations() -> Iterator[tuple[str, int, Callable[[], Tensor]]]:
    """Name, number of elements, and the operation."""
    scores = torch.randn(4, TOKENS, TOKENS).bfloat16()
    out, ones = torch.empty_like(scores), torch.ones(4, TOKENS, 16).bfloat16()
    yield "scores: softmax", scores.numel(), lambda: torch._softmax(scores, -1, False, out=out)
    yield "scores: exponential", scores.numel(), lambda: torch.exp(scores, out=out)
    yield "scores: sums of rows by a product", scores.numel(), lambda: torch.bmm(scores, ones)
    x, hidden = torch.randn(CLIPS * TOKENS, WIDTH).bfloat16(), torch.randn(CLIPS * TOKENS, HIDDEN).bfloat16()
    weight, bias = torch.randn(HIDDEN, WIDTH).bfloat16(), torch.randn(HIDDEN).bfloat16()
    yield "MLP: linear", hidden.numel(), lambda: F.linear(x, weight, bias)
    yield "MLP: gelu", hidden.numel(), lambda: F.gelu(hidden)
    fused = torch.ops.mkldnn._linear_pointwise
    yield "MLP: linear and gelu in one operation", hidden.numel(), lambda: fused(x, weight, bias, "gelu", [], "none")
    packed = _pack(weight, len(x))
    yield "MLP: linear, weights packed in advance", hidden.numel(), lambda: fused(x, packed, bias, "none", [], "none")
    yield "MLP: packing of the weights", weight.numel(), lambda: _pack(weight, len(x))
    queries_and_keys = torch.randn(CLIPS, TOKENS, 3 * WIDTH).bfloat16()[..., : 2 * WIDTH]
    count = queries_and_keys.numel()
    table = rotary_table(rotary_angles(grid_positions(8, 8, torch.device("cpu")), HEAD)).bfloat16()
    cosines, sines = (part.repeat(1, 2 * WIDTH // HEAD) for part in table.unbind(1))
    yield "rotation of queries and keys", count, lambda: rotated(queries_and_keys, cosines, sines)
    permutation, heads = torch.eye(HEAD)[torch.arange(HEAD) ^ 1].bfloat16(), queries_and_keys.reshape(-1, HEAD)
    yield "pairs swapped by a product", count, lambda: heads @ permutation
    tokens, indices = x.view(CLIPS, TOKENS, WIDTH), torch.randint(0, TOKENS, (CLIPS, 300))
    index = indices[..., None].expand(-1, -1, WIDTH)
    yield "tokens: gather", index.numel(), lambda: tokens.gather(1, index)
    rows = (indices + TOKENS * torch.arange(CLIPS)[:, None]).flatten()
    yield "tokens: whole rows", index.numel(), lambda: x.index_select(0, rows)


def _pack(weight: Tensor, rows: int) -> Tensor:
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    return packed


def least_ns(run: Callable[[], Tensor], rounds: int) -> float:
    """Least CPU time of a call, in nanoseconds."""
    run()
    times = []
    for _ in range(rounds):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return 1e9 * min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=whole_number(2), default=7)
    add_out(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with torch.no_grad():
        found = {name: least_ns(run, args.rounds) / count for name, count, run in operations()}
    machine = describe_machine(("torch",))
    print(f"{machine.line()}\n")
    print(markdown_table(("operation", "ns per element"), [[name, f"{value:.2f}"] for name, value in found.items()]))
    write_results(args.out, machine, {"ns_per_element": found})


if __name__ == "__main__":
    main()
