import pytest
import torch
from scipy.spatial.transform import Rotation

from multitalk.fit_flame.parameters.rotation import nearest_rotation, skew, to_axis_angle, to_matrix


@pytest.mark.parametrize("angle", [0.0, 1e-7, 1e-3, 1.0, 3.0, torch.pi - 1e-6])
def test_agrees_with_scipy_and_comes_back(angle):
    axis = torch.tensor([0.6, -0.48, 0.64], dtype=torch.float64)
    vector = axis * angle
    matrix = to_matrix(vector)
    wanted = torch.from_numpy(Rotation.from_rotvec(vector.numpy()).as_matrix())
    torch.testing.assert_close(matrix, wanted, atol=1e-9, rtol=0)
    torch.testing.assert_close(to_axis_angle(matrix), vector, atol=1e-6, rtol=0)


def test_gradient_at_zero_is_the_generator():
    zero = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    jacobian = torch.autograd.functional.jacobian(to_matrix, zero)
    for k in range(3):
        torch.testing.assert_close(jacobian[..., k], skew(torch.eye(3, dtype=torch.float64)[k]))


def test_nearest_is_a_rotation_even_of_a_reflection():
    matrix = nearest_rotation(torch.diag(torch.tensor([1.0, 2.0, -0.1])))
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(3))
    assert torch.det(matrix) > 0
