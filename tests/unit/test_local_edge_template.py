"""The nginx template: every placeholder is documented, filled and needed."""

from __future__ import annotations

import pytest

from deploy.local.edge import PLACEHOLDER, TEMPLATE, render
from deploy.local.errors import StackError


def test_a_placeholder_without_a_value_is_refused() -> None:
    with pytest.raises(StackError, match="MISSING"):
        render("listen ${HERE} ${MISSING};", {"HERE": "x"})


def test_a_value_that_nothing_uses_is_refused() -> None:
    with pytest.raises(StackError, match="EXTRA"):
        render("listen ${HERE};", {"HERE": "x", "EXTRA": "y"})


def test_variables_of_nginx_itself_stay() -> None:
    assert render("a $uri ${HERE} ${lower};", {"HERE": "x"}) == "a $uri x ${lower};\n"


def test_no_comment_carries_a_value() -> None:
    assert "secret" not in render("# ${HOOK_URL}\non_publish ${HOOK_URL};", {"HOOK_URL": "x"})


def test_the_head_of_the_template_names_every_placeholder() -> None:
    lines = TEMPLATE.read_text().splitlines()
    head = [line for line in lines if line.startswith("#")]
    body = [line for line in lines if not line.lstrip().startswith("#")]
    assert set(PLACEHOLDER.findall("\n".join(head))) == set(PLACEHOLDER.findall("\n".join(body)))
