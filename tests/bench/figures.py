"""Figures: values, what is to be reached, and how they are shown."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """Values of one kind; `median` and `most` are what is to be reached, None where nothing is; `note` says how it was
    measured."""

    name: str
    unit: str
    values: tuple[float, ...]
    median: float | None = None
    most: float | None = None
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        if self.median is None and self.most is None:
            return None
        good = self.median is None or statistics.median(self.values) <= self.median
        return good and (self.most is None or max(self.values) <= self.most)

    @property
    def goal(self) -> str:
        """The goal in words."""
        parts = [f"median ≤ {self.median:g}"] if self.median is not None else []
        parts += [f"worst ≤ {self.most:g}"] if self.most is not None else []
        return ", ".join(parts)

    def cells(self) -> tuple[str, ...]:
        """Name, count, median, minimum, maximum, unit, goal, and whether it was reached."""
        shown = [number(value) for value in (statistics.median(self.values), min(self.values), max(self.values))]
        verdict = {None: "", True: "yes", False: "NO"}[self.reached]
        return (self.name, str(len(self.values)), *shown, self.unit, self.goal, verdict)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        median = statistics.median(self.values)
        return {
            "name": self.name, "unit": self.unit, "count": len(self.values), "median": median, "min": min(self.values),
            "max": max(self.values), "goal": self.goal, "reached": self.reached, "note": self.note, "values": list(self.values),
        }  # fmt: skip


HEADS = ("figure", "n", "median", "min", "max", "unit", "to reach", "reached")


def number(value: float) -> str:
    """Three digits that matter, no exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(figures: Iterable[Figure]) -> list[str]:
    """Aligned columns for a terminal: the first left, numbers right."""
    rows = [HEADS, *(figure.cells() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    right = range(1, 5)
    return [
        "  ".join(cell.rjust(widths[at]) if at in right else cell.ljust(widths[at]) for at, cell in enumerate(row)).rstrip()
        for row in rows
    ]


def markdown(figures: Sequence[Figure]) -> list[str]:
    """A table for README."""
    rows = [HEADS, tuple("---:" if 1 <= at <= 4 else "---" for at in range(len(HEADS)))]
    rows += [figure.cells() for figure in figures]
    return ["| " + " | ".join(row) + " |" for row in rows]


def notes(figures: Iterable[Figure]) -> list[str]:
    """How they were measured, each way once."""
    return list(dict.fromkeys(figure.note for figure in figures if figure.note))
