import torch

from visionrel.training.muon import RMS, Muon, orthogonalise


def make_pair(*shape):
    torch.manual_seed(0)
    value = torch.randn(shape)
    pair = torch.nn.Parameter(value.clone()), torch.nn.Parameter(value.clone())
    for each in pair:
        each.grad = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    return pair


def test_singular_values_come_near_one_and_directions_stay():
    torch.manual_seed(0)
    matrices = torch.randn(3, 24, 60) * torch.tensor([1e-3, 1.0, 1e3])[:, None, None]
    for shape in (matrices, matrices.mT):
        result = orthogonalise(shape)
        u, _, v = torch.linalg.svd(shape, full_matrices=False)
        along = (u.mT @ result @ v.mT).diagonal(dim1=1, dim2=2)
        assert (along > 0.6).all() and (along < 1.3).all()


def test_vectors_move_as_with_adamw():
    ours, theirs = make_pair(7)
    for parameter, kind in ((ours, Muon), (theirs, torch.optim.AdamW)):
        optimizer = kind([parameter], lr=0.1, betas=(0.8, 0.9), weight_decay=0.3)
        for _ in range(3):
            optimizer.step()
    assert torch.equal(ours, theirs)


def test_a_matrix_moves_as_far_as_with_adamw_and_decays():
    ours, before = make_pair(20, 30)
    Muon([ours], lr=0.1, weight_decay=0.0).step()
    step = (ours - before).detach()
    assert 0.8 * 0.1 * RMS < step.square().mean().sqrt() < 1.2 * 0.1 * RMS
    decayed, _ = make_pair(20, 30)
    Muon([decayed], lr=0.1, weight_decay=0.5).step()
    assert torch.allclose(decayed, ours - 0.05 * before, atol=1e-6)


def test_a_kernel_is_a_matrix_of_its_flattened_inputs():
    kernel, flat = make_pair(6, 4, 3, 3)
    flat = torch.nn.Parameter(flat.detach().flatten(1))
    flat.grad = kernel.grad.flatten(1)
    for parameter in (kernel, flat):
        Muon([parameter], lr=0.1).step()
    assert torch.equal(kernel.flatten(1), flat)


def test_parameters_without_a_gradient_stay():
    matrix, vector = torch.nn.Parameter(torch.ones(3, 3)), torch.nn.Parameter(torch.ones(3))
    optimizer = Muon([matrix, vector], lr=0.1)
    optimizer.step()
    assert torch.equal(matrix, torch.ones(3, 3)) and torch.equal(vector, torch.ones(3))
    assert [group["matrices"] for group in optimizer.param_groups] == [True, False]
