//! Generated documents: for the other languages, for other features of `serde_json`, and for what must hold for all.

use std::fs::File;
use std::io::{BufWriter, Write};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;
use sync_coalesce::Key;

use super::handwritten;
use super::round_trip::{KeptAsText, check};
use super::wire::value;

fn document() -> impl Strategy<Value = String> {
    (value(), any::<u64>()).prop_map(|(value, seed)| handwritten::text(&value, seed))
}

#[test]
#[ignore = "writes DOCUMENTS documents and their keys into the file KEYS, for ci/keys-elsewhere and ci/keys-features"]
fn keys_for_others() {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let mut file = BufWriter::new(File::create(variable("KEYS")).unwrap());
    let (document, mut runner) = (document(), TestRunner::deterministic());
    let mut left: usize = variable("DOCUMENTS").parse().unwrap();
    while left > 0 {
        let text = document.new_tree(&mut runner).unwrap().current();
        // A document that has no key is one to agree on, too.
        let key = Key::of(&KeptAsText { json: &text }).ok();
        writeln!(file, "{}", json!({"json": text, "key": key})).unwrap();
        left -= 1;
    }
    file.flush().unwrap();
}

proptest! {
    #[test]
    fn a_document_has_one_key_however_it_is_written(document in document()) {
        check(document.as_bytes());
    }

    #[test]
    fn what_is_nearly_a_document_does_no_harm(document in document(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = document.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        check(&bytes);
        // It need not be JSON.
        let text = String::from_utf8_lossy(&bytes);
        let _: Result<Key, _> = Key::of(&KeptAsText { json: &text });
    }
}
