"""The published JSON Schema, generated from the models so that an editor and the loader agree.

``python -m lab.scenario.schema.publish > scenarios/schema.json`` writes it anew; a test finds a stale one.
"""

from __future__ import annotations

import json
import sys

from lab.scenario.schema.scenario import API_VERSION, ScenarioDocument

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> str:
    """The JSON Schema of a scenario file, as the text of ``scenarios/schema.json``."""
    schema = {"$schema": DIALECT, "$id": f"urn:{API_VERSION.replace('/', ':')}", **ScenarioDocument.model_json_schema()}
    return json.dumps(schema, indent=2, sort_keys=False, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(json_schema())
