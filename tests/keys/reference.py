"""The form of a request key, `2026-11`, as src/key/README.md has it: by the packages `rfc8785` and `blake3`.

Compares the keys in files of JSON Lines (README.md beside this) with its own. Status 1 if any differs.
"""

import json
import math
import sys

import rfc8785
from blake3 import blake3

KEY = "sync-coalesce 2026-11 request key v1"
LONG_STRING = "sync-coalesce 2026-11 long string v1"


def derive_key(context: str, data: bytes) -> str:
    return blake3(data, derive_key_context=context).hexdigest()


def double(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("too large for a double")
    return value


def integer(text: str) -> int | float:
    # The double comes first: it refuses what is too long for Python's own integers.
    nearest, exact = double(text), int(text) if len(text) < 32 else 2**64
    return exact if -(2**63) <= exact < 2**64 else nearest


def members(pairs: list) -> dict:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("two members of one name")
    return dict(pairs)


def read(text: str):
    return json.loads(text, parse_int=integer, parse_float=double, object_pairs_hook=members)


def fold(value, depth: int = 0):
    if isinstance(value, (dict, list)) and depth == 127:
        raise ValueError("too deep")
    if isinstance(value, dict):
        return {name: fold(member, depth + 1) for name, member in value.items()}
    if isinstance(value, list):
        return [fold(element, depth + 1) for element in value]
    if isinstance(value, str):
        utf8 = value.encode()
        if len(utf8) > 4096 or value.startswith("\0"):
            return "\0b3:" + derive_key(LONG_STRING, utf8)
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value) if int(float(value)) == value else f"\0i:{value}"
    return value


def key(text: str, namespace=None, rule=None) -> str | None:
    """The key of a document, or None if it has none."""
    try:
        return derive_key(KEY, rfc8785.dumps([namespace, rule, fold(read(text))]))
    except ValueError:
        return None


def main() -> int:
    count = differ = 0
    for path in sys.argv[1:]:
        for line in open(path, encoding="utf-8"):
            entry = json.loads(line)
            text = entry["json"]
            if "fill" in entry:
                text = text.replace("$", entry["fill"][0] * entry["fill"][1])
            found = key(text, entry.get("namespace"), entry.get("rule"))
            count += 1
            if found != entry["key"]:
                differ += 1
                print(f"Python: {text[:200]!r} has the key {found}, not {entry['key']}")
    print(f"Python: {count} documents, {differ} differ")
    return 0 if count and not differ else 1


if __name__ == "__main__":
    sys.exit(main())
