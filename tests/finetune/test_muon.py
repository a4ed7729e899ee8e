import pytest
import torch

from finetune.muon import Muon, orthogonalize


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 48), (2, 48, 16)])
def test_updates_point_where_the_svd_says_with_singular_values_near_one(shape: tuple[int, ...]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = orthogonalize(matrices)
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    polar = u @ vh
    cosine = (found * polar).sum((1, 2)) / (found.norm(dim=(1, 2)) * polar.norm(dim=(1, 2)))
    assert (cosine > 0.97).all()
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.3
    assert values.max() < 1.3


def test_matrices_of_one_shape_are_updated_as_if_alone() -> None:
    torch.manual_seed(0)
    together = [torch.randn(8, 12, requires_grad=True) for _ in range(3)]
    alone = [p.detach().clone().requires_grad_() for p in together]
    gradients = [torch.randn(8, 12) for _ in range(3)]
    for parameters, optimizers in ((together, [Muon(together, 0.1)]), (alone, [Muon([p], 0.1) for p in alone])):
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = g.clone()
        for optimizer in optimizers:
            optimizer.step()
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other)


def test_it_finds_the_minimum_of_a_quadratic() -> None:
    torch.manual_seed(0)
    target, weight = torch.randn(6, 6), torch.zeros(6, 6, requires_grad=True)
    optimizer = Muon([weight], lr=0.05)
    for step in range(300):
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * (1 - step / 300)
        weight.grad = weight.detach() - target
        optimizer.step()
    assert (weight - target).norm() < 0.1 * target.norm()
