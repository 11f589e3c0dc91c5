"""What every test of pictures starts from and leaves behind."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import pytest

mpl.use("Agg")


@pytest.fixture(autouse=True)
def no_figure_is_left() -> Iterator[None]:
    import matplotlib.pyplot as plt

    yield
    plt.close("all")
