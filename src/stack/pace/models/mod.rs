//! The real pacer under the model checker.

mod limits;
mod line;
mod stacks;

use std::time::Duration;

use super::{Pacer, PacerBuilder};
use crate::sync;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn build(builder: PacerBuilder) -> Pacer {
    builder.build().expect("no setting is out of its range")
}

fn until_waiting(pacer: &Pacer, count: usize) {
    while pacer.status().waiting < count {
        sync::give_way();
    }
}

fn assert_idle(pacer: &Pacer) {
    let status = pacer.status();
    assert_eq!((status.waiting, status.running), (0, 0), "something is left");
}
