"""Chapter 4 - Schedules: the learning rate as a function of the step."""

from __future__ import annotations

import math


def warm_up_cosine(step: int, steps: int, warm_up: int, floor: float = 0.1) -> float:
    """Factor on the learning rate: a straight rise, then half a cosine down to ``floor``.

    rise:  ``(step + 1) / warm_up``          while step < warm_up
    fall:  ``floor + (1 - floor) · (1 + cos(pi · p)) / 2``, p from 0 to 1 over the other steps

    The rise lets Adam's running means fill before steps are large; the fall lets the weights
    settle. The warm-up is counted in real steps, of *this* run: 500 steps of warm-up in a run of
    three never reach a rate worth the name.

    Args:
        step: from 0; beyond ``steps`` the floor stays.
        steps: length of the run.
        warm_up: steps of the rise, less than ``steps``.
        floor: last factor, 0 to 1.

    Raises:
        ValueError: the warm-up does not end within the run.

    Source: Loshchilov & Hutter 2017, "SGDR", equation 5; Radford et al. 2018, section 4.1.

    >>> [round(warm_up_cosine(s, 12, 2, floor=0.0), 3) for s in (0, 1, 2, 7, 12)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if not 0 <= warm_up < steps:
        raise ValueError(f"a warm-up of {warm_up} steps does not fit into a run of {steps}")
    if step < warm_up:
        return (step + 1) / warm_up
    progress = min(1.0, (step - warm_up) / (steps - warm_up))
    return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2
