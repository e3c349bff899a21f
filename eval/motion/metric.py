"""What a motion metric is, and the pair of vertex sequences that it is measured on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar, overload

import numpy as np
import numpy.typing as npt

from multitalk.eval.motion.loops.vertex_loops import (
    largest_squared_distance,
    mean_acceleration,
    mean_distances,
    spread_of_squared_offsets,
)
from multitalk.eval.motion.regions import FaceRegions

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Float, Float64, Integer

Spread = Callable[[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]], npt.NDArray[np.float64]]
"""Of a sequence's vertices about their origins, as `multitalk.eval.motion.loops.vertex_loops.spread_of_offsets`."""


T = TypeVar("T")


class computed_once(Generic[T]):  # noqa: N801 - used as a decorator
    """A property that is computed when it is first asked for.

    As `functools.cached_property`, which until Python 3.12 holds a lock that all objects of the class share:
    clips measured on several threads would wait for each other.
    """

    def __init__(self, compute: Callable[[MotionPair], T]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, pair: None, owner: type[MotionPair]) -> Self: ...

    @overload
    def __get__(self, pair: MotionPair, owner: type[MotionPair]) -> T: ...

    def __get__(self, pair: MotionPair | None, owner: type[MotionPair]) -> Self | T:
        if pair is None:
            return self
        value = self._compute(pair)
        pair.__dict__[self._compute.__name__] = value  # is found before this is asked again
        return value


class MotionPair:
    """Ground truth and prediction of one clip, with what many metrics share computed once.

    Parameters
    ----------
    ground_truth, prediction
        (T, V, 3) metres, head pose removed.
    regions
        Of the mesh both share.
    template
        (V, 3) neutral face; the variants of FDD that are relative to it need one.
    fps
        Frames a second.
    closures
        First and last frame (inclusive) of each p, b and m, where a timed transcript tells.

    Raises
    ------
    ValueError
        The arrays do not have one shape (T, V, 3) with T >= 1, or V is not that of the regions.
    """

    def __init__(
        self,
        ground_truth: Float[Array, " ..."],
        prediction: Float[Array, " ..."],
        regions: FaceRegions,
        template: Float[Array, " ..."] | None = None,
        fps: float = 25.0,
        closures: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        if ground_truth.shape != prediction.shape or ground_truth.ndim != 3 or ground_truth.shape[2] != 3:
            raise ValueError(
                f"ground truth {ground_truth.shape} and prediction {prediction.shape} must both be (T, V, 3)"
            )
        if ground_truth.shape[0] == 0 or ground_truth.shape[1] != regions.vertex_count:
            raise ValueError(
                f"vertices {ground_truth.shape} must be (T, {regions.vertex_count}, 3) with T >= 1"
            )
        if template is not None and template.shape != ground_truth.shape[1:]:
            raise ValueError(f"template {template.shape} must be {ground_truth.shape[1:]}")
        self.ground_truth = ground_truth
        self.prediction = prediction
        self.regions = regions
        self.template = template
        self.fps = fps
        self.closures = closures

    @property
    def frame_count(self) -> int:
        """T."""
        return len(self.ground_truth)

    @computed_once
    def lips(self) -> tuple[Float[Array, "frames 3 lips"], Float[Array, "frames 3 lips"]]:
        """(T, 3, L) lip vertices of ground truth and prediction, metres."""
        ids = self.regions.lips.vertices
        return gather(self.ground_truth, ids), gather(self.prediction, ids)

    @property
    def upper_face(self) -> Integer[Array, " upper"]:
        """(U,) ids of the upper-face vertices."""
        if self.regions.upper_face is None:
            raise ValueError("these regions have no upper face")
        return self.regions.upper_face.vertices

    @computed_once
    def upper_face_sequences(self) -> tuple[Float[Array, "frames 3 upper"], Float[Array, "frames 3 upper"]]:
        """(T, 3, U) upper-face vertices of ground truth and prediction, metres."""
        return gather(self.ground_truth, self.upper_face), gather(self.prediction, self.upper_face)

    @computed_once
    def upper_face_dynamics(self) -> tuple[Float64[Array, " upper"], Float64[Array, " upper"]]:
        """(U,) spread over time of the squared offset from the template, of both, square metres."""
        return self.about_template(spread_of_squared_offsets)

    def about_template(self, spread: Spread) -> tuple[Float64[Array, " upper"], Float64[Array, " upper"]]:
        """(U,) spread over time of the upper-face vertices about the template, of both."""
        if self.template is None:
            raise ValueError("this needs a template")
        origin = self.template[self.upper_face]
        return spread(self.ground_truth, self.upper_face, origin), spread(
            self.prediction, self.upper_face, origin
        )

    @computed_once
    def lip_squared_error(self) -> Float64[Array, " frames"]:
        """(T,) largest squared distance over the lip vertices, square metres."""
        return largest_squared_distance(self.ground_truth, self.prediction, self.regions.lips.vertices)

    @computed_once
    def distances(self) -> tuple[Float64[Array, " frames"], Float64[Array, " frames"]]:
        """(T,) mean distance and (T,) mean squared distance over all vertices, metres and square metres."""
        return mean_distances(self.ground_truth, self.prediction)

    @computed_once
    def accelerations(self) -> tuple[float, float]:
        """Mean length of the second difference of ground truth and prediction, metres a frame squared.

        NaN below three frames.
        """
        return mean_acceleration(self.ground_truth), mean_acceleration(self.prediction)

    @computed_once
    def inner_lip_gap(self) -> tuple[Float[Array, " frames"], Float[Array, " frames"]]:
        """(T,) distance of the two inner-lip centres in ground truth and prediction, metres."""
        if self.regions.inner_lips is None:
            raise ValueError("these regions have no inner lips")
        upper, lower = self.regions.inner_lips
        gaps = [
            np.linalg.norm((v[:, upper] - v[:, lower]).astype(np.float64), axis=-1)
            for v in (self.ground_truth, self.prediction)
        ]
        return gaps[0], gaps[1]


def gather(
    vertices: Float[Array, "frames vertices 3"], ids: Integer[Array, " ids"]
) -> Float[Array, "frames 3 ids"]:
    """Copy some vertices out of (T, V, 3), coordinates first: (T, 3, N).

    Single numbers are copied several times as fast as groups of three, and with all x, all y and all z
    together every sum over coordinates runs over whole rows.
    """
    columns = 3 * np.asarray(ids, dtype=np.int64) + np.arange(3)[:, None]
    return vertices.reshape(len(vertices), -1).take(columns, axis=1)


Needs = Literal["lips", "upper_face", "inner_lips", "template"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A named variant of a metric: two papers' figures compare only where this is the same."""

    name: str
    formula: str
    """In words and symbols; g ground truth, p prediction, t frames, v vertices of the region."""
    unit: str
    source: str
    """Who defines or prints it so."""
    better: Literal["lower", "higher", "zero", "one"]
    measure: Callable[[MotionPair], Float[Array, " frames"] | float]
    """Gives (T,) values a frame, or one number for the clip, in SI units."""
    needs: tuple[Needs, ...] = ()
    scale: float = 1.0
    """From SI to `unit`."""
    root: bool = False
    """The mean of the values is a mean square; its root is the figure."""

    def finish(self, mean: float) -> float:
        """Turn a mean of measured values into the figure, in `unit`."""
        return float(np.sqrt(mean) if self.root else mean) * self.scale

    def mask_label(self, regions: FaceRegions) -> str:
        """Name, size and hash of the vertices that the metric looks at."""
        if "upper_face" in self.needs and regions.upper_face is not None:
            return regions.upper_face.label
        if "lips" in self.needs:
            return regions.lips.label
        if "inner_lips" in self.needs and regions.inner_lips is not None:
            return f"inner_lips{regions.inner_lips}"
        return f"all({regions.vertex_count})"

    def missing(self, regions: FaceRegions, *, template: bool) -> str | None:
        """Say what this metric lacks, or None when it can be measured."""
        if "upper_face" in self.needs and regions.upper_face is None:
            return "no upper-face region: give FLAME_masks.pkl"
        if "inner_lips" in self.needs and regions.inner_lips is None:
            return "no inner-lip vertices in the regions file"
        if "template" in self.needs and not template:
            return "no template: give the neutral face"
        return None
