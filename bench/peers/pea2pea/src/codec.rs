// SPDX-License-Identifier: MIT
//! The frames. Plain: a length of 4 bytes and the payload. Noise: a length of 2 bytes and one Noise message, as
//! pea2pea's noise example has it, but each payload is encrypted into the write buffer and nothing is copied out of
//! the read buffer. What is delivered is not the message but what it was: user code only counts.

use std::io;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use snow::StatelessTransportState;
use tokio_util::codec::{Decoder, Encoder};

/// Section 3 of the Noise specification.
pub const NOISE_MESSAGE_MAX: usize = 65_535;
pub const NOISE_TAG: usize = 16;
const PLAIN_MAX: usize = 8 << 20;

/// A message that arrived whole.
pub struct Seen {
    pub len: usize,
    /// Its first 8 bytes: the time that an open loop put there, or nothing of meaning.
    pub stamp: f64,
}

fn seen(message: &[u8]) -> Seen {
    let stamp = message.first_chunk().map_or(0.0, |bytes| f64::from_le_bytes(*bytes));
    Seen { len: message.len(), stamp }
}

/// One for each direction of a connection.
pub enum Codec {
    Plain,
    /// The buffer grows with what is read, so that an idle connection has none.
    Noise {
        state: Arc<StatelessTransportState>,
        nonce: u64,
        buffer: Vec<u8>,
    },
}

impl Codec {
    pub fn noise(state: Arc<StatelessTransportState>) -> Self {
        Self::Noise { state, nonce: 0, buffer: Vec::new() }
    }
}

/// Whether a frame of `len` bytes is there. If not, there is room for it.
fn whole(src: &mut BytesMut, len: usize) -> bool {
    let is = src.len() >= len;
    if !is {
        src.reserve(len - src.len());
    }
    is
}

impl Decoder for Codec {
    type Item = Seen;
    type Error = io::Error;

    #[inline]
    fn decode(&mut self, src: &mut BytesMut) -> io::Result<Option<Seen>> {
        match self {
            Self::Plain => {
                let Some(prefix) = src.first_chunk() else { return Ok(None) };
                let len = u32::from_be_bytes(*prefix) as usize;
                if len > PLAIN_MAX {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                if !whole(src, 4 + len) {
                    return Ok(None);
                }
                let message = seen(&src[4..4 + len]);
                src.advance(4 + len);
                Ok(Some(message))
            }
            Self::Noise { state, nonce, buffer } => {
                let Some(prefix) = src.first_chunk() else { return Ok(None) };
                let len = u16::from_be_bytes(*prefix) as usize;
                if !whole(src, 2 + len) {
                    return Ok(None);
                }
                if buffer.len() < len {
                    buffer.resize(len, 0);
                }
                let plain = state.read_message(*nonce, &src[2..2 + len], buffer).map_err(io::Error::other)?;
                *nonce += 1;
                src.advance(2 + len);
                Ok(Some(seen(&buffer[..plain])))
            }
        }
    }
}

impl Encoder<Bytes> for Codec {
    type Error = io::Error;

    #[inline]
    fn encode(&mut self, message: Bytes, dst: &mut BytesMut) -> io::Result<()> {
        match self {
            Self::Plain => {
                dst.reserve(4 + message.len());
                dst.put_u32(message.len() as u32);
                dst.put_slice(&message);
            }
            Self::Noise { state, nonce, .. } => {
                let record = message.len() + NOISE_TAG;
                dst.reserve(2 + record);
                dst.put_u16(record as u16);
                let at = dst.len();
                dst.resize(at + record, 0);
                state.write_message(*nonce, &message, &mut dst[at..]).map_err(io::Error::other)?;
                *nonce += 1;
            }
        }
        Ok(())
    }
}
