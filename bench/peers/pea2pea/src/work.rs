// SPDX-License-Identifier: MIT
//! The workloads, each with its two sides. Where there is `Some(sender)` it is the receiver: it listens, measures and
//! prints.

use std::cell::RefCell;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use pea2pea::Pea2Pea;
use pea2pea::protocols::Writing;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{JoinSet, yield_now};
use tokio::time::sleep;

use crate::codec::Seen;
use crate::node::{Peer, QUEUE, Security, Then};
use crate::two::{self, Sender};

async fn listen(sender: &mut Sender, peer: &Peer) -> Result<()> {
    let addr = peer.listen().await?;
    sender.tell(&addr.to_string())
}

async fn dial(security: Security, size: usize, then: Then, addr: SocketAddr) -> Result<Peer> {
    let peer = Peer::new(security, size, false, then).await?;
    peer.node().connect(addr).await?;
    Ok(peer)
}

fn hear_addr() -> Result<SocketAddr> {
    Ok(two::hear()?.parse()?)
}

/// All of the messages go to each of `addrs`; every QUEUEth is awaited, so that the queue never overflows.
async fn send_for_ever(peer: &Peer, addrs: &[SocketAddr]) -> Result<()> {
    let payload = peer.payload();
    loop {
        for _ in 1..QUEUE {
            for addr in addrs {
                peer.unicast_fast(*addr, payload.clone())?;
            }
        }
        let mut sent = Vec::with_capacity(addrs.len());
        for addr in addrs {
            sent.push(peer.unicast(*addr, payload.clone())?);
        }
        for last in sent {
            last.await??;
        }
    }
}

/// One node for each connection: a node has only one with an address.
pub async fn oneway(
    sender: Option<Sender>,
    security: Security,
    size: usize,
    seconds: f64,
    connections: usize,
) -> Result<()> {
    let Some(mut sender) = sender else {
        let addr = hear_addr()?;
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let peer = dial(security, size, Then::Count, addr).await?;
            tasks.spawn(async move { send_for_ever(&peer, &[addr]).await });
        }
        return tasks.join_next().await.context("no connection")??;
    };
    let peer = Peer::new(security, size, true, Then::Count).await?;
    listen(&mut sender, &peer).await?;
    two::measure(&sender, seconds, || peer.counted(), || ()).await?.print();
    Ok(())
}

/// PEERS nodes in the receiver; what is counted is what arrives at all of them.
pub async fn broadcast(
    sender: Option<Sender>,
    security: Security,
    size: usize,
    peers: usize,
    seconds: f64,
) -> Result<()> {
    let Some(mut sender) = sender else {
        let peer = Peer::new(security, size, false, Then::Count).await?;
        let mut addrs = Vec::new();
        for addr in two::hear()?.split(' ') {
            addrs.push(addr.parse()?);
            peer.node().connect(*addrs.last().expect("what was pushed")).await?;
        }
        return send_for_ever(&peer, &addrs).await;
    };
    let count = Arc::new(AtomicU64::new(0));
    let mut nodes = Vec::new();
    let mut addrs = Vec::new();
    for _ in 0..peers {
        let peer = Peer::counting(security, size, true, Then::Count, count.clone()).await?;
        addrs.push(peer.listen().await?.to_string());
        nodes.push(peer);
    }
    sender.tell(&addrs.join(" "))?;
    two::measure(&sender, seconds, || count.load(Ordering::Relaxed), || ()).await?.print();
    Ok(())
}

pub async fn pingpong(sender: Option<Sender>, security: Security, size: usize, seconds: f64) -> Result<()> {
    let Some(mut sender) = sender else {
        let addr = hear_addr()?;
        let peer = dial(security, size, Then::Answer, addr).await?;
        peer.unicast(addr, peer.payload())?.await??; // says that it is there
        return pending().await; // until it is ended
    };
    let (tell, mut told) = unbounded_channel();
    let peer = Peer::new(security, size, true, Then::Tell(tell)).await?;
    listen(&mut sender, &peer).await?;
    told.recv().await.context("no connection")?;
    let addr = *peer.node().connected_addrs().first().context("no connection")?;
    let latencies = RefCell::new(Vec::new());
    let pings = async {
        let payload = peer.payload();
        loop {
            let sent = two::now();
            peer.unicast_fast(addr, payload.clone())?;
            told.recv().await.context("the connection is gone")?;
            latencies.borrow_mut().push(two::now() - sent);
        }
    };
    let measured = tokio::select! {
        result = pings => return result,
        measured = two::measure(&sender, seconds, || peer.counted(), || latencies.borrow_mut().clear()) => measured?,
    };
    two::print_latencies(latencies.into_inner(), false)?;
    measured.print();
    Ok(())
}

/// When messages are due, from a thread that sleeps until then: tokio's own timers are of whole milliseconds.
fn schedule(rate: f64) -> UnboundedReceiver<f64> {
    let (tell, told) = unbounded_channel();
    std::thread::spawn(move || {
        let mut due = two::now();
        loop {
            due += 1.0 / rate;
            two::sleep_until(due);
            if tell.send(due).is_err() {
                return;
            }
        }
    });
    told
}

pub async fn openloop(sender: Option<Sender>, security: Security, size: usize, rate: f64, seconds: f64) -> Result<()> {
    let Some(mut sender) = sender else {
        let addr = hear_addr()?;
        let peer = dial(security, size, Then::Count, addr).await?;
        let mut schedule = schedule(rate);
        loop {
            let due = schedule.recv().await.context("the schedule has ended")?;
            let mut message = vec![0; size];
            message[..8].copy_from_slice(&due.to_le_bytes());
            let message = Bytes::from(message);
            while let Err(error) = peer.unicast_fast(addr, message.clone()) {
                if error.kind() != io::ErrorKind::QuotaExceeded {
                    return Err(error.into());
                }
                yield_now().await; // the delay counts: the time is that of the schedule
            }
        }
    };
    let (tell, mut told): (_, UnboundedReceiver<Seen>) = unbounded_channel();
    let peer = Peer::new(security, size, true, Then::Tell(tell)).await?;
    listen(&mut sender, &peer).await?;
    let latencies = RefCell::new(Vec::new());
    let arrivals = async {
        while let Some(message) = told.recv().await {
            latencies.borrow_mut().push(two::now() - message.stamp);
        }
    };
    tokio::select! {
        () = arrivals => bail!("the connection is gone"),
        measured = two::measure(&sender, seconds, || peer.counted(), || latencies.borrow_mut().clear()) => measured?,
    };
    two::print_latencies(latencies.into_inner(), true)
}

/// INFLIGHT nodes, each of which connects, sends one byte, awaits the answer, disconnects, and begins anew.
pub async fn connect(sender: Option<Sender>, security: Security, inflight: usize, seconds: f64) -> Result<()> {
    let Some(mut sender) = sender else {
        let addr = hear_addr()?;
        let mut tasks: JoinSet<Result<()>> = JoinSet::new();
        for _ in 0..inflight {
            let (tell, mut told) = unbounded_channel();
            let peer = Peer::new(security, 1, false, Then::Tell(tell)).await?;
            tasks.spawn(async move {
                loop {
                    peer.node().connect(addr).await?;
                    peer.unicast_fast(addr, peer.payload())?;
                    told.recv().await.context("no answer")?;
                    peer.node().disconnect(addr).await;
                }
            });
        }
        return tasks.join_next().await.context("no connection")??;
    };
    let peer = Peer::new(security, 1, true, Then::Answer).await?;
    listen(&mut sender, &peer).await?;
    two::measure(&sender, seconds, || peer.counted(), || ()).await?.print();
    Ok(())
}

/// The receiver's memory, between CONNECTIONS/9 and CONNECTIONS of them, each of which has carried one byte.
pub async fn idle(sender: Option<Sender>, security: Security, connections: usize) -> Result<()> {
    let few = connections / 9;
    let Some(mut sender) = sender else {
        let addr = hear_addr()?;
        let mut peers = Vec::new();
        for goal in [few, connections] {
            while peers.len() < goal {
                let peer = dial(security, 1, Then::Count, addr).await?;
                peer.unicast(addr, peer.payload())?.await??;
                peers.push(peer);
            }
            two::hear()?;
        }
        return Ok(());
    };
    let peer = Peer::new(security, 1, true, Then::Count).await?;
    listen(&mut sender, &peer).await?;
    let mut kib = Vec::new();
    for goal in [few, connections] {
        while peer.counted() < goal as u64 {
            sleep(Duration::from_millis(1)).await;
        }
        kib.push(two::resident_kib()?);
        sender.tell("go on")?;
    }
    println!("{:.2}", (kib[1] - kib[0]) / (connections - few) as f64);
    Ok(())
}

/// A chain of nodes in this one process; a bucket goes from the first to the last. Each dials the next, so that the last
/// begins.
pub async fn brigade(security: Security, nodes: usize) -> Result<()> {
    let (tell, mut told) = unbounded_channel();
    let last = Peer::new(security, 1, true, Then::Tell(tell)).await?;
    let mut next = last.listen().await?;
    let mut chain = vec![last];
    while chain.len() < nodes {
        let peer = Peer::new(security, 1, true, Then::Pass(next)).await?;
        peer.node().connect(next).await?;
        chain.push(peer);
        next = chain[chain.len() - 1].listen().await?;
    }
    let first = chain.last().context("at least two nodes")?;
    let Then::Pass(neighbour) = first.then else { bail!("at least two nodes") };
    let begun = two::now();
    first.unicast_fast(neighbour, first.payload())?;
    told.recv().await.context("the bucket is lost")?;
    println!("bucket {:.6}", two::now() - begun);
    Ok(())
}
