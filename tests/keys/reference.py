"""The form of a request key, `2026-11`, as src/key/README.md has it: by the packages `rfc8785` and `blake3`.

Compares the keys in files of JSON Lines (README.md beside this) with its own. Status 1 if any differs.
"""

import json
import sys

import rfc8785
from blake3 import blake3

KEY = "sync-coalesce 2026-11 request key v1"
SECRET_KEY = "sync-coalesce 2026-11 secret key v1"
LONG_STRING = "sync-coalesce 2026-11 long string v1"


def derive_key(context: str, data: bytes) -> bytes:
    return blake3(data, derive_key_context=context).digest()


class Members(list):
    """An object as it was written: pairs of a name and a value."""


def integer(text: str) -> int | float:
    # Python refuses to make an integer of very many digits. What is too large for a double has no JCS.
    exact = int(text) if len(text) < 32 else 2**64
    return exact if -(2**63) <= exact < 2**64 else float(text)


def read(text: str):
    return json.loads(text, parse_int=integer, object_pairs_hook=Members)


def inside(pointers, step: str) -> list:
    """What is left of the pointers, lists of steps, behind a member or an element."""
    return [pointer[1:] for pointer in pointers if pointer[0] in (step, "*")]


def fold(value, drop=(), keep=(), depth: int = 0):
    """The fold of what two lists of pointers leave of a value at this depth."""
    if isinstance(value, list) and depth == 127:
        raise ValueError("too deep")
    if isinstance(value, Members):
        kept = []
        for name, member in value:
            step = name.replace("~", "~0").replace("/", "~1").replace("*", "~2")
            drops, keeps = inside(drop, step), inside(keep, step)
            if [] in drops or (keep and not keeps):
                continue
            kept.append((name, fold(member, drops, [] if [] in keeps else keeps, depth + 1)))
        if len(dict(kept)) < len(kept):
            raise ValueError("two members of one name")
        return dict(kept)
    if isinstance(value, list):
        return [fold(element, inside(drop, "*"), inside(keep, "*"), depth + 1) for element in value]
    if isinstance(value, str):
        utf8 = value.encode()
        if len(utf8) > 4096 or value.startswith("\0"):
            return "\0b3:" + derive_key(LONG_STRING, utf8).hex()
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value) if int(float(value)) == value else f"\0i:{value}"
    return value


def key(text: str, namespace: str = "null", rule: str = "null", secret: str | None = None) -> str | None:
    """The key of a document, or None if it has none."""
    try:
        parts = dict(read(rule) or ())
        drop, keep = ([pointer.split("/")[1:] for pointer in parts.get(name, ())] for name in ("drop", "keep"))
        # A salt stands one level above where its own levels begin.
        whole = [fold(read(namespace)), fold(read(rule), depth=-1), fold(read(text), drop, keep)]
        jcs = rfc8785.dumps(whole)
    except ValueError:
        return None
    if secret is None:
        return derive_key(KEY, jcs).hex()
    return blake3(jcs, key=derive_key(SECRET_KEY, bytes.fromhex(secret))).hexdigest()


def main() -> int:
    count = differ = 0
    for path in sys.argv[1:]:
        for line in open(path, encoding="utf-8"):
            row = json.loads(line)
            mark, times = row.get("fill", ("$", 1))
            filled = {name: row[name].replace("$", mark * times) for name in row.keys() & {"json", "namespace", "rule"}}
            found = key(filled.pop("json"), **filled, secret=row.get("secret"))
            count += 1
            if found != row["key"]:
                differ += 1
                print(f"Python: {line[:200]!r} has the key {found}, not {row['key']}")
    print(f"Python: {count} documents, {differ} differ")
    return 0 if count and not differ else 1


if __name__ == "__main__":
    sys.exit(main())
