//! Random steps in one thread, against a model of a few lines.

use std::sync::Arc;

use proptest::prelude::*;
use sync_coalesce::stream::{Stream, StreamError};

use super::{Streams, assert_idle};

#[derive(Clone, Copy, Debug)]
enum Act {
    Join,
    Read(prop::sample::Index),
    Leave(prop::sample::Index),
    Forget,
    Cancel,
}

/// How the sources end: after so many chunks, with an error or without.
#[derive(Clone, Copy, Debug)]
struct Ending {
    chunks: u32,
    fails: bool,
}

#[derive(Debug, PartialEq)]
enum Item {
    Chunk(u32),
    Failed,
    Cancelled,
    Lagged(u64),
    End,
}

/// One opened source: the chunks of the `n`th are `1000 n` and on.
#[derive(Default)]
struct Opened {
    pulled: u32,
    ended: Option<bool>,
    cancelled: bool,
    readers: u32,
}

#[derive(Default)]
struct Model {
    opened: Vec<Opened>,
    joinable: Option<usize>,
    bound: u32,
}

impl Model {
    fn join(&mut self) -> usize {
        let joined = self.joinable.unwrap_or(self.opened.len());
        if joined == self.opened.len() {
            self.opened.push(Opened::default());
        }
        self.opened[joined].readers += 1;
        self.joinable = Some(joined);
        joined
    }

    fn retire(&mut self, which: usize) {
        self.joinable = self.joinable.filter(|joinable| *joinable != which);
    }

    fn leave(&mut self, which: usize) {
        self.opened[which].readers -= 1;
        if self.opened[which].readers == 0 {
            self.retire(which);
        }
    }

    fn read(&mut self, which: usize, position: u32, ending: Ending) -> Item {
        let base = 1000 * u32::try_from(which).unwrap();
        let bound = self.bound;
        let opened = &mut self.opened[which];
        let shed = opened.pulled.saturating_sub(bound);
        if position < shed {
            return Item::Lagged(u64::from(shed - position));
        }
        if position < opened.pulled {
            return Item::Chunk(base + position);
        }
        if opened.cancelled {
            return Item::Cancelled;
        }
        if opened.ended.is_none() && opened.pulled < ending.chunks {
            opened.pulled += 1;
            if opened.pulled > bound {
                self.retire(which);
            }
            return Item::Chunk(base + position);
        }
        opened.ended = Some(ending.fails);
        self.retire(which);
        if ending.fails { Item::Failed } else { Item::End }
    }
}

fn item(next: Option<Result<Arc<u32>, StreamError<String>>>) -> Item {
    match next {
        None => Item::End,
        Some(Ok(chunk)) => Item::Chunk(*chunk),
        Some(Err(StreamError::Failed(_))) => Item::Failed,
        Some(Err(StreamError::Cancelled)) => Item::Cancelled,
        Some(Err(StreamError::Lagged { missed })) => Item::Lagged(missed),
        Some(Err(other)) => panic!("{other:?}"),
    }
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => Just(Act::Join),
        12 => any::<prop::sample::Index>().prop_map(Act::Read),
        2 => any::<prop::sample::Index>().prop_map(Act::Leave),
        1 => Just(Act::Forget),
        1 => Just(Act::Cancel),
    ];
    prop::collection::vec(act, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_reader_has_the_exact_sequence_whoever_joins_reads_and_leaves(
        acts in acts(),
        chunks in 0_u32..12,
        fails: bool,
        bound in 1_u32..8,
    ) {
        let ending = Ending { chunks, fails };
        let streams = Streams::builder().max_buffered(bound as usize).build();
        let mut model = Model { bound, ..Model::default() };
        let mut readers: Vec<(Stream<u32, String>, usize, u32)> = Vec::new();
        let mut opened_really = 0_u32;
        for act in acts {
            match act {
                Act::Join => {
                    let stream = streams.stream("key", || {
                        let base = 1000 * opened_really;
                        opened_really += 1;
                        let end = fails.then(|| Err("broken".to_owned()));
                        Ok((0..chunks).map(move |chunk| Ok(base + chunk)).chain(end))
                    });
                    readers.push((stream.unwrap(), model.join(), 0));
                }
                Act::Read(index) if !readers.is_empty() => {
                    let place = index.index(readers.len());
                    let (stream, which, position) = &mut readers[place];
                    let expected = model.read(*which, *position, ending);
                    prop_assert_eq!(&item(stream.next()), &expected, "reader {} of source {}", place, which);
                    if matches!(expected, Item::Chunk(_)) {
                        *position += 1;
                    } else {
                        prop_assert!(stream.next().is_none());
                        let (_, which, _) = readers.swap_remove(place);
                        model.leave(which);
                    }
                }
                Act::Leave(index) if !readers.is_empty() => {
                    let (_, which, _) = readers.swap_remove(index.index(readers.len()));
                    model.leave(which);
                }
                Act::Forget => prop_assert_eq!(streams.forget("key"), model.joinable.take().is_some()),
                Act::Cancel => {
                    let cancelled = model.joinable.take();
                    prop_assert_eq!(streams.cancel("key"), cancelled.is_some());
                    if let Some(which) = cancelled {
                        model.opened[which].cancelled = true;
                    }
                }
                Act::Read(_) | Act::Leave(_) => {}
            }
            let stats = streams.stats();
            prop_assert_eq!(stats.opened, u64::from(opened_really));
            prop_assert_eq!(stats.in_flight, u64::from(model.joinable.is_some()));
            prop_assert_eq!(stats.readers, readers.len() as u64);
        }
        drop(readers);
        assert_idle(&streams);
    }
}
