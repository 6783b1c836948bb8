"""Changing the groups of anchors."""

from napari_sslmaps.viewer.workspace import GROUP_COLOURS, Group, WorkspaceModel


def add_group(workspace: WorkspaceModel) -> None:
    """Add a group of anchors, with the next colour, and make it the active one."""
    key = 1 + max(group.key for group in workspace.groups)
    names = {group.name for group in workspace.groups}
    name = next(name for n in range(1, len(names) + 2) if (name := f"group {n}") not in names)
    workspace.groups = (*workspace.groups, Group(key, name, GROUP_COLOURS[key % len(GROUP_COLOURS)]))
    workspace.group = key


def change_group(workspace: WorkspaceModel, changed: Group) -> None:
    """Give the group of that key another name or colour; a name that is none, or taken, is refused."""
    taken = {group.name for group in workspace.groups if group.key != changed.key}
    if not changed.name.strip() or changed.name in taken:
        workspace.say(f"Expected a name that no other group has; got {changed.name!r}.", failed=True)
        return
    workspace.groups = tuple(changed if group.key == changed.key else group for group in workspace.groups)


def remove_group(workspace: WorkspaceModel, key: int) -> None:
    """Remove a group with its anchors, unless it is the only one."""
    left = tuple(group for group in workspace.groups if group.key != key)
    if not left:
        return
    workspace.groups = left
    if workspace.group == key:
        workspace.group = left[-1].key
    workspace.anchors = tuple(anchor for anchor in workspace.anchors if anchor.group != key)
