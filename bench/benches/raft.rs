//! Three nodes in memory, 256 bytes a command, closed loop: nanoseconds, messages and allocations for each command or read, ours
//! beside raft-rs. `--json` prints one object a row.

use std::alloc::System;
use std::io::Write as _;
use std::time::Instant;

use dps_bench::Group;
use dps_bench::peer::Peer;
use serde::Serialize;
use sim::bench::{IN_FLIGHT, PASSES, Trio, count};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[derive(Serialize)]
struct Row {
    who: &'static str,
    what: &'static str,
    in_flight: u64,
    ns: f64,
    messages: f64,
    allocations: f64,
    bytes: f64,
}

fn measure<G: Group>(who: &'static str, what: &'static str, in_flight: u64, run: fn(&mut G, u64, u64)) -> Row {
    let count = count(in_flight);
    let mut best: Option<Row> = None;
    for _ in 0..PASSES {
        let mut group = G::new();
        run(&mut group, count / 10, in_flight);
        let (messages, region, begun) = (group.messages(), Region::new(ALLOCATOR), Instant::now());
        run(&mut group, count, in_flight);
        let (taken, stats) = (begun.elapsed(), region.change());
        let each = |sum: f64| sum / count as f64;
        let row = Row {
            who,
            what,
            in_flight,
            ns: each(taken.as_nanos() as f64),
            messages: each((group.messages() - messages) as f64),
            allocations: each(stats.allocations as f64),
            bytes: each(stats.bytes_allocated as f64),
        };
        if best.as_ref().is_none_or(|best| row.ns < best.ns) {
            best = Some(row);
        }
    }
    best.expect("there are passes")
}

fn main() -> std::io::Result<()> {
    let json = std::env::args().any(|arg| arg == "--json");
    let mut out = std::io::stdout().lock();
    for in_flight in IN_FLIGHT {
        for row in [
            measure::<Trio>("dps", "commit", in_flight, Trio::commit),
            measure::<Peer>("raft-rs", "commit", in_flight, Peer::commit),
            measure::<Trio>("dps", "read", in_flight, Trio::read),
            measure::<Peer>("raft-rs", "read", in_flight, Peer::read),
        ] {
            if json {
                writeln!(out, "{}", serde_json::to_string(&row)?)?;
                continue;
            }
            let Row { who, what, in_flight, ns, messages, allocations, bytes } = row;
            writeln!(
                out,
                "{who:8} {what:6} {in_flight:4} in flight: {ns:8.0} ns, {messages:6.3} messages, \
                 {allocations:6.2} allocations of {bytes:6.0} bytes"
            )?;
        }
    }
    Ok(())
}
