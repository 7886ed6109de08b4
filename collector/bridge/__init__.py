"""Counters that speak only MQTT feed the collector: what they say becomes records of a device made for it.

`client` listens to the broker and acknowledges a message when it is stored; `records` says what a message becomes,
and how much of it is new; `positions` remembers how far that went; `worker` joins them.

Exactly once: a message may come again, from the broker or from its sender, and the same counts may come by two
topics. What a lane counted since its start (`n_since_boot`) tells what is new, so a message that is lost costs the
classes of its vehicles and no vehicle. How far it was taken in is written down together with the sequence number
that its records will have, before they are delivered: the store's watermark then tells whether they were stored.
"""
