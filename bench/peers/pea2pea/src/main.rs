// SPDX-License-Identifier: MIT
//! pea2pea as a peer of peapod's bench: `pea2pea-bench plain|snow|snow-ring WORKLOAD ARGUMENTS...`. Each of the two
//! processes has one runtime of one thread.

mod codec;
mod node;
mod two;
mod work;

use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};

use codec::{NOISE_MESSAGE_MAX, NOISE_TAG};
use node::Security;

const USAGE: &str = "usage: pea2pea-bench plain|snow|snow-ring WORKLOAD ARGUMENTS...
  oneway SIZE SECONDS [CONNECTIONS]    pingpong SIZE SECONDS     openloop SIZE RATE SECONDS
  connect INFLIGHT SECONDS             idle CONNECTIONS          broadcast SIZE PEERS SECONDS
  brigade NODES";

/// A number of the command line, above 0.
fn number(args: &[String], at: usize) -> Result<f64> {
    let text = args.get(at).context(USAGE)?;
    let value: f64 = text.parse().with_context(|| format!("'{text}' is no number"))?;
    ensure!(value > 0.0 && value <= 8_388_608.0, "{text} must be above 0 and at most 8388608");
    Ok(value)
}

fn run(args: &[String]) -> Result<()> {
    let security = match args.first().map(String::as_str) {
        Some("plain") => Security::Plain,
        Some("snow") => Security::Snow,
        Some("snow-ring") => Security::SnowRing,
        _ => bail!(USAGE),
    };
    let workload = args.get(1).context(USAGE)?.as_str();
    let has_size = !matches!(workload, "connect" | "idle" | "brigade");
    let first = number(args, 2)? as usize;
    ensure!(
        !has_size || security == Security::Plain || first <= NOISE_MESSAGE_MAX - NOISE_TAG,
        "a message is one Noise message: at most {} bytes",
        NOISE_MESSAGE_MAX - NOISE_TAG
    );
    ensure!(workload != "openloop" || first >= 8, "a message has to have room for a time of 8 bytes");
    let sender = if workload == "brigade" { None } else { two::start()? };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match workload {
            "oneway" => {
                let connections = if args.len() > 4 { number(args, 4)? as usize } else { 1 };
                work::oneway(sender, security, first, number(args, 3)?, connections).await
            }
            "pingpong" => work::pingpong(sender, security, first, number(args, 3)?).await,
            "openloop" => work::openloop(sender, security, first, number(args, 3)?, number(args, 4)?).await,
            "connect" => work::connect(sender, security, first, number(args, 3)?).await,
            "idle" => work::idle(sender, security, first).await,
            "broadcast" => work::broadcast(sender, security, first, number(args, 3)? as usize, number(args, 4)?).await,
            "brigade" => work::brigade(security, first).await,
            _ => bail!(USAGE),
        }
    })
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
