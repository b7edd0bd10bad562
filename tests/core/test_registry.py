import pytest

from visionrel import registry
from visionrel.errors import InputError
from visionrel.registry import get_method, methods, register_method


@pytest.fixture
def scratch(monkeypatch):
    methods()
    monkeypatch.setattr(registry, "_methods", dict(registry._methods))


def test_every_method_is_found_by_its_name():
    assert methods()
    for method in methods():
        assert get_method(method.name) is method
        assert method.summary.endswith(".")
        assert method.package.startswith("visionrel.")


def test_an_unknown_name_lists_the_known_and_the_nearest():
    with pytest.raises(InputError, match=r"'revershun'; known methods: .*Did you mean 'reversion'"):
        get_method("revershun")
    with pytest.raises(InputError) as caught:
        get_method("qqqq")
    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "Two", "two words", "2fast", "x-y"])
def test_names_are_lower_case_words(scratch, name):
    with pytest.raises(ValueError, match="one lower-case word"):
        register_method(name, "Summary.", "package")


def test_a_name_is_given_once(scratch):
    register_method("once", "Summary.", "package.a")
    register_method("once", "Summary.", "package.a")  # a module imported twice
    with pytest.raises(ValueError, match=r"already registered by package\.a"):
        register_method("once", "Summary.", "package.b")


def test_modules_are_imported_when_asked_for(scratch):
    method = register_method("lazy", "Summary.", "visionrel")
    assert method.module("errors").InputError is InputError
