"""A mouth that shuts between two frames is shut in the fit."""

from dataclasses import replace

import numpy as np

from multitalk.fit_flame.fit import fit_clip
from multitalk.fit_flame.parameters.decode import project_vertices
from multitalk.fit_flame.parameters.synthetic import landmarks_of, speaking


def test_lips_that_snap_shut_close(head):
    """Between wide-open frames, closed for three: far from where each frame's fit starts."""
    truth = speaking(head, 40)
    jaw = np.zeros((40, 3), np.float32)
    jaw[:, 0] = 0.22
    shut = np.arange(40) % 9 < 3
    jaw[shut, 0] = 0
    motion = replace(truth, jaw=jaw, expression=np.zeros_like(truth.expression))
    landmarks = landmarks_of(motion, head, noise_px=0.3)
    for upper, lower in ((13, 14), (82, 87), (312, 317)):  # the template's mouth stands open: shut it
        landmarks[shut, lower, :2] = landmarks[shut, upper, :2]
    result = fit_clip(landmarks, motion.valid, head)
    found = project_vertices(result.motion, head)
    gap = np.linalg.norm(found[:, 13] - found[:, 14], axis=1) / result.interocular_px
    assert gap[~shut].min() > 0.08
    assert (gap[shut] < 0.02).mean() >= 0.95
