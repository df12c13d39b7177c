//! What the server's own process takes, by the names that Prometheus' clients give such figures. Only Linux tells.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Reads what the process takes when it is asked for.
#[derive(Debug)]
pub(super) struct ProcessMetrics;

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(taken) = Taken::now() else { return Ok(()) };
        let mut gauge = |name: &str, help: &str, value: i64| {
            let gauge = ConstGauge::new(value);
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)
        };
        gauge(
            "process_resident_memory_bytes",
            "Memory of the server, without its agents",
            taken.resident_bytes,
        )?;
        gauge("process_open_fds", "Open file descriptors", taken.descriptors)?;
        gauge("process_threads", "Threads", taken.threads)?;
        let seconds = ConstCounter::new(taken.processor_seconds);
        let metric = encoder.encode_descriptor(
            "process_cpu_seconds",
            "Processor time of the server, without its agents",
            None,
            seconds.metric_type(),
        )?;
        seconds.encode(metric)
    }
}

struct Taken {
    resident_bytes: i64,
    descriptors: i64,
    threads: i64,
    processor_seconds: f64,
}

impl Taken {
    #[cfg(target_os = "linux")]
    fn now() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The name, which may hold anything, ends with the last parenthesis.
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<i64> = fields
            .split_ascii_whitespace()
            .map(|field| field.parse().unwrap_or(0))
            .collect();
        // Numbered as in proc(5), from the state, which is the third.
        let field = |number: usize| fields.get(number - 3).copied();
        let descriptors = std::fs::read_dir("/proc/self/fd").ok()?.count();
        let page = i64::try_from(rustix::param::page_size()).ok()?;
        let ticks = u32::try_from(rustix::param::clock_ticks_per_second()).ok()?;
        let busy = u32::try_from(field(14)? + field(15)?).ok()?;
        Some(Self {
            resident_bytes: field(24)? * page,
            // The one that reads the folder is not counted.
            descriptors: i64::try_from(descriptors).ok()? - 1,
            threads: field(20)?,
            processor_seconds: f64::from(busy) / f64::from(ticks),
        })
    }

    #[cfg(not(target_os = "linux"))]
    fn now() -> Option<Self> {
        None
    }
}
