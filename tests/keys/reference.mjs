// The form of a request key, `2026-11`, as src/key/README.md has it: by the packages `canonicalize` and `@noble/hashes`.
//
// Compares the keys in files of JSON Lines (README.md beside this) with its own. Status 1 if any differs.

import { readFileSync } from 'node:fs';
import canonicalize from 'canonicalize';
import { blake3 } from '@noble/hashes/blake3.js';

const KEY = 'sync-coalesce 2026-11 request key v1';
const LONG_STRING = 'sync-coalesce 2026-11 long string v1';

const utf8 = (text) => new TextEncoder().encode(text);
const deriveKey = (context, text) => Buffer.from(blake3(utf8(text), { context: utf8(context) })).toString('hex');

function foldString(text) {
  const folds = utf8(text).length > 4096 || text.startsWith('\0');
  return folds ? `\0b3:${deriveKey(LONG_STRING, text)}` : text;
}

function foldInteger(digits) {
  const exact = BigInt(digits);
  const kept = exact >= -(2n ** 63n) && exact < 2n ** 64n && BigInt(Number(digits)) !== exact;
  return kept ? JSON.stringify(`\0i:${exact}`) : digits;
}

// A string with the colon that makes it a name, or a number.
const TOKEN = /("[^"\\]*(?:\\.[^"\\]*)*")(\s*:)?|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

// JSON.parse makes a double of every number and drops one of two members of a name, so folding comes first, in the text,
// and names are counted there.
function read(text) {
  JSON.parse(text);
  let names = 0;
  const folded = text.replace(TOKEN, (token, string, colon) => {
    if (colon) {
      names += 1;
      return token;
    }
    if (string) return JSON.stringify(foldString(JSON.parse(string)));
    return /[.eE]/.test(token) ? token : foldInteger(token);
  });
  return { value: JSON.parse(folded), names };
}

// How many members there are in all, at every depth.
function members(value, depth = 0) {
  if (value === null || typeof value !== 'object') return 0;
  if (depth === 127) throw new Error('too deep');
  const own = Array.isArray(value) ? 0 : Object.keys(value).length;
  return Object.values(value).reduce((sum, inner) => sum + members(inner, depth + 1), own);
}

// The key of a document, or null if it has none.
function key(text, namespace = null, rule = null) {
  try {
    const { value, names } = read(text);
    if (members(value) !== names) throw new Error('two members of one name');
    return deriveKey(KEY, canonicalize([namespace, rule, value]));
  } catch {
    return null;
  }
}

let count = 0;
let differ = 0;
for (const path of process.argv.slice(2)) {
  for (const line of readFileSync(path, 'utf8').split('\n').filter(Boolean)) {
    const { json, fill, namespace, rule, key: expected } = JSON.parse(line);
    const text = fill ? json.replaceAll('$', () => fill[0].repeat(fill[1])) : json;
    const found = key(text, namespace, rule);
    count += 1;
    if (found !== expected) {
      differ += 1;
      console.log(`JavaScript: ${JSON.stringify(text.slice(0, 200))} has the key ${found}, not ${expected}`);
    }
  }
}
console.log(`JavaScript: ${count} documents, ${differ} differ`);
process.exitCode = count > 0 && differ === 0 ? 0 : 1;
