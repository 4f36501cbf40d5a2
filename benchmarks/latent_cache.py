"""Time of frozen latents per frame: encoded one by one, eight at once, and read from the cache.

    python -m benchmarks.latent_cache

The encoder has the sizes of DINOv2-small and random weights; frames have 224 px. CPU seconds of one thread, medians.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
from transformers import Dinov2Config

from worldmodel.models.pretrained.frozen_encoder import DinoNetwork, FrozenEncoder, FrozenEncoderConfig
from worldmodel.training.target_cache import TargetCache

FRAMES, SIZE_PX, REPEATS = 8, 224, 7


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sizes = Dinov2Config(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, image_size=518, patch_size=14)
    network = DinoNetwork(config=json.loads(sizes.to_json_string(use_diff=False)))
    single = FrozenEncoder(FrozenEncoderConfig(source="random", network=network), SIZE_PX)
    together = FrozenEncoder(FrozenEncoderConfig(source="random", network=network, frames_at_once=FRAMES), SIZE_PX)
    stored = FrozenEncoder(FrozenEncoderConfig(source="random", network=network), SIZE_PX)
    for encoder in (together, stored):
        encoder.load_state_dict(single.state_dict())
    frames = torch.randn(1, FRAMES, 3, SIZE_PX, SIZE_PX)
    with tempfile.TemporaryDirectory() as folder:
        stored.cache = TargetCache(Path(folder))
        stored(frames)
        encoders = {"one by one": single, f"{FRAMES} at once": together, "read from the cache": stored}
        seconds: dict[str, list[float]] = {name: [] for name in encoders}
        for _ in range(REPEATS):
            for name, encoder in encoders.items():
                begun = time.process_time()
                encoder(frames)
                seconds[name].append(time.process_time() - begun)
        for name, encoder in encoders.items():
            difference = (encoder(frames) - single(frames)).abs().max().item()
            print(f"{name:20} {1000 * statistics.median(seconds[name]) / FRAMES:8.2f} ms per frame, differs by {difference:g}")


if __name__ == "__main__":
    main()
