// SPDX-License-Identifier: MIT
//! One side of a Noise connection over TCP, for peapod's interoperability tests: the same dialogue as peer.c, with
//! cryptography that peapod did not write. What is said is in ../README.md. Not a library, and not an example of
//! anything.

mod channel;
mod options;
mod talk;

use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use channel::Channel;
use options::{Mode, Options, Side};
use talk::{Messages, Records, Stream};

/// A whole run takes seconds; this only keeps a peer that hangs from hanging the test.
const DEADLINE: Duration = Duration::from_secs(30);

fn open_socket(options: &Options) -> Result<TcpStream> {
    let socket = match options.side {
        Side::Connect => TcpStream::connect(options.addr).with_context(|| format!("connecting to {}", options.addr))?,
        Side::Listen => {
            let listener = TcpListener::bind(options.addr).with_context(|| format!("listening on {}", options.addr))?;
            println!("listening {}", listener.local_addr().context("asking for the port")?);
            listener.accept().context("accepting a connection")?.0
        }
    };
    socket.set_nodelay(true).context("setting TCP_NODELAY")?;
    Ok(socket)
}

fn converse(messages: &mut dyn Messages, options: &Options) -> Result<()> {
    match options.side {
        Side::Connect => talk::ask(messages, options.mode),
        Side::Listen => talk::echo(messages),
    }
}

fn run() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    thread::spawn(|| {
        thread::sleep(DEADLINE);
        eprintln!("snow-peer: not finished after {} seconds", DEADLINE.as_secs());
        std::process::exit(1);
    });
    let channel = Channel::open(open_socket(&options)?, &options)?;
    println!("remote {}", channel.remote().map_or_else(|| "none".to_string(), options::to_hex));
    match options.mode {
        Mode::Stream => converse(&mut Stream::new(channel), &options),
        Mode::Records => converse(&mut Records::new(channel), &options),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("snow-peer: {error:#}");
            ExitCode::FAILURE
        }
    }
}
