"""The scenarios, in the order of a box's life: importing this makes all of choice.ALL."""

from scenarios import looks, hardware, refusals, updates, power, reset  # noqa: F401  the order is the order of the run
