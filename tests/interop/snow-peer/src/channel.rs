// SPDX-License-Identifier: MIT
//! Noise over a socket: every handshake message and every record has a length of 2 bytes, big-endian, before it.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, bail, ensure};

use crate::options::{Options, Side, to_hex};

/// Section 3 of the Noise specification.
const MESSAGE_MAX: usize = 65_535;
const TAG: usize = 16;
/// The most plaintext of one record.
pub const RECORD_MAX: usize = MESSAGE_MAX - TAG;

pub struct Channel {
    socket: TcpStream,
    noise: snow::TransportState,
    remote: Option<Vec<u8>>,
}

impl Channel {
    pub fn open(mut socket: TcpStream, options: &Options) -> Result<Self> {
        let mut noise = start(options)?;
        while !noise.is_handshake_finished() {
            if noise.is_my_turn() {
                let mut message = vec![0; MESSAGE_MAX];
                let len = noise.write_message(&[], &mut message).context("writing a handshake message")?;
                write_frame(&mut socket, &message[..len]).context("sending a handshake message")?;
            } else {
                let message = read_frame(&mut socket).context("receiving a handshake message")?;
                let message = message.context("the stream ended during the handshake")?;
                let mut payload = vec![0; MESSAGE_MAX];
                let len = noise.read_message(&message, &mut payload).context("reading a handshake message")?;
                ensure!(len == 0, "a handshake message carried {len} bytes that nobody asked for");
                check_remote(&noise, options)?;
            }
        }
        let remote = noise.get_remote_static().map(<[u8]>::to_vec);
        let noise = noise.into_transport_mode().context("splitting")?;
        Ok(Self { socket, noise, remote })
    }

    /// None: the pattern shows none.
    pub fn remote(&self) -> Option<&[u8]> {
        self.remote.as_deref()
    }

    pub fn write(&mut self, plain: &[u8]) -> Result<()> {
        let mut record = vec![0; plain.len() + TAG];
        let len = self.noise.write_message(plain, &mut record).context("sealing a record")?;
        write_frame(&mut self.socket, &record[..len]).context("sending a record")
    }

    /// The next record's plaintext. None: the stream ended between two records.
    pub fn read(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(record) = read_frame(&mut self.socket).context("receiving a record")? else {
            return Ok(None);
        };
        ensure!(record.len() >= TAG, "a record of {} bytes has no room for its tag", record.len());
        let mut plain = vec![0; record.len()];
        let len = self.noise.read_message(&record, &mut plain).context("opening a record")?;
        plain.truncate(len);
        Ok(Some(plain))
    }

    pub fn end(&self) -> Result<()> {
        self.socket.shutdown(std::net::Shutdown::Write).context("ending the stream")
    }
}

fn start(options: &Options) -> Result<snow::HandshakeState> {
    let protocol: snow::params::NoiseParams =
        options.protocol.parse().with_context(|| format!("the protocol {:?}", options.protocol))?;
    let known = protocol.handshake.pattern.need_known_remote_pubkey(options.side == Side::Connect);
    let mut builder = snow::Builder::new(protocol)
        .local_private_key(&options.secret)
        .and_then(|builder| builder.prologue(options.prologue.as_bytes()))
        .context("preparing the handshake")?;
    if let Some(psk) = &options.psk {
        let place = options.protocol.split("psk").nth(1).and_then(|rest| rest.chars().next()?.to_digit(10));
        let place = place.context("there is a psk, and no place for it in the protocol's name")?;
        builder = builder.psk(place as u8, psk).context("setting the pre-shared key")?;
    }
    if known {
        let remote = options.remote.as_ref().context("the pattern must know the peer's key beforehand")?;
        builder = builder.remote_public_key(remote).context("setting the peer's key")?;
    }
    match options.side {
        Side::Connect => builder.build_initiator(),
        Side::Listen => builder.build_responder(),
    }
    .context("starting the handshake")
}

/// As soon as the peer's key is known, so that ours stays at home when it is the wrong one.
fn check_remote(noise: &snow::HandshakeState, options: &Options) -> Result<()> {
    if let (Some(seen), Some(expected)) = (noise.get_remote_static(), &options.remote)
        && seen != expected
    {
        bail!("the peer is {}, expected was {}", to_hex(seen), to_hex(expected));
    }
    Ok(())
}

fn write_frame(socket: &mut TcpStream, body: &[u8]) -> Result<()> {
    let len = u16::try_from(body.len()).context("more than a frame can hold")?;
    let mut frame = Vec::with_capacity(2 + body.len());
    frame.extend_from_slice(&len.to_be_bytes());
    frame.extend_from_slice(body);
    Ok(socket.write_all(&frame)?)
}

fn read_frame(socket: &mut TcpStream) -> Result<Option<Vec<u8>>> {
    let mut len = [0; 2];
    loop {
        match socket.read(&mut len[..1]) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    socket.read_exact(&mut len[1..]).context("the stream ended in a length")?;
    let mut body = vec![0; usize::from(u16::from_be_bytes(len))];
    socket.read_exact(&mut body).context("the stream ended in a message")?;
    Ok(Some(body))
}
