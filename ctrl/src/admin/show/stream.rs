//! A body that is made as it is sent: at most a few pieces wait for a reader, and whoever makes them waits for it.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use hyper::body::{Bytes, Frame};
use serde::Serialize;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Pieces that wait.
const WAITING: usize = 4;

/// Adds a line of JSON to a piece.
pub(crate) fn line(piece: &mut Vec<u8>, value: &impl Serialize) {
    // Serializing to memory cannot fail.
    let _ = serde_json::to_writer(&mut *piece, value);
    piece.push(b'\n');
}

/// Pieces of a body, from another task.
pub(crate) struct Chunks(Receiver<Bytes>);

impl Chunks {
    /// The way to the reader, and the body. The body ends when the sender is dropped; sending fails when the reader has gone.
    pub(crate) fn channel() -> (Sender<Bytes>, Body) {
        let (sender, receiver) = channel(WAITING);
        (sender, Body::new(Self(receiver)))
    }
}

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
