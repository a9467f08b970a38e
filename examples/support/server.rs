//! A blocking HTTP/1.1 server: a thread and a descriptor per connection, stopped with nothing left behind.
//!
//! What HTTP says is `ureq-proto`'s part, which the client has in it anyway; it does no input or output, so sockets and
//! threads are ours. An answer under way is the only thing that a server being dropped waits for.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, ScopedJoinHandle};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use ureq_proto::http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use ureq_proto::http::{Request, Response};
use ureq_proto::server::state::{ProvideResponse, SendBody};
use ureq_proto::server::{RecvRequestResult, Reply, SendResponseResult};

/// Answers requests until it is dropped.
///
/// Dropping it refuses new connections, lets answers under way be written, and joins every thread. The handler has to
/// return soon by itself then; a client that does not read holds its thread for [`WRITE_LIMIT`] at most.
pub(crate) struct Server {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

/// The body of an answer.
pub(crate) enum Body {
    /// It is there, and goes out in one piece.
    Whole(Vec<u8>),
    /// It comes bit by bit, and each piece goes out as it comes. An error breaks the connection off.
    Pieces(Box<dyn Iterator<Item = io::Result<Vec<u8>>> + Send>, Arc<Meter>),
}

/// What became of the pieces of bodies.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Sent, whether anybody was left to read them or not.
    pub(crate) sent: AtomicU64,
    /// Sent after the client had closed its connection, until the system said so.
    pub(crate) in_vain: AtomicU64,
    /// Answers that nobody reads any more, or that have come to their end.
    pub(crate) over: AtomicU64,
}

/// What the connections' threads share.
struct Service<'a, H> {
    handler: &'a H,
    stopping: &'a AtomicBool,
}

const WRITE_LIMIT: Duration = Duration::from_secs(2);
/// Bytes of a request; the connection is closed on larger ones.
const SIZE_LIMIT: usize = 16 << 20;
const QUEUE: i32 = 4096;

impl Server {
    /// A server on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// The port cannot be bound, or the thread that accepts cannot be made.
    pub(crate) fn start<H>(handler: H) -> io::Result<Server>
    where
        H: Fn(&Request<Vec<u8>>) -> Response<Body> + Send + Sync + 'static,
    {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), handler)
    }

    /// A server on this address, whose port is 0 for any that is free.
    ///
    /// # Errors
    ///
    /// The address cannot be bound, or the thread that accepts cannot be made.
    pub(crate) fn start_at<H>(address: SocketAddr, handler: H) -> io::Result<Server>
    where
        H: Fn(&Request<Vec<u8>>) -> Response<Body> + Send + Sync + 'static,
    {
        // The standard library lets 128 clients queue for being accepted. Of a larger burst some are dropped then, and
        // try again a second later.
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // A port is kept for a minute after connections that a killed process left. Windows would let two servers share
        // it instead.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(QUEUE)?;
        let listener = TcpListener::from(socket);
        let address = listener.local_addr()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stopping);
        let accepting = thread::Builder::new()
            .name("accept".into())
            .spawn(move || Service { handler: &handler, stopping: &seen }.accept(listener))?;
        Ok(Server { address, stopping, accepting: Some(accepting) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // accept() knows no timeout and no wake-up: one more connection is what makes it look at the flag.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.accepting.take() {
            // A panic in a handler was printed when it happened; here it must not end the program.
            let _ = thread.join();
        }
    }
}

impl<H> Service<'_, H>
where
    H: Fn(&Request<Vec<u8>>) -> Response<Body> + Sync,
{
    fn accept(&self, listener: TcpListener) {
        // The scope joins the threads of all connections, those too that are no longer in the list.
        thread::scope(|scope| {
            let mut open: Vec<(Arc<TcpStream>, ScopedJoinHandle<'_, ()>)> = Vec::new();
            for stream in listener.incoming() {
                if self.stopping.load(Ordering::Acquire) {
                    break;
                }
                open.retain(|(_, thread)| !thread.is_finished());
                let Ok(stream) = stream.map(Arc::new) else {
                    // Out of descriptors, most likely: some have to come back first.
                    thread::sleep(Duration::from_millis(10));
                    continue;
                };
                let theirs = Arc::clone(&stream);
                let serve = move || {
                    // The connection's end is all that a broken one needs.
                    let _ = self.serve(&theirs);
                    // The list above has the stream too, so that dropping it here would not tell the client.
                    let _ = theirs.shutdown(Shutdown::Both);
                };
                if let Ok(thread) = thread::Builder::new().name("connection".into()).spawn_scoped(scope, serve) {
                    open.push((stream, thread));
                }
            }
            // While it is open the system lets clients in, for whom nobody is there any more.
            drop(listener);
            for (stream, _) in &open {
                // Idle keep-alive connections wait for a next request; the end of the stream is what they get. The
                // other direction stays open for answers under way.
                let _ = stream.shutdown(Shutdown::Read);
            }
        });
    }

    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(WRITE_LIMIT))?;
        let mut connection = Connection { stream, unread: Vec::new() };
        while let Some((request, reply)) = connection.receive()? {
            let mut response = (self.handler)(&request);
            if self.stopping.load(Ordering::Acquire) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            if !connection.send(reply, response)? {
                break;
            }
        }
        Ok(())
    }
}

struct Connection<'a> {
    stream: &'a TcpStream,
    unread: Vec<u8>,
}

/// A whole request, and the protocol's state in which it is to be answered.
type Received = (Request<Vec<u8>>, Reply<ProvideResponse>);

impl Connection<'_> {
    /// The next request, or none when the client has gone.
    fn receive(&mut self) -> io::Result<Option<Received>> {
        let mut reply = Reply::new().map_err(io::Error::other)?;
        let head = loop {
            let (used, head) = reply.try_request(&self.unread).map_err(io::Error::other)?;
            self.unread.drain(..used);
            if let Some(head) = head {
                break head;
            }
            if !self.read_more()? {
                return Ok(None);
            }
        };
        let mut body = Vec::new();
        let mut reply = match reply.proceed() {
            Some(RecvRequestResult::RecvBody(reply)) => reply,
            Some(RecvRequestResult::Send100(reply)) => {
                let mut line = [0; 64];
                let (used, reply) = reply.accept(&mut line).map_err(io::Error::other)?;
                self.stream.write_all(&line[..used])?;
                reply
            }
            Some(RecvRequestResult::ProvideResponse(reply)) => return Ok(Some((head.map(|()| body), reply))),
            None => return Ok(None),
        };
        while !reply.is_ended() {
            let mut piece = [0; 8192];
            let (used, got) = reply.read(&self.unread, &mut piece).map_err(io::Error::other)?;
            self.unread.drain(..used);
            body.extend_from_slice(&piece[..got]);
            let stuck = used == 0 && !reply.is_ended();
            if body.len() > SIZE_LIMIT || (stuck && !self.read_more()?) {
                return Ok(None);
            }
        }
        Ok(Some((head.map(|()| body), reply.proceed().map_err(io::Error::other)?)))
    }

    /// Whether there was more to read.
    fn read_more(&mut self) -> io::Result<bool> {
        let mut piece = [0; 8192];
        let got = self.stream.read(&mut piece)?;
        self.unread.extend_from_slice(&piece[..got]);
        Ok(got > 0 && self.unread.len() <= SIZE_LIMIT)
    }

    /// Writes the response; whether the connection stays open after it.
    fn send(&mut self, reply: Reply<ProvideResponse>, response: Response<Body>) -> io::Result<bool> {
        let (mut head, body) = response.into_parts();
        // A body that comes in pieces has no length that could be told.
        match &body {
            Body::Whole(body) => head.headers.insert(CONTENT_LENGTH, body.len().into()),
            Body::Pieces(..) => head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked")),
        };
        let mut reply = reply.provide(Response::from_parts(head, ())).map_err(io::Error::other)?;
        let mut wire = Vec::with_capacity(1024);
        while !reply.is_finished() {
            let mut piece = [0; 1024];
            let used = reply.write(&mut piece).map_err(io::Error::other)?;
            wire.extend_from_slice(&piece[..used]);
        }
        let reply = match (reply.proceed(), body) {
            (SendResponseResult::SendBody(mut reply), Body::Whole(body)) => {
                reply.consume_direct_write(body.len()).map_err(io::Error::other)?;
                wire.extend_from_slice(&body);
                // In one piece: small ones would each travel alone.
                self.stream.write_all(&wire)?;
                reply.proceed()
            }
            (SendResponseResult::SendBody(mut reply), Body::Pieces(pieces, meter)) => {
                self.stream.write_all(&wire)?;
                let sent = self.send_pieces(&mut reply, pieces, &meter);
                meter.over.fetch_add(1, Ordering::AcqRel);
                sent?;
                reply.proceed()
            }
            (SendResponseResult::Cleanup(reply), _) => {
                self.stream.write_all(&wire)?;
                reply
            }
        };
        Ok(!reply.must_close_connection())
    }

    /// Writes each piece as it comes.
    fn send_pieces(
        &self,
        reply: &mut Reply<SendBody>,
        pieces: impl Iterator<Item = io::Result<Vec<u8>>>,
        meter: &Meter,
    ) -> io::Result<()> {
        for piece in pieces {
            let in_vain = self.client_has_gone()?;
            self.send_piece(reply, &piece?)?;
            meter.sent.fetch_add(1, Ordering::AcqRel);
            meter.in_vain.fetch_add(in_vain.into(), Ordering::AcqRel);
        }
        // No bytes are the end of the body.
        self.send_piece(reply, &[])
    }

    fn send_piece(&self, reply: &mut Reply<SendBody>, mut piece: &[u8]) -> io::Result<()> {
        let mut wire = vec![0; piece.len() + 64];
        loop {
            let (used, written) = reply.write(piece, &mut wire).map_err(io::Error::other)?;
            (&mut &*self.stream).write_all(&wire[..written])?;
            piece = &piece[used..];
            if piece.is_empty() {
                return Ok(());
            }
        }
    }

    /// Whether the client has closed the connection, as far as is known here.
    fn client_has_gone(&self) -> io::Result<bool> {
        self.stream.set_nonblocking(true)?;
        let seen = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false)?;
        Ok(match seen {
            Ok(bytes) => bytes == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        })
    }
}
