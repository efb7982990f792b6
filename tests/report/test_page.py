from __future__ import annotations

import json

import pytest

from alignbench.report.page import inline, json_block, policy_of, script


def test_json_cannot_end_its_script_element() -> None:
    value = {"</script><b>": ["<!-- & \u2028\u202e\x00", 1.5, None, True]}
    text = str(json_block(value))
    assert not set("<>&\u2028\u202e\x00") & set(text)
    assert json.loads(text) == {
        "</script><b>": ["<!-- & ⟦U+2028⟧⟦U+202E⟧⟦U+0000⟧", 1.5, None, True]
    }


def test_json_has_no_nan() -> None:
    with pytest.raises(ValueError, match="JSON"):
        json_block({"value": float("nan")})


@pytest.mark.parametrize("code", ["a</SCRIPT >", "<!-- b"])
def test_code_that_would_end_its_element_is_refused(code: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in a page"):
        inline(code)


def test_the_policy_names_the_scripts_by_their_digest() -> None:
    # echo -n '1' | openssl dgst -sha256 -binary | base64
    assert "script-src 'sha256-a4ayc/80/OGda4BO/1o/V0etpOqiLx1JwB5S3beHW0s='" in policy_of("1")


def test_scripts_are_joined_in_order() -> None:
    assert script("state.js", "terms.js") == script("state.js") + script("terms.js")
