"""The pages of the dock: maps of tokens, pretext views, and comparison."""

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QTabBar

from napari_sslmaps._qt.parts import quiet
from napari_sslmaps.viewer.workspace import TASKS, Task

_TITLES = {"maps": "Maps", "pretext": "Pretext", "compare": "Compare"}
_TIPS = {
    "maps": "What the encoders' tokens say of the image.",
    "pretext": "What an encoder was trained to do, done on the image.",
    "compare": "Which encoder fits the image: scores, controls, probes, and what they say.",
}


class TaskTabs(QTabBar):
    """Chooses the page; what is on the canvas follows."""

    task_requested = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setExpanding(True)
        self.setDrawBase(False)
        for index, task in enumerate(TASKS):
            self.addTab(_TITLES[task])
            self.setTabToolTip(index, _TIPS[task])
        self.currentChanged.connect(lambda index: self.task_requested.emit(TASKS[index]))

    def set_task(self, task: Task) -> None:
        """Show which page is open."""
        with quiet(self):
            self.setCurrentIndex(TASKS.index(task))
