"""The layers: imports point down only; Captum's private names stand in one place; the wall around matplotlib."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import captum_uq

PACKAGE = Path(captum_uq.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
LAYERS = {
    "_trees": 0,
    "_tensors": 0,
    "_caches": 0,
    "_layout": 0,
    "_rng": 0,
    "_captum": 0,
    "_warn": 0,
    "_inside": 0,
    "_shared_graph": 0,
    "_bulk": 0.1,
    "_model_state": 0.5,
    "stats": 1,
    "normalization": 1,
    "samplers": 1,
    "distribution": 2,
    "execution": 3,
    "metrics": 3,
    "attribution": 4,
    "_checked_state": 4.2,
    "_checked_case": 4.3,
    "testing": 4.5,
    "lrp": 5,
    "attr": 5.5,
    "recipes": 6,
    "visualization": 6,
    "": 7,
}
MEET_CAPTUM = {"_captum", "execution", "attribution", "attr", "lrp", "recipes", "metrics", "testing"}


def room(module: str) -> str:
    """The part of the package that a module belongs to; the package itself is above them all."""
    return module.split(".")[1] if "." in module else ""


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> list[str]:
    """Every module that a file imports, also inside functions and type-checking blocks."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found += sorted(whole) if node.module == "captum_uq" else [node.module or ""]
    return found


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_down_the_layers(path: Path) -> None:
    own = room(name_of(path))
    assert own in LAYERS, f"{own} has no layer yet: give it one here"
    for imported in imports(path):
        if imported.startswith("captum_uq"):
            other = room(imported)
            assert other == own or LAYERS[other] < LAYERS[own], f"{name_of(path)} imports {imported}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_few_rooms_meet_captum_and_one_its_private_names(path: Path) -> None:
    for imported in imports(path):
        if imported.split(".")[0] == "captum":
            assert room(name_of(path)) in MEET_CAPTUM
            private = imported.startswith("captum._") or "._" in imported or imported == "captum.log"
            assert not private or name_of(path) == "captum_uq._captum", f"{path}: {imported}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_visualization_imports_matplotlib_at_the_top(path: Path) -> None:
    top = [node for node in ast.parse(path.read_text()).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in top if isinstance(node, ast.ImportFrom)}
    assert room(name_of(path)) == "visualization" or not any(name.startswith("matplotlib") for name in names)


def test_the_names_that_captum_does_not_export_are_where_we_look() -> None:
    from captum.attr import LRP, LayerLRP
    from torch import nn

    from captum_uq import _captum

    assert issubclass(_captum.EpsilonRule, _captum.PropagationRule)
    assert issubclass(_captum.Addition_Module, nn.Module)
    assert issubclass(_captum.SUPPORTED_LAYERS_WITH_RULES[nn.Linear], _captum.PropagationRule)
    assert nn.ReLU in _captum.SUPPORTED_NON_LINEAR_LAYERS
    assert hasattr(LRP.attribute, "__wrapped__"), "log_usage no longer sets __wrapped__, which NoiseTunnel reads"
    network = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    LRP(network).attribute(__import__("torch").ones(1, 2), target=0)
    for method in (LRP, LayerLRP):
        names = "compute_output_and_change_weights register_weight_hooks register_pre_hooks register_forward_hooks"
        more = ("forward_fn_wrapper", "restore_state", "restore_model", "get_layers", "clear_properties")
        for name in (*names.split(), *more):
            assert hasattr(method, f"_{name}"), f"captum_uq.lrp stands on {method.__name__}._{name}"
    left = set(vars(network[0])) - set(vars(nn.Linear(2, 2)))
    assert left <= set(_captum.LEFT_ON_MODULES)
