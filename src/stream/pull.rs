//! What the thread does that opens the source or pulls from it: all user code of a stream except `Drop` runs here.

use std::io;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use super::error::StreamError;
use super::log::{Appended, Log};
use super::state::{Chunk, End, Source};
use super::table::{Owner, SharedOwner, drop_each};
use crate::panic::{catch_panic, message};
use crate::stream::faults::Fault;
use crate::sync::catch_unwind;
use crate::sync::{self, step};
use crate::wait::thread;

/// This thread leads: from before user code runs until what came of it is published.
struct Leading;

impl Leading {
    fn begin() -> Self {
        thread::begin_lead();
        Self
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        thread::end_lead();
    }
}

/// Opens the source in this thread, which is the log's only one to do so.
///
/// `open`, and making an iterator of what it returns, may return, return an error, panic, or ask for the same key
/// again, which is refused. A panic ends the stream for all and goes on.
pub(super) fn open<C, E, I>(owner: &dyn Owner<C, E>, log: &Log<C, E>, open: impl FnOnce() -> Result<I, E>) -> End<E>
where
    I: IntoIterator<Item = Result<C, E>>,
    I::IntoIter: Send + 'static,
{
    let leading = Leading::begin();
    let opened = catch_unwind(AssertUnwindSafe(|| open().map(|source| Box::new(source.into_iter()) as Source<C, E>)));
    match opened {
        Ok(Ok(source)) => log.put_source(source).or_else(|(source, end)| {
            drop(leading);
            catch_panic(|| drop(source));
            end
        }),
        Ok(Err(error)) => owner.end(log, Err(StreamError::Failed(Arc::new(error)))),
        Err(payload) => {
            let _ = owner.end(log, Err(StreamError::SourcePanicked { message: message(&*payload) }));
            drop(leading);
            resume_unwind(payload);
        }
    }
}

/// The next chunk, pulled by this thread, or how the stream has ended.
///
/// The source's `next` may return a chunk, the end or an error, panic, or read the same stream again, which is refused.
/// A panic ends the stream for all and goes on.
pub(super) fn pull<C, E>(owner: &dyn Owner<C, E>, log: &Log<C, E>, mut source: Source<C, E>) -> Chunk<C, E> {
    let leading = Leading::begin();
    let end = match catch_unwind(AssertUnwindSafe(|| source.next())) {
        Ok(Some(Ok(chunk))) => {
            let weight = owner.settings().weigh(&chunk);
            let chunk = Arc::new(chunk);
            let kept = Arc::clone(&chunk);
            return match log.append(source, kept, weight, owner.settings(), || owner.unlink(log)) {
                Appended::Kept { shed } => {
                    drop(leading);
                    drop_each(shed);
                    Ok(chunk)
                }
                Appended::CutOff { source, end } => {
                    drop(leading);
                    catch_panic(|| drop(source));
                    catch_panic(|| drop(chunk));
                    Err(end)
                }
            };
        }
        Ok(None) => owner.end(log, Ok(())),
        Ok(Some(Err(error))) => owner.end(log, Err(StreamError::Failed(Arc::new(error)))),
        Err(payload) => {
            let panicked = StreamError::SourcePanicked { message: message(&*payload) };
            step!(SourcePanicEndsNothing, drop(owner.end(log, Err(panicked))));
            drop(leading);
            catch_panic(|| drop(source));
            resume_unwind(payload);
        }
    };
    drop(leading);
    catch_panic(|| drop(source));
    Err(end)
}

/// Starts a thread that pulls the chunk of this step, unless a reader comes first.
///
/// It makes that one step and ends. A panic of the source goes no further: the readers get it as an error.
///
/// # Errors
///
/// The system has no thread to give. Then this reader has to pull.
pub(super) fn start_helper<C, E>(owner: &SharedOwner<C, E>, log: &Arc<Log<C, E>>, step: u64) -> io::Result<()>
where
    C: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    let (owner, log) = (Arc::clone(owner), Arc::clone(log));
    let name = owner.settings().name.as_deref().unwrap_or("stream");
    sync::spawn(format!("{name}-pull"), move || {
        if let Some(source) = log.take_source_for(step) {
            catch_panic(|| drop(pull(&*owner, &log, source)));
        }
        // The last readers may have left by now, and what is in it dies with it.
        catch_panic(move || drop(log));
    })
}
