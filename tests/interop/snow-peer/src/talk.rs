// SPDX-License-Identifier: MIT
//! What the two sides say once the channel is there: messages out, and their echo back.

use anyhow::{Result, ensure};

use crate::channel::{Channel, RECORD_MAX};
use crate::options::Mode;

/// In groups: all of a group is sent before the first echo is awaited, so that one record carries the end of one
/// message and the start of the next. A group's echo must fit in the sockets' buffers, since neither side reads while
/// it writes.
const STREAM_SIZES: &[&[usize]] = &[&[0, 1, 65_519], &[1_000_000]];
const RECORD_SIZES: &[&[usize]] = &[&[0], &[1], &[1_000], &[65_519]];

/// The most that a peer may ask us to hold.
const MESSAGE_MAX: usize = 8 << 20;

pub trait Messages {
    fn send(&mut self, message: &[u8]) -> Result<()>;
    /// Everything that was sent is on its way.
    fn flush(&mut self) -> Result<()>;
    /// None: the peer ended, between two messages.
    fn receive(&mut self) -> Result<Option<Vec<u8>>>;
    fn end(&mut self) -> Result<()>;
}

/// One record is one message.
pub struct Records(Channel);

impl Records {
    pub fn new(channel: Channel) -> Self {
        Self(channel)
    }
}

impl Messages for Records {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        self.0.write(message)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    fn receive(&mut self) -> Result<Option<Vec<u8>>> {
        self.0.read()
    }

    fn end(&mut self) -> Result<()> {
        self.0.end()
    }
}

/// Messages in a byte stream, each after a length of 4 bytes, big-endian. The stream is cut into records of uneven
/// sizes, the empty one among them, so that headers and payloads of messages fall apart in every way.
pub struct Stream {
    channel: Channel,
    unsent: Vec<u8>,
    unread: Vec<u8>,
    records: std::iter::Cycle<std::array::IntoIter<usize, 7>>,
}

impl Stream {
    pub fn new(channel: Channel) -> Self {
        let records = [1, 2, 70, 0, RECORD_MAX, 4_096, 30_001].into_iter().cycle();
        Self { channel, unsent: Vec::new(), unread: Vec::new(), records }
    }
}

impl Messages for Stream {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        let len = u32::try_from(message.len())?;
        self.unsent.extend_from_slice(&len.to_be_bytes());
        self.unsent.extend_from_slice(message);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let mut rest = self.unsent.as_slice();
        while !rest.is_empty() {
            let size = self.records.next().unwrap_or(RECORD_MAX).min(rest.len());
            let (record, after) = rest.split_at(size);
            self.channel.write(record)?;
            rest = after;
        }
        self.unsent.clear();
        Ok(())
    }

    fn receive(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some((header, body)) = self.unread.split_first_chunk::<4>() {
                let len = u32::from_be_bytes(*header) as usize;
                ensure!(len <= MESSAGE_MAX, "the peer announced a message of {len} bytes");
                if body.len() >= len {
                    let message = body[..len].to_vec();
                    self.unread.drain(..4 + len);
                    return Ok(Some(message));
                }
            }
            match self.channel.read()? {
                Some(plain) => self.unread.extend_from_slice(&plain),
                None => {
                    ensure!(self.unread.is_empty(), "the stream ended in a message");
                    return Ok(None);
                }
            }
        }
    }

    fn end(&mut self) -> Result<()> {
        self.channel.end()
    }
}

/// The payload of a message of this length: both sides know it.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + len) as u8).collect()
}

/// The side that dialled: sends, checks what comes back, then ends.
pub fn ask(peer: &mut dyn Messages, mode: Mode) -> Result<()> {
    let sizes = match mode {
        Mode::Stream => STREAM_SIZES,
        Mode::Records => RECORD_SIZES,
    };
    for group in sizes {
        for &size in *group {
            peer.send(&pattern(size))?;
        }
        peer.flush()?;
        for &size in *group {
            let Some(echo) = peer.receive()? else {
                anyhow::bail!("the peer ended before it echoed {size} bytes");
            };
            ensure!(echo.len() == size, "{} bytes came back for {size}", echo.len());
            ensure!(echo == pattern(size), "the echo of {size} bytes is not what was sent");
            println!("ok {size}");
        }
    }
    peer.end()?;
    ensure!(peer.receive()?.is_none(), "a message that nobody asked for came after the last echo");
    Ok(())
}

/// The side that listened: what comes goes back, until the peer ends.
pub fn echo(peer: &mut dyn Messages) -> Result<()> {
    while let Some(message) = peer.receive()? {
        println!("received {}", message.len());
        peer.send(&message)?;
        peer.flush()?;
    }
    println!("ended");
    Ok(())
}
