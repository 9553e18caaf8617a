"""The operators and the stand-in runtime under the genuine torch_npu on npu:0: the files of inside/, in one process.

torch_npu is not imported into this one.
"""

import pytest

from .conftest import INSIDE


@pytest.mark.parametrize("name", sorted(path.name for path in INSIDE.glob("*.py")))
def test_on_a_simulated_npu(inside: dict[str, list[str]], name: str) -> None:
    assert name in inside, f"{name} ran no test"
    assert not inside[name], "\n\n".join(inside[name])
