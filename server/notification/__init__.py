"""Notices: who is told of an alert, when, in which words and through which channel."""
