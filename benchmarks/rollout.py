"""Training steps of the causal family against another commit: the demo, and a recipe with rollouts (vit_s with small frames).

    python -m benchmarks.rollout --against COMMIT [--rounds 7] [--out FILE.json]

CPU time with one thread; the rounds of both commits alternate. Losses of the first step show that both compute the same.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path

import yaml

from benchmarks.measure import add_out, describe_machine, markdown_table, write_results
from benchmarks.steps.against import compare
from worldmodel.process.arguments import whole_number
from worldmodel.recipe import DEMO_RECIPE

PRECISIONS = ("bf16", "fp32")
SIZE_PX, BATCH_SIZE = 112, 1  # of the recipe with rollouts


def recipe_with_rollouts(folder: Path) -> Path:
    """Write vit_s for smaller frames and one clip, with its rollouts of two steps."""
    recipe = yaml.safe_load(DEMO_RECIPE.with_name("vit_s.yaml").read_text(encoding="utf-8"))
    recipe["window"]["size_px"] = SIZE_PX
    recipe["model"]["encoder"]["latent_grid"] = SIZE_PX // recipe["model"]["encoder"]["patch_px"]
    recipe["data"]["batch_size"], recipe["train"]["compile"] = BATCH_SIZE, False
    path = folder / f"vit_s_{SIZE_PX}px.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", required=True, metavar="COMMIT", help="the commit to compare with")
    parser.add_argument("--rounds", type=whole_number(2), default=7)
    add_out(parser)
    args = parser.parse_args()
    machine = describe_machine(("torch",))
    rows, results = [], []
    with tempfile.TemporaryDirectory() as folder:
        for found in compare(args.against, [DEMO_RECIPE, recipe_with_rollouts(Path(folder))], PRECISIONS, args.rounds):
            rows.append([found.recipe, found.precision, found.ratio, f"{found.loss_before:.7g}", f"{found.loss_now:.7g}"])
            results.append({**asdict(found), "ratio": asdict(found.ratio)})
    print(f"{machine.line()}\n")
    print(markdown_table(("recipe", "precision", f"speed-up over {args.against}", "loss before", "loss now"), rows))
    write_results(args.out, machine, {"steps": results})


if __name__ == "__main__":
    main()
