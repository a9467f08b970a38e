//! What a key costs besides time.

use serde_json::json;
use sync_coalesce::Key;

#[test]
fn the_second_key_on_a_thread_allocates_nothing() {
    // Members out of order, text that folds, numbers of every kind, and something shown by its `Display`.
    #[derive(serde::Serialize)]
    struct Request {
        model: &'static str,
        messages: Vec<serde_json::Value>,
        address: std::net::IpAddr,
        max_tokens: u64,
        temperature: f32,
        seed: i128,
    }
    let content = "a \"long\" text\n".repeat(1000);
    let request = Request {
        model: "m",
        messages: (0..100)
            .map(|_| json!({"role": "user", "content": content, "weight": 0.1, "größe": [1.5e300]}))
            .collect(),
        address: [127, 0, 0, 1].into(),
        max_tokens: u64::MAX,
        temperature: 0.7,
        seed: -1,
    };
    let first = Key::of(&request);
    let mut second = None;
    let info = allocation_counter::measure(|| second = Some(Key::of(&request)));
    assert_eq!(second, Some(first));
    assert_eq!(info.count_total, 0);
}

#[test]
fn the_buffers_of_a_large_request_are_not_kept() {
    let info = allocation_counter::measure(|| {
        Key::of(&vec![u64::MAX; 100_000]).unwrap();
    });
    assert!(info.bytes_max > 2_000_000, "{info:?}");
    assert!(info.bytes_current < 262_144, "{info:?}");
}
