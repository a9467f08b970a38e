//! What is no pointer, and what the error says.

use sync_coalesce::KeyRule;
use sync_coalesce::key::KeyErrorKind;

#[test]
fn a_bad_pointer_is_refused_where_it_is_given() {
    for (pointer, why) in [
        ("", "does not start with `/`"),
        ("metadata", "does not start with `/`"),
        ("#/metadata", "does not start with `/`"),
        ("/*", "ends in `*`"),
        ("/messages/*", "ends in `*`"),
        ("/a~", "`~`"),
        ("/a~3/b", "`~`"),
        ("/~~0", "`~`"),
        ("/user_*", "`~2`"),
        ("/**/id", "`~2`"),
    ] {
        let rule = || KeyRule::new("tenant").unwrap();
        let errors = [rule().drop(pointer), rule().keep_only(["/a", pointer])].map(Result::unwrap_err);
        for error in errors {
            assert!(matches!(error.kind(), KeyErrorKind::BadRule(_)), "{pointer}: {error:?}");
            assert_eq!(error.path(), pointer);
            assert!(error.to_string().contains(why), "{pointer}: {error}");
        }
    }
}

#[test]
fn sixty_four_pointers_are_enough() {
    let names: Vec<_> = (0..64).map(|index| format!("/{index}")).collect();
    let rule = KeyRule::new("tenant").unwrap().keep_only(&names).unwrap().keep_only(&names).unwrap();
    let request = |value: u8| serde_json::json!({"63": value, "64": value});
    assert_ne!(rule.key(&request(1)).unwrap(), rule.key(&request(2)).unwrap());
    let error = rule.drop("/64").unwrap_err();
    assert_eq!(error.to_string(), "invalid rule: more than 64 pointers, at `/64`");
}
