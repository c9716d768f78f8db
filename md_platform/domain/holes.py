"""Stretches of time in which trades may be missing, and which of the periods that overlap them are incomplete."""

_BEGINNING = -(2**63)


class Holes:
    """Half-open intervals `[start, end)` in ns, apart from one another and ascending; the first reaches `since_ns`."""

    def __init__(self, since_ns: int) -> None:
        self._since = since_ns
        self._holes = [(_BEGINNING, since_ns)]

    def add(self, start_ns: int, end_ns: int) -> None:
        """Nothing is known of `[start_ns, end_ns)`."""
        apart = [hole for hole in self._holes if hole[1] < start_ns or end_ns < hole[0]]
        touched = [hole for hole in self._holes if hole[1] >= start_ns and end_ns >= hole[0]]
        whole = (min([start_ns, *(s for s, _ in touched)]), max([end_ns, *(e for _, e in touched)]))
        self._holes = sorted([*apart, whole])

    def fill(self, start_ns: int, end_ns: int) -> None:
        """All is known of `[start_ns, end_ns)`."""
        left = [(start, min(end, start_ns)) for start, end in self._holes]
        right = [(max(start, end_ns), end) for start, end in self._holes]
        self._holes = sorted({(start, end) for start, end in [*left, *right] if start < end})

    def overlap(self, start_ns: int, end_ns: int) -> bool:
        """Whether a part of `[start_ns, end_ns)` is missing."""
        if not self._holes or start_ns >= self._holes[-1][1]:
            return False
        return any(start < end_ns and start_ns < end for start, end in self._holes)

    def forget(self, before_ns: int) -> None:
        """Drop what ended by `before_ns`."""
        self._holes = [hole for hole in self._holes if hole[1] > before_ns]

    def until(self, until_ns: int) -> list[tuple[int, int]]:
        """The holes that begin before `until_ns`, cut there.

        The first is cut at `since_ns`, too: what was before was nobody's to know.
        """
        known = [(min(self._since, end) if start == _BEGINNING else start, end) for start, end in self._holes]
        return [(start, min(end, until_ns)) for start, end in known if start < until_ns]
