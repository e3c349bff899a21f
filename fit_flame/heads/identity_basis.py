"""Directions in which heads differ: MakeHuman's local changes and kinds of people, as principal components."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.heads.makehuman_files import MakeHuman

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_PERSONS = 400
_SEED = 20200901
_LOCAL_SIGMA, _SKEW_SIGMA = 0.35, 0.1  # of a local change's weight; of the difference between left and right
_AGES = {"child": 1 / 3, "young": 2 / 3, "old": 1.0}
_YOUNGEST = 0.42
_MIDDLE = {
    "muscle": ("minmuscle", "averagemuscle", "maxmuscle"),
    "weight": ("minweight", "averageweight", "maxweight"),
}
_RACES = ("african", "asian", "caucasian")


def random_persons(body: MakeHuman) -> Array:
    """(400, B, 3) what is added to the base mesh by persons drawn by gender, age, ancestry, weight and muscle.

    Ages run from youths to old people; everything else is drawn evenly. The draws are the same each time.
    """
    names, weights = _phenotype_weights(np.random.default_rng(_SEED))
    flat = np.stack([body.phenotypes[name].ravel() for name in names])
    persons: Array = (weights @ flat).reshape(_PERSONS, -1, 3)
    return persons


def _phenotype_weights(rng: np.random.Generator) -> tuple[list[str], Array]:
    """Names of the targets, and (400, K) by how much each person takes of them: products of shares."""
    gender = rng.uniform(0, 1, _PERSONS)
    age = rng.uniform(_YOUNGEST, 1, _PERSONS)
    shares = {"male": gender, "female": 1 - gender}
    anchors = np.array(list(_AGES.values()))
    for name, row in zip(_AGES, np.eye(3), strict=True):
        shares[name] = np.interp(age, anchors, row)
    for levels in _MIDDLE.values():
        value = rng.uniform(0, 1, _PERSONS)
        for name, row in zip(levels, np.eye(3), strict=True):
            shares[name] = np.interp(value, [0, 0.5, 1], row)
    races = rng.dirichlet(np.ones(3), _PERSONS)
    shares |= dict(zip(_RACES, races.T, strict=True))
    weights = {}
    for gender_name, age_name in itertools.product(("female", "male"), _AGES):
        person = shares[gender_name] * shares[age_name]
        for race in _RACES:
            weights[f"{race}-{gender_name}-{age_name}"] = person * shares[race]
        for muscle, weight in itertools.product(*_MIDDLE.values()):
            name = f"universal-{gender_name}-{age_name}-{muscle}-{weight}"
            weights[name] = person * shares[muscle] * shares[weight]
    return list(weights), np.stack(list(weights.values()), axis=1)


def local_changes(body: MakeHuman, ids: IntArray) -> Array:
    """(K, V, 3) local changes of some vertices at one standard deviation; two-sided ones even and skewed."""
    found = []
    for name, offsets in body.local.items():
        moved = offsets[ids]
        if name.startswith("r-"):
            continue
        if not name.startswith("l-"):
            found.append(_LOCAL_SIGMA * moved)
            continue
        other = body.local[f"r-{name[2:]}"][ids]
        found += [_LOCAL_SIGMA * (moved + other), _SKEW_SIGMA * (moved - other)]
    return np.stack(found)


def principal_directions(samples: Array, count: int) -> Array:
    """Directions (V, 3, count), each at one standard deviation, of a covariance given as sum of squares.

    Parameters
    ----------
    samples
        (N, V, 3) whose outer products add up to the covariance.
    count
        How many, the largest first.
    """
    flat = samples.reshape(len(samples), -1)
    _, vectors = np.linalg.eigh(flat @ flat.T)
    largest = vectors[:, ::-1][:, :count]
    directions = (largest.T @ flat).T  # columns of length sqrt(value): one standard deviation
    directions *= np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(count)])
    return directions.reshape(*samples.shape[1:], count)


def without_pose(fields: Array, points: Array, weights: Array, *, scale: bool = True) -> Array:
    """Take out of fields (V, 3, K) what turning, shifting and scaling the head can do.

    Parameters
    ----------
    fields
        Displacements of points.
    points
        (V, 3).
    weights
        (V,) how much each point counts when the pose is found.
    scale
        Whether scaling is taken out as well.
    """
    middle = points - np.average(points, axis=0, weights=weights)
    turns = [np.cross(axis, middle) for axis in np.eye(3)]
    shifts = [np.tile(axis, (len(points), 1)) for axis in np.eye(3)]
    design = np.stack([*turns, *shifts, *([middle] if scale else [])], axis=2).reshape(3 * len(points), -1)
    root = np.sqrt(np.repeat(weights, 3))[:, None]
    flat = fields.reshape(3 * len(points), -1)
    pose = np.linalg.lstsq(root * design, root * flat, rcond=None)[0]
    left: Array = (flat - design @ pose).reshape(fields.shape)
    return left
