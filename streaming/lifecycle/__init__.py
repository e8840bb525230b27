"""The life of a stream: the state machine, and what drives it."""
