"""README.md, CONTRIBUTING.md and docs/ name only what exists: paths, commands, flags, config keys and pages."""

import contextlib
import importlib.util
import io
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from documents import PAGES, ROOT, blocks, commands, inline_code, links

import worldmodel.recipe
import worldmodel.rollout
from data_prep.__main__ import COMMANDS as DATA_PREP
from data_prep.__main__ import main as data_prep
from eval.__main__ import COMMANDS as EVAL
from eval.__main__ import main as evaluate
from worldmodel.config import json_schema
from worldmodel.recipe import Recipe

MAINS = {"eval": evaluate, "data_prep": data_prep, "worldmodel.rollout": worldmodel.rollout.main}
FOLDERS = ("worldmodel/", "data_prep/", "eval/", "configs/", "tests/", "benchmarks/", "docs/")
RETIRED = ("film", "films", "lawful", "doctor", "foretold", "what came", "as it is born", "so many")
page_ids = [str(page.relative_to(ROOT)) for page in PAGES]
each_page = pytest.mark.parametrize("page", PAGES, ids=page_ids)


def help_of(module: str, command: str | None) -> str:
    """What a command prints for --help."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), pytest.raises(SystemExit):
        MAINS[module]([*([command] if command else []), "--help"])
    return shown.getvalue()


def module_of(parts: list[str]) -> tuple[Path, list[str]]:
    """The file of the longest module at the start of a dotted name, and the remaining parts."""
    for count in range(len(parts), 0, -1):
        folder = ROOT.joinpath(*parts[:count])
        for file in (folder.with_suffix(".py"), folder / "__init__.py"):
            if file.exists():
                return file, parts[count:]
    raise AssertionError(f"{'.'.join(parts)} is not in the project")


def property_names(node: object) -> set[str]:
    """Every field name of a JSON schema."""
    if isinstance(node, dict):
        named = set(node["properties"]) if isinstance(node.get("properties"), dict) else set()
        return named.union(*map(property_names, node.values()))
    return set().union(*map(property_names, node)) if isinstance(node, list) else set()


@each_page
def test_every_path_that_a_page_names_exists(page):
    named = {text.partition("::")[0] for text in inline_code(page)}
    named |= {word for command in commands(page) for word in command if word.startswith(FOLDERS)}
    paths = {text for text in named if text.startswith(FOLDERS) and " " not in text and "mine" not in text}
    assert [path for path in sorted(paths) if not list(ROOT.glob(path.rstrip("/")))] == []


@pytest.fixture(scope="module")
def sources() -> str:
    """All code and configuration of the project."""
    files = [ROOT / "dev.py", ROOT / "pyproject.toml"]
    files += [file for folder in FOLDERS[:-1] for file in (ROOT / folder).rglob("*") if file.suffix in (".py", ".yaml")]
    return "\n".join(file.read_text(encoding="utf-8") for file in files if file.name != "test_docs.py")


@each_page
def test_every_name_of_the_code_that_a_page_mentions_exists(page, sources):
    names = {text for text in inline_code(page) if re.fullmatch(r"[A-Za-z]\w*_\w*|[A-Z]\w*[A-Z]\w*", text)}
    assert [name for name in sorted(names) if not re.search(rf"\b{name}\b", sources)] == []


@each_page
def test_every_module_that_a_page_mentions_exists(page):
    names = {text for text in inline_code(page) if re.fullmatch(r"(worldmodel|data_prep|eval)(\.\w+)+", text)}
    found = {name: module_of(name.split(".")) for name in sorted(names)}
    assert [name for name, (file, left) in found.items() if left and left[0] not in file.read_text(encoding="utf-8")] == []


@each_page
def test_every_link_of_a_page_leads_to_a_file(page):
    assert [target for target in links(page) if not (page.parent / target).exists()] == []


@each_page
def test_every_command_and_flag_of_a_page_exists(page):
    unknown = []
    for argv in commands(page):
        if argv[:2] == ["python", "-m"] and argv[2] in MAINS:
            module, rest = argv[2], argv[3:]
            command = rest[0] if module != "worldmodel.rollout" else None
            if command is not None and command not in {**EVAL, **DATA_PREP}:
                unknown.append(" ".join(argv))
                continue
            flags = [word for word in rest if word.startswith("--")]
            shown = help_of(module, command) if flags else ""
            unknown += [f"{module} {command or ''}: {flag}" for flag in flags if not re.search(rf"{flag}\b", shown)]
        elif argv[0] == "python" and argv[1] != "-m":
            unknown += [argv[1]] if not (ROOT / argv[1]).exists() else []
    assert unknown == []


@each_page
def test_every_command_in_running_text_exists(page):
    named = re.findall(r"`(?:python -m )?(eval|data_prep) ([a-z_]+)", page.read_text(encoding="utf-8"))
    known = {"eval": EVAL, "data_prep": DATA_PREP}
    assert [f"{module} {command}" for module, command in named if command not in known[module]] == []


@each_page
def test_every_config_key_of_a_page_exists(page):
    names = property_names(json_schema(Recipe)) | set(Recipe.model_fields)
    key = re.compile(rf"({'|'.join(Recipe.model_fields)})(\.[a-z_0-9]+)+")
    keys = [text for text in inline_code(page) if key.fullmatch(text) and not text.endswith((".jsonl", ".parquet"))]
    assert [key for key in keys if not set(key.split(".")[1:]) <= names] == []


@each_page
def test_retired_words_are_gone(page):
    prose = re.sub(r"```.*?```|`[^`\n]+`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL).lower()
    assert [word for word in RETIRED if re.search(rf"\b{word}\b", prose)] == []


@each_page
def test_lines_of_prose_have_at_most_100_characters(page):
    text = page.read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if len(line) > 100 and not line.startswith(("|", "!", "accelerate"))] == []


def test_the_site_lists_every_page_once():
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = re.findall(r"[\w/]+\.md", str(config["nav"]))
    pages = [str(page.relative_to(ROOT / "docs")) for page in PAGES if (ROOT / "docs") in page.parents]
    assert sorted(listed) == sorted(Path(page).as_posix() for page in pages)


def test_the_glossary_defines_each_term_once():
    text = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    terms = [term.strip() for entry in re.findall(r"^\| \*\*(.+?)\*\*", text, re.MULTILINE) for term in entry.split(",")]
    assert len(terms) > 50
    assert [term for term, count in Counter(terms).items() if count > 1] == []


def test_pictures_of_the_docs_are_small():
    large = [file for file in (ROOT / "docs").rglob("*") if file.is_file() and file.stat().st_size > 2 * 2**20]
    assert large == []


def test_there_is_bash_to_check():
    assert sum(bool(blocks(page, "bash")) for page in PAGES) >= 5


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="needs the extra `docs`")
def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(ROOT / "mkdocs.yml")]
    done = subprocess.run([*command, "--site-dir", str(tmp_path / "site")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = re.compile(r"""<(?:script|img|iframe)[^>]*\ssrc="https?://|<link[^>]*rel="stylesheet"[^>]*href="https?://""")
    assert [page for page in (tmp_path / "site").rglob("*.html") if loaded.search(page.read_text(encoding="utf-8"))] == []
