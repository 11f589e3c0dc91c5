"""What flipped features become, each against its formula in float64."""

import numpy as np
import pytest
import torch
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve
from scipy.stats import kstest

from captum_uq.metrics import (
    ChannelMean,
    Fill,
    GaussianBlur,
    NoisyLinearImputation,
    UniformNoise,
    deletion,
    pixel_flipping,
)

N, C, H, W = 4, 3, 9, 7


def images(dtype=torch.float64, n=N, height=H, width=W):
    return torch.randn(n, C, height, width, dtype=dtype, generator=torch.Generator().manual_seed(0))


def perturbed(inputs, fill, n_steps=9, maps=None, **options):
    """Every row of a flipping of pixels in order of position, shape (N, K + 1, C, H, W)."""
    seen = []

    def forward(rows):
        seen.append(rows.clone())
        return rows.flatten(1).sum(1)

    if maps is None:
        maps = -torch.arange(float(inputs[0, 0].numel())).view(1, 1, *inputs.shape[2:]).expand(len(inputs), -1, -1, -1)
    pixel_flipping(forward, inputs, maps, n_steps=n_steps, perturb_func=fill, **options)
    return torch.cat(seen).view(len(inputs), n_steps + 1, *inputs.shape[1:])


def test_the_channel_mean_is_that_of_the_example():
    inputs = images()
    expected = np.broadcast_to(inputs.numpy().mean((2, 3), keepdims=True), inputs.shape)
    np.testing.assert_allclose(perturbed(inputs, ChannelMean())[:, -1], expected, rtol=1e-12)


def test_uniform_noise_is_the_formula_of_the_paper():
    inputs = images(n=60)
    mean, std = torch.rand(1, H, W), torch.rand(C, 1, 1) + 0.5
    filled = perturbed(inputs, UniformNoise(mean, std))[:, -1]
    uniform = filled.numpy() * std.double().numpy() + mean.double().numpy()
    assert uniform.min() >= 0
    assert uniform.max() <= 1
    assert kstest(uniform.reshape(-1), "uniform").pvalue > 0.01
    assert len(np.unique(uniform)) == uniform.size


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_numbers_are_as_exact_as_the_inputs(dtype):
    inputs = images(dtype)
    assert torch.equal(perturbed(inputs, None, baselines=0.3)[:, -1], torch.full_like(inputs, 0.3))


def test_the_mean_and_std_of_noise_are_as_exact_as_the_inputs():
    inputs = images()
    uniform, noise = (perturbed(inputs, fill)[:, -1] for fill in (UniformNoise(), UniformNoise(0.1307, 0.3081)))
    np.testing.assert_allclose(noise, (uniform.numpy() - 0.1307) / 0.3081, rtol=0, atol=1e-14)


def test_gaussian_blur_is_that_of_scipy():
    inputs = images()
    expected = ndimage.gaussian_filter(inputs.numpy(), sigma=(0, 0, 1.5, 1.5), mode="nearest", truncate=5 / 1.5)
    np.testing.assert_allclose(perturbed(inputs, GaussianBlur(11, 1.5))[:, -1], expected, rtol=0, atol=1e-12)


def solved_directly(image, hole):
    """Rong et al. 2022, equation 3, by a sparse direct solve of one plane."""
    height, width = image.shape
    place = -np.ones((height, width), dtype=int)
    place[hole] = np.arange(hole.sum())
    matrix, right = sparse.lil_matrix((hole.sum(), hole.sum())), np.zeros(hole.sum())
    for y, x in zip(*np.nonzero(hole), strict=True):
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                inside = 0 <= y + dy < height and 0 <= x + dx < width and (dy, dx) != (0, 0)
                if not inside:
                    continue
                weight = 1 / 12 if dy and dx else 1 / 6
                matrix[place[y, x], place[y, x]] += weight
                if hole[y + dy, x + dx]:
                    matrix[place[y, x], place[y + dy, x + dx]] -= weight
                else:
                    right[place[y, x]] += weight * image[y + dy, x + dx]
    result = image.copy()
    result[hole] = spsolve(matrix.tocsr(), right)
    return result


@pytest.mark.parametrize("kind", ["scattered", "blocks", "one pixel left"])
@pytest.mark.parametrize("mode", ["deletion", "insertion"])
def test_noisy_linear_imputation_is_the_direct_solution_of_each_picture(kind, mode):
    inputs = images(height=16, width=13)
    generator = torch.Generator().manual_seed(1)
    maps = torch.rand(N, 1, 16, 13, generator=generator)
    if kind == "blocks":
        maps = torch.nn.functional.avg_pool2d(maps, 5, stride=1, padding=2)
    n_steps = 208 if kind == "one pixel left" else 8
    rows = perturbed(inputs, NoisyLinearImputation(noise=0.0), n_steps, maps, mode=mode)
    places = (-maps.flatten(1)).argsort(1).argsort(1).view(N, 16, 13)
    for i in range(N):
        for step in [207] if kind == "one pixel left" else range(1, 8):
            done = places[i] < step * (208 // n_steps)
            hole = (done if mode == "deletion" else ~done).numpy()
            for c in range(C):
                expected = solved_directly(inputs[i, c].numpy(), hole)
                np.testing.assert_allclose(rows[i, step, c], expected, rtol=0, atol=2e-6)


def test_with_every_pixel_flipped_imputation_gives_the_mean_of_the_channel():
    inputs = images()
    expected = np.broadcast_to(inputs.numpy().mean((2, 3), keepdims=True), inputs.shape)
    np.testing.assert_allclose(perturbed(inputs, NoisyLinearImputation(0.0))[:, -1], expected, atol=1e-12)


def test_imputation_adds_noise_of_the_given_size_drawn_once():
    inputs = images(n=40)
    clean, noisy = (perturbed(inputs, NoisyLinearImputation(size)) for size in (0.0, 0.3))
    noise = (noisy - clean) / 0.3
    assert kstest(noise[:, -1].flatten(), "norm").pvalue > 0.01
    for step in range(9):
        flipped = noise[:, step] != 0
        np.testing.assert_allclose(noise[:, step][flipped], noise[:, -1][flipped], atol=1e-12)


def test_imputation_that_does_not_converge_says_so():
    with pytest.raises(RuntimeError, match=r"planes are unsolved after 3 steps. Raise max_iterations"):
        perturbed(images(), NoisyLinearImputation(max_iterations=3))


def test_each_input_of_a_tuple_has_a_fill_of_its_own():
    pictures, table, seen = images(), torch.randn(N, 5).double(), []

    def forward(*rows):
        seen.append([part.clone() for part in rows])
        return sum(part.flatten(1).sum(1) for part in rows)

    maps = tuple(
        torch.zeros_like(part[:, :1]) if part.ndim == 4 else torch.ones_like(part) for part in (pictures, table)
    )
    given = {"n_steps": 2, "tie_break": "random"}
    pixel_flipping(
        forward, (pictures, table), maps, perturb_func=(NoisyLinearImputation(0), UniformNoise(2.0, 3.0)), **given
    )
    flat, noise = (torch.cat(part).unflatten(0, (N, 3))[:, -1] for part in zip(*seen, strict=True))
    expected = pictures.mean((2, 3), keepdim=True).expand_as(pictures)
    torch.testing.assert_close(flat, expected)
    seen.clear()
    pixel_flipping(forward, (pictures, table), maps, perturb_func=UniformNoise(2.0, 3.0), **given)
    assert torch.equal(torch.cat([rows[1] for rows in seen]).unflatten(0, (N, 3))[:, -1], noise)


@pytest.mark.parametrize("value", [np.float32(0.5), np.int64(3), np.float64(0.25), True])
def test_numbers_of_numpy_are_numbers(value):
    inputs = torch.rand(2, 4).double()
    found, expected = (deletion(lambda x: x.sum(1), inputs, inputs, v, n_steps=4).scores for v in (value, float(value)))
    assert torch.equal(found, expected)


def test_a_user_function_fills_all_inputs_of_a_tuple():
    first, second = torch.ones(2, 3), torch.ones(2, 2)

    def swap(rows, flipped):
        return torch.where(flipped[0], -rows[0], rows[0]), torch.where(flipped[1], 10.0, rows[1])

    maps = torch.tensor([[5.0, 3.0, 1.0]] * 2), torch.tensor([[4.0, 2.0]] * 2)
    curve = pixel_flipping(lambda a, b: a.sum(1) + b.sum(1), (first, second), maps, n_steps=5, perturb_func=swap)
    assert curve.scores.tolist() == [[5, 3, 12, 10, 19, 17]] * 2


@pytest.mark.parametrize("returned", ["tensor", "tuple"])
@pytest.mark.parametrize("given", ["tensor", "tuple of one"])
def test_a_user_function_gets_tuples_where_the_inputs_are_one(given, returned):
    inputs, maps, seen = torch.ones(2, 3), torch.tensor([[3.0, 2.0, 1.0]] * 2), []

    def zero(rows, flipped):
        seen.append((type(rows), type(flipped)))
        if isinstance(rows, tuple):
            (rows,), (flipped,) = rows, flipped
        made = rows.masked_fill(flipped, 0.0)
        return made if returned == "tensor" else (made,)

    kind, inputs = (torch.Tensor, inputs) if given == "tensor" else (tuple, (inputs,))
    curve = pixel_flipping(lambda x: x.sum(1), inputs, maps, n_steps=3, perturb_func=zero)
    assert set(seen) == {(kind, kind)}
    assert curve.scores.tolist() == [[3, 2, 1, 0]] * 2


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("limit", [1, 256])
def test_a_user_function_may_write_into_the_rows_it_is_given(n, limit):
    def zero(rows, flipped):
        rows[flipped] = 0.0
        return rows

    inputs, maps = torch.ones(n, 4), torch.arange(4.0).repeat(n, 1)
    options = {"n_steps": 4, "max_examples_per_batch": limit}
    curve = pixel_flipping(lambda x: x.sum(1), inputs, maps, perturb_func=zero, **options)
    assert curve.scores.tolist() == [[4, 3, 2, 1, 0]] * n
    assert (inputs == 1).all()


def test_a_fill_of_ones_own_is_a_subclass():
    class Negative(Fill):
        def values(self, inputs, noise, stream):
            return -inputs

    inputs = images()
    assert torch.equal(perturbed(inputs, Negative())[:, -1], -inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    "fill",
    [ChannelMean(), UniformNoise(), GaussianBlur(), NoisyLinearImputation()],
    ids=lambda f: type(f).__name__,
)
def test_fills_keep_the_dtype_and_leave_the_rest_as_it_was(fill, dtype):
    inputs = images(dtype)
    rows = perturbed(inputs, fill)
    assert rows.dtype == dtype
    for step in range(10):
        kept = torch.arange(H * W).view(H, W) >= step * 7
        assert torch.equal(rows[:, step][..., kept], inputs[..., kept])
        assert (rows[:, step][..., ~kept] != inputs[..., ~kept]).all()


def test_each_input_of_a_tuple_meets_its_own_noise():
    seen = []

    def forward(a, b):
        seen.extend((a[-1], b[-1]))
        return a.sum(1)

    inputs = torch.zeros(1, 4), torch.zeros(1, 4)
    maps = torch.randn(1, 4), torch.randn(1, 4)
    pixel_flipping(forward, inputs, maps, n_steps=8, perturb_func=UniformNoise())
    assert not torch.equal(*seen)
