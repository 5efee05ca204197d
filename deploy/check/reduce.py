"""Cuts the schema of a CustomResourceDefinition down to the fields that manifests use.

    python3 reduce.py CRD.yaml KIND/VERSION MANIFEST.yaml... > schemas/KIND.json

Types, enums, patterns and required fields stay; descriptions go. A field that no
manifest uses is cut, so a mistyped one is an unknown field in the tests.
"""

import json
import sys
from pathlib import Path

import yaml

KEPT = ("type", "enum", "pattern", "format", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
        "required", "x-kubernetes-int-or-string")


def reduced(schema, values):
    """The schema of `values`, which are what the manifests have in one place."""
    kept = {key: schema[key] for key in KEPT if key in schema}
    if kept.pop("x-kubernetes-int-or-string", False):
        return {"type": ["integer", "string"]}
    if "properties" in schema:
        used = {key for value in values for key in value}
        unknown = used - schema["properties"].keys()
        if unknown:
            raise SystemExit(f"unknown fields: {', '.join(sorted(unknown))}")
        kept["properties"] = {
            key: reduced(schema["properties"][key], [value[key] for value in values if key in value])
            for key in sorted(used | set(kept.get("required", [])))
        }
        kept["additionalProperties"] = False
    elif isinstance(schema.get("additionalProperties"), dict):
        inner = [inner for value in values for inner in value.values()]
        kept["additionalProperties"] = reduced(schema["additionalProperties"], inner)
    elif "items" in schema:
        kept["items"] = reduced(schema["items"], [item for value in values for item in value])
    return kept


def main():
    definition, version, *manifests = sys.argv[1:]
    kind, version = version.split("/")
    crd = yaml.safe_load(Path(definition).read_text())
    schema = next(v["schema"]["openAPIV3Schema"] for v in crd["spec"]["versions"] if v["name"] == version)
    documents = [d for path in manifests for d in yaml.safe_load_all(Path(path).read_text()) if d]
    values = [document for document in documents if document["kind"] == kind]
    schema["properties"]["metadata"] = {"type": "object"}
    print(json.dumps(reduced(schema, values), indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
