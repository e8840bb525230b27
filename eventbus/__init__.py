"""How events travel: the outbox in the transaction that made them true, the bus, and the loop that applies them once.

A service says an event with ``Transaction.say`` (``eventbus.outbox``); its relay (``EventBus.relay``) makes it readable
on the bus, in order; the ``ConsumeLoop`` of every group that listens hands it to a handler within a transaction that
also remembers its id, so a message that comes twice takes effect once. What cannot be handled is set aside
(``eventbus.dead_letters``). Which bus there is, Kafka or Postgres, is for the settings to say (``bus_configured``).
"""
