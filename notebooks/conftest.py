"""How nbval tests the notebooks: each alone, quietly, outputs in a folder that is removed."""

import tempfile
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parents[1] / "tests" / "reference"
OUTPUTS = tempfile.TemporaryDirectory(prefix="hnas-notebooks-")
ENVIRONMENT = pytest.MonkeyPatch()


def pytest_collectstart(collector: pytest.Collector) -> None:
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)  # progress and warnings differ from run to run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not hasattr(item, "output_timeout"):
            continue
        item.output_timeout = 600  # nbval's 5 s hold whatever --nbval-cell-timeout says
        if item.options["check"] and not item.cell.execution_count:
            raise pytest.UsageError(
                f"{item.nodeid} is tagged for checking but has no execution count: "
                "nbval would pass it unseen. Store the notebooks again with make notebooks"
            )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Set what the notebook's kernel will see, before nbval starts it."""
    ENVIRONMENT.setenv("HNAS_OUTPUTS", str(Path(OUTPUTS.name) / item.path.stem))
    ENVIRONMENT.setenv("HNAS_REFERENCE", str(REFERENCE))
    ENVIRONMENT.setenv("HNAS_QUIET", "1")


def pytest_runtest_teardown() -> None:
    ENVIRONMENT.undo()  # no other test sees it


def pytest_unconfigure() -> None:
    OUTPUTS.cleanup()
