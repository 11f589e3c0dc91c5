"""The benchmark that draws MCRP's figure, on a small picture size and random weights."""

import importlib.util
import re
import sys
import urllib.error
from pathlib import Path

import pytest
import torch
from PIL import Image

models = pytest.importorskip("torchvision.models", reason="the network is torchvision's (the peers extra)")

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT.parent / "shared" / "data" / "imagenet"
RANDOM = "The weights are random, so these maps mean nothing"
SMALL = ("--draws", "2", "--size", "64")


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("mcrp_imagenet", ROOT / "benchmarks" / "mcrp_imagenet.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path):
    """The dog and the cat of the paper, and a lemon."""
    names = ("n02099601_golden_retriever.jpeg", "n02123045_tabby.jpeg", "n07749582_lemon.jpeg")
    if not all((PICTURES / name).exists() for name in names):
        pytest.skip(f"the ImageNet pictures are not at {PICTURES}")
    for name in names:
        (tmp_path / name).symlink_to(PICTURES / name)
    return tmp_path


def title(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.width > 1500
        return image.text["Title"]


def test_it_draws_the_figure(benchmark, folder, capsys):
    figure = folder / "new" / "mcrp.png"
    benchmark.main(["--images", str(folder), "--weights", "random", *SMALL, "--output", str(figure)])
    printed = capsys.readouterr()
    line = r"^{}: class \d+ \(predicted by random weights\); \d+% of 2 draws agree; \d+\.\d\d s a draw"
    for name in ("tabby", "golden retriever"):
        assert re.search(line.format(name), printed.out, re.MULTILINE)
    assert "lemon" not in printed.out
    assert not printed.err
    assert RANDOM in title(figure)


def test_without_a_connection_it_says_so_and_goes_on(benchmark, tmp_path, capsys, monkeypatch):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no connection")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    Image.radial_gradient("L").save(tmp_path / "mine.png")
    benchmark.main(["--images", str(tmp_path), *SMALL, "--output", str(tmp_path / "mcrp.png")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("none of tabby, ")
    told = "ImageNet's weights cannot be had (<urlopen error no connection>); going on with random weights, which mean "
    assert f"{told}nothing." in lines
    assert RANDOM in title(tmp_path / "mcrp.png")


def test_trained_weights_have_a_title_without_a_warning(benchmark):
    row = benchmark.Row("tabby", ["90% of draws agree"], torch.rand(3, 8, 8), list(torch.rand(4, 8, 8)))
    figure = benchmark.draw([row, row], "MCRP")
    assert figure.get_suptitle() == "MCRP"
    shown = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in shown] == [*benchmark.TITLES, *[""] * 5]


def test_it_takes_the_paper_s_pictures_in_its_order_or_all(benchmark, folder):
    def stems(every):
        return [path.stem.partition("_")[2] for path in benchmark.find_pictures(folder, every)]

    assert stems(every=False) == ["tabby", "golden_retriever"]
    assert stems(every=True) == ["golden_retriever", "tabby", "lemon"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("n02123045_tabby", [0]),
        ("black and gold garden spider", [2]),
        ("my_garden-spider_2", [1]),
        ("jack-o-lantern", [3]),
        ("crane", [4, 5]),
        ("tabbycat", []),
    ],
)
def test_the_class_is_the_one_that_the_file_names(benchmark, name, expected):
    names = ["tabby", "garden spider", "black and gold garden spider", "jack-o'-lantern", "crane", "crane"]
    assert benchmark.Classes(names).in_name(name) == expected


def test_every_picture_names_a_class_of_imagenet(benchmark):
    pictures = sorted(PICTURES.glob("*.jpeg"))
    if not pictures:
        pytest.skip(f"the ImageNet pictures are not at {PICTURES}")
    names = models.VGG16_Weights.IMAGENET1K_V1.meta["categories"]
    for path in pictures:
        (index,) = benchmark.Classes(names).in_name(path.stem)
        assert names[index].replace(" ", "_") == path.stem.partition("_")[2]


def test_the_target_of_a_name_is_the_class_that_the_network_sees_rather(benchmark, capsys):
    classes, logits = benchmark.Classes(["tabby", "crane", "crane"]), torch.tensor([3.0, 1.0, 2.0])
    assert benchmark.choose_target("crane", logits, classes) == (2, "by file name; predicted: tabby")
    assert benchmark.choose_target("zebra", logits, classes) == (0, "predicted")
    assert "zebra: no class of ImageNet has this name" in capsys.readouterr().out


def test_a_map_is_scaled_between_its_quantiles(benchmark):
    values = torch.cat([torch.linspace(0, 1, 1000), torch.tensor([torch.inf])])
    within, low, high = benchmark.scaled(values)
    assert (low, high) == pytest.approx((0.01, 0.995), abs=1e-3)
    assert within[0] == 0
    assert within[-1] == 1
    assert within[500] == pytest.approx(0.5, abs=0.01)
    assert benchmark.scaled(torch.tensor([torch.inf, torch.inf]))[0].tolist() == [1, 1]
    assert benchmark.scaled(torch.tensor([2.0, 2.0, torch.inf]))[0].tolist() == [0, 0, 1]


def test_what_cannot_work_is_a_clear_error(benchmark, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match=r"there is no folder at no/such\. Give --images a folder of pictures"):
        benchmark.main(["--images", "no/such", "--weights", "random"])
    with pytest.raises(SystemExit, match=r"holds no picture \(\.jpeg"):
        benchmark.main(["--images", str(tmp_path), "--weights", "random"])
    (tmp_path / "broken.jpg").write_text("no picture")
    with pytest.raises(SystemExit, match=r"broken\.jpg cannot be read as a picture"):
        benchmark.read_picture(tmp_path / "broken.jpg")
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(SystemExit, match=r'not installed: pip install -e "\.\[peers\]"'):
        benchmark.main(["--images", str(tmp_path)])


@pytest.mark.parametrize(("option", "value"), [("--draws", "1"), ("--size", "31")])
def test_too_little_to_draw_is_a_clear_error(benchmark, capsys, option, value):
    with pytest.raises(SystemExit):
        benchmark.main(["--images", ".", option, value])
    assert f"{option} is " in capsys.readouterr().err
