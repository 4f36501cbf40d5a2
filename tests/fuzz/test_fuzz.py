"""Damaged files of every format: readers raise only errors of this project, and do not hang or crash."""

import sys

import pytest
from fuzz.campaign import FAMILIES, findings

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit of memory needs Linux")
COUNTS = {"videos": 5000, "tables": 2000, "texts": 1500, "weights": 1500}  # 10,000 in total


@pytest.mark.parametrize("family", FAMILIES)
def test_a_damaged_file_is_an_error_of_this_project(family: str):
    assert findings(family, COUNTS[family] // 20) == []


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_ten_thousand_damaged_files_are_errors_of_this_project(family: str):
    assert findings(family, COUNTS[family], seed=1) == []
