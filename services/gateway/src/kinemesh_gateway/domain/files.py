"""Names and types of files in headers."""

from __future__ import annotations

from urllib.parse import quote

# Types that a browser shows without running anything in them.
_HARMLESS = frozenset(
    (
        "application/json",
        "application/vnd.apache.parquet",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "text/csv",
        "video/avi",
        "video/mp4",
        "video/quicktime",
        "video/webm",
        "video/x-matroska",
        "video/x-msvideo",
    )
)
OCTETS = "application/octet-stream"
_SUFFIXES = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "video/avi": ".avi",
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "video/x-matroska": ".mkv",
    "video/x-msvideo": ".avi",
}


def safe_type(content_type: str) -> str:
    """The media type if it is one that cannot carry a script, else that of plain bytes."""
    kind = content_type.split(";", 1)[0].strip().lower()
    return kind if kind in _HARMLESS else OCTETS


def suffix(content_type: str) -> str:
    """What the name of a file of a media type ends with; empty for types that have no usual one."""
    return _SUFFIXES.get(safe_type(content_type), "")


def inline(filename: str) -> str:
    """A ``Content-Disposition`` that shows a file and names it (RFC 6266)."""
    plain = "".join(c if 32 <= ord(c) < 127 and c not in '"\\%' else "_" for c in filename) or "file"
    if plain == filename:
        return f'inline; filename="{plain}"'
    return f"inline; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
