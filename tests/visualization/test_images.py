"""The image beside and behind a map."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from captum_uq import visualization
from visualization.maps import (
    HEIGHT,
    MAPS,
    WIDTH,
    WITH_IMAGE,
    batch,
    heat,
    limits,
)


def test_the_grey_image_is_behind_and_strong_colours_cover_it() -> None:
    image = torch.rand(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
    _, axes = visualization.visualize_distribution(batch()[0], image, ("mean",), alpha_overlay=0.4, use_pyplot=False)
    behind, over = axes[0].images
    np.testing.assert_allclose(np.asarray(behind.get_array()), image.mean(0).numpy(), rtol=1e-5)
    assert behind.get_cmap().name == "gray"
    alpha, strength = over.get_alpha(), np.abs(heat(axes[0])) / limits(axes[0])[1]
    np.testing.assert_allclose(alpha, 0.4 + 0.5 * strength.clip(max=1), rtol=1e-5)
    _, axes = visualization.visualize_distribution(batch()[0], panels=("mean",), use_pyplot=False)
    assert len(axes[0].images) == 1
    assert axes[0].images[0].get_alpha() is None


IMAGES = {
    "tensor, channels first": lambda rgb: rgb,
    "batch of one": lambda rgb: rgb[None],
    "array, channels last": lambda rgb: rgb.movedim(0, -1).numpy(),
    "bytes": lambda rgb: (rgb * 255).round().byte(),
    "array of bytes": lambda rgb: (rgb * 255).round().byte().movedim(0, -1).numpy(),
    "with a graph": lambda rgb: rgb.clone().requires_grad_(),
    "double": lambda rgb: rgb.double(),
    "standardised": lambda rgb: (rgb - 0.5) * 4,
}


@pytest.mark.parametrize("made", IMAGES.values(), ids=IMAGES)
def test_images_are_taken_as_captum_takes_them(made) -> None:
    rgb = torch.rand(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
    rgb[0, 0, 0], rgb[0, 0, 1] = 0.0, 1.0
    _, axes = visualization.visualize_distribution(batch()[0], made(rgb), ("image", "mean"), use_pyplot=False)
    np.testing.assert_allclose(heat(axes[0]), rgb.movedim(0, -1), atol=3e-3)
    np.testing.assert_allclose(np.asarray(axes[1].images[0].get_array()), rgb.mean(0), atol=3e-3)


@pytest.mark.parametrize("made", [lambda grey: grey, lambda grey: grey[None], lambda grey: grey.numpy()[..., None]])
@pytest.mark.parametrize("value", [None, -3.0, 300.0])
def test_grey_and_constant_images(made, value: float | None) -> None:
    grey = torch.rand(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
    grey = grey if value is None else torch.full_like(grey, value)
    _, axes = visualization.visualize_percentiles(batch()[0], made(grey), use_pyplot=False)
    np.testing.assert_allclose(heat(axes[0]), grey if value is None else 0 * grey, rtol=1e-5)


@pytest.mark.parametrize("name", WITH_IMAGE)
@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.rand(3, 5, 9), r"height and width \(6, 9\): got shape \(3, 5, 9\)"),
        (torch.rand(HEIGHT, WIDTH, 3), r"A tensor is \(C, H, W\)"),
        (np.ones((3, HEIGHT, WIDTH)), r"a numpy array \(H, W, C\)"),
        (torch.rand(2, 3, HEIGHT, WIDTH), r"got shape \(2, 3, 6, 9\)"),
        (torch.full((HEIGHT, WIDTH), torch.nan), "original_image holds NaN"),
    ],
)
def test_images_that_do_not_fit_are_refused(name: str, image, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MAPS[name](batch()[0], image, use_pyplot=False)
