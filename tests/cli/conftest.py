import pytest

from visionrel import registry
from visionrel.cli import console
from visionrel.cli.main import main


@pytest.fixture
def fake_method(monkeypatch):
    """The registry holds one method, which draws noise."""
    registry.methods()
    method = registry.Method("fake", "Draw noise.", "tests.cli.fake_method")
    monkeypatch.setattr(registry, "_methods", {"fake": method})
    return method


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Runs a command line in an empty folder; gives exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    # `--quiet` sets these for the process; the next test must not see them.
    for name in console._QUIET:
        monkeypatch.setenv(name, "")

    def call(*words: str) -> tuple[int, str, str]:
        code = main(words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
