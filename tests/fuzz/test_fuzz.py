"""Damaged files of every format: nothing but errors of this project leaves a reader, and nothing hangs or crashes."""

import sys

import pytest
from fuzz.campaign import FAMILIES, findings

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is limited and measured by Linux's means")
SHARE = {"videos": 5000, "tables": 2000, "texts": 1500, "weights": 1500}  # ten thousand in all


@pytest.mark.parametrize("family", FAMILIES)
def test_a_damaged_file_is_an_error_of_this_project(family: str):
    assert findings(family, SHARE[family] // 20) == []


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_ten_thousand_damaged_files_are_errors_of_this_project(family: str):
    assert findings(family, SHARE[family], seed=1) == []
