//! Generated documents: for the other languages, for other features of `serde_json`, and for what must hold for all.

use std::fs::File;
use std::io::{BufWriter, Write};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use sync_coalesce::Key;

use super::handwritten;
use super::round_trip::{KeptAsText, check, mix};
use super::row::Row;
use super::wire::value;

fn document() -> impl Strategy<Value = String> {
    (value(), any::<u64>()).prop_map(|(value, seed)| handwritten::text(&value, seed))
}

/// A document that has no key yet, in half the cases with a namespace, with a rule of its own, and with a secret.
fn row() -> impl Strategy<Value = Row> {
    let secret = any::<[u8; 32]>().prop_map(Key::from_bytes);
    let others = (prop::option::of(document()), prop::option::of(value()), prop::option::of(secret));
    (value(), others, any::<u64>()).prop_map(|(value, (namespace, salt, secret), seed)| {
        let rule = handwritten::text(&rule(&value, salt, seed), seed);
        let rule = (seed % 2 == 0).then_some(rule);
        Row { json: handwritten::text(&value, seed), fill: None, namespace, rule, secret, key: None }
    })
}

/// A rule that leaves out, or keeps, some of what is there.
fn rule(value: &Value, salt: Option<Value>, mut seed: u64) -> Value {
    let mut random = |below: usize| {
        seed = mix(seed);
        usize::try_from(seed >> 33).unwrap() % below
    };
    let mut found = vec!["/nothing".to_owned()];
    pointers(value, "", &mut found);
    let mut parts = serde_json::Map::new();
    for name in ["drop", "keep"] {
        let mut picked: Vec<_> = (0..random(4)).map(|_| found[random(found.len())].clone()).collect();
        for pointer in &mut picked {
            let steps: Vec<_> = pointer.split('/').collect();
            // The last step stays, and so does the first piece: there is nothing before the first slash.
            let starred = if steps.len() > 2 { 1 + random(steps.len() - 2) } else { 0 };
            if starred > 0 && random(2) == 0 {
                let starred = steps.iter().enumerate().map(|(at, step)| if at == starred { "*" } else { step });
                *pointer = starred.collect::<Vec<_>>().join("/");
            }
        }
        picked.sort_by(|left, right| left.encode_utf16().cmp(right.encode_utf16()));
        picked.dedup();
        if !picked.is_empty() {
            parts.insert(name.to_owned(), json!(picked));
        }
    }
    if value.is_object() && random(4) == 0 {
        parts.insert("fields".to_owned(), json!(true));
    }
    parts.extend(salt.map(|salt| ("salt".to_owned(), salt)));
    if parts.is_empty() { Value::Null } else { Value::Object(parts) }
}

/// A pointer to each member of a value, with a star for each element on the way.
fn pointers(value: &Value, at: &str, into: &mut Vec<String>) {
    match value {
        Value::Array(elements) => elements.iter().for_each(|element| pointers(element, &format!("{at}/*"), into)),
        Value::Object(members) => {
            for (name, member) in members {
                let step = name.replace('~', "~0").replace('/', "~1").replace('*', "~2");
                let pointer = format!("{at}/{step}");
                pointers(member, &pointer, into);
                into.push(pointer);
            }
        }
        _ => {}
    }
}

#[test]
#[ignore = "writes DOCUMENTS documents and their keys into the file KEYS, for ci/keys-elsewhere and ci/keys-features"]
fn keys_for_others() {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let mut file = BufWriter::new(File::create(variable("KEYS")).unwrap());
    let (rows, mut runner) = (row(), TestRunner::deterministic());
    let mut left: usize = variable("DOCUMENTS").parse().unwrap();
    while left > 0 {
        let mut row = rows.new_tree(&mut runner).unwrap().current();
        // A document that has no key is one to agree on, too.
        row.key = row.key_of(&KeptAsText { json: row.document() }).ok();
        writeln!(file, "{}", serde_json::to_string(&row).unwrap()).unwrap();
        left -= 1;
    }
    file.flush().unwrap();
}

proptest! {
    #[test]
    fn a_rule_makes_one_key_of_a_document_however_it_is_read(row in row()) {
        let value: Value = serde_json::from_str(&row.document()).unwrap();
        let key = row.key_of(&value).unwrap();
        prop_assert_eq!(row.key_of(&KeptAsText { json: row.document() }).unwrap(), key);
    }

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
