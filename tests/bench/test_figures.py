"""Figures: what counts as reached, and where README keeps them."""

import json

import pytest

from bench import place
from bench.figures import Figure, markdown, notes, table


@pytest.mark.parametrize(
    ("median", "most", "reached"),
    [(None, None, None), (2.0, None, True), (1.9, None, False), (2.0, 30.0, True), (2.0, 29.9, False), (None, 30.0, True)],
)
def test_reached(median: float | None, most: float | None, reached: bool | None) -> None:
    figure = Figure("f", "ms", (1.0, 2.0, 30.0), median, most)
    assert figure.reached is reached
    plain = json.loads(json.dumps(figure.plain()))
    assert (plain["median"], plain["min"], plain["max"], plain["count"], plain["reached"]) == (2.0, 1.0, 30.0, 3, reached)


def test_tables() -> None:
    figures = [Figure("f", "ms", (0.25, 123.4), 3.0, 20.0, "one way"), Figure("a longer name", "×", (1.5,), note="one way")]
    assert len({line.index("ms") for line in table(figures)[1:2]}) == 1
    assert table(figures)[1].split()[:5] == ["f", "2", "61.8", "0.25", "123"]
    assert markdown(figures)[2].startswith("| f | 2 | 61.8 | 0.25 | 123 | ms | median ≤ 3, worst ≤ 20 | NO |")
    assert notes(figures) == ["one way"]


def test_readme_keeps_one_section() -> None:
    text = "# it\n\nwords\n"
    once = place.put(text, place.section([Figure("f", "ms", (1.0,))], "a machine"))
    assert once.startswith(text)
    assert once.count(place.TITLE) == 1
    followed = once + "\n## License\n\nBSD\n"
    again = place.put(followed, place.section([Figure("g", "ms", (2.0,))], "another"))
    assert again.count(place.TITLE) == 1
    assert "| g |" in again
    assert "| f |" not in again
    assert again.endswith("\n\n## License\n\nBSD\n")
