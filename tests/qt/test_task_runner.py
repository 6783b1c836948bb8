import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from threading import Event, current_thread, main_thread

import pytest
from pytestqt.qtbot import QtBot

from napari_sslmaps._qt.task_runner import QtTaskRunner
from napari_sslmaps.errors import Cancelled
from napari_sslmaps.viewer.state.tasks import TaskCallbacks, TaskContext


class Heard:
    def __init__(self) -> None:
        self.answers: list[tuple[str, object]] = []
        self.threads: set[object] = set()

    @property
    def callbacks(self) -> TaskCallbacks:
        def hear(kind: str, answer: object) -> None:
            self.answers.append((kind, answer))
            self.threads.add(current_thread())

        return TaskCallbacks(*(lambda a, k=kind: hear(k, a) for kind in ("reported", "returned", "failed")))

    def __contains__(self, kind: str) -> bool:
        return any(kind == heard for heard, _ in self.answers)


@pytest.fixture
def runner(qapp: object) -> Iterator[QtTaskRunner]:
    made = QtTaskRunner()
    yield made
    made.close()


def test_answers_come_in_order_on_the_gui_thread(qtbot: QtBot, runner: QtTaskRunner) -> None:
    heard, ran_on = Heard(), []

    def work(context: TaskContext) -> str:
        ran_on.append(current_thread())
        context.report(1)
        context.report(2)
        return "done"

    runner.submit(work, heard.callbacks)
    qtbot.waitUntil(lambda: "returned" in heard)
    assert heard.answers == [("reported", 1), ("reported", 2), ("returned", "done")]
    assert heard.threads == {main_thread()}
    assert ran_on != [main_thread()]


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA out of memory"), MemoryError(), KeyError("x"), Cancelled()]
)
def test_whatever_is_raised_arrives_and_the_runner_lives_on(
    qtbot: QtBot, runner: QtTaskRunner, error: Exception
) -> None:
    def work(context: TaskContext) -> None:
        raise error

    heard = Heard()
    runner.submit(work, heard.callbacks)
    qtbot.waitUntil(lambda: "failed" in heard)
    assert heard.answers == [("failed", error)]
    assert not runner.busy
    runner.submit(lambda _context: 5, heard.callbacks)
    qtbot.waitUntil(lambda: "returned" in heard)


def test_the_newest_work_wins(qtbot: QtBot, runner: QtTaskRunner) -> None:
    old, new, started, go = Heard(), Heard(), Event(), Event()

    def slow(context: TaskContext) -> str:
        started.set()
        go.wait(5)
        context.report("late")
        return "old"

    runner.submit(slow, old.callbacks)
    assert started.wait(5)
    runner.submit(lambda _context: "between", old.callbacks)
    runner.submit(lambda _context: "new", new.callbacks)
    go.set()
    qtbot.waitUntil(lambda: "returned" in new)
    assert old.answers == []
    assert new.answers == [("returned", "new")]


def test_cancelled_work_may_still_report(qtbot: QtBot, runner: QtTaskRunner) -> None:
    heard, started = Heard(), Event()

    def work(context: TaskContext) -> None:
        started.set()
        while not context.token.cancelled:
            started.wait(0.001)
        context.report("what there is")
        context.token.check()

    runner.submit(work, heard.callbacks)
    assert started.wait(5)
    runner.cancel()
    qtbot.waitUntil(lambda: "failed" in heard)
    assert heard.answers[0] == ("reported", "what there is")
    assert isinstance(heard.answers[1][1], Cancelled)


def test_close_stops_the_work_and_delivers_nothing(qtbot: QtBot, qapp: object) -> None:
    runner, heard, started = QtTaskRunner(), Heard(), Event()

    def work(context: TaskContext) -> None:
        started.set()
        while not context.token.cancelled:
            started.wait(0.001)
        context.report("too late")

    runner.submit(work, heard.callbacks)
    assert started.wait(5)
    runner.close()
    qtbot.wait(1)
    assert heard.answers == []
    assert not runner.busy


WORK_IMPORTS_TORCH = """
import sys
from qtpy.QtCore import QCoreApplication
from napari_sslmaps._qt.task_runner import QtTaskRunner
from napari_sslmaps.viewer.state.tasks import TaskCallbacks

app = QCoreApplication([])
runner = QtTaskRunner()
heard = lambda found: (print(*found), app.quit())
runner.submit(lambda _: ("triton" in sys.modules, "torch" in sys.modules), TaskCallbacks(heard, heard, heard))
app.exec()
runner.close()
"""


def test_triton_is_loaded_before_the_first_work_and_without_torch() -> None:
    """Work that imports torch, and with it triton, would crash once OpenGL has loaded another LLVM."""
    done = subprocess.run(
        [sys.executable, "-c", WORK_IMPORTS_TORCH], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == [str(find_spec("triton") is not None), "False"]
