//! A request's own `Serialize` may do anything: panic, make keys, go deep, break serde's rules.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

use serde::ser::{Error, Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::{Value, json};
use sync_coalesce::Key;
use sync_coalesce::key::KeyErrorKind;

use super::key;

/// Serializes as whatever a closure gives, which may do more than that.
struct With<F>(F);

impl<T: Serialize, F: Fn() -> T> Serialize for With<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.0)().serialize(serializer)
    }
}

#[test]
fn a_panic_is_the_callers_own_and_leaves_nothing_behind() {
    let expected = key(&json!([1, {"a": 2}]));
    let panics = With(|| -> u8 { panic!("in the middle") });
    for _ in 0..3 {
        let payload = catch_unwind(AssertUnwindSafe(|| Key::of(&(1, [("b", &panics)])))).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"in the middle"));
        assert_eq!(key(&json!([1, {"a": 2}])), expected);
    }
}

#[test]
fn keys_may_be_made_while_a_key_is_made() {
    let inner = json!({"b": 1, "a": ["x", null]});
    let expected = key(&inner);
    let outer =
        (1, With(|| key(&inner)), std::collections::BTreeMap::from([("k", With(|| key(&With(|| key(&inner)))))]));
    let plain = json!([1, expected, {"k": key(&expected)}]);
    assert_eq!(key(&outer), key(&plain));
    assert_eq!(key(&outer), key(&plain));
}

#[test]
fn what_is_shown_may_make_keys_too() {
    struct Shown;
    impl std::fmt::Display for Shown {
        fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("before ")?;
            key(&json!(std::net::Ipv4Addr::LOCALHOST)).fmt(formatter)
        }
    }
    impl Serialize for Shown {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }
    assert_eq!(key(&Shown), key(&Shown.to_string()));
}

#[test]
fn a_failing_display_is_an_error() {
    struct Fails;
    impl std::fmt::Display for Fails {
        fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("half of it")?;
            Err(std::fmt::Error)
        }
    }
    impl Serialize for Fails {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }
    let error = Key::of(&[Fails]).unwrap_err();
    assert!(matches!(error.kind(), KeyErrorKind::Failed(_)), "{error}");
    assert_eq!(error.path(), "/0");
}

#[test]
fn an_error_that_is_dropped_is_still_an_error() {
    /// Goes on when an element fails.
    struct Tolerant;
    impl Serialize for Tolerant {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut elements = serializer.serialize_seq(None)?;
            elements.serialize_element(&1)?;
            let _: Result<(), S::Error> = elements.serialize_element(&json!({"a": 1, "b": [f64::MAX]}));
            let _: Result<(), S::Error> =
                elements.serialize_element(&std::collections::HashMap::from([("k", ("x", f64::NAN))]));
            elements.end()
        }
    }
    /// The same with a map's keys and values.
    struct TolerantMap;
    impl Serialize for TolerantMap {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut members = serializer.serialize_map(None)?;
            members.serialize_entry("b", &1)?;
            let _: Result<(), S::Error> = members.serialize_key(&1.5);
            let _: Result<(), S::Error> = members.serialize_value(&[f64::NAN]);
            members.serialize_entry("a", &1)?;
            members.end()
        }
    }
    for error in [Key::of(&Tolerant).unwrap_err(), Key::of(&[TolerantMap]).unwrap_err()] {
        assert!(matches!(error.kind(), KeyErrorKind::Failed(_)), "{error}");
    }
    key(&json!([1]));
}

#[test]
fn keys_and_values_that_do_not_pair_are_an_error() {
    struct Steps(&'static [bool]);
    impl Serialize for Steps {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut members = serializer.serialize_map(None)?;
            for (index, &is_key) in self.0.iter().enumerate() {
                if is_key { members.serialize_key(&index)? } else { members.serialize_value(&index)? }
            }
            members.end()
        }
    }
    assert_eq!(key(&Steps(&[true, false])), key(&json!({"0": 1})));
    for steps in [&[true] as &[_], &[false], &[true, true], &[true, false, false], &[true, false, true]] {
        let error = Key::of(&Steps(steps)).unwrap_err();
        assert!(matches!(error.kind(), KeyErrorKind::Failed(_)), "{steps:?}: {error}");
    }
}

#[test]
fn a_failing_serialize_gives_its_message_and_its_place() {
    struct Fails;
    impl Serialize for Fails {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(S::Error::custom("no such file"))
        }
    }
    let error =
        Key::of(&[("a/b~c", (true, Fails))].into_iter().collect::<std::collections::HashMap<_, _>>()).unwrap_err();
    assert_eq!(error.kind(), &KeyErrorKind::Failed("no such file".to_owned()));
    assert_eq!(error.path(), "/a~1b~0c/1");
    assert_eq!(error.to_string(), "serialization failed: no such file, at `/a~1b~0c/1`");
}

#[test]
#[expect(clippy::disallowed_types, reason = "the test is about thread-locals")]
fn keys_are_made_while_a_thread_ends() {
    struct AtEnd(Cell<Option<mpsc::Sender<Key>>>);
    impl Drop for AtEnd {
        fn drop(&mut self) {
            self.0.take().unwrap().send(key(&json!({"late": true}))).unwrap();
        }
    }
    thread_local! {
        static AT_END: AtEnd = const { AtEnd(Cell::new(None)) };
    }
    let (sender, receiver) = mpsc::channel();
    // Its destructor is registered before that of the spare buffers, so that it may run after it.
    let ended = thread::Builder::new().spawn(move || {
        AT_END.with(|at_end| at_end.0.set(Some(sender)));
        key(&1);
    });
    ended.unwrap().join().unwrap();
    assert_eq!(receiver.recv().unwrap(), key(&json!({"late": true})));
}

fn nested(levels: usize, wrap: fn(Value) -> Value) -> Value {
    (0..levels).fold(Value::Null, |inner, _| wrap(inner))
}

/// Typed levels, each of which opens one array and one object.
#[derive(serde::Serialize)]
enum Typed {
    End,
    Level(Option<Box<Typed>>, ()),
}

#[test]
fn the_deepest_request_that_json_readers_take_fits_a_small_stack() {
    let small = thread::Builder::new().stack_size(256 * 1024).spawn(|| {
        for wrap in [|inner| json!([inner]), |inner| json!({"a": inner}), |inner| json!([1, {"b": 2, "a": inner}])] {
            let levels = if wrap(Value::Null).get(1).is_some() { 63 } else { 127 };
            let deepest = nested(levels, wrap);
            assert_eq!(key(&deepest), super::key_of_json(&deepest.to_string()));
            let deeper = json!([[deepest]]);
            assert_eq!(Key::of(&deeper).unwrap_err().kind(), &KeyErrorKind::TooDeep);
            serde_json::from_str::<Value>(&deeper.to_string()).unwrap_err();
        }
        let typed = |levels| (0..levels).fold(Typed::End, |inner, _| Typed::Level(Some(Box::new(inner)), ()));
        key(&typed(63));
        key(&[typed(63)]);
        let error = Key::of(&typed(64)).unwrap_err();
        assert_eq!(error.kind(), &KeyErrorKind::TooDeep);
        assert_eq!(error.path(), "/Level/0".repeat(63) + "/Level");
    });
    small.unwrap().join().unwrap();
}

#[test]
fn level_127_is_the_last() {
    let deepest = nested(127, |inner| json!([inner]));
    key(&deepest);
    let error = Key::of(&json!([deepest])).unwrap_err();
    assert_eq!(error.kind(), &KeyErrorKind::TooDeep);
    assert_eq!(error.path(), "/0".repeat(127));
}
