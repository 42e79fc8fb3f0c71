"""A picture of how time and memory grow with the number of apps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.bench.scale import VERSIONS, Point


def draw(points: Sequence[Point], path: Path) -> None:
    """Writes a PNG: time and memory on logarithmic axes, where what grows linearly is a straight line."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    apps = [point.apps for point in points]
    figure, (times, memory) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    figure.suptitle(f"A warm plan of N apps with {VERSIONS} versions each")
    times.loglog(apps, [point.cost.wall for point in points], marker="o", label="wall")
    times.loglog(apps, [point.cost.cpu for point in points], marker="s", label="CPU")
    times.set(xlabel="apps", ylabel="seconds")
    memory.loglog(
        apps, [point.cost.rss for point in points], marker="o", color="tab:green", label="largest resident set"
    )
    memory.set(xlabel="apps", ylabel="MB")
    for axes in (times, memory):
        axes.grid(True, which="both", alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)
