# SPDX-License-Identifier: Apache-2.0
"""Last of the integration tests: everything answered so far must fit the Engine API's schemas."""
import os

import pytest

import openapi


@pytest.mark.caisson
def test_recorded_answers_fit_the_schema():
    recording = os.environ.get("CAISSON_RECORD")
    if not recording or not os.path.exists(recording):
        pytest.skip("nothing was recorded (set CAISSON_RECORD)")
    with open(recording, encoding="utf-8") as f:
        complaints, checked, _ = openapi.validate(f)
    assert checked > 0
    assert not complaints, "\n".join(f"{m} {p} {s}: {w}: {text}" for (m, p, s, w), text in sorted(complaints.items()))
