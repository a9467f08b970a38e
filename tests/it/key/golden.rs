//! Keys of format `2026-11`, frozen. They were made by another implementation, in Python, with the packages `rfc8785`
//! and `blake3`. Whoever changes one changes the keys in every shared store: that takes a new context and new golden
//! keys.

use serde_json::Value;

use super::{key, key_of_json};

#[rustfmt::skip]
const DOCUMENTS: [(&str, &str); 14] = [
    ("null", "d455a154e7d2fa6030b45d297131f8ebd399d8701589bf884254c4852e5d2e00"),
    ("true", "7b067f5c344a2178783986b1d026aa45d77f9a0d6fe04c38e21c12c69b126cc0"),
    ("0", "3d2a3c14584c1e29396a29dabe18e211b8f4c1c9cd0d1a449f594e3fc2fa78a0"),
    ("-0.0", "3d2a3c14584c1e29396a29dabe18e211b8f4c1c9cd0d1a449f594e3fc2fa78a0"),
    ("1.5", "1ee26e31862b98b4bf856268c9138b414e7c6b49404bfe57b9e9a2c5d6d5d86b"),
    (r#""""#, "f0900ff68af1e272d7fe415f32168a6f25a0a17a908cb9864aedaf6769585e3b"),
    (r#""a""#, "6c30039d3659284200d413cf42187977eb73277694605c1adebd6954a2bcfd4f"),
    ("[]", "2924db745bb156eebd3938db2f9108b29744a0c62950d34e29042aa747934079"),
    ("{}", "e8c4f4fd2c00f8169b4b159e95fda23e930de2d0d1828415323a9554dea4b4fc"),
    (r#"{"model":"m","messages":[{"role":"user","content":"héllo \ud83d\ude00\n\u0000\u001f\"/\\"}],"temperature":0.7,"max_tokens":1000}"#, "73552e2ab34fc43705df7e523194acde92a05a611a1a0131d9f2519c07ffefba"),
    ("[9007199254740991,9007199254740992,9007199254740993,-9007199254740993,9223372036854775807,-9223372036854775808,18446744073709551615,18446744073709551616]", "506ef1d75029fe7f2181fcafb062729a4344345ce23dcc7a9e405fe1f5a2e6a1"),
    ("[1e20,1e21,1e-6,1e-7,5e-324,1.7976931348623157e308,1424953923781206.25,0.1,333333333.33333329]", "40d366edb369663596ef5efb0c2a64de75165706fc9a78520372763428a07531"),
    (r#"["\u0000","\u0000b3:","\u0000i:9007199254740993","x\u0000"]"#, "77d29f4b6d44a2dc5489fd3762836ad32767ca12b4a8ab2f556f3405ec71e7a7"),
    (r#"{"\ufb33":1,"\ud83d\ude00":2,"\u20ac":3,"\r":4,"1":5,"\u0080":6,"\u00f6":7,"":8}"#, "264c17590eb528f4a5f47f1f5d307de945b501b0a76cffa124271cfc987f4620"),
];

#[test]
fn documents_have_the_keys_they_always_had() {
    for (json, expected) in DOCUMENTS {
        assert_eq!(key_of_json(json).to_string(), expected, "{json}");
    }
}

#[test]
fn long_strings_have_the_keys_they_always_had() {
    let expected = [
        ("x".repeat(4095), "0a2233655e753e26d0cd30bb3378c97593c49744bcdc82687838e1f93cf9e074"),
        ("x".repeat(4096), "98c4596d58895ff607c4a223a19b1cd974a788af809f17039cb486df16d0162b"),
        ("x".repeat(4097), "0201daee305f17eca5209ba0be49d8c561214335bb0bbe33dff37fa9cc68ad69"),
        ("é".repeat(2048), "cee37c4be204a1a29bb404b1172ac1abb39ff0e077fc4243cd1124f8d6ac479d"),
        ("é".repeat(2049), "3be32fc974239aa96e0435edbf9c3bd1002cbc5bda144133add29bb966e67423"),
    ];
    for (string, expected) in expected {
        assert_eq!(key(&string).to_string(), expected, "{} bytes", string.len());
    }
    let long_name = Value::Object([("n".repeat(5000), Value::from("v"))].into_iter().collect());
    assert_eq!(key(&long_name).to_string(), "b6745c02e08e7427d59a193b7eb09cc1bd734cf5f734ad67d3d5f0b913e86c31");
}

#[test]
fn the_form_is_what_the_specification_says() {
    let form = |text: &str| blake3::derive_key("sync-coalesce 2026-11 request key v1", text.as_bytes());
    assert_eq!(key(&()).as_bytes(), &form("[null,null,null]"));
    let request = serde_json::json!({"b": [1.0, 9_007_199_254_740_993_u64], "a": "\u{0}"});
    let fold = blake3::Hash::from_bytes(blake3::derive_key("sync-coalesce 2026-11 long string v1", b"\0"));
    let text = format!(r#"[null,null,{{"a":"\u0000b3:{fold}","b":[1,"\u0000i:9007199254740993"]}}]"#);
    assert_eq!(key(&request).as_bytes(), &form(&text));
}

#[test]
fn the_examples_of_rfc_8785_have_its_text() {
    // The text that the RFC prints, put where a request stands. No part of it is long enough to fold.
    let examples = [
        (
            r#"{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],
                "string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#,
            "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
             \"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}",
        ),
        (
            r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One",
                "\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#,
            "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\"ö\":\"Latin Small Letter O With \
             Diaeresis\",\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With \
             Dagesh\"}",
        ),
    ];
    for (json, canonical) in examples {
        let text = format!("[null,null,{canonical}]");
        let expected = blake3::derive_key("sync-coalesce 2026-11 request key v1", text.as_bytes());
        assert_eq!(key_of_json(json).as_bytes(), &expected, "{json}");
    }
}
