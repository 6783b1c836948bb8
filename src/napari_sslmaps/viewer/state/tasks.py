"""Long work, whoever runs it: asked for, stopped and answered."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Any, Protocol

from napari_sslmaps.errors import Cancelled, SSLMapsError


class CancelToken:
    """A request to stop, which the work looks at between steps."""

    def __init__(self) -> None:
        self._event = Event()

    def cancel(self) -> None:
        """Ask the work to stop."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether it was asked to stop."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise `Cancelled` if it was asked to stop."""
        if self.cancelled:
            raise Cancelled("Stopped; what was painted stays.")


@dataclass(frozen=True, slots=True)
class TaskContext:
    """Context that running work is given.

    Parameters
    ----------
    token
        Token that is to be checked between steps.
    report
        Callback with an intermediate answer; it is delivered like the final one.
    """

    token: CancelToken
    report: Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class TaskCallbacks:
    """Callbacks of a task, always called on the thread that submitted.

    Parameters
    ----------
    reported
        Callback with each intermediate answer, in order.
    returned
        The final answer, after success only.
    failed
        Callback with the error that was raised instead.
    """

    reported: Callable[[Any], None]
    returned: Callable[[Any], None]
    failed: Callable[[BaseException], None]


Work = Callable[[TaskContext], Any]


class TaskRunner(Protocol):
    """Runs one piece of work at a time; a newer one stops the older and silences it."""

    def submit(self, work: Work, callbacks: TaskCallbacks) -> None:
        """Run `work`, which captured all it needs and touches no layer."""
        ...

    def cancel(self) -> None:
        """Ask the running work to stop; what it still reports is delivered."""
        ...

    def discard(self) -> None:
        """Ask the running work to stop and deliver nothing more of it."""
        ...

    def close(self) -> None:
        """Stop, deliver nothing more, and leave no thread."""
        ...


class ImmediateRunner:
    """Runs work at once, on the calling thread; for tests and scripts."""

    def __init__(self) -> None:
        self._token: CancelToken | None = None

    def submit(self, work: Work, callbacks: TaskCallbacks) -> None:
        """Run `work` to its end and deliver its answers."""
        token = self._token = CancelToken()
        try:
            answer = work(TaskContext(token, callbacks.reported))
        except (ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError) as e:
            callbacks.failed(e)
        except SSLMapsError as error:
            callbacks.failed(error)
        else:
            callbacks.returned(answer)
        finally:
            self._token = None

    def cancel(self) -> None:
        """Ask the running work, which is the caller, to stop."""
        if self._token is not None:
            self._token.cancel()

    def discard(self) -> None:
        """Stop, as `cancel` does."""
        self.cancel()

    def close(self) -> None:
        """Stop, as `cancel` does."""
        self.cancel()
