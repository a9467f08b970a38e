//! A shared text has the key of the plain string.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use sync_coalesce::KeyRule;
use sync_coalesce::key::SharedText;

use super::key;

use crate::support::thread;

fn long() -> String {
    "x".repeat(5000)
}

#[test]
fn it_has_the_key_of_the_plain_string() {
    let texts = ["", "a", "\0", "\0b3:", &"x".repeat(4096), &"x".repeat(4097), &"é".repeat(2049), &"\n".repeat(5000)];
    for text in texts {
        let shared = SharedText::from(text);
        for _ in 0..2 {
            assert_eq!(key(&shared), key(text));
        }
        let by = |namespace: &dyn Fn() -> KeyRule| namespace().secret(&[1; 32]).key(&[text]).unwrap();
        let rule = KeyRule::new(&shared).unwrap().salt(&shared).unwrap().secret(&[1; 32]);
        assert_eq!(rule.key(&[&shared]), Ok(by(&|| KeyRule::new(text).unwrap().salt(text).unwrap())));
        // As the name of a member no text folds.
        assert_eq!(key(&HashMap::from([(shared, 1)])), key(&HashMap::from([(text, 1)])));
    }
}

#[test]
fn it_may_stand_anywhere_in_a_request() {
    #[derive(Serialize)]
    #[serde(tag = "type")]
    enum Part<T> {
        Text { text: T, more: Option<T> },
    }
    #[derive(Serialize)]
    struct Request<T: Serialize> {
        parts: Vec<Part<T>>,
        #[serde(flatten)]
        rest: BTreeMap<&'static str, (T, Box<T>)>,
    }
    fn request<T: Serialize + Clone>(text: &T) -> Request<T> {
        let part = Part::Text { text: text.clone(), more: Some(text.clone()) };
        Request { parts: vec![part], rest: BTreeMap::from([("a", (text.clone(), Box::new(text.clone())))]) }
    }
    let shared = key(&request(&SharedText::from(long())));
    assert_eq!(shared, key(&request(&long())));
    assert_eq!(shared, key(&serde_json::to_value(request(&SharedText::from(long()))).unwrap()));
}

#[test]
fn everybody_else_gets_the_string() {
    let shared = SharedText::from(long());
    assert_eq!(serde_json::to_value(&shared).unwrap(), json!(long()));
    assert_eq!(serde_json::to_string(&[&shared]).unwrap(), serde_json::to_string(&[long()]).unwrap());
    let read: SharedText = serde_json::from_value(json!(long())).unwrap();
    assert_eq!(read, shared);
    assert_eq!(key(&read), key(&shared));
}

#[test]
fn threads_share_it() {
    let shared = SharedText::from(long());
    let expected = key(&long());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..50).for_each(|_| assert_eq!(key(&shared.clone()), expected)));
        }
    });
}

#[test]
fn a_key_of_it_allocates_nothing() {
    let shared = SharedText::from("x".repeat(1_000_000));
    let first = key(&shared);
    let info = allocation_counter::measure(|| assert_eq!(key(&shared), first));
    assert_eq!(info.count_total, 0);
}

#[test]
fn it_is_a_text_like_any_other() {
    let text: Arc<str> = long().into();
    let shared = SharedText::new(Arc::clone(&text));
    assert_eq!(shared.as_ptr(), text.as_ptr());
    assert_eq!(shared.clone().as_ptr(), text.as_ptr());
    assert_eq!(shared.len(), 5000);
    assert!(HashSet::from([SharedText::from("a")]).contains("a"));
    assert!(SharedText::from("a") < SharedText::from(String::from("b")));
    let short = SharedText::from("a\"b");
    assert_eq!(format!("{short} {short:?} {short:>4}"), r#"a"b "a\"b"  a"b"#);
}
