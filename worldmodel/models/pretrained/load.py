"""Load a pretrained model of any known kind as a WorldModel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from worldmodel.models.pretrained.dino import KINDS, load_dino
from worldmodel.models.pretrained.files import read_config_file
from worldmodel.models.pretrained.hub import find_folder
from worldmodel.models.pretrained.layouts import PretrainedError
from worldmodel.models.pretrained.videomae import load_videomae
from worldmodel.models.pretrained.videomae_files import V2, has_decoder, load_videomae_encoder, load_videomae_v2_folder
from worldmodel.models.pretrained.vjepa2 import load_huggingface
from worldmodel.models.world_model import WorldModel

LOADERS: dict[str, Callable[[Path], WorldModel]] = {
    "vjepa2": load_huggingface,
    "videomae": lambda folder: load_videomae(folder) if has_decoder(folder) else load_videomae_encoder(folder),
    **dict.fromkeys(KINDS, load_dino),
    V2: load_videomae_v2_folder,
}  # by model_type


def load_pretrained(where: str, device: torch.device | str = "cpu") -> WorldModel:
    """Load a folder in the layout of Hugging Face (config.json, *.safetensors), or a model id on their hub (owner/name).

    Raises PretrainedError if it is neither, its kind is unknown, or any weight does not fit.
    """
    folder = find_folder(where)
    kind = read_config_file(folder, allowed=("auto_map",)).get("model_type")
    if isinstance(kind, str) and kind.lower().startswith(V2.lower()):  # VideoMAEv2_Base, VideoMAEv2_giant, ...
        kind = V2
    if kind is None:
        raise PretrainedError(f"{folder}/config.json has no field model_type, which names the kind of model")
    if not isinstance(kind, str) or kind not in LOADERS:
        raise PretrainedError(f"{folder} holds a model of kind {kind!r}; known kinds are {', '.join(LOADERS)}")
    try:
        model = LOADERS[kind](folder)
    except PretrainedError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RuntimeError, OSError, MemoryError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise PretrainedError(f"{folder}/config.json does not describe a valid model ({reason})") from error
    except ImportError as error:
        raise PretrainedError(f"{kind} needs the extra `hf`: pip install 'worldmodel[hf]' ({error})") from None
    loaded: WorldModel = model.to(device).eval()  # type: ignore[attr-defined]
    return loaded
