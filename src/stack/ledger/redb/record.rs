//! How a record is written: as the value under its key.
//!
//! | bytes | what |
//! |---|---|
//! | 32 | the fingerprint |
//! | 1 | 2: begun; 3: committed |
//! | 8 | when it was begun: nanoseconds since 1970, little-endian; all ones if that is not known |
//! | 8 | when it was committed, as above |
//! | 8 | the beginning of the BLAKE3 digest of the key and all else |
//! | the rest | the value, if it is committed |
//!
//! Former versions wrote the fingerprint, and after it nothing, or a byte 1 and the value. These are read, too.

use std::time::{Duration, SystemTime};

use super::super::store::{Record, StoredRecord};
use super::error::Failure;
use crate::key::Key;

const COMMITTED_BEFORE: u8 = 1;
const BEGUN: u8 = 2;
const COMMITTED: u8 = 3;

const UNKNOWN: u64 = u64::MAX;

/// A record that was read.
pub(super) struct Written<'a> {
    fingerprint: [u8; 32],
    begun_at: Option<SystemTime>,
    committed_at: Option<SystemTime>,
    value: Option<&'a [u8]>,
}

fn to_nanos(time: Option<SystemTime>) -> u64 {
    let Some(time) = time else { return UNKNOWN };
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(UNKNOWN)
}

fn to_time(bytes: [u8; 8]) -> Option<SystemTime> {
    let nanos = u64::from_le_bytes(bytes);
    if nanos == UNKNOWN { None } else { SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(nanos)) }
}

fn check(key: &[u8], head: &[u8], value: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.len() as u64).to_le_bytes()).update(key).update(head).update(value);
    let mut check = [0; 8];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    check
}

fn encode(key: &[u8], fingerprint: &[u8; 32], tag: u8, times: [Option<SystemTime>; 2], value: &[u8]) -> Vec<u8> {
    let [begun, committed] = times.map(|time| to_nanos(time).to_le_bytes());
    let head = [&fingerprint[..], &[tag], &begun, &committed].concat();
    let check = check(key, &head, value);
    [&head, &check[..], value].concat()
}

/// A record that begins now.
pub(super) fn begun(key: &[u8], fingerprint: &Key) -> Vec<u8> {
    encode(key, fingerprint.as_bytes(), BEGUN, [Some(SystemTime::now()), None], &[])
}

impl<'a> Written<'a> {
    pub(super) fn read(key: &[u8], bytes: &'a [u8]) -> Result<Self, Failure> {
        Self::decode(key, bytes).ok_or_else(|| {
            let key = key.escape_ascii();
            Failure::Record(format!("the record under the key \"{key}\" is damaged, or of a later version").into())
        })
    }

    fn decode(key: &[u8], bytes: &'a [u8]) -> Option<Self> {
        let (fingerprint, rest) = bytes.split_first_chunk::<32>()?;
        let former = |value| Self { fingerprint: *fingerprint, begun_at: None, committed_at: None, value };
        let (tag, rest) = match rest {
            [] => return Some(former(None)),
            [COMMITTED_BEFORE, value @ ..] => return Some(former(Some(value))),
            [tag @ (BEGUN | COMMITTED), rest @ ..] => (*tag, rest),
            _ => return None,
        };
        let (begun, rest) = rest.split_first_chunk::<8>()?;
        let (committed, rest) = rest.split_first_chunk::<8>()?;
        let (sum, value) = rest.split_first_chunk::<8>()?;
        if *sum != check(key, &bytes[..49], value) {
            return None;
        }
        let value = (tag == COMMITTED).then_some(value);
        Some(Self { begun_at: to_time(*begun), committed_at: to_time(*committed), ..former(value) })
    }

    /// The same record with a value, committed now.
    pub(super) fn committed(&self, key: &[u8], value: &[u8]) -> Vec<u8> {
        encode(key, &self.fingerprint, COMMITTED, [self.begun_at, Some(SystemTime::now())], value)
    }

    pub(super) fn record(&self) -> Record {
        Record { fingerprint: Key::from_bytes(self.fingerprint), value: self.value.map(<[u8]>::to_vec) }
    }

    pub(super) fn stored(&self, key: &[u8]) -> StoredRecord {
        StoredRecord {
            begun_at: self.begun_at,
            committed_at: self.committed_at,
            ..StoredRecord::new(key, Key::from_bytes(self.fingerprint), self.value.is_some())
        }
    }
}
