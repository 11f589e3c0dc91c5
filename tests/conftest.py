"""What every test starts from."""

import importlib
import os

import pytest
import torch

os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(autouse=True)
def seeded() -> None:
    """No test depends on the tests before it."""
    torch.manual_seed(0)


if os.environ.get("CAPTUM_UQ_PEERS") == "required":
    # CI installs the peers extra: a peer that is missing there is a failure, not a skip.
    pytest.importorskip = lambda name, *args, **kwargs: importlib.import_module(name)
