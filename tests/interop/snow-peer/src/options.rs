// SPDX-License-Identifier: MIT
//! The command line.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage: snow-peer listen|connect ADDR --protocol NAME --static HEX \
                     [--remote HEX] [--psk HEX] [--prologue TEXT] [--mode stream|records]";

#[derive(Clone, Copy, PartialEq)]
pub enum Side {
    Listen,
    Connect,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Mode {
    /// Records carry a byte stream; messages in it have a length of 4 bytes.
    Stream,
    /// One record is one message.
    Records,
}

pub struct Options {
    pub side: Side,
    pub addr: SocketAddr,
    pub protocol: String,
    pub secret: [u8; 32],
    pub remote: Option<[u8; 32]>,
    pub psk: Option<[u8; 32]>,
    pub prologue: String,
    pub mode: Mode,
}

impl Options {
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let side = match args.next().as_deref() {
            Some("listen") => Side::Listen,
            Some("connect") => Side::Connect,
            _ => bail!(USAGE),
        };
        let addr = args.next().context(USAGE)?;
        let addr = addr.parse().with_context(|| format!("the address {addr:?}"))?;
        let (mut protocol, mut secret) = (None, None);
        let (mut remote, mut psk, mut prologue, mut mode) = (None, None, String::new(), Mode::Stream);
        while let Some(name) = args.next() {
            let value = args.next().with_context(|| format!("{name} wants a value\n{USAGE}"))?;
            match name.as_str() {
                "--protocol" => protocol = Some(value),
                "--static" => secret = Some(key(&name, &value)?),
                "--remote" => remote = Some(key(&name, &value)?),
                "--psk" => psk = Some(key(&name, &value)?),
                "--prologue" => prologue = value,
                "--mode" => mode = mode_named(&value)?,
                _ => bail!("{name} is not an option\n{USAGE}"),
            }
        }
        Ok(Self {
            side,
            addr,
            protocol: protocol.context("--protocol is missing")?,
            secret: secret.context("--static is missing")?,
            remote,
            psk,
            prologue,
            mode,
        })
    }
}

fn mode_named(name: &str) -> Result<Mode> {
    match name {
        "stream" => Ok(Mode::Stream),
        "records" => Ok(Mode::Records),
        _ => bail!("--mode is stream or records, not {name:?}"),
    }
}

fn key(name: &str, hex: &str) -> Result<[u8; 32]> {
    let digits: Option<Vec<u8>> = hex.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    let digits = digits.filter(|d| d.len() == 64).with_context(|| format!("{name} wants 64 hexadecimal digits"))?;
    Ok(std::array::from_fn(|i| digits[2 * i] << 4 | digits[2 * i + 1]))
}

pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
