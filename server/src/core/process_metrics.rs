//! What the operating system counts of the process, under the names that Prometheus
//! recommends for all programs. Linux only: elsewhere the values are zero.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rustix::process::{Resource, getrlimit};

/// Clock ticks in a second, as `/proc` counts them: the same on all architectures that
/// the server is built for.
const TICKS: f64 = 100.0;

/// Gauges that are read at each scrape.
pub(super) struct ProcessMetrics {
    registry: Registry,
    cpu: Counter<f64, AtomicU64>,
    resident: Gauge,
    size: Gauge,
    descriptors: Gauge,
    most_descriptors: Gauge,
    threads: Gauge,
    started: Gauge<f64, AtomicU64>,
}

/// A snapshot of `/proc/self`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Seconds of all threads, in user and kernel mode.
    pub cpu: f64,
    /// Resident memory in bytes.
    pub resident: u64,
    /// Virtual memory in bytes.
    pub size: u64,
    /// Open file descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: u64,
    /// Seconds since 1970.
    pub started: f64,
}

impl Process {
    /// The process as it is now.
    #[must_use]
    pub fn read() -> Self {
        let text = |path| std::fs::read_to_string(path).unwrap_or_default();
        let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let mut process = Self::parse(
            &text("/proc/self/stat"),
            &text("/proc/self/status"),
            &text("/proc/stat"),
        );
        // One of them reads the folder.
        process.descriptors = descriptors.saturating_sub(1);
        process
    }

    fn parse(stat: &str, status: &str, machine: &str) -> Self {
        // The name of the program, in parentheses, may contain spaces.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let fields: Vec<f64> = fields
            .split_whitespace()
            .map(|field| field.parse().unwrap_or_default())
            .collect();
        // proc(5) counts from 1, and the first two precede the parenthesis.
        let field = |number: usize| fields.get(number - 3).copied().unwrap_or_default();
        let line = |text: &str, name: &str| -> u64 {
            let mut lines = text.lines();
            let value = lines.find_map(|line| line.strip_prefix(name));
            let number = value.and_then(|value| value.split_whitespace().next());
            number
                .and_then(|number| number.parse().ok())
                .unwrap_or_default()
        };
        Self {
            cpu: (field(14) + field(15)) / TICKS,
            resident: line(status, "VmRSS:") << 10,
            size: line(status, "VmSize:") << 10,
            descriptors: 0,
            threads: line(status, "Threads:"),
            started: line(machine, "btime ") as f64 + field(22) / TICKS,
        }
    }
}

impl ProcessMetrics {
    pub(super) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            cpu: Counter::default(),
            resident: Gauge::default(),
            size: Gauge::default(),
            descriptors: Gauge::default(),
            most_descriptors: Gauge::default(),
            threads: Gauge::default(),
            started: Gauge::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "process_cpu_seconds",
            "CPU time of the process",
            self.cpu.clone(),
        );
        registry.register(
            "process_start_time_seconds",
            "When the process was started, in seconds since 1970",
            self.started.clone(),
        );
        for (name, help, gauge) in [
            (
                "process_resident_memory_bytes",
                "Resident memory of the process",
                &self.resident,
            ),
            (
                "process_virtual_memory_bytes",
                "Virtual memory of the process",
                &self.size,
            ),
            (
                "process_open_fds",
                "Open file descriptors",
                &self.descriptors,
            ),
            (
                "process_max_fds",
                "Most file descriptors that the process may open",
                &self.most_descriptors,
            ),
            ("process_threads", "Threads of the process", &self.threads),
        ] {
            registry.register(name, help, gauge.clone());
        }
    }

    /// The registry, with the values of this moment.
    pub(super) fn read(&self) -> &Registry {
        let process = Process::read();
        let cpu = process.cpu.to_bits();
        self.cpu.inner().store(cpu, Ordering::Relaxed);
        self.resident.set(process.resident as i64);
        self.size.set(process.size as i64);
        self.descriptors.set(process.descriptors as i64);
        self.threads.set(process.threads as i64);
        self.started.set(process.started);
        let most = getrlimit(Resource::Nofile).current;
        let most = most.map_or(-1, |most| i64::try_from(most).unwrap_or(i64::MAX));
        self.most_descriptors.set(most);
        &self.registry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_proc_are_read() {
        let stat = "42 (a )b c) S 1 1 1 0 -1 4194304 5 0 0 0 250 50 0 0 20 0 7 0 1000 9 9 9";
        let status = "Name:\ta\nVmSize:\t 2048 kB\nVmRSS:\t 1024 kB\nThreads:\t7\n";
        let process = Process::parse(stat, status, "cpu 1 2\nbtime 1700000000\n");
        let expected = Process {
            cpu: 3.0,
            resident: 1 << 20,
            size: 2 << 20,
            descriptors: 0,
            threads: 7,
            started: 1_700_000_010.0,
        };
        assert_eq!(process, expected);
        assert_eq!(Process::parse("", "", ""), Process::default());
    }
}
