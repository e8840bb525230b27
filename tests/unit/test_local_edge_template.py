"""The nginx template: every placeholder is documented, filled and needed, whatever keeps the recordings."""

from __future__ import annotations

import re
from typing import Literal

import pytest

from deploy.local.edge import PLACEHOLDER, TEMPLATE, render
from deploy.local.errors import StackError

SECTIONS = """a;
    # only: s3
    b;
    # end only
    # only: disk
    c;
    # end only
d;
"""


def test_a_placeholder_without_a_value_is_refused() -> None:
    with pytest.raises(StackError, match="MISSING"):
        render("listen ${HERE} ${MISSING};", {"HERE": "x"}, recordings="s3")


def test_a_value_that_nothing_uses_is_refused() -> None:
    with pytest.raises(StackError, match="EXTRA"):
        render("listen ${HERE};", {"HERE": "x", "EXTRA": "y"}, recordings="s3")


def test_variables_of_nginx_itself_stay() -> None:
    assert render("a $uri ${HERE} ${lower};", {"HERE": "x"}, recordings="s3") == "a $uri x ${lower};\n"


def test_no_comment_carries_a_value() -> None:
    text = render("# ${HOOK_URL}\non_publish ${HOOK_URL};", {"HOOK_URL": "x"}, recordings="s3")
    assert "secret" not in text
    assert "#" not in text


@pytest.mark.parametrize(("recordings", "lines"), [("s3", ["a;", "b;", "d;"]), ("disk", ["a;", "c;", "d;"])])
def test_only_the_sections_of_the_chosen_recordings_stay(recordings: Literal["s3", "disk"], lines: list[str]) -> None:
    assert render(SECTIONS, {}, recordings=recordings).split() == lines


def test_every_section_of_the_template_is_for_one_of_the_two_and_ends() -> None:
    marks = re.findall(r"^ +# (only: .*|end only.*)$", TEMPLATE.read_text(), re.MULTILINE)
    assert set(marks[::2]) == {"only: s3", "only: disk"}
    assert set(marks[1::2]) == {"end only"}


def test_the_head_of_the_template_names_every_placeholder() -> None:
    lines = TEMPLATE.read_text().splitlines()
    head = [line for line in lines if line.startswith("#")]
    body = [line for line in lines if not line.lstrip().startswith("#")]
    assert set(PLACEHOLDER.findall("\n".join(head))) == set(PLACEHOLDER.findall("\n".join(body)))
