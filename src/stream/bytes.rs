//! [`Stream`] as a [`Read`] and a [`BufRead`], where chunks are bytes.

use std::error::Error;
use std::io::{self, BufRead, Read};

use super::reader::Stream;
use crate::panic::catch_panic;

/// Reads the bytes of the chunks one after the other. [`Stream::next`] goes on after the last chunk of which anything
/// was asked for.
///
/// # Errors
///
/// What cut the stream off, once, after all bytes before it; see the conversion of [`StreamError`](super::StreamError)
/// to [`io::Error`].
impl<C, E> BufRead for Stream<C, E>
where
    C: AsRef<[u8]>,
    E: Error + Send + Sync + 'static,
{
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        // A chunk of no bytes is not the end.
        while self.unread().is_empty() {
            match self.next() {
                None => break,
                Some(chunk) => {
                    let spent = self.rest.replace((chunk?, 0));
                    catch_panic(|| drop(spent));
                }
            }
        }
        Ok(self.unread())
    }

    fn consume(&mut self, bytes: usize) {
        if let Some((_, at)) = &mut self.rest {
            *at = at.saturating_add(bytes);
        }
    }
}

impl<C, E> Read for Stream<C, E>
where
    C: AsRef<[u8]>,
    E: Error + Send + Sync + 'static,
{
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let mut unread = self.fill_buf()?;
        let bytes = unread.read(buffer)?;
        self.consume(bytes);
        Ok(bytes)
    }
}

impl<C: AsRef<[u8]>, E> Stream<C, E> {
    fn unread(&self) -> &[u8] {
        // How long a chunk's bytes are is for the chunk to say, each time.
        self.rest.as_ref().and_then(|(chunk, at)| (**chunk).as_ref().get(*at..)).unwrap_or_default()
    }
}
