//! Parse, key, re-serialise, key again, shuffle members, key again.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/keys/round_trip.rs"]
mod round_trip;

fuzz_target!(|document: &[u8]| round_trip::check(document));
