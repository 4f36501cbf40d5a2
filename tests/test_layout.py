"""The rules of the layout: imports between packages, names of modules, and number of files in a folder."""

import ast
import graphlib
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("worldmodel", "data_prep", "eval")
FORBIDDEN = {"worldmodel": ("data_prep", "eval"), "data_prep": ("eval",), "eval": ()}
WITHOUT_TORCH = (
    "data_prep",
    "worldmodel.config",
    "worldmodel.manifest",
    "worldmodel.signals",
    "worldmodel.storage",
    "worldmodel.video",
    "worldmodel.data.worker",
    "worldmodel.files",
    "worldmodel.process.cores",
    "worldmodel.process.streams",
)
BRINGS_TORCH = ("torch", "accelerate", "safetensors.torch", "einops.layers.torch", "transformers")


def modules_of(root: Path) -> dict[str, Path]:
    """Dotted name -> file, of every module of the packages below a root."""
    files = [file for package in PACKAGES for file in (root / package).rglob("*.py")]
    return {".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


@cache
def imports_of(file: Path) -> tuple[str, ...]:
    """Dotted names a file imports, at any depth, within functions too; `from a import b` gives a.b.

    Imports under `if TYPE_CHECKING:` are left out, since they never run.
    """
    tree = ast.parse(file.read_text(encoding="utf-8"))
    checking = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    skipped = {id(below) for node in checking for statement in node.body for below in ast.walk(statement)}
    names: list[str] = []
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names += (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            names += ("." * node.level + f"{node.module or ''}.{name.name}".strip(".") for name in node.names)
    return tuple(names)


def known(name: str, modules: dict[str, Path]) -> str | None:
    """The module of the project that contains an imported name, if any."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or None


def below(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


MODULES = modules_of(ROOT)
GRAPH = {name: {known(i, MODULES) for i in imports_of(file)} - {None, name} for name, file in MODULES.items()}


def reached_from(start: str) -> dict[str, str]:
    """Every module of the project that importing one executes, parent packages included -> the module that imports it."""
    reached, waiting = {}, [(start, "")]
    while waiting:
        name, asker = waiting.pop()
        if name not in reached:
            reached[name] = asker
            around = {name.rpartition(".")[0]} & MODULES.keys()
            waiting += [(other, name) for other in GRAPH[name] | around]
    return reached


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_does_not_import_those_that_build_on_it(package):
    found = {
        f"{name} imports {imported}"
        for name, file in MODULES.items()
        for imported in imports_of(file)
        if below(name, (package,)) and below(imported, FORBIDDEN[package])
    }
    assert found == set()


def test_only_a_command_line_imports_command_modules():
    """Code that two commands share belongs to the library."""
    packages = ("eval.commands", "data_prep.commands")
    found = {
        f"{name} imports {imported}"
        for name, file in MODULES.items()
        for imported in imports_of(file)
        if below(imported, packages) and not name.endswith("__main__")
    }
    assert found == set()


def test_no_folder_holds_more_than_fifteen_modules():
    folders = Counter(file.parent for file in MODULES.values() if file.name != "__init__.py")
    assert {str(folder.relative_to(ROOT)): count for folder, count in folders.items() if count > 15} == {}


def test_there_are_no_import_cycles():
    try:
        graphlib.TopologicalSorter(GRAPH).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_modules_without_torch_do_not_import_it_through_others():
    free = [name for name in MODULES if name == "worldmodel" or below(name, WITHOUT_TORCH)]
    found = {
        f"{start} reaches {name} (by {asker}), which imports {imported}"
        for start in free
        for name, asker in reached_from(start).items()
        for imported in imports_of(MODULES[name])
        if below(imported, BRINGS_TORCH)
    }
    assert len(free) > 4
    assert found == set()


def test_importing_modules_without_torch_does_not_load_it():
    free = [name for name in MODULES if name == "worldmodel" or below(name, WITHOUT_TORCH)]
    code = f"import importlib, sys\nfor name in {free}: importlib.import_module(name)\nassert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_imports_are_absolute_because_train_is_run_as_a_script():
    assert {name for name, file in MODULES.items() if any(i.startswith(".") for i in imports_of(file))} == set()


def test_no_module_hides_one_of_python_or_of_a_dependency():
    """`accelerate launch worldmodel/train.py` puts the folder worldmodel first on the path."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = [
        *project["dependencies"],
        *(r for extra in project["optional-dependencies"].values() for r in extra),
    ]
    required = {re.split(r"[^\w.-]", requirement)[0].lower() for requirement in requirements}
    provided = {
        module
        for module, distributions in packages_distributions().items()
        if required & {distribution.lower() for distribution in distributions}
    }
    assert {"torch", "yaml"} <= provided
    modules = {name.split(".")[1] for name in MODULES if "." in name}
    assert modules & (provided | sys.stdlib_module_names) - {"__main__"} == set()


def test_no_module_has_a_name_that_says_nothing():
    assert {name for name in MODULES if name.rpartition(".")[2] in ("utils", "helpers", "common", "misc")} == set()


def test_the_loop_defines_no_class():
    """A class of a script is __main__.Class: workers started by spawn and saved states cannot find it."""
    tree = ast.parse((ROOT / "worldmodel" / "train.py").read_text(encoding="utf-8"))
    assert [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)] == []


def test_imports_within_functions_are_seen(tmp_path):
    file = tmp_path / "module.py"
    file.write_text(
        "def f():\n    if True:\n        from eval.voe.scores.score import a\n        import torch.nn as nn\nfrom . import x\n"
    )
    assert set(imports_of(file)) == {"eval.voe.scores.score.a", "torch.nn", ".x"}
