// The form of a request key, `2026-11`, as src/key/README.md has it: by the packages `canonicalize` and `@noble/hashes`.
//
// Compares the keys in files of JSON Lines (README.md beside this) with its own. Status 1 if any differs.

import { readFileSync } from 'node:fs';
import canonicalize from 'canonicalize';
import { blake3 } from '@noble/hashes/blake3.js';

const KEY = 'sync-coalesce 2026-11 request key v1';
const SECRET_KEY = 'sync-coalesce 2026-11 secret key v1';
const LONG_STRING = 'sync-coalesce 2026-11 long string v1';

const utf8 = (text) => new TextEncoder().encode(text);
const hex = (bytes) => Buffer.from(bytes).toString('hex');
const deriveKey = (context, bytes) => blake3(bytes, { context: utf8(context) });

function foldString(text) {
  const bytes = utf8(text);
  const folds = bytes.length > 4096 || text.startsWith('\0');
  return folds ? `\0b3:${hex(deriveKey(LONG_STRING, bytes))}` : text;
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
  const value = JSON.parse(folded);
  if (members(value) !== names) throw new Error('two members of one name');
  return value;
}

// How many members there are in all, at every depth.
function members(value) {
  if (value === null || typeof value !== 'object') return 0;
  const own = Array.isArray(value) ? 0 : Object.keys(value).length;
  return Object.values(value).reduce((sum, inner) => sum + members(inner), own);
}

// What is left of the pointers, arrays of steps, behind a member or an element.
const inside = (pointers, step) =>
  pointers.filter(([first]) => first === step || first === '*').map((pointer) => pointer.slice(1));
const ended = (pointers) => pointers.some((pointer) => pointer.length === 0);

// What two lists of pointers leave of a value at this depth.
function left(value, drop = [], keep = [], depth = 0) {
  if (value === null || typeof value !== 'object') return value;
  if (depth === 127) throw new Error('too deep');
  if (Array.isArray(value)) {
    return value.map((element) => left(element, inside(drop, '*'), inside(keep, '*'), depth + 1));
  }
  const kept = Object.entries(value).flatMap(([name, member]) => {
    const step = name.replaceAll('~', '~0').replaceAll('/', '~1').replaceAll('*', '~2');
    const drops = inside(drop, step);
    const keeps = inside(keep, step);
    if (ended(drops) || (keep.length > 0 && keeps.length === 0)) return [];
    return [[name, left(member, drops, ended(keeps) ? [] : keeps, depth + 1)]];
  });
  return Object.fromEntries(kept);
}

// The key of a document, or null if it has none.
function key({ json, namespace = 'null', rule = 'null', secret }) {
  let jcs;
  try {
    const { drop, keep } = JSON.parse(rule) ?? {};
    const steps = (pointers = []) => pointers.map((pointer) => pointer.split('/').slice(1));
    // A salt stands one level above where its own levels begin.
    const ruled = left(read(rule), [], [], -1);
    jcs = utf8(canonicalize([left(read(namespace)), ruled, left(read(json), steps(drop), steps(keep))]));
  } catch {
    return null;
  }
  if (secret === undefined) return hex(deriveKey(KEY, jcs));
  return hex(blake3(jcs, { key: deriveKey(SECRET_KEY, Buffer.from(secret, 'hex')) }));
}

let count = 0;
let differ = 0;
for (const path of process.argv.slice(2)) {
  for (const line of readFileSync(path, 'utf8').split('\n').filter(Boolean)) {
    const { fill: [text, times] = ['$', 1], key: expected, ...row } = JSON.parse(line);
    for (const name of ['json', 'namespace', 'rule']) row[name] = row[name]?.replaceAll('$', () => text.repeat(times));
    const found = key(row);
    count += 1;
    if (found !== expected) {
      differ += 1;
      console.log(`JavaScript: ${line.slice(0, 200)} has the key ${found}, not ${expected}`);
    }
  }
}
console.log(`JavaScript: ${count} documents, ${differ} differ`);
process.exitCode = count > 0 && differ === 0 ? 0 : 1;
