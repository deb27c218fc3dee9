// SPDX-License-Identifier: MIT
//! The node: pea2pea's protocols, with a Noise handshake, and what happens told to a queue.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use pea2pea::protocols::{Handshake, OnConnect, OnDisconnect, Reading, Writing};
use pea2pea::{Config, Connection, ConnectionSide, DisconnectOrigin, Node, Pea2Pea};
use snow::StatelessTransportState;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::records::{MESSAGE_MAX, Records};

const PROTOCOL: &str = "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s";

pub enum Event {
    Connected,
    Message(SocketAddr, BytesMut),
    Disconnected,
}

/// What happened, or why the handshake failed.
pub type Events = UnboundedReceiver<io::Result<Event>>;

/// A node for one connection: its Noise state is the only one.
#[derive(Clone)]
pub struct Peer {
    node: Node,
    psk: [u8; 32],
    noise: Arc<OnceLock<Arc<StatelessTransportState>>>,
    events: UnboundedSender<io::Result<Event>>,
}

impl Peer {
    pub async fn new(listener_addr: Option<SocketAddr>, psk: [u8; 32]) -> (Self, Events) {
        let (events, queue) = unbounded_channel();
        let config = Config { listener_addr, max_connections: 1, ..Default::default() };
        let peer = Self { node: Node::new(config), psk, noise: Default::default(), events };
        peer.enable_handshake().await;
        peer.enable_reading().await;
        peer.enable_writing().await;
        peer.enable_on_connect().await;
        peer.enable_on_disconnect().await;
        (peer, queue)
    }

    fn tell(&self, event: io::Result<Event>) {
        // Nobody listens any more only when the program is about to end.
        let _ = self.events.send(event);
    }

    fn records(&self) -> Records {
        let noise = self.noise.get().expect("pea2pea asks for a codec only after the handshake");
        Records::new(noise.clone())
    }

    /// XXpsk3 with empty payloads and no prologue. It reads no byte beyond the handshake.
    async fn shake_hands(&self, stream: &mut TcpStream, side: ConnectionSide) -> io::Result<()> {
        let builder = snow::Builder::new(PROTOCOL.parse().map_err(io::Error::other)?);
        let keypair = builder.generate_keypair().map_err(io::Error::other)?;
        let builder = builder.local_private_key(&keypair.private).map_err(io::Error::other)?;
        let builder = builder.psk(3, &self.psk).map_err(io::Error::other)?;
        let mut noise = match side {
            ConnectionSide::Initiator => builder.build_initiator(),
            ConnectionSide::Responder => builder.build_responder(),
        }
        .map_err(io::Error::other)?;

        let mut buffer = vec![0; MESSAGE_MAX];
        while !noise.is_handshake_finished() {
            if noise.is_my_turn() {
                let len = noise.write_message(&[], &mut buffer).map_err(io::Error::other)?;
                let mut frame = (len as u16).to_be_bytes().to_vec();
                frame.extend_from_slice(&buffer[..len]);
                stream.write_all(&frame).await?;
            } else {
                let mut message = vec![0; usize::from(stream.read_u16().await?)];
                stream.read_exact(&mut message).await?;
                noise.read_message(&message, &mut buffer).map_err(io::Error::other)?;
            }
        }
        let noise = noise.into_stateless_transport_mode().map_err(io::Error::other)?;
        self.noise.set(Arc::new(noise)).map_err(|_| io::Error::other("a second connection"))
    }
}

impl Pea2Pea for Peer {
    fn node(&self) -> &Node {
        &self.node
    }
}

impl Handshake for Peer {
    const TIMEOUT_MS: u64 = 10_000;

    async fn perform_handshake(&self, mut conn: Connection) -> io::Result<Connection> {
        let side = !conn.side(); // the connection tells the peer's
        match self.shake_hands(self.borrow_stream(&mut conn), side).await {
            Ok(()) => Ok(conn),
            Err(error) => {
                self.tell(Err(io::Error::new(error.kind(), error.to_string())));
                Err(error)
            }
        }
    }
}

impl Reading for Peer {
    type Message = BytesMut;
    type Codec = Records;

    fn codec(&self, _addr: SocketAddr, _side: ConnectionSide) -> Records {
        self.records()
    }

    async fn process_message(&self, source: SocketAddr, message: BytesMut) {
        self.tell(Ok(Event::Message(source, message)));
    }
}

impl Writing for Peer {
    type Message = Bytes;
    type Codec = Records;

    fn codec(&self, _addr: SocketAddr, _side: ConnectionSide) -> Records {
        self.records()
    }
}

impl OnConnect for Peer {
    async fn on_connect(&self, _addr: SocketAddr) {
        self.tell(Ok(Event::Connected));
    }
}

impl OnDisconnect for Peer {
    async fn on_disconnect(&self, _addr: SocketAddr, _origin: DisconnectOrigin) {
        self.tell(Ok(Event::Disconnected));
    }
}
