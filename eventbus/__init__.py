"""How events travel: the outbox in the transaction that made them true, the bus, and the loop that applies them once.

A service says an event with ``Transaction.say`` (``eventbus.outbox``); its ``Relay`` carries it to the bus in order;
the ``ConsumeLoop`` of every group that listens hands it to a handler within a transaction that also remembers its id,
so a message that comes twice takes effect once. What cannot be handled is set aside (``eventbus.dead_letters``).
"""
