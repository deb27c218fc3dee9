// SPDX-License-Identifier: MIT
//! A node of the real pea2pea crate, for peapod's interoperability tests. Its connections are Noise as that crate's
//! noise example makes them; the facts of that wire are in ../README.md. Not a library, and not an example of
//! pea2pea.

mod node;
mod records;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use pea2pea::Pea2Pea;
use pea2pea::protocols::Writing;

use node::{Event, Events, Peer};

const USAGE: &str = "usage: pea2pea-peer listen|connect ADDR [--psk HEX]";

/// What the crate's example uses on both sides.
const EXAMPLE_PSK: [u8; 32] = *b"I dont care for codes of conduct";

/// The sizes that its wire can echo: one Noise message at most, and not nothing (see records.rs).
const SIZES: [usize; 3] = [1, 1_000, 65_519];

/// A whole run takes seconds; this only keeps a peer that hangs from hanging the test.
const DEADLINE: Duration = Duration::from_secs(30);

struct Options {
    listen: bool,
    addr: SocketAddr,
    psk: [u8; 32],
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options> {
    let listen = match args.next().as_deref() {
        Some("listen") => true,
        Some("connect") => false,
        _ => bail!(USAGE),
    };
    let addr = args.next().context(USAGE)?;
    let addr = addr.parse().with_context(|| format!("the address {addr:?}"))?;
    let psk = match (args.next().as_deref(), args.next()) {
        (None, _) => EXAMPLE_PSK,
        (Some("--psk"), Some(hex)) => key(&hex).context("--psk wants 64 hexadecimal digits")?,
        _ => bail!(USAGE),
    };
    ensure!(args.next().is_none(), USAGE);
    Ok(Options { listen, addr, psk })
}

fn key(hex: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = hex.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
    (digits.len() == 64).then(|| std::array::from_fn(|i| digits[2 * i] << 4 | digits[2 * i + 1]))
}

fn pattern(len: usize) -> Bytes {
    (0..len).map(|i| (i * 31 + len) as u8).collect()
}

async fn send(peer: &Peer, to: SocketAddr, message: Bytes) -> Result<()> {
    let len = message.len();
    let sent = peer.unicast(to, message).with_context(|| format!("queueing {len} bytes"))?;
    sent.await.context("the connection ended first")?.with_context(|| format!("sending {len} bytes"))
}

async fn next(events: &mut Events) -> Result<Event> {
    events.recv().await.context("the node went away")?.context("the handshake")
}

async fn listen(peer: &Peer, events: &mut Events) -> Result<()> {
    let addr = peer.node().toggle_listener().await.context("listening")?.context("no address to listen on")?;
    println!("listening {addr}");
    loop {
        match next(events).await? {
            Event::Connected => println!("connected"),
            Event::Message(from, message) => {
                println!("received {} bytes", message.len());
                if !message.is_empty() {
                    send(peer, from, message.freeze()).await?;
                }
            }
            Event::Disconnected => return Ok(()),
        }
    }
}

async fn connect(peer: &Peer, addr: SocketAddr, events: &mut Events) -> Result<()> {
    peer.node().connect(addr).await.with_context(|| format!("connecting to {addr}"))?;
    for size in SIZES {
        send(peer, addr, pattern(size)).await?;
        let echo = loop {
            match next(events).await? {
                Event::Connected => println!("connected"),
                Event::Message(_, message) => break message,
                Event::Disconnected => bail!("the peer ended before it echoed {size} bytes"),
            }
        };
        println!("received {} bytes", echo.len());
        ensure!(echo == pattern(size), "the echo of {size} bytes is not what was sent");
        println!("ok {size}");
    }
    Ok(())
}

async fn run() -> Result<()> {
    let options = options(std::env::args().skip(1))?;
    let (peer, mut events) = Peer::new(options.listen.then_some(options.addr), options.psk).await;
    let talk = async {
        match options.listen {
            true => listen(&peer, &mut events).await,
            false => connect(&peer, options.addr, &mut events).await,
        }
    };
    let outcome = tokio::time::timeout(DEADLINE, talk).await.context("not finished in time");
    peer.node().shut_down().await;
    outcome?
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pea2pea-peer: {error:#}");
            ExitCode::FAILURE
        }
    }
}
