"""Composites give every layer its rule, say which, and refuse what they have none for."""

from __future__ import annotations

import pytest
import torch
from captum.attr._utils.lrp_rules import GammaRule as CaptumGamma
from torch import Tensor, nn

from captum_uq.lrp import (
    LRP,
    LRPCMP,
    AveragePoolRule,
    BatchNormRule,
    BoxRule,
    EpsilonComposite,
    EpsilonGammaBox,
    EpsilonPlus,
    EpsilonRule,
    GammaRule,
    PassRule,
    ZPlusComposite,
    ZPlusRule,
)


def vgg(*blocks: int, norm: bool = False) -> nn.Sequential:
    """The layers of a VGG, with one channel each."""
    layers: list[nn.Module] = []
    for count in blocks:
        for _ in range(count):
            layers += [nn.Conv2d(1, 1, 3, padding=1), *([nn.BatchNorm2d(1)] if norm else []), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(1, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 4)).eval()


def weighted_rules(composite, model: nn.Module) -> list[str]:
    mapping = composite.mapping(model)
    modules = dict(model.named_modules())
    return [type(rule).__name__ for name, rule in mapping.items() if isinstance(modules[name], (nn.Conv2d, nn.Linear))]


BOX, GAMMA, EPSILON = ["BoxRule"], ["GammaRule"], ["EpsilonRule"]


@pytest.mark.parametrize("norm", [False, True], ids=["plain", "with BatchNorm"])
@pytest.mark.parametrize(
    ("blocks", "gammas", "epsilons"),
    [((2, 2, 3, 3, 3), 6, 6), ((2, 2, 4, 4, 4), 7, 8), ((1, 1, 2, 2, 2), 3, 4)],
    ids=["VGG-16", "VGG-19", "VGG-11"],
)
def test_lrp_cmp_divides_a_vgg_as_the_papers_do(blocks, gammas: int, epsilons: int, norm: bool) -> None:
    """The pixels, the blocks up to the third, the blocks after it, the classifier."""
    model = vgg(*blocks, norm=norm)
    rules = LRPCMP(0.0, 1.0).mapping(model)
    assert weighted_rules(LRPCMP(0.0, 1.0), model) == BOX + GAMMA * gammas + EPSILON * (epsilons + 2)
    relative = [rule.relative for rule in rules.values() if isinstance(rule, EpsilonRule)]
    assert sum(relative) == epsilons
    assert sum(isinstance(rule, AveragePoolRule) for rule in rules.values()) == 5


def test_the_thresholds_of_lrp_cmp_are_arguments() -> None:
    composite = LRPCMP(0.0, 1.0, gamma_until=2, epsilon_until=3)
    rules = [r for r in composite.mapping(vgg(2, 2)).values() if isinstance(r, (BoxRule, GammaRule, EpsilonRule))]
    assert [repr(rule) for rule in rules] == [
        "BoxRule(0, 1)",
        "GammaRule(0.25, bias='scaled')",
        "EpsilonRule(0.25, relative=True)",
        "EpsilonRule(0)",
        "EpsilonRule(0)",
        "EpsilonRule(0)",
    ]


@pytest.mark.parametrize(
    ("composite", "expected"),
    [
        (EpsilonComposite(), EPSILON * 6),
        (ZPlusComposite(), ["ZPlusRule"] * 6),
        (EpsilonPlus(), ["ZPlusRule"] * 4 + EPSILON * 2),
        (EpsilonGammaBox(0.0, 1.0), BOX + GAMMA * 3 + EPSILON * 2),
    ],
    ids=repr,
)
def test_a_composite_maps_layers_by_kind_and_depth(composite, expected: list[str]) -> None:
    assert weighted_rules(composite, vgg(2, 2)) == expected


def test_a_mapping_prints_as_a_table() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    assert str(LRPCMP(0.0, 1.0).mapping(model)) == (
        "LRPCMP(max_pool='average') on Sequential\n"
        "  0  Conv2d       BoxRule(0, 1)\n"
        "  1  BatchNorm2d  BatchNormRule()\n"
        "  2  ReLU         PassRule()\n"
        "  3  MaxPool2d    AveragePoolRule()\n"
        "  4  Flatten      PassRule()"
    )


def test_rules_of_the_users_own_come_first_by_module_then_name_then_type() -> None:
    model = vgg(2, 2)
    model[0].rule = own = CaptumGamma(0.5)
    rules = {nn.Conv2d: GammaRule(), "2": ZPlusRule(), "1*": PassRule(), nn.Linear: GammaRule(0.5)}
    mapping = EpsilonComposite(rules=rules).mapping(model)
    assert mapping["0"] is not own  # what a rule leaves behind is one layer's
    assert vars(mapping["0"]) == vars(own)
    assert isinstance(mapping["2"], ZPlusRule)
    assert isinstance(mapping["5"], GammaRule)
    assert isinstance(mapping["11"], PassRule)
    assert isinstance(mapping["1"], PassRule)
    assert model[0].rule is own


def test_every_layer_gets_a_rule_of_its_own() -> None:
    mapping = EpsilonComposite(rules={nn.Conv2d: ZPlusRule()}).mapping(vgg(2, 2))
    assert len({id(rule) for rule in mapping.values()}) == len(mapping)


def test_a_module_with_others_inside_can_be_one_layer() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3), nn.Softmax(dim=-1)), nn.Linear(3, 2))
    mapping = EpsilonComposite(rules={"1": PassRule()}).mapping(model)
    assert list(mapping) == ["0", "1", "2"]
    relevance = LRP(model, EpsilonComposite(rules={"1": PassRule()})).attribute(torch.randn(2, 3), target=0)
    assert relevance.shape == (2, 3)


def test_other_layers_take_what_conserves_relevance() -> None:
    model = nn.Sequential(nn.AvgPool2d(2), nn.Dropout3d(), nn.BatchNorm1d(3), nn.Unflatten(1, (3, 1)), nn.MaxPool3d(2))
    kinds = [type(rule) for rule in ZPlusComposite(max_pool="average").mapping(model).values()]
    assert kinds == [EpsilonRule, PassRule, BatchNormRule, PassRule, AveragePoolRule]


class Unknown(nn.Module):
    """A leaf of no known type."""

    def forward(self, x: Tensor) -> Tensor:
        return x.square()


ERRORS = {
    "a layer without a rule": (
        lambda: LRP(nn.Sequential(nn.Linear(2, 2), Unknown()), ZPlusComposite()).attribute(torch.ones(1, 2), target=0),
        TypeError,
        "ZPlusComposite has no rule for Unknown '1'. Give it one by name or by type, rules={'1': ...}",
    ),
    "a softmax": (
        lambda: LRP(nn.Sequential(nn.Linear(2, 2), nn.Softmax(-1)), EpsilonComposite()).attribute(
            torch.ones(1, 2), target=0
        ),
        TypeError,
        "explain the logits",
    ),
    "a name that matches nothing": (
        lambda: EpsilonComposite(rules={"features.0": ZPlusRule()}).mapping(vgg(1)),
        ValueError,
        "rules={'features.0': ...} matches no module. The names are ['0', '1'",
    ),
    "what is no rule": (
        lambda: EpsilonComposite(rules={"0": "z+"}),
        TypeError,
        "rules={'0': ...} takes a rule such as ZPlusRule(), got 'z+'",
    ),
    "an unknown max_pool": (
        lambda: EpsilonComposite(max_pool="mean"),
        ValueError,
        "max_pool is 'winner' or 'average', got 'mean'",
    ),
    "thresholds in the wrong order": (
        lambda: LRPCMP(gamma_until=5, epsilon_until=3),
        ValueError,
        "gamma_until=5 and epsilon_until=3",
    ),
    "ImageNet's box on gray pictures of another range": (
        lambda: LRP(vgg(1, 1), LRPCMP()).attribute(torch.rand(1, 1, 4, 4), target=0),
        ValueError,
        "does not broadcast to the input of Conv2d '0'",
    ),
    "a scripted network": (
        lambda: LRP(torch.jit.trace(vgg(1), torch.ones(1, 1, 2, 2)), EpsilonComposite()).attribute(
            torch.ones(1, 1, 2, 2), target=0
        ),
        TypeError,
        "Use the network before TorchScript.",
    ),
}


@pytest.mark.filterwarnings("ignore:.torch.jit")
@pytest.mark.parametrize("name", ERRORS)
def test_an_error_names_the_layer_and_how_to_give_it_a_rule(name: str) -> None:
    act, kind, message = ERRORS[name]
    with pytest.raises(kind) as error:
        act()
    assert message in str(error.value)
