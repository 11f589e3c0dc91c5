"""torchvision's architectures conserve relevance or raise clearly; ``docs/lrp.md`` has the table of what this gives.

``python tests/lrp/test_torchvision.py`` (from the repository, torchvision installed) prints the table anew.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from captum_uq import Unchanged
from captum_uq.attr import LRP
from captum_uq.lrp import EpsilonComposite, EpsilonGammaBox, EpsilonPlus, ZPlusComposite
from captum_uq.samplers.base import DrawError

DOCS = Path(__file__).parents[2] / "docs" / "lrp.md"
NAMES = (
    *("vgg11", "vgg16", "vgg19", "vgg11_bn", "vgg16_bn", "vgg19_bn", "alexnet", "resnet18", "densenet121"),
    *("mobilenet_v2", "efficientnet_b0", "vit_b_16"),
)
COMPOSITES = {
    "EpsilonComposite": lambda: EpsilonComposite(0.0),
    "ZPlusComposite": ZPlusComposite,
    "EpsilonPlus": lambda: EpsilonPlus(0.0),
    "EpsilonGammaBox": lambda: EpsilonGammaBox(-9.0, 9.0, 0.0),
}
HEAD = f"| architecture | dropout | {' | '.join(COMPOSITES)} |\n|---|---|{'---|' * len(COMPOSITES)}"


def network(name: str) -> nn.Module:
    """Random weights, no biases; norms with the variance of a batch, so that outputs are of order 1."""
    models = pytest.importorskip("torchvision.models", reason="the architectures are torchvision's")
    torch.manual_seed(0)
    model = getattr(models, name)(weights=None, **({"image_size": 64} if name.startswith("vit") else {})).double()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for parameter_name, parameter in model.named_parameters():
        if parameter_name.endswith("bias"):
            nn.init.zeros_(parameter)
    for norm in norms:
        norm.momentum = None
    with torch.no_grad():
        _ = model.train()(torch.randn(4, 3, 64, 64, dtype=torch.float64)) if norms else None
    for norm in norms:
        nn.init.zeros_(norm.running_mean)
    return model.eval()


def outcome(model: nn.Module, composite) -> tuple[str, str]:
    """Whether the model draws, and what relevance does: ``"conserved"``, its share, or ``"raises"``."""
    inputs = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        target = int(model(inputs).argmax())
    drawn = "yes"
    try:
        try:
            options = {"target": target, "return_deterministic": False}
            dist = LRP(model, composite=composite).attribute(inputs, n_draws=2, seed=0, **options)
        except DrawError as error:
            if "found nothing to draw" not in str(error):
                raise
            drawn = "no"
            dist = LRP(model, composite=composite, sampler=Unchanged()).attribute(inputs, **options)
    except (TypeError, DrawError, NotImplementedError) as error:
        return "yes", "raises" if "no rule for" in str(error) and "rules={" in str(error) else repr(error)
    shares = dist.draws.flatten(2).sum(-1) / dist.predictions[..., target]
    conserved = bool(((shares - 1).abs() < 1e-4).all())
    return drawn, "conserved" if conserved else f"sums to {shares.mean():.2f}"


def row(name: str) -> str:
    model = network(name)
    cells = [outcome(model, make()) for make in COMPOSITES.values()]
    return f"| {name} | {cells[0][0]} | {' | '.join(cell for _, cell in cells)} |"


@pytest.mark.parametrize("name", NAMES)
def test_the_table_in_the_docs_is_what_the_library_does(name: str) -> None:
    """Every architecture under every composite, in every draw."""
    assert row(name) in DOCS.read_text()


def test_every_architecture_of_the_table_conserves_or_raises() -> None:
    rows = [line for line in DOCS.read_text().splitlines() if line.startswith("| ") and line.split()[1] in NAMES]
    assert len(rows) == len(NAMES)
    cells = {cell.strip() for line in rows for cell in line.strip("| ").split("|")[2:]}
    assert cells == {"conserved", "raises"}


if __name__ == "__main__":
    sys.stdout.write(f"{HEAD}\n")
    for architecture in NAMES:
        sys.stdout.write(f"{row(architecture)}\n")
