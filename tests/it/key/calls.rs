//! Calls whose keys are made by rules.

use std::cell::Cell;

use serde_json::{Value, json};
use sync_coalesce::key::{KeyErrorKind, KeyFn};
use sync_coalesce::{CallError, Key, KeyRule, SyncCoalesce};

use crate::support::thread;
use crate::support::{assert_idle, bounded, until};

fn rule() -> KeyRule {
    KeyRule::new("tenant").unwrap().drop("/trace").unwrap()
}

/// For the first of two requests 1, after the second one has come, and for the second one 2.
fn work(coalesce: &SyncCoalesce<Key, u8>, request: &Value) -> u8 {
    if request["trace"] == 2 {
        return 2;
    }
    until("the second call", || {
        let stats = coalesce.stats();
        stats.following == 1 || stats.underlying_calls == 2
    });
    1
}

/// Whether a call made while another one is in flight, whose request differs in what the rule drops, shares it.
fn coalesces(coalesce: &SyncCoalesce<Key, u8>, call: impl Fn(&Value) -> u8 + Sync) -> bool {
    let mut second = 0;
    bounded(|| {
        thread::scope(|scope| {
            let first = scope.spawn(|| call(&json!({"model": "m", "trace": 1})));
            until("the first call", || coalesce.stats().underlying_calls == 1);
            second = call(&json!({"model": "m", "trace": 2}));
            assert_eq!(first.join().unwrap(), 1);
        });
    });
    assert_idle(coalesce);
    second == 1
}

#[test]
fn try_call_for_makes_keys_by_the_builders_rule() {
    let coalesce: SyncCoalesce<Key, u8> = SyncCoalesce::builder().key_rule(rule()).shards(2).build();
    assert!(coalesces(&coalesce, |request| *coalesce
        .try_call_for(request, |request| Ok(work(&coalesce, request)))
        .unwrap()));
}

#[test]
fn without_a_rule_everything_counts() {
    let coalesce: SyncCoalesce<Key, u8> = SyncCoalesce::new();
    assert!(!coalesces(&coalesce, |request| *coalesce
        .try_call_for(request, |request| Ok(work(&coalesce, request)))
        .unwrap()));
}

#[test]
fn the_rule_stays_when_the_hasher_changes() {
    let hasher = std::collections::hash_map::RandomState::new();
    let coalesce: SyncCoalesce<Key, u8> = SyncCoalesce::builder().key_rule(rule()).hasher(hasher).build();
    let expected = rule().key(&json!({"model": "m"})).unwrap();
    coalesce.try_call_for(&json!({"trace": 1, "model": "m"}), |_| Ok(u8::from(coalesce.forget(&expected)))).unwrap();
    let forgotten = coalesce.try_call_for(&json!({"model": "m"}), |_| Ok(u8::from(coalesce.forget(&expected))));
    assert_eq!(*forgotten.unwrap(), 1);
}

#[test]
fn a_wrapped_function_takes_a_rule() {
    let coalesce: SyncCoalesce<Key, u8> = SyncCoalesce::new();
    let wrapped = coalesce.wrap(rule(), |request: &Value| Ok(work(&coalesce, request)));
    assert!(coalesces(&coalesce, |request| *wrapped(request).unwrap()));
}

#[test]
fn a_wrapped_function_takes_a_rule_of_fields() {
    let coalesce: SyncCoalesce<Key, u8> = SyncCoalesce::new();
    let rule = KeyRule::fields("tenant", |request: &Value, key| key.field("model", &request["model"])).unwrap();
    let wrapped = coalesce.wrap(rule, |request: &Value| Ok(work(&coalesce, request)));
    assert!(coalesces(&coalesce, |request| *wrapped(request).unwrap()));
}

#[test]
fn wrap_infers_what_closures_take() {
    let strings: SyncCoalesce<String, usize> = SyncCoalesce::new();
    let pairs: SyncCoalesce<(u8, String), u8> = SyncCoalesce::new();
    let keys: SyncCoalesce<Key, u8> = SyncCoalesce::new();
    assert_eq!(*strings.wrap(|text: &str| text.to_owned(), |text: &str| Ok(text.len()))("four").unwrap(), 4);
    assert_eq!(*strings.wrap(|text: &str| text.into(), |text| Ok(text.len()))("four").unwrap(), 4);
    assert_eq!(*strings.wrap(str::to_owned, |text| Ok(text.len()))("four").unwrap(), 4);
    assert_eq!(*strings.wrap(String::clone, |text: &String| Ok(text.len()))(&"four".to_owned()).unwrap(), 4);
    let prefix = "p".to_owned();
    let key_fn = |(number, text): &(u8, &str)| (*number, format!("{prefix}{text}"));
    assert_eq!(*pairs.wrap(key_fn, |(number, _)| Ok(*number))(&(3, "a")).unwrap(), 3);
    assert_eq!(*keys.wrap(KeyRule::new("t").unwrap(), |text: &str| Ok(text.as_bytes()[0]))("four").unwrap(), b'f');
    assert_eq!(*keys.wrap(|text: &str| Key::of(text).unwrap(), |_| Ok(1))("four").unwrap(), 1);
}

#[test]
fn a_key_fn_of_ones_own_is_taken_too() {
    struct Even;
    impl KeyFn<u32, u32> for Even {
        fn key(&self, request: &u32) -> Result<u32, sync_coalesce::key::KeyError> {
            if request % 2 == 0 { Ok(*request) } else { Err(serde::ser::Error::custom("odd")) }
        }
    }
    let coalesce: SyncCoalesce<u32, u32> = SyncCoalesce::new();
    let half = coalesce.wrap(Even, |number: &u32| Ok(number / 2));
    assert_eq!(*half(&4).unwrap(), 2);
    assert!(matches!(half(&3), Err(CallError::BadKey(_))));
}

#[test]
fn a_request_without_a_key_runs_nothing() {
    let ran = Cell::new(0);
    let run = || {
        ran.set(ran.get() + 1);
        Ok(1)
    };
    let coalesce: SyncCoalesce<Key, u8> = SyncCoalesce::builder().key_rule(rule()).build();
    let request = [("trace", f64::NAN), ("weight", f64::NAN)].into_iter().collect::<std::collections::HashMap<_, _>>();
    let fields = KeyRule::fields("tenant", |_: &_, key| key.field("weight", &[f64::NAN])).unwrap();
    let errors = [
        coalesce.try_call_for(&request, |_| run()),
        coalesce.wrap(rule(), |_: &_| run())(&request),
        coalesce.wrap(fields, |_: &_| run())(&request),
    ];
    let places = errors.map(|error| match error {
        Err(CallError::BadKey(error)) => (error.kind().clone(), error.path().to_owned()),
        other => panic!("{other:?}"),
    });
    assert!(places.iter().all(|(kind, _)| *kind == KeyErrorKind::NotFinite));
    assert_eq!(places.map(|(_, path)| path), ["/weight", "/weight", "/weight/0"]);
    assert_eq!(ran.get(), 0);
    assert_eq!(coalesce.stats().calls(), 0);
    // What the rule drops need not have one.
    let request = std::collections::HashMap::from([("trace", f64::NAN)]);
    assert_eq!(*coalesce.try_call_for(&request, |_| run()).unwrap(), 1);
    assert_idle(&coalesce);
}
