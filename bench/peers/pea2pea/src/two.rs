// SPDX-License-Identifier: MIT
//! Two processes, a core for each, the counted time and latencies: what bench/two.h and bench/peers/peer.h are to the
//! programs in C. The receiver is the process that was started; the sender is this program once more.

use std::env;
use std::fs;
use std::io::{self, BufRead, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};
use nix::unistd::Pid;
use tokio::time::sleep;

const SENDER_CPU: usize = 0;
const RECEIVER_CPU: usize = 1;
const WARM_UP: Duration = Duration::from_millis(100);
/// Says that this process is the sender.
const ROLE: &str = "PEAPOD_BENCH_SENDER";

/// The sender, as the receiver sees it. It is ended with this value.
pub struct Sender {
    child: Child,
    stdin: ChildStdin,
}

impl Drop for Sender {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sender {
    /// Tells a line; `hear` waits for it.
    pub fn tell(&mut self, line: &str) -> Result<()> {
        writeln!(self.stdin, "{line}").context("telling the sender")
    }
}

pub fn hear() -> Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    ensure!(!line.is_empty(), "the receiver is gone");
    Ok(line.trim().to_owned())
}

fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    if set.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set)).is_err() {
        eprintln!("bench: not pinned to cpu {cpu}: figures will vary more");
    }
}

/// None in the sender. Before any thread is made: each inherits the core.
pub fn start() -> Result<Option<Sender>> {
    if env::var_os(ROLE).is_some() {
        prctl::set_pdeathsig(Signal::SIGKILL)?; // whatever ends the receiver
        return Ok(None);
    }
    pin(SENDER_CPU);
    let mut child = Command::new(env::current_exe()?)
        .args(env::args_os().skip(1))
        .env(ROLE, "1")
        .stdin(Stdio::piped())
        .spawn()
        .context("starting the sender")?;
    pin(RECEIVER_CPU);
    let stdin = child.stdin.take().context("the sender's input")?;
    Ok(Some(Sender { child, stdin }))
}

/// Seconds of the clock that both processes share.
pub fn now() -> f64 {
    let t = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the monotonic clock");
    t.tv_sec() as f64 + t.tv_nsec() as f64 / 1e9
}

/// Sleeps until that clock shows `when`.
pub fn sleep_until(when: f64) {
    // Else each sleep is 50 us longer. Where it is refused, it is.
    let _ = prctl::set_timerslack(1);
    let until = TimeSpec::from_duration(Duration::from_secs_f64(when));
    while now() < when {
        // A signal may end it early.
        let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &until);
    }
}

/// Seconds of CPU time, user and system, of a process: getrusage() of any.
fn cpu(pid: Pid) -> Result<f64> {
    let t = clock_gettime(ClockId::pid_cpu_clock_id(pid)?)?;
    Ok(t.tv_sec() as f64 + t.tv_nsec() as f64 / 1e9)
}

/// What `count()` gained, and how long and how much CPU time of both it took.
pub struct Measured {
    pub count: u64,
    took: f64,
    cpu: [f64; 2],
}

/// Waits for the first one and until the warm-up is over, then measures. `begin` is called in between.
pub async fn measure(sender: &Sender, seconds: f64, count: impl Fn() -> u64, begin: impl FnOnce()) -> Result<Measured> {
    let pids = [Pid::from_raw(sender.child.id() as i32), Pid::from_raw(0)];
    while count() == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    sleep(WARM_UP).await;
    begin();
    let (count_before, cpu_before, begun) = (count(), [cpu(pids[0])?, cpu(pids[1])?], now());
    sleep(Duration::from_secs_f64(seconds)).await;
    let (count_after, cpu_after, ended) = (count(), [cpu(pids[0])?, cpu(pids[1])?], now());
    Ok(Measured {
        count: count_after - count_before,
        took: ended - begun,
        cpu: [cpu_after[0] - cpu_before[0], cpu_after[1] - cpu_before[1]],
    })
}

impl Measured {
    pub fn print(&self) {
        if self.count > 0 {
            println!("cpu_ns_sender {:.1}", self.cpu[0] * 1e9 / self.count as f64);
            println!("cpu_ns_receiver {:.1}", self.cpu[1] * 1e9 / self.count as f64);
        }
        println!("{:.0}", self.count as f64 / self.took);
    }
}

/// p50_us, p99_us and, if `p999`, p999_us.
pub fn print_latencies(mut seconds: Vec<f64>, p999: bool) -> Result<()> {
    ensure!(!seconds.is_empty(), "no message came in the counted time");
    seconds.sort_unstable_by(f64::total_cmp);
    let percentile = |part: f64| seconds[(part * (seconds.len() - 1) as f64) as usize] * 1e6;
    println!("p50_us {:.1}", percentile(0.5));
    println!("p99_us {:.1}", percentile(0.99));
    if p999 {
        println!("p999_us {:.1}", percentile(0.999));
    }
    Ok(())
}

/// The resident memory of this process, in KiB.
pub fn resident_kib() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("VmRSS")?;
    Ok(line.split_whitespace().nth(1).context("VmRSS")?.parse()?)
}
