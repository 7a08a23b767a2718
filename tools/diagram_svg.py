"""What the pictures are drawn with: shapes and text as SVG, readable on light and on dark screens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from xml.sax.saxutils import escape

Point = tuple[float, float]

HUES = {
    "gateway": "#3b82f6",
    "ingest": "#8b5cf6",
    "detect_track": "#f59e0b",
    "pose": "#10b981",
    "matcher": "#ec4899",
    "render": "#06b6d4",
}
"""Of services. Over either background they are seen well enough; tints need no second set for dark screens."""
OTHER_HUES = ("#64748b", "#ca8a04", "#ef4444", "#65a30d")

_FONT = "ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', sans-serif"
# Of one character, in font sizes: wide enough for every usual sans-serif font.
_CHARACTER = 0.58
_STYLE = f"""
text {{ font-family: {_FONT}; font-size: 12px; fill: #1f2328; }}
.back {{ fill: #ffffff; stroke: #d1d9e0; }}
.card {{ fill: #f6f8fa; stroke: #d1d9e0; }}
.title {{ font-size: 15px; font-weight: 600; }}
.name {{ font-weight: 600; }}
.small {{ font-size: 10.5px; fill: #59636e; }}
@media (prefers-color-scheme: dark) {{
text {{ fill: #e6edf3; }}
.back {{ fill: #0d1117; stroke: #3d444d; }}
.card {{ fill: #151b23; stroke: #3d444d; }}
.small {{ fill: #9198a1; }}
}}
"""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; x grows to the right, y down, in pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> Point:
        return self.x + self.width / 2, self.y + self.height / 2

    def overlaps(self, other: Box) -> bool:
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )


@dataclass
class Picture:
    """SVG in the making. ``boxes`` are those that must not lie on one another."""

    title: str
    width: float
    height: float
    parts: list[str] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)

    def box(self, box: Box, *, hue: str = "", kind: str = "card", dashed: bool = False, radius: float = 8) -> None:
        """A card, tinted if it has a hue."""
        colour = f'style="fill: {hue}; stroke: {hue}; fill-opacity: .16"' if hue else f'class="{kind}"'
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        shape = f'x="{_n(box.x)}" y="{_n(box.y)}" width="{_n(box.width)}" height="{_n(box.height)}" rx="{_n(radius)}"'
        self.parts.append(f"<rect {shape} {colour}{dash}/>")

    def solid(self, box: Box, **how: object) -> None:
        """A card that no other may lie on."""
        self.boxes.append(box)
        self.box(box, **how)  # type: ignore[arg-type]

    def text(self, at: Point, words: str, *, kind: str = "", anchor: str = "start", within: float = 0) -> None:
        """A line of text, its baseline at a point; pressed together if it would be wider than ``within``."""
        size = 10.5 if "small" in kind else 15 if "title" in kind else 12
        wide = len(words) * size * _CHARACTER
        pressed = f' textLength="{_n(within)}" lengthAdjust="spacingAndGlyphs"' if 0 < within < wide else ""
        named = f' class="{kind}"' if kind else ""
        where = f'x="{_n(at[0])}" y="{_n(at[1])}" text-anchor="{anchor}"'
        self.parts.append(f"<text {where}{named}{pressed}>{escape(words)}</text>")

    def line(self, points: Sequence[Point], hue: str, *, arrow: bool = False, dashed: bool = False) -> None:
        """A line through points, straight."""
        path = "M" + " L".join(f"{_n(x)} {_n(y)}" for x, y in points)
        self._path(path, hue, arrow=arrow, dashed=dashed)

    def curve(self, points: Sequence[Point], hue: str, *, dashed: bool = False) -> None:
        """A line from left to right through points, level at each of them, with an arrow."""
        path = f"M{_n(points[0][0])} {_n(points[0][1])}"
        for (x, y), (to_x, to_y) in pairwise(points):
            half = (x + to_x) / 2
            path += f" C{_n(half)} {_n(y)} {_n(half)} {_n(to_y)} {_n(to_x)} {_n(to_y)}"
        self._path(path, hue, arrow=True, dashed=dashed)

    def dot(self, at: Point, hue: str) -> None:
        """Where a line joins another."""
        self.parts.append(f'<circle cx="{_n(at[0])}" cy="{_n(at[1])}" r="3.5" fill="{hue}"/>')

    def _path(self, path: str, hue: str, *, arrow: bool, dashed: bool) -> None:
        end = f' marker-end="url(#arrow-{hue.removeprefix("#")})"' if arrow else ""
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(f'<path d="{path}" fill="none" stroke="{hue}" stroke-width="1.6"{dash}{end}/>')

    def svg(self) -> str:
        """The whole as a document."""
        size = f'width="{_n(self.width)}" height="{_n(self.height)}" viewBox="0 0 {_n(self.width)} {_n(self.height)}"'
        hues = sorted({part.split("#arrow-")[1][:6] for part in self.parts if "#arrow-" in part})
        arrows = "\n".join(
            f'<marker id="arrow-{hue}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" '
            f'orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#{hue}"/></marker>'
            for hue in hues
        )
        back = (
            f'<rect class="back" x="0.5" y="0.5" width="{_n(self.width - 1)}" height="{_n(self.height - 1)}" rx="12"/>'
        )
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
                "<!-- Made by `make diagram` from the sources. -->",
                f"<title>{escape(self.title)}</title>",
                f"<style>{_STYLE}</style>",
                f"<defs>\n{arrows}\n</defs>",
                back,
                *self.parts,
                "</svg>\n",
            ]
        )


def _n(number: float) -> str:
    """A number as short as it can be said to a tenth of a pixel."""
    return f"{number:.1f}".removesuffix(".0")
