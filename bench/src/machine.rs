//! What the machine says of this process.

use std::{
    fs,
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};

/// The most memory this process has held so far, in MiB; 0 where the system does not say.
pub(crate) fn peak_rss_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    kib.and_then(|kib| kib.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// The load average of the last minute; -1 where the system does not say.
pub(crate) fn load() -> f64 {
    let load = fs::read_to_string("/proc/loadavg").ok();
    load.and_then(|load| load.split_whitespace().next()?.parse().ok()).unwrap_or(-1.0)
}

/// The processor's name, as far as the system says it.
pub(crate) fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// Wall and processor time from one moment on.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    wall: Instant,
    cpu: Duration,
}

/// What a [`Stopwatch`] says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lap {
    pub(crate) wall: Duration,
    /// User and system time of the whole process.
    pub(crate) cpu: Duration,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { cpu: cpu(), wall: Instant::now() }
    }

    pub(crate) const fn started(&self) -> Instant {
        self.wall
    }

    pub(crate) fn stop(&self) -> Lap {
        let wall = self.wall.elapsed();
        Lap { wall, cpu: cpu().saturating_sub(self.cpu) }
    }
}

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
