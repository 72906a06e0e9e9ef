"""The tests, which share two cores as runs do."""

from makemore import machine

machine.let_threads_sleep()
