"""The cold-chain judgement: pure, no clock, no I/O; every time and every value comes in with a call."""
