"""Scenarios: data that is replayed as a test and given to a person as practice.

One way through the room: `load` (discover, load, validate) -> `plan` -> `run` -> `report`.
"""
