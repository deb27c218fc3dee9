// SPDX-License-Identifier: MIT
//! A pea2pea node of the bench. At its best: queues of QUEUE messages, no idle timeout, TCP_NODELAY, connections
//! without limits that matter. With Noise: XXpsk3 as in that crate's noise example, with one static key for a node
//! and one read for each message of the handshake.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use bytes::Bytes;
use parking_lot::Mutex;
use pea2pea::protocols::{Handshake, Reading, Writing};
use pea2pea::{Config, Connection, ConnectionSide, Node, Pea2Pea};
use snow::StatelessTransportState;
use snow::resolvers::{BoxedCryptoResolver, DefaultResolver, FallbackResolver, RingResolver};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;

use crate::codec::{Codec, Seen};

/// Of messages, in both directions. Who sends awaits each QUEUEth one, as that crate's own bench does.
pub const QUEUE: usize = 1024;

const PROTOCOL: &str = "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s";
const PSK: [u8; 32] = *b"I dont care for codes of conduct";
/// The three messages with their payloads empty: e, psk's tag; e ee s es; s se psk.
const MESSAGES: [usize; 3] = [48, 96, 64];

#[derive(Clone, Copy, PartialEq)]
pub enum Security {
    Plain,
    Snow,
    SnowRing,
}

/// What a node does with a message.
#[derive(Clone)]
pub enum Then {
    Count,
    Answer,
    Tell(UnboundedSender<Seen>),
    /// On to that neighbour.
    Pass(SocketAddr),
}

#[derive(Clone)]
pub struct Peer {
    node: Node,
    security: Security,
    key: Arc<Vec<u8>>,
    states: Arc<Mutex<HashMap<SocketAddr, Arc<StatelessTransportState>>>>,
    /// The messages that arrived.
    count: Arc<AtomicU64>,
    payload: Bytes,
    pub then: Then,
}

fn builder(security: Security) -> snow::Builder<'static> {
    let resolver: BoxedCryptoResolver = match security {
        Security::SnowRing => Box::new(FallbackResolver::new(Box::new(RingResolver), Box::new(DefaultResolver))),
        _ => Box::new(DefaultResolver),
    };
    snow::Builder::with_resolver(PROTOCOL.parse().expect("a protocol that snow knows"), resolver)
}

impl Peer {
    pub async fn new(security: Security, size: usize, listens: bool, then: Then) -> Result<Self> {
        Self::counting(security, size, listens, then, Default::default()).await
    }

    /// `count` is shared by all nodes that are to be counted together.
    pub async fn counting(
        security: Security,
        size: usize,
        listens: bool,
        then: Then,
        count: Arc<AtomicU64>,
    ) -> Result<Self> {
        let config = Config {
            listener_addr: listens.then_some(SocketAddr::from(([127, 0, 0, 1], 0))),
            listener_backlog: 4096,
            max_connections: 30_000,
            max_connections_per_ip: 30_000,
            max_connecting: 4096,
            ..Default::default()
        };
        let key = builder(security).generate_keypair()?.private;
        let peer = Self {
            node: Node::new(config),
            security,
            key: Arc::new(key),
            states: Default::default(),
            count,
            payload: vec![0; size].into(),
            then,
        };
        peer.enable_handshake().await;
        peer.enable_reading().await;
        peer.enable_writing().await;
        Ok(peer)
    }

    /// Where it listens.
    pub async fn listen(&self) -> Result<SocketAddr> {
        self.node.toggle_listener().await?.context("no address to listen on")
    }

    pub fn counted(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub fn payload(&self) -> Bytes {
        self.payload.clone()
    }

    async fn shake_hands(&self, stream: &mut TcpStream, side: ConnectionSide) -> Result<StatelessTransportState> {
        let builder = builder(self.security).local_private_key(&self.key)?.psk(3, &PSK)?;
        let mut noise = match side {
            ConnectionSide::Initiator => builder.build_initiator()?,
            ConnectionSide::Responder => builder.build_responder()?,
        };
        let mut frame = [0; 2 + MESSAGES[1]];
        let mut payload = [0; MESSAGES[1]];
        for len in MESSAGES {
            if noise.is_my_turn() {
                frame[..2].copy_from_slice(&(len as u16).to_be_bytes());
                noise.write_message(&[], &mut frame[2..])?;
                stream.write_all(&frame[..2 + len]).await?;
            } else {
                stream.read_exact(&mut frame[..2 + len]).await?;
                noise.read_message(&frame[2..2 + len], &mut payload)?;
            }
        }
        Ok(noise.into_stateless_transport_mode()?)
    }

    fn codec(&self, addr: SocketAddr, reads: bool) -> Codec {
        if self.security == Security::Plain {
            return Codec::Plain;
        }
        let mut states = self.states.lock();
        // pea2pea asks for the reader's codec first.
        let state = if reads { states.get(&addr).cloned() } else { states.remove(&addr) };
        Codec::noise(state.expect("a codec is asked for after the handshake"))
    }
}

impl Pea2Pea for Peer {
    fn node(&self) -> &Node {
        &self.node
    }
}

impl Handshake for Peer {
    async fn perform_handshake(&self, mut conn: Connection) -> io::Result<Connection> {
        let side = !conn.side(); // the connection tells the peer's
        let addr = conn.addr();
        let stream = self.borrow_stream(&mut conn);
        stream.set_nodelay(true)?;
        if self.security != Security::Plain {
            let state = self.shake_hands(stream, side).await.map_err(io::Error::other)?;
            self.states.lock().insert(addr, Arc::new(state));
        }
        Ok(conn)
    }
}

impl Reading for Peer {
    const MESSAGE_QUEUE_DEPTH: usize = QUEUE;
    const IDLE_TIMEOUT_MS: u64 = 0;

    type Message = Seen;
    type Codec = Codec;

    fn codec(&self, addr: SocketAddr, _side: ConnectionSide) -> Codec {
        Peer::codec(self, addr, true)
    }

    async fn process_message(&self, source: SocketAddr, message: Seen) {
        assert_eq!(message.len, self.payload.len(), "a message of another size");
        self.count.fetch_add(1, Ordering::Relaxed);
        match &self.then {
            Then::Count => {}
            Then::Answer => {
                // The peer may be gone already.
                let _ = self.unicast_fast(source, self.payload());
            }
            Then::Tell(to) => {
                let _ = to.send(message);
            }
            Then::Pass(to) => {
                self.unicast_fast(*to, self.payload()).expect("the neighbour is there");
            }
        }
    }
}

impl Writing for Peer {
    const MESSAGE_QUEUE_DEPTH: usize = QUEUE;

    type Message = Bytes;
    type Codec = Codec;

    fn codec(&self, addr: SocketAddr, _side: ConnectionSide) -> Codec {
        Peer::codec(self, addr, false)
    }
}
