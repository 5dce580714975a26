"""The commands of `brightline-server`, one module for each group: `register` adds its arguments, `run` does it."""
