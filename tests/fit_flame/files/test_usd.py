"""USD of a clip, posed by Pixar's own UsdSkel, and looked at by its checker."""

from dataclasses import replace

import numpy as np
import pytest

from multitalk.fit_flame.files.usd import write_usd
from multitalk.fit_flame.heads.head_model import HeadModelError
from multitalk.fit_flame.parameters.decode import decode
from multitalk.fit_flame.parameters.motion import MotionError
from multitalk.ground.arkit_names import ARKIT

pytest.importorskip("pxr", reason="needs Pixar's library: pip install usd-core")
from pxr import Usd, UsdGeom, UsdSkel, UsdValidation


@pytest.fixture(scope="module")
def place(anny_motion, anny, tmp_path_factory):
    place = tmp_path_factory.mktemp("usd") / "clip.usdc"
    assert write_usd(anny_motion, anny, place) == place.stat().st_size
    assert [path.name for path in place.parent.iterdir()] == ["clip.usdc"]
    return place


def test_the_checker_has_no_complaints(place):
    rules = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    found = UsdValidation.ValidationContext(rules).Validate(Usd.Stage.Open(str(place)))
    assert len(rules) > 20
    assert [error.GetMessage() for error in found] == []


def test_its_units_times_and_names(place, anny_motion):
    stage = Usd.Stage.Open(str(place))
    assert UsdGeom.GetStageUpAxis(stage) == "Y"
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1
    assert (stage.GetTimeCodesPerSecond(), stage.GetEndTimeCode()) == (25, anny_motion.frame_count - 1)
    mesh = UsdSkel.BindingAPI(stage.GetPrimAtPath("/Head/Mesh"))
    assert list(mesh.GetBlendShapesAttr().Get()) == list(ARKIT)


def test_usdskel_poses_the_mesh_as_we_do(place, anny_motion, anny):
    """Weights, joints and time samples are taken by Pixar's library: blend shapes first, then the skin."""
    stage = Usd.Stage.Open(str(place))
    root = UsdSkel.Root(stage.GetPrimAtPath("/Head"))
    cache = UsdSkel.Cache()
    cache.Populate(root, Usd.PrimDefaultPredicate)
    [binding] = cache.ComputeSkelBindings(root, Usd.PrimDefaultPredicate)
    query = cache.GetSkelQuery(binding.GetSkeleton())
    [skinned] = binding.GetSkinningTargets()
    shapes = UsdSkel.BlendShapeQuery(UsdSkel.BindingAPI(skinned.GetPrim()))
    points = UsdGeom.Mesh(skinned.GetPrim()).GetPointsAttr().Get()
    drawn = np.unique(anny.faces)
    wanted = decode(replace(anny_motion, correction=None), anny)
    for frame in (0, anny_motion.frame_count - 1):
        weights = query.GetAnimQuery().ComputeBlendShapeWeights(frame)
        subs = shapes.ComputeSubShapeWeights(skinned.GetBlendShapeMapper().Remap(weights))
        moved = type(points)(points)
        offsets, indices = shapes.ComputeSubShapePointOffsets(), shapes.ComputeBlendShapePointIndices()
        assert shapes.ComputeDeformedPoints(*subs, indices, offsets, moved)
        assert skinned.ComputeSkinnedPoints(query.ComputeSkinningTransforms(frame), moved, frame)
        np.testing.assert_allclose(np.array(moved)[drawn], wanted[frame][drawn], atol=2e-5)


def test_motion_that_it_cannot_hold_is_refused(anny_motion, anny, head, tmp_path):
    with pytest.raises(MotionError):
        write_usd(replace(anny_motion, head_model="anny:00"), anny, tmp_path / "a.usd")
    with pytest.raises(HeadModelError, match="anny"):
        write_usd(replace(anny_motion, head_model=head.key), head, tmp_path / "a.usd")
    with pytest.raises(OSError, match="usda"):
        write_usd(anny_motion, anny, tmp_path / "a.glb")
    assert not list(tmp_path.iterdir())
