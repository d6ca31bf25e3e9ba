"""A small network learns two interleaved spirals with plain NumPy; its weights are kept."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = dict[str, Array]
HIDDEN = 32


def spirals(points: int = 200) -> tuple[Array, Array]:
    """Two arms of `points` each, and which arm a point is on."""
    turn = np.sqrt(np.linspace(0.02, 1.0, points)) * 2 * np.pi
    arm = np.stack([turn * np.cos(turn), turn * np.sin(turn)], axis=1) / 6.0
    return np.concatenate([arm, -arm]), np.repeat([0.0, 1.0], points)[:, None]


def forward(weights: Weights, inputs: Array) -> tuple[Array, Array, Array]:
    first = np.tanh(inputs @ weights["w1"] + weights["b1"])
    second = np.tanh(first @ weights["w2"] + weights["b2"])
    return first, second, 1.0 / (1.0 + np.exp(-(second @ weights["w3"] + weights["b3"])))


def loss_of(weights: Weights, inputs: Array, arms: Array) -> float:
    """Mean cross entropy."""
    guess = np.clip(forward(weights, inputs)[2], 1e-9, 1 - 1e-9)
    return float(-np.mean(arms * np.log(guess) + (1 - arms) * np.log(1 - guess)))


def train(steps: int, seed: int = 7) -> Weights:
    """Adam on the whole set."""
    random = np.random.default_rng(seed)
    shapes = {"w1": (2, HIDDEN), "w2": (HIDDEN, HIDDEN), "w3": (HIDDEN, 1)}
    weights: Weights = {n: random.normal(0, 1 / np.sqrt(s[0]), s) for n, s in shapes.items()}
    weights |= {"b1": np.zeros(HIDDEN), "b2": np.zeros(HIDDEN), "b3": np.zeros(1)}
    mean = {name: np.zeros_like(value) for name, value in weights.items()}
    square = {name: np.zeros_like(value) for name, value in weights.items()}
    inputs, arms = spirals()
    for step in range(1, steps + 1):
        first, second, guess = forward(weights, inputs)
        at_3 = (guess - arms) / len(arms)
        at_2 = at_3 @ weights["w3"].T * (1 - second**2)
        at_1 = at_2 @ weights["w2"].T * (1 - first**2)
        slopes = {"w3": second.T @ at_3, "w2": first.T @ at_2, "w1": inputs.T @ at_1}
        slopes |= {"b3": at_3.sum(0), "b2": at_2.sum(0), "b1": at_1.sum(0)}
        for name, slope in slopes.items():
            mean[name] += 0.1 * (slope - mean[name])
            square[name] += 0.001 * (slope**2 - square[name])
            hat = mean[name] / (1 - 0.9**step)
            weights[name] -= 0.02 * hat / (np.sqrt(square[name] / (1 - 0.999**step)) + 1e-8)
        if step % 100 == 0:
            print(f"step {step}: loss {loss_of(weights, inputs, arms):.4f}", flush=True)
    return weights


if __name__ == "__main__":
    made = train(int(os.environ["STEPS"]))
    loss = loss_of(made, *spirals())
    np.savez("weights.npz", **made)  # type: ignore[arg-type]
    Path("result.json").write_text(json.dumps({"loss": loss}))
    print(f"final loss {loss:.4f}")
