"""What people may write about a stream, and the limits of it."""

from typing import Annotated

from pydantic import StringConstraints

TITLE_CHARACTERS_MAX = 140
CATEGORY_CHARACTERS_MAX = 50

Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=TITLE_CHARACTERS_MAX)]
Category = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=CATEGORY_CHARACTERS_MAX)]
