//! The digests: of a canonical text, and of a long string.

use blake3::Hasher;
use blake3::hazmat::{ContextKey, HasherExt};

/// The longest string that is written out, in bytes of UTF-8. Longer ones are folded.
pub(super) const LONGEST: usize = 4096;

/// `hash_derive_key_context("sync-coalesce 2026-11 request key v1")`.
///
/// As constants, the two contexts cost neither a hash per key nor a static to hold them. A change of the form needs a
/// new context, and so new bytes here.
const REQUEST_KEY: ContextKey = [
    0xd8, 0x4d, 0x0c, 0x56, 0xe1, 0xde, 0x5d, 0xd1, 0xb3, 0x36, 0x0c, 0xb5, 0x68, 0x9d, 0x29, 0x52, 0xd4, 0xf5, 0x36,
    0xda, 0x59, 0xf6, 0x3f, 0xeb, 0xa7, 0xff, 0x41, 0x88, 0xd6, 0xe0, 0x1c, 0x01,
];

/// `hash_derive_key_context("sync-coalesce 2026-11 long string v1")`.
const LONG_STRING: ContextKey = [
    0x17, 0xea, 0x27, 0x46, 0xf3, 0xeb, 0x4d, 0xed, 0xa0, 0x5f, 0xb2, 0x20, 0x7e, 0x1c, 0xdc, 0x02, 0xbd, 0x58, 0xe6,
    0xe8, 0xec, 0xdf, 0xc4, 0x06, 0xcd, 0x81, 0x11, 0x63, 0xc1, 0x36, 0xb9, 0x11,
];

/// The key of a canonical text.
pub(super) fn request_key(text: &[u8]) -> [u8; 32] {
    digest(&REQUEST_KEY, text).into()
}

/// The key of the keyed hash that goes with this secret.
///
/// Only a key's last hash is keyed. The folds in its text never leave the process, and without the secret a key does
/// not show what text it was made of.
pub(super) fn secret_key(secret: &[u8; 32]) -> [u8; 32] {
    blake3::derive_key("sync-coalesce 2026-11 secret key v1", secret)
}

/// The key of a canonical text, by a keyed hash.
pub(super) fn keyed(secret_key: &[u8; 32], text: &[u8]) -> [u8; 32] {
    blake3::keyed_hash(secret_key, text).into()
}

/// Whether a string is folded: it is long or could be taken for a fold.
pub(super) fn folds(value: &str) -> bool {
    value.len() > LONGEST || value.as_bytes().first() == Some(&0)
}

/// The digest that replaces a folded string.
pub(super) fn long_string(value: &str) -> blake3::Hash {
    digest(&LONG_STRING, value.as_bytes())
}

fn digest(context: &ContextKey, bytes: &[u8]) -> blake3::Hash {
    Hasher::new_from_context_key(context).update(bytes).finalize()
}

#[cfg(test)]
mod tests {
    use super::{LONG_STRING, REQUEST_KEY, request_key};

    #[test]
    fn the_constants_are_those_of_the_contexts() {
        let context = blake3::hazmat::hash_derive_key_context;
        assert_eq!(REQUEST_KEY, context("sync-coalesce 2026-11 request key v1"));
        assert_eq!(LONG_STRING, context("sync-coalesce 2026-11 long string v1"));
        assert_eq!(request_key(b"[]"), blake3::derive_key("sync-coalesce 2026-11 request key v1", b"[]"));
    }
}
