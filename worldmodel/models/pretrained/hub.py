"""Folders of models on the Hugging Face hub: download and upload. The library huggingface_hub is imported when it is needed."""

from __future__ import annotations

import re
from pathlib import Path

from worldmodel.models.pretrained.layouts import PretrainedError

HUGGINGFACE = "hf:"  # prefix of published weights where a run folder may be named too
MODEL_ID = r"[\w.-]+/[\w.-]+"
_INSTALL = "pip install 'worldmodel[hf]'"
_READ = ["*.json", "*.safetensors"]  # nothing that could run code is downloaded
_PICKLES = ("*.pt", "*.pth", "*.bin", "*.ckpt", "*.pkl", "*.pickle", "*.tar")


def find_folder(where: str) -> Path:
    """A folder, or the local copy of a model id on the Hugging Face hub (owner/name). Raises PretrainedError."""
    where = where.removeprefix("//")  # hf://OWNER/NAME
    if Path(where).is_dir():
        return Path(where)
    if not re.fullmatch(MODEL_ID, where):
        raise PretrainedError(f"{where}: not a folder, and not a model id on the Hugging Face hub (owner/name)")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise PretrainedError(f"{where} is not a folder; to download it: {_INSTALL}") from None
    try:
        return Path(snapshot_download(where, allow_patterns=_READ))
    except Exception as error:  # also those of its HTTP library, which is another one in each major version
        raise PretrainedError(f"{where} is not a folder and could not be downloaded: {_reason(error)}") from None


def push_folder(folder: Path, model_id: str, files: list[str], private: bool) -> str:
    """Upload these files of a folder to a model id (owner/name), which is created if it is new. Returns its address.

    Raises PretrainedError without huggingface_hub, network or login, or if the hub refuses; the folder stays as it is.
    """
    if not re.fullmatch(MODEL_ID, model_id):
        raise PretrainedError(f"--push {model_id}: expected a model id on the Hugging Face hub (owner/name)")
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise PretrainedError(f"{folder} is written, but --push needs huggingface_hub: {_INSTALL}") from None
    try:
        api = HfApi()
        api.create_repo(model_id, exist_ok=True, private=private)
        api.upload_folder(repo_id=model_id, folder_path=folder, allow_patterns=files)
    except Exception as error:  # as above
        raise PretrainedError(
            f"{folder} is written, but it could not be uploaded to {model_id}: {_reason(error)}. Log in with `hf auth login`, "
            "and run the command again"
        ) from None
    return f"https://huggingface.co/{model_id}"


def _reason(error: Exception) -> str:
    """The first line of an error that has text, or else its type."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)


def pickles_in(folder: Path) -> list[str]:
    """Names of files in a folder that only code-running loaders can read."""
    return sorted(file.name for pattern in _PICKLES for file in folder.glob(pattern) if file.is_file())
