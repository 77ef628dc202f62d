"""A server that behaves as Stripe does, for development and tests: stateful, with a clock to turn.

Standard library only. The code that runs against Stripe runs against it unchanged; only the address
and the keys differ. It knows what Spoke uses of Stripe, and refuses the rest as Stripe refuses what it
does not know.
"""
