"""Metrics of predicted motion against the truth, clip by clip and pooled.

`metric` says what a metric is; distances, dynamics, lip_trajectory and generation are the metrics, `catalog` names all;
regions and closures say where and when they measure. clip_measures takes one clip, evaluate_motion all of them, and
pooling and motion_tables make figures and tables of them; `baselines` are what a model must beat.
"""

from multitalk.eval.motion.distances import lip_vertex_error_squared

__all__ = ["lip_vertex_error_squared"]
