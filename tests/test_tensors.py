"""What torch keeps of tensors without a public name."""

import torch

from captum_uq._tensors import times_written, viewed


def test_every_writing_counts_in_a_tensor_and_in_what_it_is_a_view_of() -> None:
    tensor = torch.zeros(4, 2)
    before, part = times_written(tensor), tensor[1:3]
    part.add_(1)
    assert times_written(part) == times_written(tensor) != before
    assert times_written(tensor + 1) == 0
    with torch.inference_mode():
        assert times_written(torch.zeros(2)) is None


def test_a_view_knows_what_it_is_of() -> None:
    tensor = torch.zeros(4, 2)
    assert viewed(tensor[1:].t()) is tensor
    assert viewed(tensor) is viewed(tensor.clone()) is None
