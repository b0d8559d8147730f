"""A virtual hardware watchdog: it ticks whatever the machine's software does, and resets the machine when it is starved."""

from collections.abc import Callable

from corolistener.sim.heap import Heap


class Watchdog:
    """One machine's. `timeout_ms` 0: there is none. `works` False: it never bites, against what is assumed of it."""

    def __init__(self, heap: Heap, timeout_ms: int, bite: Callable[[], None]) -> None:
        self.heap, self.timeout_ms, self.bite = heap, timeout_ms, bite
        self.works = True
        self.fed_at: int | None = None
        self.armed_at = 0
        self.held: int | None = None

    @property
    def armed(self) -> bool:
        return self.fed_at is not None

    def open(self) -> int:
        """A daemon takes it: arms it, unless a former one left it armed. Returns the timeout, read back."""
        if self.timeout_ms and not self.armed:
            self.armed_at = self.heap.now
            self._feed()
        return self.timeout_ms

    def feed(self) -> None:
        if self.armed:
            self._feed()

    def disarm(self) -> None:
        """Stopped for good, until it is opened again; also by the machine's loss of power."""
        self.fed_at = self.held = None

    def hold(self) -> None:
        """Its time stands still, as a virtual machine's does that is suspended."""
        if self.fed_at is not None:
            self.held, self.fed_at = self.heap.now - self.fed_at, -1

    def go_on(self) -> None:
        """Time goes on where it stood."""
        if self.held is not None and self.fed_at == -1:
            self._feed(self.held)
        self.held = None

    def _feed(self, passed: int = 0) -> None:
        fed_at = self.fed_at = self.heap.now - passed
        self.heap.after(max(0, self.timeout_ms - passed), lambda: self._tick(fed_at))

    def _tick(self, fed_at: int) -> None:
        if self.fed_at == fed_at and self.works:
            self.disarm()
            self.bite()
