"""The example of every public name, as its docstring shows it."""

import doctest

import pytest

import napari_sslmaps

OPTIONS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL


@pytest.mark.parametrize("name", napari_sslmaps.__all__)
def test_every_public_name_has_an_example_that_runs(name):
    """As typed into a fresh interpreter: an example imports what it uses, and names what it calls."""
    documented = getattr(napari_sslmaps, name).__doc__
    assert "Examples\n" in documented, "add an Examples section to its docstring"
    example = doctest.DocTestParser().get_doctest(documented, {}, name, None, None)
    assert any(f"ssl.{name}" in step.source for step in example.examples)
    told: list[str] = []
    done = doctest.DocTestRunner(optionflags=OPTIONS).run(example, out=told.append)
    assert not done.failed, "".join(told)
