import numpy as np
import pytest

from multitalk.fit_flame.parameters.motion import Motion

FRAMES = 5


@pytest.fixture(scope="session")
def anny_motion(anny) -> Motion:
    rng = np.random.default_rng(0)
    small = 0.2 * rng.normal(size=(FRAMES, 9)).astype(np.float32)
    return Motion(
        head_model=anny.key,
        fps=25.0,
        shape=0.3 * rng.normal(size=anny.shape_size).astype(np.float32),
        expression=rng.uniform(0, 0.5, (FRAMES, 52)).astype(np.float32),
        jaw=np.zeros((FRAMES, 3), np.float32),
        eyes=small[:, :6],
        rotation=small[:, 6:],
        translation=rng.normal([0, 0, -0.8], 0.05, (FRAMES, 3)).astype(np.float32),
        camera=np.array([1000, 256, 256], np.float32),
        valid=np.ones(FRAMES, bool),
        residual=np.zeros(FRAMES, np.float32),
    )
