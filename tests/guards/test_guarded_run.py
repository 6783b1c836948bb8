"""What a run from the command line writes: files, fields of its record, tags of its maps."""

import snapshots
from guard_kit import read_data


def test_a_run_writes_the_same_files_fields_and_tags(tmp_path):
    now, before = snapshots.run_facts(tmp_path), read_data("run.json")
    assert now["files"] == before["files"]
    assert now["record"] == before["record"]
    assert now["tags"] == before["tags"]
