// SPDX-License-Identifier: MIT
//! One application message, one Noise message, one frame with a length of 2 bytes: as pea2pea's noise example writes
//! it.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use snow::StatelessTransportState;
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec};

/// Section 3 of the Noise specification.
pub const MESSAGE_MAX: usize = 65_535;
const TAG: usize = 16;

/// One for each direction, with the nonce of that direction.
pub struct Records {
    frames: LengthDelimitedCodec,
    noise: Arc<StatelessTransportState>,
    nonce: u64,
}

impl Records {
    pub fn new(noise: Arc<StatelessTransportState>) -> Self {
        let frames = LengthDelimitedCodec::builder().length_field_length(2).max_frame_length(MESSAGE_MAX).new_codec();
        Self { frames, noise, nonce: 0 }
    }
}

impl Decoder for Records {
    type Item = BytesMut;
    type Error = io::Error;

    fn decode(&mut self, src: &mut BytesMut) -> io::Result<Option<BytesMut>> {
        let Some(record) = self.frames.decode(src)? else { return Ok(None) };
        let mut plain = BytesMut::zeroed(record.len());
        if !record.is_empty() {
            let len = self.noise.read_message(self.nonce, &record, &mut plain).map_err(io::Error::other)?;
            self.nonce += 1;
            plain.truncate(len);
        }
        Ok(Some(plain))
    }
}

impl Encoder<Bytes> for Records {
    type Error = io::Error;

    /// An empty message becomes an empty frame, without a Noise message in it: the example does that, and it is why our
    /// dialogue never asks this node to send one.
    fn encode(&mut self, message: Bytes, dst: &mut BytesMut) -> io::Result<()> {
        let mut record = BytesMut::new();
        if !message.is_empty() {
            record.resize(message.len() + TAG, 0);
            self.noise.write_message(self.nonce, &message, &mut record).map_err(io::Error::other)?;
            self.nonce += 1;
        }
        self.frames.encode(record.freeze(), dst)
    }
}
