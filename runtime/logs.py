"""Logs as events: one JSON line each, a constant name, facts as fields, the trace id on every line.

Modules say `log = structlog.get_logger(__name__)`; libraries that use the standard library's logging come out alike.
"""

import logging
import sys
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from runtime.trace import current_trace

SECRET_FIELDS = frozenset(
    {"password", "secret", "token", "access_token", "refresh_token", "stream_key", "authorization", "dsn", "cookie"}
)


def configure_logging(
    *,
    service: str,
    level: str = "info",
    log_format: Literal["json", "console"] = "json",
    stream: TextIO | None = None,
    for_good: bool = True,
) -> None:
    """Send every log line of this process to `stream` (standard output) in `log_format`; called once, at start.

    Unless it is `for_good`, which is quicker, it may be called again.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _bind_service(service),
        add_trace,
        redact,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=for_good,
    )
    # Never with local variables: they hold passwords and tokens.
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    endings: list[Processor] = (
        [structlog.processors.ExceptionRenderer(tracebacks), structlog.processors.JSONRenderer(default=str)]
        if log_format == "json"
        else [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    )
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *endings],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    _quieten_libraries(root.level)


def add_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put the current trace id on the line."""
    trace = current_trace()
    if trace is not None:
        event.setdefault("trace_id", trace.trace_id)
    return event


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The last fence: a field that is named like a secret is never written out."""
    for field in SECRET_FIELDS & event.keys():
        event[field] = "[redacted]"
    return event


def _bind_service(service: str) -> Processor:
    def bind(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    return bind


def _quieten_libraries(level: int) -> None:
    # What it says at ERROR is bytes that are no HTTP, from anybody; what our handlers raise never gets to it.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    # Each is chatty at INFO about what our own lines say better; at DEBUG all of them may speak.
    if level <= logging.DEBUG:
        return
    for name in ("aiokafka", "aiohttp.access", "botocore", "boto3", "urllib3", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
