"""What torch keeps of tensors without a public name."""

import pytest
import torch

from captum_uq._tensors import address, same_values, times_written, viewed


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


SPARSE = pytest.mark.parametrize("sparse", [torch.Tensor.to_sparse, torch.Tensor.to_sparse_csr])


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@SPARSE
def test_sparse_tensors_are_compared_and_told_apart_as_dense_ones_are(sparse) -> None:
    eye, other = sparse(torch.eye(3)), sparse(2 * torch.eye(3))
    assert same_values(eye, sparse(torch.eye(3)))
    assert same_values(eye, torch.eye(3))
    assert not same_values(eye, other)
    assert address(eye) == address(eye) != address(other)


def test_an_address_is_that_of_the_values() -> None:
    tensor = torch.zeros(4)
    assert address(tensor) == address(tensor.detach()) == tensor.data_ptr() != address(tensor.clone())
    assert same_values(tensor, tensor.clone())
    assert not same_values(tensor, tensor + 1)
