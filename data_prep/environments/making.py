"""Environments by their id, and policies by their name. Errors are one line."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from data_prep.environments.descriptions import DESCRIPTIONS, Act, Description, Policy
from data_prep.environments.tasks import Task
from data_prep.errors import PrepError

INSTALL = 'environments need gymnasium: pip install "gymnasium>=1.0", or pip install -e ".[control]" in this project'


def make_environment(environment_id: str, options: Mapping[str, Any] | None = None) -> Any:
    """Make an environment that renders pictures. Raises PrepError.

    options: keyword arguments of the environment.
    """
    try:
        import gymnasium
    except ImportError:
        raise PrepError(INSTALL) from None
    for name, description in DESCRIPTIONS.items():
        if description.entry_point and name not in gymnasium.registry:
            gymnasium.register(name, entry_point=description.entry_point, max_episode_steps=description.max_steps)
    if os.environ.get("MUJOCO_GL") == "disable":  # set by the command line for its own worlds, which need no OpenGL
        os.environ.pop("MUJOCO_GL")
    try:
        made = gymnasium.make(environment_id, render_mode="rgb_array", disable_env_checker=True, **dict(options or {}))
    except gymnasium.error.UnregisteredEnv as error:  # of an unknown name, namespace or version
        ours = ", ".join(DESCRIPTIONS)
        raise PrepError(
            f"{environment_id}: unknown environment ({_one_line(error)}); this project has {ours}; an environment of another "
            "package is named `module:Name-v0`, which imports the package first"
        ) from None
    except Exception as error:  # an environment may raise anything, and a missing package is an ImportError
        raise PrepError(f"{environment_id}: cannot be made ({type(error).__name__}: {_one_line(error)})") from None
    return made


def check_environment(environment: Any, environment_id: str) -> tuple[int, int]:
    """Height and width of its pictures. Raises PrepError where it renders none, or its actions are not numbers."""
    modes = environment.unwrapped.metadata.get("render_modes", [])
    if "rgb_array" not in modes:
        raise PrepError(f"{environment_id}: renders no rgb_array (its render modes: {', '.join(map(str, modes)) or 'none'})")
    action_size(environment, environment_id)
    try:
        environment.reset(seed=0)
        picture = np.asarray(environment.render())
    except Exception as error:
        raise PrepError(f"{environment_id}: cannot be rendered ({type(error).__name__}: {_one_line(error)})") from None
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise PrepError(f"{environment_id}: render() gives {picture.dtype} {list(picture.shape)}; expected uint8 [H, W, 3]")
    return picture.shape[0], picture.shape[1]


def action_size(environment: Any, environment_id: str) -> int:
    """Numbers per action: a box is flattened, a discrete action is one number. Raises PrepError for other spaces."""
    from gymnasium import spaces

    space = environment.action_space
    if isinstance(space, spaces.Discrete):
        return 1
    if isinstance(space, spaces.Box | spaces.MultiDiscrete | spaces.MultiBinary):
        return int(np.prod(space.shape))
    raise PrepError(
        f"{environment_id}: actions are {type(space).__name__}; expected Box, Discrete, MultiDiscrete or MultiBinary"
    )


def description_of(environment_id: str) -> Description:
    """The description of one of our environments, or an empty one."""
    return DESCRIPTIONS.get(environment_id.rpartition(":")[2], Description())


def find_policy(name: str, environment_id: str) -> Policy:
    """random, scripted, or `module:callable`. Raises PrepError."""
    known = description_of(environment_id).policies
    if name in known:
        return known[name]
    if name == "random":
        return _sample
    if name == "scripted":
        scripted = ", ".join(key for key, value in DESCRIPTIONS.items() if "scripted" in value.policies)
        raise PrepError(
            f"{environment_id}: has no scripted policy (there is one for {scripted}); give --policy module:callable"
        )
    if ":" not in name:
        raise PrepError(f"--policy {name}: expected random, scripted or module:callable")
    found: Policy = _import_callable("--policy", name, "(environment, rng) -> act")
    return found


def find_task(environment_id: str, options: Mapping[str, Any], given: str | None = None) -> Task:
    """The task of one of our environments, or `module:callable`, called with the environment's options. Raises PrepError."""
    make = description_of(environment_id).task if given is None else _import_callable("--task", given, "(**options) -> task")
    if make is None:
        ours = ", ".join(name for name, description in DESCRIPTIONS.items() if description.task)
        raise PrepError(
            f"{environment_id}: no goal can be set, because its task is not known (there is one for {ours}); give "
            "--task module:callable"
        )
    try:
        return make(**options)
    except Exception as error:  # of another package
        raise PrepError(f"{environment_id}: its task cannot be made ({type(error).__name__}: {_one_line(error)})") from None


def _import_callable(option: str, name: str, expected: str) -> Callable[..., Any]:
    """What `module:callable` names. Raises PrepError."""
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise PrepError(f"{option} {name}: expected module:callable")
    try:
        imported = importlib.import_module(module)
    except Exception as error:  # the code of the module runs, and may raise anything
        if isinstance(error, ModuleNotFoundError) and error.name:
            raise PrepError(f"{option} {name}: no module {error.name!r} on Python's path") from None
        raise PrepError(
            f"{option} {name}: the module {module} cannot be imported ({type(error).__name__}: {_one_line(error)})"
        ) from None
    try:
        found = getattr(imported, attribute)
    except AttributeError:
        raise PrepError(f"{option} {name}: the module {module} has no {attribute}") from None
    if not callable(found):
        raise PrepError(f"{option} {name}: is a {type(found).__name__}; expected a callable {expected}")
    return found


def _sample(environment: Any, rng: np.random.Generator) -> Act:
    """Actions drawn from the action space."""
    environment.action_space.seed(int(rng.integers(2**31)))
    return lambda observation, info: environment.action_space.sample()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
