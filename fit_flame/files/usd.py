"""A clip's head as USD: mesh, 52 named blend shapes and joints of UsdSkel, and its motion as time samples.

As in the glTF file the person's face at rest is baked into the mesh; metres, y up, the camera at the origin looking
along -z. What `Motion.correction` holds beyond the weights is left out. Needs Pixar's library, `usd-core`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.files.gltf import quaternions
from multitalk.fit_flame.heads.head_model import LEFT_EYE, NECK, RIGHT_EYE, ROOT, HeadModel, HeadModelError
from multitalk.fit_flame.parameters.motion import Motion

FloatArray = npt.NDArray[np.float32]

USD_ENDINGS = (".usd", ".usda", ".usdc")
_JOINTS = {
    "root": ROOT,
    "root/neck": NECK,
    "root/neck/eye_left": LEFT_EYE,
    "root/neck/eye_right": RIGHT_EYE,
}
_PARENTS = (-1, 0, 1, 1)
_LEAST = 1e-7  # metres from which a blend shape moves a vertex


class UsdMissingError(RuntimeError):
    """Pixar's library is not installed; the message says how to get it."""


def write_usd(motion: Motion, model: HeadModel, place: Path) -> int:
    """Write a motion as `.usd`, `.usdc` or `.usda`.

    Parameters
    ----------
    motion
        The motion.
    model
        Its head model, with named expressions.
    place
        The file.

    Returns
    -------
    int
        Bytes written.

    Raises
    ------
    UsdMissingError
        `usd-core` is not installed.
    MotionError
        The motion belongs to another head model.
    HeadModelError
        The head model's expressions have no names.
    OSError
        The file cannot be written.
    """
    try:
        from pxr import Usd
    except ModuleNotFoundError as error:
        raise UsdMissingError("USD files need Pixar's library: pip install 'multitalk[usd]'") from error
    motion.require_model(model.key)
    if model.rules is None or model.has_jaw:
        raise HeadModelError(f"{model.name} has no named expressions to write as blend shapes: use `anny`")
    if place.suffix not in USD_ENDINGS:
        raise OSError(f"{place}: USD files end in {', '.join(USD_ENDINGS)}")
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{place.stem}.part{place.suffix}")
    try:
        stage = Usd.Stage.CreateNew(str(temporary))
        _fill(stage, motion, model)
        stage.GetRootLayer().Save()
        del stage
        size = temporary.stat().st_size
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)
    return size


def _fill(stage: Any, motion: Motion, model: HeadModel) -> None:
    from pxr import UsdGeom, UsdSkel

    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetTimeCodesPerSecond(motion.fps)
    stage.SetFramesPerSecond(motion.fps)
    stage.SetStartTimeCode(0)
    stage.SetEndTimeCode(motion.frame_count - 1)
    shaped = (model.v_template + model.shapedirs @ motion.shape).astype(np.float32)
    joints = (model.joint_regressor @ shaped).astype(np.float32)[list(_JOINTS.values())]
    root = UsdSkel.Root.Define(stage, "/Head")
    stage.SetDefaultPrim(root.GetPrim())
    skeleton = _skeleton(stage, joints, joints[0] + motion.translation[0])
    animation = _animation(stage, motion, model, joints)
    mesh = _mesh(stage, model, shaped)
    for prim in (mesh.GetPrim(), skeleton.GetPrim()):
        binding = UsdSkel.BindingAPI.Apply(prim)
        binding.CreateSkeletonRel().SetTargets([skeleton.GetPath()])
        binding.CreateAnimationSourceRel().SetTargets([animation.GetPath()])
    root.CreateExtentAttr(mesh.GetExtentAttr().Get())


def _skeleton(stage: Any, joints: FloatArray, start: FloatArray) -> Any:
    from pxr import Gf, UsdSkel

    def moved(place: FloatArray) -> Any:
        return Gf.Matrix4d(1).SetTranslate(Gf.Vec3d(*map(float, place)))

    skeleton = UsdSkel.Skeleton.Define(stage, "/Head/Skeleton")
    skeleton.CreateJointsAttr(list(_JOINTS))
    skeleton.CreateBindTransformsAttr([moved(place) for place in joints])
    local = [start] + [joints[k] - joints[_PARENTS[k]] for k in range(1, len(joints))]
    skeleton.CreateRestTransformsAttr([moved(place) for place in local])
    return skeleton


def _animation(stage: Any, motion: Motion, model: HeadModel, joints: FloatArray) -> Any:
    from pxr import Gf, UsdSkel, Vt

    assert model.rules is not None
    animation = UsdSkel.Animation.Define(stage, "/Head/Animation")
    animation.CreateJointsAttr(list(_JOINTS))
    animation.CreateBlendShapesAttr(list(model.rules.names))
    animation.CreateScalesAttr([Gf.Vec3h(1, 1, 1)] * len(_JOINTS))
    places = np.tile(joints - joints[list(_PARENTS)], (motion.frame_count, 1, 1))
    places[:, 0] = joints[0] + motion.translation
    still = np.tile(np.array([0, 0, 0, 1], np.float32), (motion.frame_count, 1))
    turns = [quaternions(motion.rotation), still]
    turns += [quaternions(eye) for eye in (motion.eyes[:, :3], motion.eyes[:, 3:])]
    translations, rotations = animation.CreateTranslationsAttr(), animation.CreateRotationsAttr()
    weights = animation.CreateBlendShapeWeightsAttr()
    for frame, turned in enumerate(np.stack(turns, axis=1).astype(float).tolist()):
        translations.Set(Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(places[frame], np.float32)), frame)
        rotations.Set(Vt.QuatfArray([Gf.Quatf(w, x, y, z) for x, y, z, w in turned]), frame)
        weights.Set(Vt.FloatArray.FromNumpy(np.ascontiguousarray(motion.expression[frame])), frame)
    return animation


def _mesh(stage: Any, model: HeadModel, shaped: FloatArray) -> Any:
    from pxr import Sdf, UsdGeom, UsdSkel, Vt

    assert model.rules is not None
    mesh = UsdGeom.Mesh.Define(stage, "/Head/Mesh")
    points = Vt.Vec3fArray.FromNumpy(shaped)
    mesh.CreatePointsAttr(points)
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(model.faces), 3, np.int32)))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(model.faces.ravel().astype(np.int32)))
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    mesh.CreateDoubleSidedAttr(True)
    mesh.CreateExtentAttr(UsdGeom.PointBased.ComputeExtent(points))
    if model.colours is not None:
        linear = ((model.colours / 255.0) ** 2.2).astype(np.float32)
        shown = mesh.CreateDisplayColorPrimvar(UsdGeom.Tokens.vertex)
        shown.Set(Vt.Vec3fArray.FromNumpy(linear))
    if model.uv is not None and model.uv_faces is not None:
        api = UsdGeom.PrimvarsAPI(mesh)
        texture = api.CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying)
        texture.Set(Vt.Vec2fArray.FromNumpy(np.ascontiguousarray(model.uv, np.float32)))
        texture.SetIndices(Vt.IntArray.FromNumpy(model.uv_faces.ravel().astype(np.int32)))
    binding = UsdSkel.BindingAPI.Apply(mesh.GetPrim())
    weights = model.skinning_weights[:, list(_JOINTS.values())]
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    width = len(_JOINTS)
    numbers = np.tile(np.arange(width, dtype=np.int32), len(shaped))
    binding.CreateJointIndicesPrimvar(False, width).Set(Vt.IntArray.FromNumpy(numbers))
    binding.CreateJointWeightsPrimvar(False, width).Set(Vt.FloatArray.FromNumpy(weights.ravel()))
    targets = []
    for k, name in enumerate(model.rules.names):
        shape = UsdSkel.BlendShape.Define(stage, f"/Head/Mesh/{name}")
        offsets = model.expressiondirs[:, :, k]
        moved = np.flatnonzero(np.abs(offsets).max(axis=1) > _LEAST)
        shape.CreateOffsetsAttr(Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(offsets[moved])))
        shape.CreatePointIndicesAttr(Vt.IntArray.FromNumpy(moved.astype(np.int32)))
        targets.append(shape.GetPath())
    binding.CreateBlendShapesAttr(list(model.rules.names))
    binding.CreateBlendShapeTargetsRel().SetTargets(targets)
    return mesh
