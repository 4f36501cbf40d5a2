"""Reads README.md and docs/*.md: code blocks, commands, paths and links, so that tests can check them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def all_blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of every code block, in order."""
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


def blocks(page: Path, language: str) -> list[str]:
    """Code blocks of one language, in order."""
    return [code for found, code in all_blocks(page) if found == language]


def commands(page: Path) -> list[list[str]]:
    """Words of every command of this project in the bash blocks of a page."""
    return commands_of("\n".join(blocks(page, "bash")))


def commands_of(bash: str) -> list[list[str]]:
    """Words of every command of a bash block."""
    lines = bash.replace("\\\n", " ").splitlines()
    found = [shlex.split(line, comments=True) for line in lines if not line.startswith(("#", "trap", "srun", "head="))]
    return [command for command in found if command]


def inline_code(page: Path) -> Iterator[str]:
    """Texts in single backticks, outside of code blocks."""
    yield from re.findall(r"`([^`\n]+)`", _BLOCK.sub("", page.read_text(encoding="utf-8")))


def links(page: Path) -> Iterator[str]:
    """Relative links and pictures, without their anchors."""
    for target in re.findall(r"\]\(([^)\s]+)\)", _BLOCK.sub("", page.read_text(encoding="utf-8"))):
        path = target.partition("#")[0]
        if path and "://" not in path:
            yield path
