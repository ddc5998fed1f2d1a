"""The scenario format: strict models, and the JSON Schema made from them.

``docs/scenario-format.md`` explains it; ``scenarios/schema.json`` is generated from here.
"""
