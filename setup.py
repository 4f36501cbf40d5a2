"""Build step: a wheel holds the recipes of configs/ as worldmodel/configs/. All other settings stand in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Copy configs/ into the package when a wheel is built; an editable install reads them where they are."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            shutil.copytree("configs", Path(self.build_lib) / "worldmodel" / "configs", dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithConfigs})
