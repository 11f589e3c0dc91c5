"""What every test starts from."""

import os

import pytest
import torch

os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(autouse=True)
def seeded() -> None:
    """No test depends on the tests before it."""
    torch.manual_seed(0)
