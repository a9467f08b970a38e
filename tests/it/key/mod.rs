//! The canonical request key.

mod allocations;
mod calls;
mod dropped;
mod errors;
mod fields;
mod generated;
mod golden;
mod handwritten;
mod harmless;
mod kept;
mod pair;
mod pointers;
mod presets;
#[path = "../../keys/round_trip.rs"]
mod round_trip;
#[path = "../../keys/row.rs"]
mod row;
mod rules;
mod same;
mod secret;
mod shared_text;
mod text;
mod wire;

use serde::Serialize;
use sync_coalesce::Key;

/// The key of what must have one.
#[track_caller]
fn key<R: Serialize + ?Sized>(request: &R) -> Key {
    Key::of(request).unwrap()
}

/// The key of a JSON text.
#[track_caller]
fn key_of_json(json: &str) -> Key {
    key(&serde_json::from_str::<serde_json::Value>(json).unwrap())
}
