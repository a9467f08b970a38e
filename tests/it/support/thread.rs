//! std's threads, with closures behind a box: what starts a thread is much code, and would be compiled for each closure of each test.

pub(crate) use std::thread::*;

/// A [`std::thread::Scope`].
#[derive(Clone, Copy)]
pub(crate) struct Scope<'scope, 'env: 'scope>(&'scope std::thread::Scope<'scope, 'env>);

impl<'scope> Scope<'scope, '_> {
    pub(crate) fn spawn<R: Send + 'scope>(
        self,
        work: impl FnOnce() -> R + Send + 'scope,
    ) -> ScopedJoinHandle<'scope, R> {
        let work: Box<dyn FnOnce() -> R + Send + 'scope> = Box::new(work);
        self.0.spawn(work)
    }
}

pub(crate) fn scope<'env, R>(within: impl for<'scope> FnOnce(Scope<'scope, 'env>) -> R) -> R {
    let (mut within, mut result) = (Some(within), None);
    run(&mut |scope| result = within.take().map(|within| within(scope)));
    result.unwrap()
}

fn run<'env>(within: &mut dyn for<'scope> FnMut(Scope<'scope, 'env>)) {
    std::thread::scope(|scope| within(Scope(scope)));
}
