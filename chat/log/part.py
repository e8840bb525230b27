"""Puts the log together."""

from chat.brokers.spool_redis import RedisSpool
from chat.log.api import HistoryApi
from chat.log.eraser import Eraser
from chat.log.retention import LogRetention
from chat.log.store import QUERIES
from chat.log.writer import LogWriter
from chat.parts import ChatParts
from runtime.assembly import Assembly
from runtime.monthly_partitions import MonthlyPartitions
from runtime.postgres import Connection


async def make_message_months(connection: Connection, months_ahead: int) -> int:
    """For MonthlyPartitions."""
    made: int = await QUERIES.make_message_months(connection, months_ahead=months_ahead)
    return made


def assemble_log(parts: ChatParts) -> Assembly:
    """The writer, the eraser, the months to come, and history."""
    return Assembly(
        apis=[HistoryApi(parts.pool)],
        services=[
            LogWriter(parts.outbox, RedisSpool(parts.redis)),
            Eraser(parts.pool),
            LogRetention(parts.pool, log_days=parts.settings.chat_log_days),
            MonthlyPartitions(parts.pool, make_message_months),
        ],
    )
